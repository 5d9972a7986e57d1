/** What the attributes of one member must keep: that they mean something for its type, and that values fit. */
import type { MemberAttributes } from '../ast.ts'
import { didYouMean } from '../diagnostic.ts'
import { evaluate } from '../evaluate.ts'
import type { Expression, IntegerType, Member } from '../model.ts'
import { units } from '../units.ts'
import { checkGroupsFit, constants, fits } from './fit.ts'
import type { Layouts } from './layouts.ts'
import type { MemberTask } from './members.ts'
import { list } from './workspace.ts'

export function checkMember(member: Member, task: MemberTask, layouts: Layouts): void {
  checkForm(member, task)
  checkPlacement(member, task)
  if (member.type.kind === 'integer') checkInteger(member, member.type, task, layouts)
  checkReferences(task, layouts)
}

type Key = keyof MemberAttributes & string

/** Reports the attributes of a list that are there. */
function refuse({ attributes, path, context }: MemberTask, keys: readonly Key[], reason: string): void {
  for (const key of keys)
    if (attributes[key] !== undefined) context.chapter.report('misplaced-attribute', [...path, key], `\`${key}\` ${reason}`, undefined, 'key')
}

/** Names and brackets that go with the type. */
function checkForm(member: Member, { parsed, path, context: { chapter } }: MemberTask): void {
  const { kind } = member.type
  const report = (message: string, hint?: string): void => chapter.report('member-syntax', path, message, hint, 'key')
  if (parsed.name === '_' && !member.reserved) {
    if (kind === 'integer' || kind === 'bytes')
      report('a member without a name cannot be read', 'only groups, unions, bit-fields and reserved members do without')
    else if (parsed.dims.length > 0) report('an array needs a name')
  }
  if (parsed.dims.length > 0 && (kind === 'bytes' || kind === 'body'))
    report(`\`${kind}\` has no length: it is all that is left`, `\`${parsed.name}[LENGTH]: u8\` is so many bytes`)
  if (member.dims.slice(1).some(({ length }) => length === undefined)) {
    chapter.report('open-member', path, 'only the first length of an array can be open', 'the others are the size of an element', 'key')
  }
}

/** Attributes that mean something only for some types or in some places. */
function checkPlacement(member: Member, task: MemberTask): void {
  const { type } = member
  const { role } = task.context
  const isArray = member.dims.length > 0 || type.kind === 'bytes'
  const isOpen = type.kind === 'bytes' || member.dims[0]?.length === undefined
  const hasStruct = type.kind === 'struct' || (type.kind === 'group' && type.struct !== undefined)
  if (role !== 'config' && role !== 'registers') refuse(task, ['access', 'clears', 'reset'], 'belongs to config space and registers')
  else if (member.clears !== undefined && !member.access?.mode.includes('w'))
    refuse(task, ['clears'], 'is about writing, and `access` does not allow it')
  if (type.kind !== 'integer')
    refuse(task, ['enum', 'flags', 'set', 'mask', 'range', 'const', 'reset', 'unit', 'pair'], 'is about an integer, and this is none')
  if (type.kind !== 'union') refuse(task, ['by'], 'decides a union, and this is none')
  if (!hasStruct) refuse(task, ['with'], 'binds what a struct needs, and this is none')
  if (!isArray) refuse(task, ['stride', 'until', 'count', 'multiple', 'framed'], 'is about an array or bytes')
  else if (!isOpen) refuse(task, ['count', 'framed'], 'is about an array without a length')
  if (type.kind === 'integer' && member.dims.length === 0) refuse(task, ['size'], 'is about an area, and an integer has its own size')
  if (type.kind === 'body') refuse(task, ['when', 'size'], 'has no meaning for `body`: the members of a request take its place')
  if (member.enum === undefined && task.attributes.enum === undefined) refuse(task, ['mask'], 'says which bits hold the `enum`, and there is none')
}

