/** `check`: what a header must keep for its request to be well-formed. */
import { evaluate, nodes } from '../../evaluate.ts'
import type { Expression, Member, Model, Part } from '../../model.ts'
import { identifier, reservedWords } from '../../names.ts'
import { isBigint, isBytes } from '../../values.ts'
import { numberCode } from '../code.ts'
import { type ExpressionScope, numeric, parenthesise } from '../wire/expression.ts'
import { elementsSlot, slotsOf } from '../wire/slots.ts'
import { decidingCode } from './fields.ts'
import { indent } from './text.ts'

const safe = 'Number.MAX_SAFE_INTEGER'
/** Names that the code around uses. */
const taken: ReadonlySet<string> = new Set(['header', 'context', 'element', 'i'])

/** A scope that also knows the model: which bits of a field are its enum's. */
interface CheckScope extends ExpressionScope {
  model: Model
}

/** Statements that return false for a header, or a struct in it, that breaks the rules; none where there is nothing to check. */
export function checkLines(scope: CheckScope, part: Part | undefined, depth = 0): string[] {
  const { needs, struct, own } = scope
  const isWhole = elementsSlot(needs, slotsOf(needs, struct, part)) === undefined ? [] : [`if (!${own}.$whole) return false`]
  return [...isWhole, ...membersLines(scope, needs.members(struct, part), false, depth)]
}

function membersLines(scope: CheckScope, members: readonly Member[], conditional: boolean, depth: number): string[] {
  return members.flatMap((member) => {
    const optional = conditional || member.when !== undefined
    if (member.reserved) return []
    if (member.type.kind === 'group') return member.dims.length === 0 ? membersLines(scope, member.type.members, optional, depth) : []
    return memberLines(scope, member, optional, depth)
  })
}

function memberLines(scope: CheckScope, member: Member, optional: boolean, depth: number): string[] {
  const { type, dims } = member
  const id = identifier(member.name)
  const place = `${scope.own}.${id}`
  if (type.kind === 'bits' && dims.length === 0) return bitLines(scope, member, optional)
  if (type.kind === 'union') return unionLines(scope, member, optional, depth)
  if (id === '') return []
  if (dims.length === 0 && type.kind === 'integer') return refuse(numberTests(scope, member, place), optional ? place : undefined)
  if (dims.length === 0 && type.kind === 'struct') return structLines(scope, member, place, optional, depth)
  if (dims.length === 0) return []
  return [...countLines(scope, member, place, optional), ...elementLines(scope, member, place, optional, depth)]
}

/** A statement that refuses what one of the tests finds. */
function refuse(tests: readonly string[], optional: string | undefined): string[] {
  if (tests.length === 0) return []
  const all = tests.join(' || ')
  if (optional === undefined) return [`if (${all}) return false`]
  return [`if (${optional} !== undefined && ${tests.length > 1 ? `(${all})` : all}) return false`]
}

/** What is wrong with a number. */
function numberTests(scope: CheckScope, member: Member, value: string): string[] {
  const tests: string[] = []
  const big = isBigint(member)
  const literal = (number: number | bigint): string => numberCode(big ? BigInt(number) : Number(number))
  if (member.const !== undefined) tests.push(`${value} !== ${literal(member.const)}`)
  const isWide = member.type.kind === 'integer' && member.type.bytes === 8 && !big
  if (member.range && isKnown(member.range)) {
    const [least, most] = member.range
    if (evaluate(least.tree) !== 0n) tests.push(`${value} < ${bound(least, scope)}`)
    tests.push(`${value} > ${bound(most, scope)}`)
    if (isWide && evaluate(most.tree) === undefined) tests.push(`${value} > ${safe}`)
  } else if (isWide) tests.push(`${value} > ${safe}`)
  return tests
}

/** A number to compare with. */
function bound(expression: Expression, scope: CheckScope): string {
  const code = numeric(expression, scope)
  return code.includes(' ? ') ? `(${code})` : code
}

/** True where everything stands in the header or in what is negotiated. */
function isKnown(expressions: readonly Expression[]): boolean {
  return expressions.every(({ tree }) => [...nodes(tree)].every((node) => node.op !== 'field' || node.from === 'own' || node.from === 'config'))
}

