/**
 * Integers on the wire. Readers give zero behind `end`: a length field of the other side may point anywhere, and a getter never throws. Writers throw a
 * RangeError for what does not fit, with the member's name.
 */

/** The end of the bytes a struct may read. */
interface Bounds {
  readonly $view: DataView
  readonly $offset: number
  readonly $length: number
}

function outside(struct: Bounds, at: number, bytes: number): boolean {
  // Written so that NaN is outside.
  return !(at >= struct.$offset && at + bytes <= struct.$offset + struct.$length)
}

/** Reads at a place that depends on the content: zero where the content claims more than there is. */
export function get8(struct: Bounds, at: number): number {
  return outside(struct, at, 1) ? 0 : struct.$view.getUint8(at)
}
export function get16(struct: Bounds, at: number, littleEndian: boolean): number {
  return outside(struct, at, 2) ? 0 : struct.$view.getUint16(at, littleEndian)
}
export function get32(struct: Bounds, at: number, littleEndian: boolean): number {
  return outside(struct, at, 4) ? 0 : struct.$view.getUint32(at, littleEndian)
}
export function get64(struct: Bounds, at: number, littleEndian: boolean): number {
  return outside(struct, at, 8) ? 0 : getNumber64(struct.$view, at, littleEndian)
}
export function getBig64(struct: Bounds, at: number, littleEndian: boolean): bigint {
  return outside(struct, at, 8) ? 0n : struct.$view.getBigUint64(at, littleEndian)
}

/** A 64-bit size, position or address. 2^53 or more reads as the nearest number, which is above `Number.MAX_SAFE_INTEGER`. */
export function getNumber64(view: DataView, at: number, littleEndian: boolean): number {
  const first = view.getUint32(at, littleEndian)
  const second = view.getUint32(at + 4, littleEndian)
  return littleEndian ? first + second * 0x1_0000_0000 : second + first * 0x1_0000_0000
}

function fail(name: string, value: unknown, maximum: number | bigint, minimum = 0): never {
  if (typeof value !== 'number' && typeof value !== 'bigint') throw new TypeError(`${name} must be a number, not ${typeof value} ${String(value)}`)
  throw new RangeError(`${name} must be an integer from ${minimum} to ${maximum}, not ${value}`)
}

/** Checks a number against a maximum of at most 2^53 - 1. */
export function checkUnsigned(value: number, maximum: number, name: string): number {
  return checkInteger(value, 0, maximum, name)
}

/** Checks that a value is an integer of a range: a RangeError, for what is no number a TypeError, says so. */
export function checkInteger(value: number, minimum: number, maximum: number, name: string): number {
  return Number.isInteger(value) && value >= minimum && value <= maximum ? value : fail(name, value, maximum, minimum)
}

/** The name of a member with that of its struct, for messages. */
function qualified(struct: object, name: string): string {
  return `${struct.constructor.name}.${name}`
}

function isUnsigned(value: number, maximum: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= maximum
}

export function set8(struct: Bounds, at: number, value: number, name: string): void {
  if (!isUnsigned(value, 0xff)) fail(qualified(struct, name), value, 0xff)
  struct.$view.setUint8(at, value)
}
export function set16(struct: Bounds, at: number, value: number, littleEndian: boolean, name: string): void {
  if (!isUnsigned(value, 0xffff)) fail(qualified(struct, name), value, 0xffff)
  struct.$view.setUint16(at, value, littleEndian)
}
export function set32(struct: Bounds, at: number, value: number, littleEndian: boolean, name: string): void {
  if (!isUnsigned(value, 0xffff_ffff)) fail(qualified(struct, name), value, 0xffff_ffff)
  struct.$view.setUint32(at, value, littleEndian)
}
export function set64(struct: Bounds, at: number, value: number, littleEndian: boolean, name: string): void {
  if (!isUnsigned(value, Number.MAX_SAFE_INTEGER)) fail(qualified(struct, name), value, Number.MAX_SAFE_INTEGER)
  const high = Math.floor(value / 0x1_0000_0000)
  struct.$view.setUint32(littleEndian ? at : at + 4, value >>> 0, littleEndian)
  struct.$view.setUint32(littleEndian ? at + 4 : at, high, littleEndian)
}
export function setBig64(struct: Bounds, at: number, value: bigint, littleEndian: boolean, name: string): void {
  if (typeof value !== 'bigint' || value < 0n || value > 0xffff_ffff_ffff_ffffn) fail(qualified(struct, name), value, 0xffff_ffff_ffff_ffffn)
  struct.$view.setBigUint64(at, value, littleEndian)
}

/** Throws for a member whose condition does not hold. */
export function absent(name: string, condition: string): never {
  throw new RangeError(`${name} is not there: it exists only with ${condition}`)
}

/** Throws unless a value is the constant that the specification demands. */
export function checkConstant<T extends number | bigint>(value: T, constant: T, name: string): T {
  if (typeof value !== typeof constant) throw new TypeError(`${name} must be a ${typeof constant}, not ${typeof value} ${String(value)}`)
  if (value !== constant) throw new RangeError(`${name} must be ${constant}, not ${value}`)
  return value
}

/** The place of a write, which must lie inside the struct: its content decides where members behind a variable one stand. */
export function room(struct: Bounds, at: number, bytes: number, name: string): number {
  if (outside(struct, at, bytes)) throw new RangeError(`${name} does not fit: ${bytes} bytes at ${at - struct.$offset} of ${struct.$length}`)
  return at
}
