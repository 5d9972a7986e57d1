/** Expressions of the YAML as trees of the model: syntax, names and kinds are checked, and `let` names and constants get their values. */
import type { LetAst, Value } from '../ast.ts'
import { type DiagnosticCode, didYouMean } from '../diagnostic.ts'
import { evaluate } from '../evaluate.ts'
import { ExpressionError, parseExpression, parseRange, type Syntax, toNumber } from '../expression.ts'
import type { BinaryOperator, ConstantValue, Expression, FieldPath, Tree } from '../model.ts'
import { oneLine } from '../one-line.ts'
import type { Path } from '../source.ts'
import { alwaysOrNever } from './conditions.ts'
import type { FoundField, Given, NameScope, Names } from './names.ts'
import type { FieldInfo } from './shape.ts'
import type { ChapterScope, GroupDeclaration, StructDeclaration, Workspace } from './workspace.ts'

/** Size of a struct in bytes; a reason where it has none. */
export type SizeOf = (declaration: StructDeclaration) => number | 'varies' | 'cycle'

/** What stands at a place of an expression: a number, a condition, whatever a `let` holds, or a struct that is bound. */
type Kind = 'number' | 'condition' | 'any' | 'struct'

/** What an expression is resolved in. */
interface Task {
  scope: NameScope
  path: Path
  /** Where the expression begins in the text at the path. */
  offset: number
  in: 'key' | 'value'
}

/** A field that a constant is held against. `only`: no other groups than the field's own serve. */
interface Held {
  field: FieldInfo
  only: boolean
}

const conditionOperators: ReadonlySet<string> = new Set(['==', '!=', '<', '<=', '>', '>=', 'has', 'and', 'or'])
const kindNouns: Readonly<Record<FieldInfo['kind'], string>> = {
  number: 'a number',
  array: 'an array',
  struct: 'a struct',
  union: 'a union',
  bits: 'a row of bit-fields',
}

export class Expressions {
  readonly #workspace: Workspace
  readonly #names: Names
  readonly #sizeOf: SizeOf
  readonly #values = new Map<string, number | bigint | undefined>()
  readonly #evaluating = new Set<string>()
  readonly #lets = new Map<string, Tree | undefined>()
  readonly #resolvingLets = new Set<string>()

  constructor(workspace: Workspace, names: Names, sizeOf: SizeOf) {
    this.#workspace = workspace
    this.#names = names
    this.#sizeOf = sizeOf
  }

  /** A condition, or undefined where there is none or where it has been reported. */
  condition(value: Value | boolean | undefined, path: Path, scope: NameScope, offset = 0): Expression | undefined {
    if (value === undefined) return undefined
    const condition = typeof value === 'string' ? this.#resolve(value, { scope, path, offset, in: 'value' }, 'condition') : literal(value)
    const always = condition && alwaysOrNever(condition)
    if (always !== undefined) {
      const { length } = String(value)
      scope.chapter.report('constant-condition', path, `"${condition?.text}" ${always ? 'always' : 'never'} holds`, undefined, { offset, length })
    }
    return condition
  }

  /** A number: a length, an offset, an index. */
  number(value: Value | boolean | undefined, path: Path, scope: NameScope): Expression | undefined {
    if (value === undefined) return undefined
    if (typeof value === 'boolean') {
      scope.chapter.report('wrong-type', path, 'expected a number or an expression')
      return undefined
    }
    return typeof value === 'string' ? this.#resolve(value, { scope, path, offset: 0, in: 'value' }, 'number') : literal(value)
  }

  /** A number inside a key, such as a length in brackets; `offset` is its position in the key. */
  numberInKey(text: string, offset: number, path: Path, scope: NameScope): Expression | undefined {
    return this.#resolve(text, { scope, path, offset, in: 'key' }, 'number')
  }

