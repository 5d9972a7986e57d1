/** Members of a layout as rows of text: the ones inside groups, unions and bit containers stand below them, moved in. */
import { typeName } from '../generator/facts.ts'
import type { BitField, Member, Reference } from '../generator/model.ts'
import { unitWords } from './units.ts'

export interface LayoutRow {
  /** Hexadecimal, `-` where it varies. */
  offset: string
  size: string
  type: string
  name: string
  remarks: string[]
}

/** @param chapter - names of other chapters are shown with their chapter */
export function layoutRows(members: readonly Member[], chapter: string, depth = 0): LayoutRow[] {
  return members.flatMap((member) => {
    const own = isInvisible(member) ? [] : [memberRow(member, chapter, depth)]
    return [...own, ...innerRows(member, chapter, depth + own.length)]
  })
}

/** A group without a condition adds nothing to its members. */
function isInvisible({ name, type, when }: Member): boolean {
  return name === '' && type.kind === 'group' && type.struct === undefined && when === undefined
}

function innerRows({ type, offset }: Member, chapter: string, depth: number): LayoutRow[] {
  switch (type.kind) {
    case 'group':
      return layoutRows(type.members, chapter, depth)
    case 'union':
      return layoutRows(type.arms, chapter, depth)
    case 'bits':
      return type.fields.map((field) => bitRow(field, offset, chapter, depth))
    default:
      return []
  }
}

function memberRow(member: Member, chapter: string, depth: number): LayoutRow {
  const dims = member.dims
    .map(({ count, length }) => `[${length === undefined ? '' : count !== null && /^\d+$/.test(length.text) ? count : length.text}]`)
    .join('')
  const label = member.name === '' ? '(no name)' : member.name
  return {
    offset: member.at && member.offset === null ? member.at.text : hexOffset(member.offset),
    size: member.size === null ? '-' : String(member.size),
    type: memberType(member),
    name: '  '.repeat(depth) + label + dims,
    remarks: memberRemarks(member, chapter),
  }
}

function memberType({ type, reserved }: Member): string {
  const name = type.kind === 'bytes' || type.kind === 'body' ? type.kind : typeName(type)
  return reserved ? `${name} (reserved)` : name
}

function memberRemarks(member: Member, chapter: string): string[] {
  const text = (label: string, value: { text: string } | undefined): string => (value === undefined ? '' : `${label} ${value.text}`)
  const { type, range, count, access } = member
  return [
    member.unit === undefined ? '' : unitWords(member.unit),
    ...valueRemarks(member, chapter),
    type.kind === 'union' && type.by ? `by ${type.by.path.join('.')}` : '',
    type.kind === 'group' && type.struct ? `members of ${type.struct.name}` : '',
    member.is === undefined ? '' : `if ${member.is.map(({ name }) => name).join(' or ')}`,
    text('only with', member.when),
    range === undefined ? '' : `${range[0].text} to ${range[1].text}`,
    count === undefined ? '' : `${count[0].text} to ${count[1].text} elements`,
    text('length a multiple of', member.multiple),
    text('in an area of', member.area),
    text('every', member.stride),
    text('until', member.until),
    access === undefined ? '' : `access ${access.mode}${access.when ? ` if ${access.when.text}` : ''}`,
    member.reset === undefined ? '' : `${numberText(member.reset)} after reset`,
    member.clears === undefined ? '' : `clears ${member.clears}`,
    member.bank === undefined ? '' : `selected by ${member.bank.join(' and ')}`,
    member.pair === undefined ? '' : `with ${member.pair.low}: ${member.pair.name}`,
    member.framed ? 'has a descriptor of its own' : '',
    member.doc ?? '',
  ]
}

/** Where the values of a field come from. */
function valueRemarks(field: Pick<Member, 'enum' | 'flags' | 'set' | 'const'>, chapter: string): string[] {
  const name = (reference: Reference): string => (reference.chapter === chapter ? reference.name : `${reference.chapter}/${reference.name}`)
  return [
    field.enum === undefined ? '' : `one of ${name(field.enum)}`,
    field.flags === undefined ? '' : `flags of ${field.flags.map(name).join(', ')}`,
    field.set === undefined ? '' : `bits of ${name(field.set)}`,
    field.const === undefined ? '' : `always ${numberText(field.const)}`,
  ]
}

function bitRow(field: BitField, offset: number | null, chapter: string, depth: number): LayoutRow {
  const place = field.bits === 1 ? `bit ${field.bit}` : `bits ${field.bit}–${field.bit + field.bits - 1}`
  return {
    offset: hexOffset(offset),
    size: '',
    type: field.reserved ? `${place} (reserved)` : place,
    name: '  '.repeat(depth) + (field.name === '' ? '(no name)' : field.name),
    remarks: [...valueRemarks(field, chapter), field.when === undefined ? '' : `only with ${field.when.text}`, field.doc ?? ''],
  }
}

/** `0x3c`. */
export function hexOffset(offset: number | null): string {
  return offset === null ? '-' : `0x${offset.toString(16).padStart(2, '0')}`
}

/** Masks and large numbers in hexadecimal, as the specification writes them. */
export function numberText(value: number | bigint): string {
  return value >= 0x1_0000 ? `0x${value.toString(16)}` : String(value)
}
