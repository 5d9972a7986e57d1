/** Values of expressions of the model. Everything is a bigint: lengths, masks and 64-bit constants in one arithmetic; a condition is 1 or 0. */
import type { Expression, FieldPath, Tree } from './model.ts'

/** What an expression may ask for; undefined: not known here. */
export interface Environment {
  feature?(name: string, bit: number): boolean | undefined
  field?(path: FieldPath): bigint | undefined
  queueSize?: bigint | undefined
  /** `byDefault`: what counts where the program says nothing. */
  caller?(name: string, byDefault?: number): bigint | undefined
  index?: bigint | undefined
}

/** The value, or undefined when something it needs is not known, or when an `if` without `else` does not hold. */
export function evaluate(tree: Tree, environment: Environment = {}): bigint | undefined {
  switch (tree.op) {
    case 'number':
    case 'constant':
    case 'sizeof':
      return BigInt(tree.value)
    case 'feature':
      return fromBoolean(environment.feature?.(tree.name, tree.bit))
    case 'field':
      return environment.field?.(tree)
    case 'queue':
      return environment.queueSize
    case 'caller':
      return environment.caller?.(tree.name, tree.default)
    case 'index':
      return environment.index
    case 'not': {
      const value = evaluate(tree.arg, environment)
      return value === undefined ? undefined : fromBoolean(value === 0n)
    }
    case 'if': {
      const condition = evaluate(tree.condition, environment)
      if (condition === undefined) return undefined
      if (condition !== 0n) return evaluate(tree.value, environment)
      return tree.otherwise === undefined ? undefined : evaluate(tree.otherwise, environment)
    }
    case 'binary':
      return evaluateBinary(tree, environment)
  }
}

function evaluateBinary(tree: Extract<Tree, { op: 'binary' }>, environment: Environment): bigint | undefined {
  const left = evaluate(tree.left, environment)
  // `and` and `or` are decided by one side where the other is not known.
  if (tree.operator === 'and' && left === 0n) return 0n
  if (tree.operator === 'or' && left !== undefined && left !== 0n) return 1n
  const right = evaluate(tree.right, environment)
  if (tree.operator === 'and' && right === 0n) return 0n
  if (tree.operator === 'or' && right !== undefined && right !== 0n) return 1n
  if (left === undefined || right === undefined) return undefined
  switch (tree.operator) {
    case '+':
      return left + right
    case '-':
      return left - right
    case '*':
      return left * right
    case '/':
      return right === 0n ? undefined : left / right
    case '&':
      return left & right
    case '|':
      return left | right
    case '<<':
      return right < 0n || right > 127n ? undefined : left << right
    case '>>':
      return right < 0n ? undefined : left >> right
    case '==':
      return fromBoolean(left === right)
    case '!=':
      return fromBoolean(left !== right)
    case '<':
      return fromBoolean(left < right)
    case '<=':
      return fromBoolean(left <= right)
    case '>':
      return fromBoolean(left > right)
    case '>=':
      return fromBoolean(left >= right)
    case 'has':
      return fromBoolean((left & right) === right)
    case 'and':
      return fromBoolean(left !== 0n && right !== 0n)
    case 'or':
      return fromBoolean(left !== 0n || right !== 0n)
  }
}

function fromBoolean(value: boolean): bigint
function fromBoolean(value: boolean | undefined): bigint | undefined
function fromBoolean(value: boolean | undefined): bigint | undefined {
  return value === undefined ? undefined : value ? 1n : 0n
}

/** True, false, or undefined where a condition depends on what is not known. */
export function holds(condition: Expression | undefined, environment: Environment): boolean | undefined {
  if (condition === undefined) return true
  const value = evaluate(condition.tree, environment)
  return value === undefined ? undefined : value !== 0n
}

/** True for what is there only if the program says so: the text does not have it. */
export function isOffByDefault(condition: Expression | undefined): boolean {
  return holds(condition, programIsSilent) === false
}

/** What counts where the program says nothing. */
export const programIsSilent: Environment = { caller: (_, byDefault) => (byDefault === undefined ? undefined : BigInt(byDefault)) }

/** The value of an expression that depends on nothing, as a number. */
export function constantNumber(expression: Expression | undefined): number | undefined {
  if (expression === undefined) return undefined
  const value = evaluate(expression.tree)
  return value === undefined ? undefined : Number(value)
}

/** Every node of a tree. */
export function* nodes(tree: Tree): Generator<Tree> {
  yield tree
  switch (tree.op) {
    case 'not':
      yield* nodes(tree.arg)
      return
    case 'binary':
      yield* nodes(tree.left)
      yield* nodes(tree.right)
      return
    case 'if':
      yield* nodes(tree.value)
      yield* nodes(tree.condition)
      if (tree.otherwise) yield* nodes(tree.otherwise)
      return
  }
}
