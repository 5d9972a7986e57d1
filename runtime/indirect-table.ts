/** The indirect table that a device reads at the moment. Both ring formats have descriptors of the same size. */
import { split_ring_limits, VirtqDescSize } from 'virtgen/wire/split-ring'
import type { GuestMemory } from './memory.ts'

const wordsPerDescriptor = VirtqDescSize / 4
// What a 16-bit index reaches.
const most = split_ring_limits.split_ring_index_wrap

/**
 * A table may lie at any address and may cross regions that touch. Where it is a piece of aligned words it is read in place, otherwise each descriptor is copied when
 * its turn comes. Either way each word is to be read once.
 */
export class IndirectTable {
  /** Words of the table, or of the descriptor that was copied last; see {@link at}. */
  words: Uint32Array
  /** Descriptors. */
  entries = 0
  /** Why the table cannot be read, after `open` gave false. */
  detail = ''
  readonly #memory: GuestMemory
  readonly #copy = new Uint8Array(VirtqDescSize)
  readonly #copyWords = new Uint32Array(this.#copy.buffer)
  /** First word of the table; -1: descriptors are copied. */
  #first = 0
  #address = 0

  constructor(memory: GuestMemory) {
    this.#memory = memory
    this.words = this.#copyWords
  }

  /** Begins with the table of a descriptor. False where it is empty, not whole descriptors, too large or outside memory. */
  open(address: number, length: number): boolean {
    const entries = length / VirtqDescSize
    if (!Number.isInteger(entries) || entries === 0 || entries > most) {
      this.detail = `an indirect table has 1 to ${most} descriptors of ${VirtqDescSize} bytes, not ${length} bytes`
      return false
    }
    const region = this.#memory.regionOf(address, length)
    if (region === undefined && !this.#memory.holds(address, length)) {
      this.detail = `an indirect table of ${length} bytes at 0x${address.toString(16)}, outside memory`
      return false
    }
    this.entries = entries
    this.#address = address
    const offset = region === undefined ? 1 : address - region.guestAddress
    if (region !== undefined && offset % 4 === 0) {
      this.words = region.u32
      this.#first = offset / 4
    } else {
      this.words = this.#copyWords
      this.#first = -1
    }
    return true
  }

  /** Where a descriptor begins in `words`. */
  at(index: number): number {
    if (this.#first >= 0) return this.#first + index * wordsPerDescriptor
    this.#memory.read(this.#address + index * VirtqDescSize, this.#copy)
    return 0
  }
}
