/** Expressions of the model as TypeScript. */
import { constantNumber, evaluate, nodes } from '../../evaluate.ts'
import type { Expression, FieldPath, Member, Struct, Tree } from '../../model.ts'
import { identifier } from '../../names.ts'
import { isBigint } from '../../values.ts'
import { numberCode } from '../code.ts'
import type { Imports } from './imports.ts'
import type { Needs } from './needs.ts'

/** Where the code that uses an expression finds what it names. */
export interface ExpressionScope {
  needs: Needs
  imports: Imports
  struct: Struct
  /** Members in reach as `own`. */
  members: readonly Member[]
  /** Prefix of what a negotiation gives: `this.$layout.$context` or `context`. */
  context: string
  /** Prefix of own members. */
  own: string
  /** Prefix of what is given from outside; `this.$given` unless it says otherwise. */
  given?: string
  /** True when own members are read from a plain value instead of an accessor. */
  plain?: boolean
  /** Members of the configuration space, where the context has it as an accessor instead of a plain value. */
  config?: readonly Member[]
}

const comparison: Record<string, string> = { '==': '===', '!=': '!==', '<': '<', '<=': '<=', '>': '>', '>=': '>=' }

/** Code of a number. */
export function numeric(expression: Expression, scope: ExpressionScope): string {
  return unparenthesise(code(expression.tree, scope))
}

/** Code of a length: never negative, whatever the content says. */
export function lengthCode(expression: Expression, scope: ExpressionScope): string {
  const text = numeric(expression, scope)
  return text.includes(' - ') ? `Math.max(0, ${text})` : text
}

/** Code of a condition. */
export function condition(expression: Expression, scope: ExpressionScope): string {
  return unparenthesise(truth(expression.tree, scope))
}

/** The code in parentheses, unless it needs none to be an operand. */
export function parenthesise(code: string): string {
  return /^[\w.$!]+(\([^()]*\))?$/.test(code) || (code.startsWith('(') && code.endsWith(')') && balanced(code)) ? code : `(${code})`
}

/** Conditions that must all hold, as one; undefined: none. */
export function all(...conditions: (string | undefined)[]): string | undefined {
  const given = conditions.filter((text) => text !== undefined)
  return given.length < 2 ? given[0] : given.map(parenthesise).join(' && ')
}

/** True when the outer parentheses belong together. */
function balanced(code: string): boolean {
  let depth = 0
  for (let position = 0; position < code.length - 1; position++) {
    if (code[position] === '(') depth++
    if (code[position] === ')' && --depth === 0) return false
  }
  return true
}

/** The code without parentheses around the whole. */
export function unparenthesise(code: string): string {
  return code.startsWith('(') && code.endsWith(')') && balanced(code) ? code.slice(1, -1) : code
}

function truth(tree: Tree, scope: ExpressionScope): string {
  if (tree.op === 'number') return String(tree.value !== 0 && tree.value !== 0n)
  const text = code(tree, scope)
  const isBoolean =
    tree.op === 'feature' ||
    tree.op === 'not' ||
    (tree.op === 'binary' && ['==', '!=', '<', '<=', '>', '>=', 'has', 'and', 'or'].includes(tree.operator))
  return isBoolean ? text : `${text} !== 0`
}

function code(tree: Tree, scope: ExpressionScope): string {
  switch (tree.op) {
    case 'number':
      return numberCode(Number(tree.value))
    case 'constant':
      return scope.imports.constant(tree) ?? numberCode(Number(tree.value))
    case 'sizeof':
      return numberCode(tree.value)
    case 'feature':
      return `${scope.context}.features.has(${scope.imports.feature(tree)})`
    case 'queue':
      return `${scope.context}.queueSize`
    case 'caller':
      return tree.default === undefined
        ? `${scope.context}.caller.${identifier(tree.name)}`
        : `(${scope.context}.caller?.${identifier(tree.name)} ?? ${tree.default})`
    case 'index':
      return 'i'
    case 'field':
      return field(tree, scope)
    case 'not':
      return `!${parenthesise(truth(tree.arg, scope))}`
    case 'if':
      return `(${unparenthesise(truth(tree.condition, scope))} ? ${code(tree.value, scope)} : ${tree.otherwise ? code(tree.otherwise, scope) : '0'})`
    case 'binary':
      return binary(tree, scope)
  }
}

function binary(tree: Extract<Tree, { op: 'binary' }>, scope: ExpressionScope): string {
  if (tree.operator === 'and' || tree.operator === 'or') {
    return `(${truth(tree.left, scope)} ${tree.operator === 'and' ? '&&' : '||'} ${truth(tree.right, scope)})`
  }
  if (isWide(tree.left, scope) || isWide(tree.right, scope)) return wideBinary(tree, scope)
  const left = code(tree.left, scope)
  const right = code(tree.right, scope)
  switch (tree.operator) {
    case '/':
      return quotientCode(tree, left, right, scope)
    case 'has':
      return `(((${left} & ${right}) >>> 0) === ${right})`
    case '&':
    case '|':
      return `((${left} ${tree.operator} ${right}) >>> 0)`
    // Shifts of JavaScript count modulo 32.
    case '<<':
      return `(${left} * 2 ** ${right})`
    case '>>':
      return `Math.floor(${unparenthesise(left)} / 2 ** ${right})`
    default:
      return `(${left} ${comparison[tree.operator] ?? tree.operator} ${right})`
  }
}

function quotientCode(tree: Extract<Tree, { op: 'binary' }>, left: string, right: string, scope: ExpressionScope): string {
  const { right: divisor } = tree
  if ((divisor.op === 'number' || divisor.op === 'constant' || divisor.op === 'sizeof') && Number(divisor.value) !== 0)
    return `Math.floor(${unparenthesise(left)} / ${right})`
  return `${scope.imports.runtime('quotient')}(${unparenthesise(left)}, ${unparenthesise(right)})`
}

