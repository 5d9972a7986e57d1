/** Fields of parts by their paths: how code reads them, and what they are in plain values. */
import { enumBits } from '../../codec/choice.ts'
import type { BitField, Member, Message, Model, Part, Reference } from '../../model.ts'
import { identifier } from '../../names.ts'
import type { PartClass, RequestShape } from '../parts.ts'
import { fieldCode } from '../wire/expression.ts'
import type { Needs } from '../wire/needs.ts'

export interface FoundField {
  member: Member
  field?: BitField
}

/** The member, or the bits, that a path names. */
export function findField(needs: Needs, members: readonly Member[], path: readonly string[]): FoundField | undefined {
  const [first, ...rest] = path
  const member = needs.memberAt(members, path)
  if (member === undefined) return bitsWithoutName(members, first)
  if (rest.length === 0) return { member }
  const { type } = member
  if (type.kind === 'struct') return findField(needs, needs.struct(type).members, rest)
  if (type.kind !== 'bits') return undefined
  const field = type.fields.find(({ name }) => name === rest[0])
  return field && { member, field }
}

/** Where a member ends that a path names, counted from the beginning of its part; undefined where it is not always there. */
export function endOf(needs: Needs, members: readonly Member[], path: readonly string[]): number | undefined {
  const member = needs.memberAt(members, path)
  if (member === undefined || member.when || member.offset === null || member.size === null) return undefined
  const { type, offset, size } = member
  const inner = path.length > 1 && type.kind === 'struct' ? endOf(needs, needs.struct(type).members, path.slice(1)) : size
  return inner === undefined ? undefined : offset + inner
}

function bitsWithoutName(members: readonly Member[], name: string | undefined): FoundField | undefined {
  for (const member of members) {
    if (member.type.kind === 'group') {
      const found = bitsWithoutName(member.type.members, name)
      if (found) return found
    }
    if (member.name !== '' || member.type.kind !== 'bits') continue
    const field = member.type.fields.find((candidate) => candidate.name === name)
    if (field) return { member, field }
  }
  return undefined
}

/** Code that reads a deciding field: the bits of its enum. */
export function decidingCode(model: Model, needs: Needs, members: readonly Member[], base: string, path: readonly string[]): string {
  const read = fieldCode(needs, members, base, path)
  const mask = flagBits(model, needs, members, path)
  if (mask === undefined) return read
  return `(${read} & ${hex(~mask.flags & mask.all)}) >>> 0`
}

/** The bits beside the enum of a field of at most 32 bits; undefined where the enum has them all. */
export function flagBits(
  model: Model,
  needs: Needs,
  members: readonly Member[],
  path: readonly string[],
): { flags: bigint; all: bigint } | undefined {
  const found = findField(needs, members, path)
  const bits = found && enumBits(model, found as never)
  if (found === undefined || bits === undefined || found.field) return undefined
  const all = (1n << BigInt((found.member.size ?? 4) * 8)) - 1n
  const flags = ~bits & all
  return flags === 0n || all > 0xffff_ffffn ? undefined : { flags, all }
}

export function hex(value: bigint): string {
  return `0x${value.toString(16)}`
}

/** Paths of the deciding fields in the part that has them, from its start. */
export function decidingPaths(needs: Needs, { message, ...shapes }: Pick<RequestShape, 'message' | Part>): string[][] {
  const part = decidingPart(message)
  const members = membersOf(shapes[part].class)
  if (message.head === undefined) return message.by
  const prefix = headPath(needs, members, message.head) ?? []
  return message.by.map((path) => [...prefix, ...path])
}

export function decidingPart({ kind }: Pick<Message, 'kind'>): Part {
  return kind === 'requests' ? 'readable' : 'writable'
}

/** Where the head stands: the first member, at any depth. */
function headPath(needs: Needs, members: readonly Member[], head: Reference): string[] | undefined {
  const [first] = members
  if (first === undefined) return undefined
  const { type } = first
  const reference = type.kind === 'group' ? type.struct : type.kind === 'struct' ? type : undefined
  const own = type.kind === 'struct' ? [first.name] : []
  if (reference?.chapter === head.chapter && reference.name === head.name) return own
  if (type.kind === 'group') return headPath(needs, type.members, head)
  if (type.kind !== 'struct') return undefined
  const inner = headPath(needs, needs.struct(type).members, head)
  return inner && [...own, ...inner]
}

/** Members of the part that a class stands for. */
export function membersOf(class_: PartClass | undefined): Member[] {
  return class_ === undefined ? [] : class_.struct.members.filter(({ part }) => part === class_.part)
}

/** Names of members in plain values. */
export function valueNames(members: readonly Member[]): string[] {
  return members.flatMap((member) => {
    const { type } = member
    if (member.reserved) return []
    if (type.kind === 'group') return valueNames(type.members)
    if (member.name !== '') return [identifier(member.name)]
    if (type.kind === 'bits') return type.fields.filter(({ name, reserved }) => name !== '' && !reserved).map(({ name }) => identifier(name))
    return type.kind === 'union' ? valueNames(type.arms) : ['body']
  })
}
