/** How members of the model appear in plain values. See docs/generated-code.md, "Values". */
import type { Member } from './model.ts'

/** True for a 64-bit integer that is a bigint: sizes, positions and addresses have a unit or a range and are numbers. Nanoseconds since 1970 do not fit into one. */
export function isBigint({ type, unit, range }: Pick<Member, 'type' | 'unit' | 'range'>): boolean {
  return type.kind === 'integer' && type.bytes === 8 && (unit === undefined || unit === 'ns') && range === undefined
}

/** True for one-byte elements, whose arrays are a Uint8Array. */
export function isBytes(member: Pick<Member, 'type'>): boolean {
  return member.type.kind === 'bytes' || member.type.kind === 'body' || (member.type.kind === 'integer' && member.type.bytes === 1)
}