function bitLines({ own }: CheckScope, member: Member, optional: boolean): string[] {
  const { fields, container } = member.type as Extract<Member['type'], { kind: 'bits' }>
  if (container.bytes === 8) return []
  return fields.flatMap(({ name, const: constant, when }) => {
    if (constant === undefined || name === '') return []
    const id = member.name === '' ? identifier(name) : `${identifier(member.name)}_${identifier(name)}`
    return refuse([`${own}.${id} !== ${numberCode(Number(constant))}`], optional || when ? `${own}.${id}` : undefined)
  })
}

/** The rules of the arm that a field of the same struct selects. Views of the same bytes, and what stands elsewhere, are not looked at. */
function unionLines(scope: CheckScope, member: Member, optional: boolean, depth: number): string[] {
  const { by, arms } = member.type as Extract<Member['type'], { kind: 'union' }>
  if (by === undefined || by.from !== 'own' || member.dims.length > 0) return []
  const field = decidingCode(scope.model, scope.needs, scope.members, scope.own, by.path)
  return arms.flatMap((arm) => {
    const named = (inner: Member): Member => (member.name === '' ? inner : { ...inner, name: `${member.name}_${inner.name}` })
    const inner = arm.type.kind === 'group' ? arm.type.members.map(named) : [named(arm)]
    const lines = membersLines(scope, inner, optional || arm.when !== undefined, depth)
    if (lines.length === 0 || arm.is === undefined) return []
    const selected = arm.is.map(({ value }) => `${parenthesise(field)} === ${numberCode(Number(value))}`).join(' || ')
    return [`if (${selected}) {`, ...indent(lines), '}']
  })
}

function structLines(scope: CheckScope, member: Member, place: string, optional: boolean, depth: number): string[] {
  const { needs } = scope
  const reference = member.type as { chapter: string; name: string }
  const struct = needs.struct(reference)
  if (struct.role === 'foreign') return []
  const part = needs.partOf(reference, member.part)
  const id = identifier(member.name)
  const local = depth > 0 || taken.has(id) || reservedWords.has(id) ? `${id}_${depth}` : id
  const inner = checkLines({ ...scope, struct, members: needs.members(struct, part), own: local }, part, depth + 1)
  if (inner.length === 0) return []
  const declaration = `const ${local} = ${place}`
  return optional ? [declaration, `if (${local} !== undefined) {`, ...indent(inner), '}'] : [declaration, ...inner]
}

function countLines(scope: CheckScope, member: Member, place: string, optional: boolean): string[] {
  if (member.count === undefined || optional || !isKnown(member.count)) return []
  const [least, most] = member.count
  const plain = (isBytes(member) && member.dims.length === 1) || scope.needs.isList(member)
  const count = plain ? `${place}.length` : `${place}_length`
  const tests = [...(evaluate(least.tree) === 0n ? [] : [`${count} < ${bound(least, scope)}`]), `${count} > ${bound(most, scope)}`]
  return refuse(tests, undefined)
}

function elementLines(scope: CheckScope, member: Member, place: string, optional: boolean, depth: number): string[] {
  const { needs } = scope
  const { type } = member
  if (member.dims.length > 1 || isBytes(member)) return []
  const i = depth === 0 ? 'i' : `i${depth}`
  const loop = (lines: readonly string[]): string[] =>
    lines.length === 0 ? [] : [`for (let ${i} = 0; ${i} < ${place}_length; ${i}++) {`, ...indent(lines), '}']
  if (type.kind === 'integer') return loop(refuse(numberTests(scope, member, `${place}(${i})`), undefined))
  if (type.kind !== 'struct') return []
  const struct = needs.struct(type)
  if (struct.role === 'foreign' || struct.head) return []
  const part = needs.partOf(type, member.part)
  const element = depth === 0 ? 'element' : `element${depth}`
  const inner = checkLines({ ...scope, struct, members: needs.members(struct, part), own: element }, part, depth + 1)
  if (inner.length === 0) return []
  if (needs.isList(member)) return [`for (const ${element} of ${place}${optional ? ' ?? []' : ''}) {`, ...indent(inner), '}']
  return loop([`const ${element} = ${place}(${i})`, ...inner])
}
