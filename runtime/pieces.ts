/** The pieces of the buffer that a driver puts together: kept aside until the buffer is complete, so that nothing must be taken back from a ring. */
import { split_ring_limits } from 'virtgen/wire/split-ring'
import type { DeviceAddress } from './queue.ts'

const mostBytes = split_ring_limits.split_ring_max_chain_length
const highest = Number.MAX_SAFE_INTEGER
const wordRange = 0x1_0000_0000

/** Words of a piece: the lower and the higher one of its guest address, and its bytes. As descriptors of both formats begin. */
export const pieceWords = 3
const step = pieceWords

export class Pieces {
  declare readonly words: Uint32Array
  /** Pieces, and how many of them are device-readable; those come first. */
  count = 0
  readable = 0
  /** Bytes of all pieces, and of the device-readable ones. */
  bytes = 0
  readableBytes = 0
  readonly #most: number = 0

  /** @param size - Queue Size: The driver MUST NOT create a descriptor chain longer than that, whether in the ring or in a table */
  constructor(size: number) {
    this.words = new Uint32Array(size * step)
    this.#most = size
  }

  /**
   * Puts a piece behind those that are there.
   *
   * @throws RangeError where it is none, or may not follow
   */
  put(address: number, length: number, writable: boolean): void {
    const low = address >>> 0
    const high = (address / wordRange) >>> 0
    const { count } = this
    const bytes = this.bytes + length
    const isPiece = high * wordRange + low === address && length >>> 0 === length && length !== 0 && address + length <= highest
    if (!isPiece || bytes > mostBytes || count === this.#most || (!writable && this.readable !== count)) this.#refuse(address, length, writable)
    const { words } = this
    const at = count * step
    words[at] = low
    words[at + 1] = high
    words[at + 2] = length
    this.count = count + 1
    this.bytes = bytes
    if (writable) return
    this.readable = count + 1
    this.readableBytes = bytes
  }

  /** Takes the last piece away again. */
  drop(): void {
    this.count--
    this.bytes -= this.words[this.count * step + 2]!
    if (this.readable <= this.count) return
    this.readable = this.count
    this.readableBytes = this.bytes
  }

  clear(): void {
    this.count = 0
    this.readable = 0
    this.bytes = 0
    this.readableBytes = 0
  }

  /** All pieces become one that is device-readable: the table that they have been written into. */
  become(address: number, length: number): void {
    const { words } = this
    words[0] = address >>> 0
    words[1] = (address / wordRange) >>> 0
    words[2] = length
    this.count = 1
    this.readable = 1
    this.bytes = length
    this.readableBytes = length
  }

  /** Device-writable bytes. */
  get writableBytes(): number {
    return this.bytes - this.readableBytes
  }

  /**
   * Before the pieces of a whole buffer.
   *
   * @throws RangeError where a queue of this size never has room for them
   * @throws Error where others were put here and not cleared
   */
  begin(readable: readonly DeviceAddress[], writable: readonly DeviceAddress[]): void {
    const count = readable.length + writable.length
    if (count === 0 || count > this.#most) this.#refuseCount(count)
    if (this.count > 0) throw new Error(`${this.count} pieces of another buffer were appended: they must be committed or rewound first`)
  }

  #refuse(address: number, length: number, writable: boolean): never {
    if (!(Number.isInteger(length) && length > 0 && length < wordRange))
      throw new RangeError(`the length of a piece must be an integer from 1 to 4294967295, not ${length}`)
    if (!(Number.isInteger(address) && address >= 0 && address + length <= highest))
      throw new RangeError(`the address of a piece must be an integer from 0, ending below 2^53, not ${address}`)
    if (this.bytes + length > mostBytes) throw new RangeError(`a buffer must have at most ${mostBytes} bytes, not ${this.bytes + length}`)
    if (!writable && this.readable !== this.count) throw new RangeError('a device-readable piece must come before all device-writable ones')
    this.#refuseCount(this.count + 1)
  }

  #refuseCount(count: number): never {
    throw new RangeError(`a buffer in a queue of size ${this.#most} must have 1 to ${this.#most} pieces, not ${count}`)
  }
}
