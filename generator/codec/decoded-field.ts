/** The flat list of fields that a decoded struct comes with. */
import type { BitField, Member } from '../model.ts'

/** A field of the bytes. */
export interface DecodedField {
  /** Dotted; `[i]` for elements, `_` for what has no name. */
  path: string
  /** From the start of the struct, in bytes. */
  offset: number
  /** In bytes; of bits, that of the integer that holds them. */
  size: number
  /** Lowest bit, counted from the least significant. */
  bit?: number
  bits?: number
  value: unknown
  member: Member
  field?: BitField
  /** The field is not in the bytes: its condition is false (its size is 0 then), or the bytes end before it (it reads as zero). */
  missing?: true
}
