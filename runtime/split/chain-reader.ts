/** Reads the descriptors of a chain from a split virtqueue: each of them once. */
import { split_ring_limits, VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE, VirtqDesc } from 'virtgen/wire/split-ring'
import type { ChainBuilder, ChainProblem } from '../chain-builder.ts'
import type { GuestMemory } from '../memory.ts'
import { descriptorWords, type SplitDeviceRing } from './device-ring.ts'

const { size: words, addressLow, addressHigh, len: lengthWord, flagsAndNext: flagsWord } = descriptorWords
/** `next` stands in the upper half of its word. */
const nextShift = 16
const high = 0x1_0000_0000

/** What a reader must know of its queue. */
export interface ChainReaderOptions {
  readonly size: number
  /** Whether VIRTIO_F_INDIRECT_DESC is negotiated. */
  readonly indirect: boolean
  /** Descriptors that a chain has at most; the one that refers to an indirect table does not count. */
  readonly maxChainLength: number
}

/** Follows a chain through the descriptor table and at most one indirect table, and gives its buffers to a builder. */
export class ChainReader {
  /** What was found and what is allowed, after a problem. */
  detail = ''
  readonly #memory: GuestMemory
  readonly #ring: SplitDeviceRing
  readonly #builder: ChainBuilder
  readonly #options: ChainReaderOptions
  /** The indirect table: its words and the first of them, how many descriptors it has. */
  #tableWords: Uint32Array
  #tableBase = 0
  #tableEntries = 0
  /** Guest address of a table that is read one descriptor at a time; -1 where its words are there as they are. */
  #tableAddress = -1
  readonly #copy = new Uint8Array(VirtqDesc.size)
  readonly #copyWords: Uint32Array = new Uint32Array(this.#copy.buffer)

  constructor(memory: GuestMemory, ring: SplitDeviceRing, builder: ChainBuilder, options: ChainReaderOptions) {
    this.#memory = memory
    this.#ring = ring
    this.#builder = builder
    this.#options = options
    this.#tableWords = this.#copyWords
  }

  /** Reads the chain that begins at a descriptor of the table. Undefined: the builder has all of it. */
  read(head: number): ChainProblem | undefined {
    const { size, maxChainLength } = this.#options
    let table = this.#ring.descriptors
    let base = 0
    let entries = size
    let address = -1
    let nested = false
    let index = head
    /** Descriptors of this table that may still come: who visits more than it has, visits one twice. */
    let unvisited = entries
    let count = 0
    for (;;) {
      if (index >= entries) return this.#found('descriptor-index', `descriptor ${index} of a table of ${entries}`)
      if (unvisited-- === 0) return this.#found('descriptor-loop', `more than the ${entries} descriptors of the table`)
      if (address >= 0) this.#memory.read(address + index * VirtqDesc.size, this.#copy)
      const at = address >= 0 ? 0 : base + index * words
      const low = table[at + addressLow]!
      const length = table[at + lengthWord]!
      const flags = table[at + flagsWord]!
      const buffer = low + table[at + addressHigh]! * high
      if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) {
        const problem = nested
          ? this.#found('indirect-nested', `descriptor ${index} of an indirect table refers to a table`)
          : this.#open(buffer, length, low, flags)
        if (problem !== undefined) return problem
        nested = true
        table = this.#tableWords
        base = this.#tableBase
        entries = this.#tableEntries
        address = this.#tableAddress
        unvisited = entries
        index = 0
        continue
      }
      if (count++ === maxChainLength) return this.#found('chain-length', `more than ${maxChainLength} descriptors`)
      const problem = this.#builder.add(buffer, length, (flags & VIRTQ_DESC_F_WRITE) !== 0)
      if (problem !== undefined) return this.#found(problem, `descriptor ${index}: ${length} bytes at 0x${buffer.toString(16)}`)
      if ((flags & VIRTQ_DESC_F_NEXT) === 0) return undefined
      index = flags >>> nextShift
    }
  }

  /**
   * Goes on with an indirect table. The device MUST ignore the write-only flag in the descriptor that refers to it (Indirect Descriptors). The table may lie at any
   * address and may cross regions that touch; where it is not a piece of aligned words, each descriptor is copied when its turn comes.
   */
  #open(address: number, length: number, low: number, flags: number): ChainProblem | undefined {
    if (!this.#options.indirect) return this.#found('indirect-not-negotiated', 'an indirect descriptor without VIRTIO_F_INDIRECT_DESC')
    if ((flags & VIRTQ_DESC_F_NEXT) !== 0) return this.#found('indirect-next', 'VIRTQ_DESC_F_NEXT beside VIRTQ_DESC_F_INDIRECT')
    const entries = length / VirtqDesc.size
    // A 16-bit next reaches no more than that many descriptors.
    const most = split_ring_limits.split_ring_index_wrap
    if (!Number.isInteger(entries) || entries === 0 || entries > most)
      return this.#found('indirect-table', `an indirect table has 1 to ${most} descriptors of ${VirtqDesc.size} bytes, not ${length} bytes`)
    if (!this.#memory.holds(address, length))
      return this.#found('indirect-table', `an indirect table of ${length} bytes at 0x${address.toString(16)}, outside memory`)
    const region = (low & 3) === 0 ? this.#memory.indexOf(address, length) : -1
    this.#tableEntries = entries
    if (region < 0) {
      this.#tableWords = this.#copyWords
      this.#tableAddress = address
    } else {
      const { u32, guestAddress } = this.#memory.regions[region]!
      this.#tableWords = u32
      this.#tableBase = (address - guestAddress) / 4
      this.#tableAddress = -1
    }
    return undefined
  }

  #found(problem: ChainProblem, detail: string): ChainProblem {
    this.detail = detail
    return problem
  }
}
