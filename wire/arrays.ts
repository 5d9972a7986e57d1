/** Arrays on the wire. A length that the content claims is cut to the bytes that are there. */
import { checkInteger, room } from './integers.ts'
import type { Struct } from './struct.ts'

/** A view of `length` bytes at a place; shorter, or empty, where the struct ends before. */
export function bytesAt(struct: Struct, at: number, length: number): Uint8Array {
  const end = struct.$offset + struct.$length
  const available = at < struct.$offset || at > end ? 0 : Math.max(0, Math.min(length, end - at))
  return new Uint8Array(struct.$view.buffer, struct.$view.byteOffset + (available === 0 ? 0 : at), available)
}

/** How many of the bytes that a member claims are really there. */
export function available(struct: Struct, at: number, length: number): number {
  return Math.max(0, Math.min(length, struct.$offset + struct.$length - at))
}

/** Copies bytes to their place. Throws RangeError unless there are exactly as many as the struct says. */
export function putBytes(struct: Struct, at: number, length: number, value: Uint8Array, name: string): void {
  if (!(value instanceof Uint8Array)) throw new TypeError(`${name} must be a Uint8Array`)
  if (value.byteLength !== length) throw new RangeError(`${name} must have ${length} bytes, not ${value.byteLength}`)
  room(struct, at, length, name)
  new Uint8Array(struct.$view.buffer, struct.$view.byteOffset + at, length).set(value)
}

/** How many of the elements that the content claims are really there. */
export function elementCount(struct: Struct, at: number, claimed: number, stride: number): number {
  if (!(stride > 0)) return 0
  const left = struct.$offset + struct.$length - at
  return Math.max(0, Math.min(claimed, Math.floor(left / stride)))
}

/** Elements as a plain array. */
export function readArray<T>(count: number, read: (index: number) => T): T[] {
  const values: T[] = []
  for (let index = 0; index < count; index++) values.push(read(index))
  return values
}

/**
 * Nested arrays of the given dimensions, as far as whole rows are there; `read` gets the flat index of the innermost element.
 * The dimensions may be the other side's: nothing is allocated for elements that have no bytes.
 */
export function readRows<T>(struct: Struct, at: number, dims: readonly number[], bytes: number, read: (index: number) => T): unknown[] {
  const [claimed = 0, ...inner] = dims
  const stride = inner.reduce((product, dim) => product * dim, 1)
  // Rows without bytes are bounded by the bytes of the struct.
  const rows = stride > 0 ? elementCount(struct, at, claimed, stride * bytes) : Math.min(claimed, struct.$length)
  return nested([rows, ...inner], read)
}

function nested<T>(dims: readonly number[], read: (index: number) => T): unknown[] {
  const [count = 0, ...inner] = dims
  if (inner.length === 0) return readArray(count, read)
  const stride = inner.reduce((product, dim) => product * dim, 1)
  return readArray(count, (index) => nested(inner, (flat) => read(index * stride + flat)))
}

/** Checks an index against the number of elements that the struct claims. Throws RangeError. */
export function checkIndex(index: number, count: number, name: string): number {
  return checkInteger(index, 0, count - 1, `the index of ${name}`)
}

/** How many whole parts a length has; none where the divisor, which may be the other side's, is zero. */
export function quotient(dividend: number, divisor: number): number {
  return divisor === 0 ? 0 : Math.floor(dividend / divisor)
}

/** Throws unless a nested struct lies in the bytes of its parent: where those end before it, it reads as zeros and has no place to be written. */
export function attached<T extends Struct>(parent: Struct, nested: T, name: string): T {
  if (nested.$view !== parent.$view) throw new RangeError(`${name} does not fit: its bytes are not there`)
  return nested
}

/** Throws unless the arm that was written is the one that the deciding field selects. */
export function checkArm(written: string | undefined, selected: string | undefined, name: string): void {
  if (written !== selected)
    throw new RangeError(`${name}.arm must be ${selected ?? 'undefined'}, which its deciding field selects, not ${written ?? 'undefined'}`)
}

/** Writes elements one by one. Throws RangeError unless there are exactly as many as the struct says. */
export function putArray<T>(values: readonly T[], count: number, write: (value: T, index: number) => void, name: string): void {
  if (!Array.isArray(values)) throw new TypeError(`${name} must be an array`)
  if (values.length !== count) throw new RangeError(`${name} must have ${count} elements, not ${values.length}`)
  values.forEach(write)
}

/** The innermost elements of nested arrays, checked against the dimensions. */
export function padArray(values: unknown, dims: readonly number[], name: string): unknown[] {
  const [count, ...inner] = dims
  if (count === undefined) return [values]
  if (!Array.isArray(values)) throw new TypeError(`${name} must be an array`)
  if (values.length !== count) throw new RangeError(`${name} must have ${count} elements, not ${values.length}`)
  return values.flatMap((value) => padArray(value, inner, name))
}

/** The entries of a list of heads: offsets and sizes of the elements, as far as they are whole. */
export function entriesOf(struct: Struct, at: number, length: number, head: Struct, ends?: () => boolean): { offset: number; size: number }[] {
  const entries: { offset: number; size: number }[] = []
  const end = Math.min(at + length, struct.$offset + struct.$length)
  let offset = at
  while (offset + head.$minimum <= end) {
    head.$inside(struct, offset, end - offset)
    if (ends?.()) break
    const size = head.$size
    // An element shorter than its head would be met again for ever.
    if (!(size >= head.$minimum) || offset + size > end) break
    entries.push({ offset, size })
    offset += size
  }
  return entries
}

/** The elements of a list of structs of different lengths; the last one may be cut by the end. */
export function elementsOf(struct: Struct, at: number, length: number, count: number, element: Struct): { offset: number; size: number }[] {
  const elements: { offset: number; size: number }[] = []
  const end = Math.min(at + length, struct.$offset + struct.$length)
  let offset = at
  while (elements.length < count && offset + element.$minimum <= end) {
    element.$inside(struct, offset, end - offset)
    const size = Math.min(element.$size, end - offset)
    // An element without bytes would be met again for ever.
    if (!(size > 0)) break
    elements.push({ offset, size })
    offset += size
  }
  return elements
}

/** The bytes followed by zeros up to a length, or as they are where they are longer. */
export function padTo(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length >= length) return bytes
  const padded = new Uint8Array(length)
  padded.set(bytes)
  return padded
}