/** True where a 32-bit operator, or a number, would not hold what the operand may be: 64-bit fields and constants beyond 2^32. */
function isWide(tree: Tree, scope: ExpressionScope): boolean {
  return [...nodes(tree)].some((node) => {
    if (node.op === 'number' || node.op === 'constant') return node.value > 0xffff_ffff
    if (node.op === 'binary' && node.operator === '<<') return Number(constantNumber({ text: '', tree: node }) ?? 0) > 0xffff_ffff
    return isBigintField(node, scope)
  })
}

function isBigintField(node: Tree, scope: ExpressionScope): boolean {
  if (node.op !== 'field' || node.from !== 'own') return false
  const member = scope.needs.memberAt(scope.members, node.path)
  return member !== undefined && node.path.length === 1 && isBigint(member)
}

const bitwise = new Set(['&', '|', '<<', '>>', 'has'])
const equalities = new Set(['==', '!='])

/** Bits and equality of more than 32 bits are taken with bigints; sums and products are lengths, which numbers hold. */
function wideBinary(tree: Extract<Tree, { op: 'binary' }>, scope: ExpressionScope): string {
  const { operator } = tree
  const big = bitwise.has(operator) || equalities.has(operator)
  const left = big ? bigCode(tree.left, scope) : code(tree.left, scope)
  const right = big ? bigCode(tree.right, scope) : code(tree.right, scope)
  if (operator === '/') return quotientCode(tree, left, right, scope)
  if (operator === 'has') return `((${left} & ${right}) === ${right})`
  if (bitwise.has(operator)) return `Number(${left} ${operator} ${right})`
  return `(${left} ${comparison[operator] ?? operator} ${right})`
}

/** Code of a bigint. */
function bigCode(tree: Tree, scope: ExpressionScope): string {
  const value = evaluate(tree)
  if (value !== undefined) return `${value > 0xffffn ? `0x${value.toString(16)}` : value}n`
  if (tree.op === 'binary' && bitwise.has(tree.operator) && tree.operator !== 'has')
    return `(${bigCode(tree.left, scope)} ${tree.operator} ${bigCode(tree.right, scope)})`
  const text = code(tree, scope)
  return isBigintField(tree, scope)
    ? parenthesise(text.replace(/^Number\((.*)\)$/, '$1').replace(/ \?\? 0$/, ' ?? 0n'))
    : `BigInt(${unparenthesise(text)})`
}

function field(path: FieldPath, scope: ExpressionScope): string {
  switch (path.from) {
    case 'config':
      if (scope.config) return configCode(scope, path.path)
      return `${scope.context}.config.${path.path.map(identifier).join('.')}`
    case 'own':
      if (scope.plain) return plainField(path.path, scope)
      return fieldCode(scope.needs, scope.members, scope.own, path.path)
    case 'readable':
      return givenField('readable', path.path, scope)
    case 'given':
      return givenField(path.path[0] as string, path.path.slice(1), scope)
  }
}

/** A field of a configuration space: none of its members is ever absent. */
function configCode(scope: ExpressionScope, path: readonly string[]): string {
  const unconditional = (members: readonly Member[]): Member[] => members.map(({ when: _, ...member }) => member)
  return fieldCode(scope.needs, unconditional(scope.config as readonly Member[]), `${scope.context}.config`, path)
}

/** A field of a plain value, which may lack it. */
function plainField(path: readonly string[], scope: ExpressionScope): string {
  const text = `${scope.own}.${path.map(identifier).join('?.')} ?? 0`
  const member = scope.needs.memberAt(scope.members, path)
  return member && isBigint(member) && path.length === 1 ? `Number(${text})` : `(${text})`
}

function givenField(name: string, path: readonly string[], scope: ExpressionScope): string {
  const base = `${scope.given ?? 'this.$given'}.${identifier(name)}`
  if (path.length === 0) return base
  if (name === 'readable') return fieldCode(scope.needs, scope.needs.members(scope.struct, 'readable'), base, path)
  const reference = scope.struct.given.find((given) => given.name === name)?.struct
  if (reference === undefined) return [base, ...path.map(identifier)].join('.')
  return fieldCode(scope.needs, scope.needs.struct(reference).members, base, path)
}

/** Code that reads a field at a path through accessors: `this.hdr.size`, `this.flags_unmap`, `this.op_flf_cipher.key_len`. */
export function fieldCode(needs: Needs, members: readonly Member[], base: string, path: readonly string[]): string {
  const [first, ...rest] = path as [string, ...string[]]
  const member = needs.memberAt(members, [first])
  const name = `${base}.${identifier(first)}`
  if (member === undefined) {
    // Bits of a container without a name.
    return name
  }
  const optional = member.when !== undefined
  if (rest.length === 0) {
    if (isBigint(member)) return `Number(${optional ? `${name} ?? 0` : name})`
    return optional && member.type.kind === 'integer' ? `(${name} ?? 0)` : name
  }
  const { type } = member
  if (type.kind === 'bits') return `${name}_${identifier(rest[0] as string)}`
  if (type.kind === 'struct') return fieldCode(needs, needs.struct(type).members, optional ? `${name}!` : name, rest)
  if (type.kind === 'union') {
    const arm = needs.memberAt(type.arms, [rest[0] as string])
    const armName = `${name}_${identifier(rest[0] as string)}`
    if (rest.length === 1 || arm?.type.kind !== 'struct') return armName
    return fieldCode(needs, needs.struct(arm.type).members, armName, rest.slice(1))
  }
  return [name, ...rest.map(identifier)].join('.')
}
