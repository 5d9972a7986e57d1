/** Rows of bit-fields in an integer, least significant first. */
import type { BitAst, BitAttributes, Entry } from '../ast.ts'
import type { BitField, Type } from '../model.ts'
import type { Path } from '../source.ts'
import { checkGroupsFit } from './fit.ts'
import { integerOf } from './integers.ts'
import type { Layouts } from './layouts.ts'
import type { MemberContext, MemberTask } from './members.ts'
import { bitWidth, groupsOf } from './shape.ts'
import { items } from './workspace.ts'

export function resolveBits({ attributes, path, typePath, context }: MemberTask, layouts: Layouts): Type | undefined {
  const { chapter } = context
  const container = integerOf(attributes.type)
  if (container === undefined) {
    if (attributes.type === undefined)
      chapter.report('missing-key', path, 'bit-fields need a `type`, the integer that holds them', 'le16, be32, …', 'key')
    else chapter.report('wrong-type', typePath, `bit-fields stand in an integer, and "${attributes.type}" is none`, 'le16, be32, …')
  }
  const fields: BitField[] = []
  const end = addFields(attributes.bits ?? [], 0, fields, [...path, 'bits'], context, layouts)
  if (container === undefined) return undefined
  const isLost = chapter.hasLost([...path, 'bits'])
  if (end !== container.bytes * 8 && !isLost) {
    chapter.report(
      'bits-overflow',
      [...path, 'bits'],
      `the bit-fields take ${end} bits, ${container.name} has ${container.bytes * 8}`,
      'name unused bits `reserved: reserved N`',
      'key',
    )
  }
  return { kind: 'bits', container, fields }
}

/** Adds the fields of a row; gives where it ends. */
function addFields(row: readonly Entry<BitAst>[], from: number, fields: BitField[], path: Path, context: MemberContext, layouts: Layouts): number {
  let bit = from
  for (const { index, name, value } of items(row)) {
    const at: Path = [...path, index, name]
    if (typeof value === 'object' && 'union' in value) {
      const start = bit
      // Each arm is a row of its own over the same bits.
      const ends = items(value.union).map((arm) => addFields(singleRow(value.union, arm.index), start, fields, [...at, 'union'], context, layouts))
      bit = Math.max(start, ...ends)
      continue
    }
    const field = resolveField(name, typeof value === 'object' ? value : { width: value }, bit, at, context, layouts)
    fields.push(field)
    bit += field.bits
  }
  return bit
}

/** One arm at its own position, so that paths stay right. */
function singleRow(row: readonly Entry<BitAst>[], position: number): Entry<BitAst>[] {
  const single: Entry<BitAst>[] = new Array(row.length)
  single[position] = row[position] as Entry<BitAst>
  return single
}

function resolveField(
  name: string,
  attributes: { width: number | string } & BitAttributes,
  bit: number,
  path: Path,
  { chapter, scope }: MemberContext,
  layouts: Layouts,
): BitField {
  const { workspace, expressions } = layouts
  const { bits, reserved } = bitWidth(attributes.width)
  const field: BitField = { name: name === '_' ? '' : name, bit, bits, reserved }
  layouts.setPath(field, path)
  const when = expressions.condition(attributes.when, [...path, 'when'], scope)
  if (when) field.when = when
  const one = workspace.requireGroup(chapter, attributes.enum, [...path, 'enum'])
  if (one) field.enum = one
  const set = workspace.requireGroup(chapter, attributes.set, [...path, 'set'])
  if (set) field.set = set
  const flags = workspace.requireGroups(chapter, attributes.flags, [...path, 'flags'])
  if (flags.length > 0) field.flags = flags
  const info = { name, kind: 'number' as const, ...groupsOf(attributes), chapter, bits }
  const value = expressions.constant(attributes.const, [...path, 'const'], chapter, { field: info, only: true })
  if (value !== undefined) {
    field.const = value
    if (value < 0 || BigInt(value) >= 1n << BigInt(bits)) chapter.report('value-range', [...path, 'const'], `${value} does not fit into ${bits} bits`)
  }
  if (attributes.doc !== undefined) field.doc = attributes.doc
  checkGroupsFit(attributes, { bits, setBits: bits }, path, chapter, layouts)
  return field
}