function checkInteger(member: Member, type: IntegerType, task: MemberTask, layouts: Layouts): void {
  const { attributes, path, context } = task
  const { chapter } = context
  const bits = type.bytes * 8 * (attributes.pair ? 2 : 1)
  for (const name of ['const', 'reset', 'mask'] as const) {
    const value = member[name]
    if (value !== undefined && !fits(value, bits)) chapter.report('value-range', [...path, name], `${value} does not fit into ${bits} bits`)
  }
  checkGroupsFit(attributes, { bits, setBits: setBits(member, bits) }, path, chapter, layouts)
  if (member.unit !== undefined && !units.has(member.unit)) {
    const hint = didYouMean(member.unit, units.keys()) ?? `the units are ${[...units.keys()].join(', ')}`
    chapter.report('unknown-unit', [...path, 'unit'], `unknown unit "${member.unit}"`, hint)
  }
  checkRange(member, bits, task)
  checkCount(member, task)
  checkEnumBits(member, task, layouts)
}

/** Bits that a `set` may use: those of all elements of an array. */
function setBits(member: Member, bits: number): number | undefined {
  let total: number | undefined = bits
  for (const { count } of member.dims) total = total === undefined || count === null ? undefined : total * count
  return total
}

function checkRange(member: Member, bits: number, { path, context: { chapter } }: MemberTask): void {
  const [from, to] = valuesOf(member.range)
  if (from !== undefined && to !== undefined && from > to) chapter.report('value-range', [...path, 'range'], `the range ${from} .. ${to} is empty`)
  for (const bound of [from, to]) {
    if (bound !== undefined && !fits(bound, bits)) chapter.report('value-range', [...path, 'range'], `${bound} does not fit into ${bits} bits`)
  }
  for (const name of ['const', 'reset'] as const) {
    const value = member[name]
    if (value === undefined || ((from === undefined || value >= from) && (to === undefined || value <= to))) continue
    chapter.report('value-range', [...path, name], `${value} is not in the range ${from ?? '…'} .. ${to ?? '…'}`)
  }
}

function checkCount(member: Member, { path, context: { chapter } }: MemberTask): void {
  const [from, to] = valuesOf(member.count)
  if (from !== undefined && to !== undefined && from > to) chapter.report('value-range', [...path, 'count'], `the range ${from} .. ${to} is empty`)
}

function valuesOf(range: [Expression, Expression] | undefined): [bigint | undefined, bigint | undefined] {
  return range ? [evaluate(range[0].tree), evaluate(range[1].tree)] : [undefined, undefined]
}

/** An enum that shares its field with flags has the bits that no flag has, or those of the mask. */
function checkEnumBits(member: Member, { attributes, path, context: { chapter } }: MemberTask, layouts: Layouts): void {
  if (attributes.enum === undefined) return
  const values = constants(attributes.enum, chapter, layouts)
  if (member.mask !== undefined) {
    const outside = values.find(({ value }) => (BigInt(value) & ~BigInt(member.mask as bigint)) !== 0n)
    if (outside)
      chapter.report('overlap', [...path, 'mask'], `"${outside.name}" of "${attributes.enum}", ${outside.value}, has bits outside the mask`)
    return
  }
  for (const flag of list(attributes.flags).flatMap((name) => constants(name, chapter, layouts))) {
    const other = values.find(({ value }) => (BigInt(value) & BigInt(flag.value)) !== 0n)
    if (other === undefined) continue
    chapter.report(
      'overlap',
      [...path, 'flags'],
      `"${flag.name}" shares a bit with "${other.name}" of "${attributes.enum}"`,
      '`mask` says which bits hold the enum',
    )
    return
  }
}

/** Fields that `bank`, `clears` and `pair` name. */
function checkReferences({ attributes, path, context: { chapter, scope } }: MemberTask, layouts: Layouts): void {
  const isBankList = Array.isArray(attributes.bank)
  const references: [string, (string | number)[]][] = list(attributes.bank).map((name, index) => [name, isBankList ? ['bank', index] : ['bank']])
  if (attributes.clears !== undefined) references.push([attributes.clears, ['clears']])
  if (attributes.pair !== undefined) references.push([attributes.pair.low, ['pair', 'low']])
  for (const [name, step] of references) {
    const found = layouts.names.field(name.split('.'), scope)
    const missing = name.split('.')[found?.missing ?? 0] as string
    if (found?.info?.kind === 'number') continue
    const at = [...path, ...step]
    if (found?.info) chapter.report('wrong-operand', at, `"${name}" has no single value`)
    else
      chapter.reportUnknown(
        'unknown-field',
        missing,
        at,
        `there is no field "${name}"`,
        didYouMean(missing, found?.candidates ?? scope.own?.keys() ?? []),
      )
  }
}