  /** `A .. B`. */
  range(value: string | undefined, path: Path, scope: NameScope): [Expression, Expression] | undefined {
    if (value === undefined) return undefined
    const task: Task = { scope, path, offset: 0, in: 'value' }
    return this.#parse(value, task, () => {
      const [from, to] = parseRange(value)
      const first = this.#tree(from, task, 'number')
      const last = this.#tree(to, task, 'number')
      return (
        first &&
        last && [
          { text: oneLine(value.slice(from.at, from.end)), tree: first },
          { text: oneLine(value.slice(to.at, to.end)), tree: last },
        ]
      )
    })
  }

  /** The value of a number, or of an expression over constants alone. */
  constant(value: Value | undefined, path: Path, chapter: ChapterScope, held?: Held): number | bigint | undefined {
    if (value === undefined || typeof value !== 'string') return value
    const expression = this.#resolve(value, { scope: { chapter }, path, offset: 0, in: 'value' }, 'number', held)
    const result = expression && evaluate(expression.tree)
    if (expression && result === undefined) chapter.report('not-constant', path, `"${value}" is not a constant number`)
    return result === undefined ? undefined : toNumber(result)
  }

  /** A constant that `is` or `status` names, or that a field must hold: taken from the field's groups, and small enough for it. */
  selector(value: Value, path: Path, chapter: ChapterScope, field: FieldInfo | undefined): ConstantValue | undefined {
    const number = this.constant(value, path, chapter, field && { field, only: true })
    if (number === undefined) return undefined
    if (number < 0 || (field?.bits !== undefined && BigInt(number) >= 1n << BigInt(field.bits))) {
      chapter.report('value-range', path, `${describe(value, number)} does not fit into the ${field?.bits ?? 64} bits of "${field?.name}"`)
    }
    return { name: String(value), value: number }
  }

  /** A field with one value that decides something. */
  field(text: string, path: Path, scope: NameScope): { path: FieldPath; info: FieldInfo | undefined } | undefined {
    const task: Task = { scope, path, offset: 0, in: 'value' }
    const expression = this.#resolve(text, task, 'number')
    if (expression === undefined) return undefined
    const { tree } = expression
    if (tree.op === 'field') return { path: { from: tree.from, path: tree.path }, info: this.#names.field(text.trim().split('.'), scope)?.info }
    if (tree.op === 'caller') return { path: { from: 'given', path: [tree.name] }, info: undefined }
    scope.chapter.report('wrong-operand', path, `"${text}" is not a field`)
    return undefined
  }

  /** What a `given` name is bound to: a struct of its type, or a number. */
  binding(value: Value, path: Path, scope: NameScope, given: Given): Expression | undefined {
    if (given.struct === undefined) return this.number(value, path, scope)
    if (typeof value !== 'string') {
      scope.chapter.report('wrong-operand', path, `${value} is a number, not a struct`)
      return undefined
    }
    const task: Task = { scope, path, offset: 0, in: 'value' }
    const expression = this.#resolve(value, task, 'struct')
    if (expression === undefined) return undefined
    const info = expression.tree.op === 'field' ? this.#names.field(value.trim().split('.'), scope)?.info : undefined
    if (info?.struct === given.struct) return expression
    const found = info?.struct ? `of the type ${info.struct.name}` : 'a nested struct without a type'
    scope.chapter.report('wrong-operand', path, `"${value}" is ${found}, not of the type ${given.struct.name}`)
    return undefined
  }

  /** The tree of a `let` name, resolved once. */
  letTree(chapter: ChapterScope, name: string): Tree | undefined {
    const key = `${chapter.name} ${name}`
    if (this.#resolvingLets.has(key)) {
      chapter.report('let-cycle', ['let', name], `"${name}" is defined by itself`, undefined, 'key')
      return undefined
    }
    if (!this.#lets.has(key)) {
      this.#resolvingLets.add(key)
      const value = chapter.ast.let?.[name] as Value | boolean | LetAst
      if (typeof value === 'object') {
        this.#lets.set(key, { op: 'caller', name, default: value.default })
        this.#resolvingLets.delete(key)
        return this.#lets.get(key)
      }
      const isText = typeof value === 'string' && value !== 'caller'
      const expression = isText ? this.#resolve(value, { scope: { chapter }, path: ['let', name], offset: 0, in: 'value' }, 'any') : literal(value)
      this.#lets.set(key, value === 'caller' ? { op: 'caller', name } : expression?.tree)
      this.#resolvingLets.delete(key)
    }
    return this.#lets.get(key)
  }

  /** The value of a constant of a group, evaluated once. */
  constantValue(group: GroupDeclaration, name: string): number | bigint | undefined {
    const key = `${group.chapter.name} ${group.name} ${name}`
    if (this.#values.has(key)) return this.#values.get(key)
    const path: Path = [...group.valuesPath, name]
    if (this.#evaluating.has(key)) {
      group.chapter.report('constant-cycle', path, `"${name}" is defined by itself`, undefined, 'key')
      return undefined
    }
    this.#evaluating.add(key)
    const ast = group.attributes.values[name]
    const [value, valuePath] = typeof ast === 'object' ? [ast.value, [...path, 'value']] : [ast, path]
    const ownGroup: FieldInfo = { name: '', kind: 'number', groups: [group.name], chapter: group.chapter }
    const number = this.constant(value, valuePath, group.chapter, { field: ownGroup, only: false })
    this.#evaluating.delete(key)
    this.#values.set(key, number)
    return number
  }

  #resolve(text: string, task: Task, kind: Kind, held?: Held): Expression | undefined {
    return this.#parse(text, task, () => {
      const tree = this.#tree(parseExpression(text), task, kind, held)
      return tree && { text: oneLine(text), tree }
    })
  }

  #parse<T>(text: string, task: Task, parse: () => T): T | undefined {
    try {
      return parse()
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error
      this.#report(
        'expression-syntax',
        task,
        error.offset,
        error.length,
        `in "${oneLine(text)}": ${error.message}`,
        'see "Expressions" in docs/language.md',
      )
      return undefined
    }
  }

  #report(code: DiagnosticCode, { scope, path, offset, in: place }: Task, at: number, length: number, message: string, hint?: string): void {
    scope.chapter.report(code, path, message, hint, { offset: offset + at, length, in: place })
  }

  #tree(syntax: Syntax, task: Task, kind: Kind, held?: Held): Tree | undefined {
    const tree = this.#anyTree(syntax, task, kind, held)
    if (tree === undefined || kind === 'any' || kind === 'struct') return tree
    const found = kindOf(tree)
    if (found === 'any' || found === kind) return tree
    const what = syntax.op === 'name' ? `"${syntax.path.join('.')}"` : 'this'
    const message = found === 'number' ? `${what} is a number, not a condition` : `${what} is a condition, not a number`
    const hint = found === 'number' ? 'compare it with something' : '`1 if CONDITION else 0` is a number'
    this.#report('wrong-operand', task, syntax.at, syntax.end - syntax.at, message, hint)
    return undefined
  }

  #anyTree(syntax: Syntax, task: Task, kind: Kind, held: Held | undefined): Tree | undefined {
    switch (syntax.op) {
      case 'number':
        return { op: 'number', value: syntax.value }
      case 'name':
        return this.#name(syntax, task, kind, held)
      case 'sizeof':
        return this.#sizeof(syntax, task)
      case 'not': {
        const arg = this.#tree(syntax.arg, task, 'condition')
        return arg && { op: 'not', arg }
      }
      case 'if': {
        const value = this.#tree(syntax.value, task, kind, held)
        const condition = this.#tree(syntax.condition, task, 'condition')
        const otherwise = syntax.otherwise && this.#tree(syntax.otherwise, task, kind, held)
        if (!value || !condition || (syntax.otherwise && !otherwise)) return undefined
        return otherwise ? { op: 'if', value, condition, otherwise } : { op: 'if', value, condition }
      }
      case 'binary':
        return this.#binary(syntax, task, held)
    }
  }

  #binary({ operator, left, right }: Extract<Syntax, { op: 'binary' }>, task: Task, held: Held | undefined): Tree | undefined {
    const isCondition = operator === 'and' || operator === 'or'
    const compares = operator === '==' || operator === '!=' || operator === 'has'
    const leftField = compares ? this.#fieldOf(left, task.scope) : undefined
    const rightField = compares && !leftField ? this.#fieldOf(right, task.scope) : undefined
    // Inside arithmetic the field's groups come first, but other constants may take part.
    const inner = conditionOperators.has(operator) || held === undefined ? undefined : { ...held, only: false }
    const leftTree = this.#tree(left, task, isCondition ? 'condition' : 'number', rightField ?? inner)
    const operand = this.#tree(right, task, isCondition ? 'condition' : 'number', leftField ?? inner)
    const rightTree = operand && operator === 'has' && isBitNumber(operand, leftField?.field) ? bitMask(operand) : operand
    return leftTree && rightTree && { op: 'binary', operator: operator as BinaryOperator, left: leftTree, right: rightTree }
  }

  /** The field that a side of a comparison is, whole or masked. */
  #fieldOf(syntax: Syntax, scope: NameScope): Held | undefined {
    if (syntax.op === 'binary' && syntax.operator === '&') {
      const masked = this.#fieldOf(syntax.left, scope)
      return masked && { ...masked, only: false }
    }
    const field = syntax.op === 'name' ? this.#names.field(syntax.path, scope)?.info : undefined
    return field && { field, only: true }
  }

  #sizeof(syntax: Extract<Syntax, { op: 'sizeof' }>, task: Task): Tree | undefined {
    const { chapter } = task.scope
    const target = { offset: task.offset + syntax.nameAt, length: syntax.name.length, in: task.in }
    const declaration = this.#workspace.requireStruct(chapter, syntax.name, task.path, target)
    if (declaration === undefined) return undefined
    const size = this.#sizeOf(declaration)
    if (typeof size === 'number') return { op: 'sizeof', struct: { chapter: declaration.chapter.name, name: syntax.name }, value: size }
    if (size === 'cycle') chapter.report('type-cycle', task.path, `the size of "${syntax.name}" depends on itself`, undefined, target)
    else chapter.report('wrong-operand', task.path, `"${syntax.name}" has no fixed size`, undefined, target)
    return undefined
  }

  #name(syntax: Extract<Syntax, { op: 'name' }>, task: Task, kind: Kind, held: Held | undefined): Tree | undefined {
    const { scope } = task
    const [first, ...rest] = syntax.path as [string, ...string[]]
    if (first === 'queue' && rest.length === 1 && rest[0] === 'size') return { op: 'queue', property: 'size' }
    // A constant held against a field comes from the field's groups, whatever else has its name.
    const own = held === undefined || rest.length > 0 ? undefined : this.#constantOf(this.#names.groupsOf(held.field), first)
    if (own) return own.tree
    if (scope.index && first === 'i' && rest.length === 0) return { op: 'index', name: 'i' }
    const found = this.#names.field(syntax.path, scope)
    if (found) return this.#found(found, syntax, task, kind)
    if (rest.length === 0) {
      const letName = this.#names.let(first, scope.chapter)
      if (letName) return this.letTree(letName.chapter, first)
      const feature = this.#names.feature(first, scope.chapter)
      if (feature) return { op: 'feature', chapter: feature.chapter, name: first, bit: feature.bit }
      if (!held?.only || held.field.groups.length === 0) {
        const constant = this.#constantAnywhere(syntax, task)
        if (constant) return constant.tree
      }
    }
    this.#unknown(syntax, task, held)
    return undefined
  }

  #found(found: FoundField, syntax: Extract<Syntax, { op: 'name' }>, task: Task, kind: Kind): Tree | undefined {
    if (found.info === undefined) {
      const step = syntax.path[found.missing] as string
      const at = syntax.at + syntax.path.slice(0, found.missing).join('.').length + (found.missing > 0 ? 1 : 0)
      const target = { offset: task.offset + at, length: step.length, in: task.in }
      task.scope.chapter.reportUnknown(
        'unknown-field',
        step,
        task.path,
        `there is no field "${found.text}"`,
        didYouMean(step, found.candidates),
        target,
      )
      return undefined
    }
    const wanted = kind === 'struct' ? 'struct' : 'number'
    if (found.info.kind !== wanted) {
      const message =
        kind === 'struct'
          ? `"${found.text}" is ${kindNouns[found.info.kind]}, not a struct`
          : `"${found.text}" is ${kindNouns[found.info.kind]} and has no single value`
      this.#report('wrong-operand', task, syntax.at, syntax.end - syntax.at, message)
      return undefined
    }
    if (found.isAround && task.scope.around) return { op: 'field', from: 'given', path: [task.scope.around.need(found)] }
    return { op: 'field', from: found.from, path: found.path }
  }

  #unknown(syntax: Extract<Syntax, { op: 'name' }>, task: Task, held: Held | undefined): void {
    const name = syntax.path.join('.')
    const target = { offset: task.offset + syntax.at, length: syntax.end - syntax.at, in: task.in }
    const { chapter } = task.scope
    if (held !== undefined && held.field.groups.length > 0 && held.only) {
      const candidates = this.#names.groupsOf(held.field).flatMap((group) => Object.keys(group.attributes.values))
      const groups = held.field.groups.map((group) => `"${group}"`).join(' or ')
      // Where the group itself is unknown, that is the mistake.
      if (candidates.length > 0)
        chapter.reportUnknown('unknown-constant', name, task.path, `"${name}" is not in ${groups}`, didYouMean(name, candidates), target)
      return
    }
    chapter.reportUnknown('unknown-name', name, task.path, `nothing in reach is named "${name}"`, this.#hint(name, task.scope), target)
  }

  #hint(name: string, scope: NameScope): string | undefined {
    if (name === 'i') return '`i` numbers the queues of one that has `each`'
    if (name.startsWith('config.')) return 'there is no configuration space in reach'
    return name.includes('-') ? 'put spaces around an operator' : didYouMean(name, this.#names.candidates(scope))
  }

  #constantOf(groups: readonly GroupDeclaration[], name: string): { tree: Tree | undefined } | undefined {
    const group = groups.find((candidate) => Object.hasOwn(candidate.attributes.values, name))
    if (group === undefined) return undefined
    const value = this.constantValue(group, name)
    return { tree: value === undefined ? undefined : { op: 'constant', chapter: group.chapter.name, group: group.name, name, value } }
  }

  /** A constant by name alone: the same value everywhere, or it is ambiguous. */
  #constantAnywhere(syntax: Extract<Syntax, { op: 'name' }>, task: Task): { tree: Tree | undefined } | undefined {
    const [name] = syntax.path as [string]
    const groups = this.#names.groupsWith(name, task.scope.chapter)
    const values = new Set(groups.map((group) => String(this.constantValue(group, name))))
    if (values.size < 2) return this.#constantOf(groups, name)
    const where = groups.map((group) => `"${group.name}" of ${group.chapter.name}`).join(', ')
    this.#report(
      'ambiguous-name',
      task,
      syntax.at,
      name.length,
      `"${name}" has different values in ${where}`,
      'hold it against a field whose `enum` or `flags` names the group',
    )
    return { tree: undefined }
  }
}

