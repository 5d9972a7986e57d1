/** Reads the descriptors of a list from a packed virtqueue: each of them once. */
import { VIRTQ_DESC_F_AVAIL, VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_USED, VIRTQ_DESC_F_WRITE } from 'virtgen/wire/packed-ring'
import type { Chain } from '../chain.ts'
import type { ChainBuilder, ChainProblem } from '../chain-builder.ts'
import { IndirectTable } from '../indirect-table.ts'
import type { GuestMemory } from '../memory.ts'
import type { ChainReaderOptions } from '../split/chain-reader.ts'
import { packedDescriptorWords } from './descriptor-words.ts'

// What is imported is loaded, and checked for being initialized, at each use; what a module keeps to itself is folded into the code.
const nextFlag = VIRTQ_DESC_F_NEXT
const writeFlag = VIRTQ_DESC_F_WRITE
const indirectFlag = VIRTQ_DESC_F_INDIRECT
const { words, addressLow, addressHigh, lengthWord, idWord, flagsShift, idMask } = packedDescriptorWords
const highUnit = 0x1_0000_0000
const availAndUsed = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED

/** Goes through a list in the ring, or one indirect table, and gives its buffers to a builder. */
export class PackedChainReader {
  /** Of the list that was read last: its buffer id (-1 where the end was not found), and how many entries of the ring it takes. */
  id = -1
  slots = 0
  /** The descriptor ring, as 32-bit words. */
  descriptors: Uint32Array = new Uint32Array(0)
  readonly #builder: ChainBuilder
  readonly #table: IndirectTable
  readonly #size: number
  readonly #indirect: boolean
  readonly #most: number

  constructor(memory: GuestMemory, builder: ChainBuilder, size: number, options: ChainReaderOptions) {
    this.#builder = builder
    this.#table = new IndirectTable(memory)
    this.#size = size
    this.#indirect = options.indirect
    this.#most = options.maxChainLength
  }

  /**
   * Reads the list that begins at an entry of the ring. Undefined: the builder has all of it; otherwise its `detail` says what was found.
   *
   * @param firstFlags - flags of its first descriptor, which say that it is available
   */
  read(chain: Chain, position: number, firstFlags: number): ChainProblem | undefined {
    this.#builder.begin(chain)
    this.id = -1
    const ring = this.descriptors
    let index = position
    let expected = firstFlags & availAndUsed
    for (let count = 0; ; count++) {
      if (count === this.#size) return this.#found('descriptor-loop', `a list of more than the ${count} descriptors of the ring`)
      const at = index * words
      const last = ring[at + idWord]!
      const flags = count === 0 ? firstFlags : last >>> flagsShift
      // All flags must be set correctly in all descriptors of a list (Next Flag: Descriptor Chaining).
      if ((flags & availAndUsed) !== expected) return this.#found('descriptor-flags', `descriptor ${index}, in a list, is not marked available`)
      const length = ring[at + lengthWord]!
      const address = ring[at + addressLow]! + ring[at + addressHigh]! * highUnit
      if ((flags & indirectFlag) !== 0) {
        // Each list only contains descriptors of a given type.
        if (count > 0 || (flags & nextFlag) !== 0) return this.#found('indirect-next', 'VIRTQ_DESC_F_INDIRECT in a list of descriptors')
        this.id = last & idMask
        this.slots = 1
        return this.#readTable(address, length)
      }
      if (count === this.#most) return this.#found('chain-length', `more than ${count} descriptors`)
      const problem = this.#builder.add(address, length, (flags & writeFlag) !== 0)
      if (problem !== undefined) return this.#found(problem, `descriptor ${index}: ${this.#builder.detail}`)
      if ((flags & nextFlag) === 0) {
        this.id = last & idMask
        this.slots = count + 1
        return undefined
      }
      if (++index === this.#size) {
        index = 0
        expected ^= availAndUsed
      }
    }
  }

  /** VIRTQ_DESC_F_WRITE is the only valid flag in an indirect table; others are ignored, and so is the buffer id (Indirect Flag: Scatter-Gather Support). */
  #readTable(address: number, length: number): ChainProblem | undefined {
    if (!this.#indirect) return this.#found('indirect-not-negotiated', 'an indirect descriptor without VIRTIO_F_INDIRECT_DESC')
    const table = this.#table
    if (!table.open(address, length)) return this.#found('indirect-table', table.detail)
    if (table.entries > this.#most) return this.#found('chain-length', `more than ${this.#most} descriptors`)
    for (let index = 0; index < table.entries; index++) {
      const at = table.at(index)
      const buffer = table.words[at + addressLow]! + table.words[at + addressHigh]! * highUnit
      const isWritable = ((table.words[at + idWord]! >>> flagsShift) & writeFlag) !== 0
      const problem = this.#builder.add(buffer, table.words[at + lengthWord]!, isWritable)
      if (problem !== undefined) return this.#found(problem, `descriptor ${index} of an indirect table: ${this.#builder.detail}`)
    }
    return undefined
  }

  #found(problem: ChainProblem, detail: string): ChainProblem {
    this.#builder.detail = detail
    return problem
  }
}
