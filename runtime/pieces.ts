/** The pieces of the buffer that a driver puts together: kept aside until the buffer is complete, so that nothing must be taken back from a ring. */
import { split_ring_limits } from 'virtgen/wire/split-ring'
import type { DeviceAddress } from './queue.ts'

const mostBytes = split_ring_limits.split_ring_max_chain_length
const highest = Number.MAX_SAFE_INTEGER

export class Pieces {
  /** Of each piece: its guest address, and its bytes. Readable pieces come first. */
  readonly addresses: Float64Array
  readonly lengths: Uint32Array
  /** Pieces, and how many of them are device-readable. */
  count = 0
  readable = 0
  /** Bytes of all pieces, and of the device-writable ones. */
  bytes = 0
  writableBytes = 0

  /** @param size - Queue Size: The driver MUST NOT create a descriptor chain longer than that, whether in the ring or in a table */
  constructor(size: number) {
    this.addresses = new Float64Array(size)
    this.lengths = new Uint32Array(size)
  }

  /**
   * Says whether a piece may follow those that are there; {@link put} puts it there.
   *
   * @throws RangeError where it is none, or may not follow
   */
  check(address: number, length: number, writable: boolean): void {
    const isPiece = length >>> 0 === length && length !== 0 && Math.floor(address) === address && address >= 0 && address + length <= highest
    if (!isPiece || this.count === this.addresses.length || this.bytes + length > mostBytes || (!writable && this.readable !== this.count))
      this.#refuse(address, length, writable)
  }

  put(address: number, length: number, writable: boolean): void {
    const at = this.count
    this.addresses[at] = address
    this.lengths[at] = length
    this.count = at + 1
    this.bytes += length
    if (writable) this.writableBytes += length
    else this.readable = at + 1
  }

  clear(): void {
    this.count = 0
    this.readable = 0
    this.bytes = 0
    this.writableBytes = 0
  }

  /**
   * Before the pieces of a whole buffer.
   *
   * @throws RangeError where a queue of this size never has room for them
   * @throws Error where others were put here and not cleared
   */
  begin(readable: readonly DeviceAddress[], writable: readonly DeviceAddress[]): void {
    const count = readable.length + writable.length
    if (count === 0 || count > this.addresses.length) this.#refuseCount(count)
    if (this.count > 0) throw new Error(`${this.count} pieces of another buffer were appended: they must be committed or rewound first`)
  }

  #refuse(address: number, length: number, writable: boolean): never {
    if (!(Number.isInteger(length) && length > 0 && length <= 0xffff_ffff))
      throw new RangeError(`the length of a piece must be an integer from 1 to 4294967295, not ${length}`)
    if (!(Number.isInteger(address) && address >= 0 && address + length <= highest))
      throw new RangeError(`the address of a piece must be an integer from 0, ending below 2^53, not ${address}`)
    if (this.bytes + length > mostBytes) throw new RangeError(`a buffer must have at most ${mostBytes} bytes, not ${this.bytes + length}`)
    if (!writable && this.readable !== this.count) throw new RangeError('a device-readable piece must come before all device-writable ones')
    this.#refuseCount(this.count + 1)
  }

  #refuseCount(count: number): never {
    const size = this.addresses.length
    throw new RangeError(`a buffer in a queue of size ${size} must have 1 to ${size} pieces, not ${count}`)
  }
}
