/** A range of guest addresses as a value. */
import type { GuestMemory } from './memory.ts'

/**
 * So many bytes from a guest address on. Nothing says that memory is there; `resolve` finds out.
 */
export class GuestRange {
  /** Guest address of the first byte. */
  readonly address: number
  /** Bytes; may be 0. */
  readonly length: number

  private constructor(address: number, length: number) {
    this.address = address
    this.length = length
  }

  /**
   * The range, or undefined where there is none: an address or a length that is no integer from 0, or an end beyond 2^53 - 1 (so also one that a 64-bit sum would
   * wrap). Numbers of a guest may be given as they are.
   */
  static of(address: number | bigint, length: number | bigint): GuestRange | undefined {
    const from = Number(address)
    const bytes = Number(length)
    const valid = Number.isSafeInteger(from) && Number.isSafeInteger(bytes) && from >= 0 && bytes >= 0 && Number.isSafeInteger(from + bytes)
    return valid ? new GuestRange(from, bytes) : undefined
  }

  /** Address behind the last byte. */
  get end(): number {
    return this.address + this.length
  }

  /** The first `offset` bytes and the rest, either of which may be empty; undefined where the range has fewer. */
  splitAt(offset: number): [GuestRange, GuestRange] | undefined {
    if (!(Number.isInteger(offset) && offset >= 0 && offset <= this.length)) return undefined
    return [new GuestRange(this.address, offset), new GuestRange(this.address + offset, this.length - offset)]
  }

  /** Whether all of the other range lies in this one. */
  contains(other: GuestRange): boolean {
    return other.address >= this.address && other.end <= this.end
  }

  /** Its bytes in place; see `GuestMemory.resolve`. */
  resolve(memory: GuestMemory): Uint8Array | undefined {
    return memory.resolve(this.address, this.length)
  }
}
