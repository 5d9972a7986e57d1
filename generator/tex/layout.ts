/** From declared structs to facts: flat fields with packed offsets and sizes. */
import type { FieldFact } from '../facts.ts'
import type { Declared, DeclaredStruct } from './declarations.ts'
import type { Values } from './values.ts'

export type SizeOf = (struct: string) => number | null

export interface Laid {
  size: number | null
  fields: (FieldFact & { line: number })[]
}

const deepest = 16

/** Bytes of a base type; undefined for a name. */
export function bytesOf(type: string): number | undefined {
  if (type === 'char') return 1
  const bits = /^(?:u|le|be|s|__u|__le|__be|uint|int)(8|16|32|64)(?:_t)?$/.exec(type)?.[1]
  return bits === undefined ? undefined : Number(bits) / 8
}

export function layOut(struct: DeclaredStruct, sizeOf: SizeOf, values: Values): Laid {
  const fields: Laid['fields'] = []
  const size = place(struct.members, { prefix: '', start: 0, depth: 0, union: false })
  return { size, fields: withoutSinglePart(fields) }

  interface Place {
    prefix: string
    start: number | null
    depth: number
    union: boolean
    when?: string | undefined
    part?: string | undefined
  }

  /** Adds members from an offset on; returns their length. */
  function place(members: readonly Declared[], at: Place): number | null {
    let offset = at.start
    let longest: number | null = 0
    /** Bits of the container that are taken by C bit-fields. */
    let bit = 0
    for (const [index, member] of members.entries()) {
      const previous = members[index - 1]
      const continues =
        previous?.width !== undefined && previous.type === member.type && bit + (member.width ?? 65) <= 8 * (bytesOf(member.type) ?? 0)
      if (member.width !== undefined && continues) {
        offset = offset === null ? null : offset - (bytesOf(member.type) ?? 0)
      } else bit = 0
      const size = add(member, { ...at, start: offset }, bit)
      bit += member.width ?? 0
      if (at.union) longest = longest === null || size === null ? null : Math.max(longest, size)
      else offset = offset === null || size === null ? null : offset + size
    }
    return at.union ? longest : at.start === null || offset === null ? null : offset - at.start
  }

  function add(member: Declared, at: Place, bit: number): number | null {
    const { dims } = member
    const counts = dims.map(countOf)
    const elements = counts.reduce<number | null>((product, count) => (product === null || typeof count !== 'number' ? null : product * count), 1)
    const bits = member.bits ?? bitMembers(member)
    const type = bits ? (member.bits ? member.type : (bits[0] as Declared).type) : member.type
    const inner: Place = {
      prefix: member.name === '' ? at.prefix : `${at.prefix}${member.name}.`,
      start: dims.length > 0 ? null : at.start,
      depth: at.depth + 1,
      union: member.type === 'union',
      when: both(at.when, member.when),
      part: member.part ?? at.part,
    }
    const own = fields.length
    if (member.type !== 'dots' && member.name !== '') fields.push(factOf(member, type, at, inner))
    let one: number | null
    if (bits) {
      one = bytesOf(type) ?? null
      addBits(bits, type, one, inner, 0)
    } else if (member.members) one = at.depth >= deepest ? null : place(member.members, inner)
    else if (member.width !== undefined) {
      one = bytesOf(type) ?? null
      Object.assign(fields[own] as FieldFact, { bit, bits: member.width, size: one })
      return one
    } else one = member.type === 'dots' ? null : (bytesOf(type) ?? sizeOf(type))
    const size = one === null || elements === null ? null : one * elements
    const field = fields[own]
    if (field && member.name !== '' && member.type !== 'dots') {
      field.size = size
      if (counts.length > 0) field.count = counts.length === 1 ? (counts[0] as number | string) : counts
    }
    return size
  }

  function factOf(member: Declared, type: string, at: Place, inner: Place): FieldFact & { line: number } {
    return {
      name: at.prefix + member.name,
      type,
      offset: at.start,
      size: null,
      ...(inner.part ? { part: inner.part } : {}),
      ...(inner.when ? { when: inner.when } : {}),
      line: member.line,
    }
  }

  function addBits(bits: readonly Declared[], type: string, size: number | null, at: Place, first: number): number {
    let bit = first
    let end = first
    for (const item of bits) {
      if (item.bits) {
        bit = addBits(item.bits, 'union', size, at, bit)
      } else {
        const width = item.width ?? 1
        fields.push({ ...factOf(item, type === 'union' ? item.type : type, at, at), size, bit, bits: width })
        if (type === 'union') end = Math.max(end, bit + width)
        else bit += width
      }
    }
    return type === 'union' ? end : bit
  }

  function countOf(dim: string): number | string {
    const value = dim === '' ? undefined : values.number(dim)
    return value !== undefined && value >= 0n && value < 2n ** 32n ? Number(value) : dim
  }
}

/** A nested struct of nothing but bit-fields of one type is their container. */
function bitMembers(member: Declared): Declared[] | undefined {
  const { members } = member
  if (member.type !== 'struct' || members === undefined || members.length === 0) return undefined
  const type = members[0]?.type
  const width = members.reduce((sum, { width = 65 }) => sum + width, 0)
  return members.every((inner) => inner.type === type) && width <= 8 * (bytesOf(type as string) ?? 0) ? members : undefined
}

/** One part only: a struct that is part of a request, not a request. */
function withoutSinglePart<T extends FieldFact>(fields: T[]): T[] {
  const parts = new Set(fields.map(({ part }) => part))
  return parts.size > 1 ? fields : fields.map(({ part: _, ...rest }) => rest as T)
}

function both(outer: string | undefined, inner: string | undefined): string | undefined {
  if (outer === undefined || inner === undefined || outer === inner) return outer ?? inner
  return `${outer} and ${inner}`
}