/** True for a constant that stands for a bit of the field, not for a mask. */
function isBitNumber(tree: Tree, field: FieldInfo | undefined): boolean {
  return tree.op === 'constant' && field?.set !== undefined && !field.groups.some((group) => group !== field.set && group === tree.group)
}

function bitMask(bit: Tree): Tree {
  return { op: 'binary', operator: '<<', left: { op: 'number', value: 1 }, right: bit }
}

function literal(value: Value | boolean): Expression {
  return { text: String(value), tree: { op: 'number', value: typeof value === 'boolean' ? Number(value) : (value as number | bigint) } }
}

function describe(value: Value, number: number | bigint): string {
  return typeof value === 'string' ? `"${value}", ${number},` : String(number)
}

/** Fields and what only the program knows may be either; so may 0 and 1. */
function kindOf(tree: Tree): Kind {
  switch (tree.op) {
    case 'feature':
    case 'not':
      return 'condition'
    case 'binary':
      return conditionOperators.has(tree.operator) ? 'condition' : 'number'
    case 'if': {
      const kind = kindOf(tree.value)
      return kind === 'any' && tree.otherwise ? kindOf(tree.otherwise) : kind
    }
    case 'constant':
    case 'sizeof':
      return 'number'
    case 'number':
      return tree.value === 0 || tree.value === 1 ? 'any' : 'number'
    default:
      return 'any'
  }
}
