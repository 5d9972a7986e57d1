/**
 * Bytes ↔ plain values by the model alone, without generated code: for `virtgen decode`, for the test vectors and as the measure of the generated code.
 * The values are those of docs/generated-code.md, "Values".
 */

import type { DecodedField } from './codec/decoded-field.ts'
import { Reader } from './codec/reader.ts'
import type { Outer } from './codec/scope.ts'
import { type CodecContext, isFixedLayout, Session } from './codec/session.ts'
import { Writer } from './codec/writer.ts'
import type { Model, Part, Reference, Struct } from './model.ts'

export type { DecodedField } from './codec/decoded-field.ts'
export { type CodecContext, requestStruct } from './codec/session.ts'

export interface DecodedStruct {
  /** The plain value; a foreign struct, of which only the size is known, is `{bytes}`. */
  value: Record<string, unknown>
  /** Bytes that belong to the struct. */
  size: number
  /** Every field in the order of the bytes, reserved ones included. */
  fields: DecodedField[]
}

/**
 * Reads a struct, a block of registers, or a request (named `message.request`).
 *
 * @param part - which part of a struct that has two; the readable part's value is expected in `context.given.readable` where the writable one depends on it
 * @throws RangeError when the bytes are fewer than the fixed members need
 * @throws TypeError when there is no such struct, or when the context lacks something the layout depends on
 */
export function decodeStruct(model: Model, reference: Reference, bytes: Uint8Array, context: CodecContext = {}, part?: Part): DecodedStruct {
  const session = new Session(model, context)
  const struct = session.struct(reference)
  const reader = new Reader(session, bytes)
  const { value, end } = reader.whole(struct, outermost(session, struct, part))
  const fields = isFixedLayout(struct) ? reader.fields.sort((a, b) => a.offset - b.offset) : reader.fields
  return { value: struct.role === 'foreign' ? { bytes: value } : (value as Record<string, unknown>), size: end, fields }
}

/**
 * Writes a struct, a block of registers, or a request (named `message.request`). A missing member is written as its constant, as zero or as nothing.
 * Bytes may also be given as a list of numbers or as hexadecimal digits, 64-bit integers as numbers.
 *
 * @param part - which part of a struct that has two
 * @throws RangeError for a value that does not fit: out of range, or of another length than the fields say
 * @throws TypeError for a value of the wrong kind, for a name that no member has, and as `decodeStruct`
 */
export function encodeStruct(
  model: Model,
  reference: Reference,
  value: Record<string, unknown>,
  context: CodecContext = {},
  part?: Part,
): Uint8Array {
  const session = new Session(model, context)
  const struct = session.struct(reference)
  return new Writer(session).whole(struct, value, outermost(session, struct, part))
}

function outermost(session: Session, struct: Struct, part: Part | undefined): Outer {
  if (struct.twoPart && part !== 'readable' && part !== 'writable')
    throw new TypeError(`${struct.name} has two parts: say "readable" or "writable", not ${String(part)}`)
  return { session, part, bindings: undefined, readable: session.context.given?.readable }
}
