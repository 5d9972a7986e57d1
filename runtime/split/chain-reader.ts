/** Reads the descriptors of a chain from a split virtqueue: each of them once. */
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from 'virtgen/wire/split-ring'
import type { Chain } from '../chain.ts'
import type { ChainBuilder, ChainProblem } from '../chain-builder.ts'
import { IndirectTable } from '../indirect-table.ts'
import type { GuestMemory } from '../memory.ts'
import { descriptorWords } from './descriptor-words.ts'

// What is imported is loaded, and checked for being initialized, at each use; what a module keeps to itself is folded into the code.
const nextFlag = VIRTQ_DESC_F_NEXT
const writeFlag = VIRTQ_DESC_F_WRITE
const indirectFlag = VIRTQ_DESC_F_INDIRECT
const { words, addressLow, addressHigh, lengthWord, flagsWord, nextShift } = descriptorWords
const high = 0x1_0000_0000

/** What a reader must know besides the size of the table. */
export interface ChainReaderOptions {
  /** Whether VIRTIO_F_INDIRECT_DESC is negotiated. */
  readonly indirect: boolean
  /** Descriptors that a chain has at most; the one that refers to an indirect table does not count. */
  readonly maxChainLength: number
}

/** Follows a chain through the descriptor table and at most one indirect table, and gives its buffers to a builder. */
export class ChainReader {
  /** The descriptor table, as 32-bit words. */
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

  /** Reads the chain that begins at a descriptor of the table, whatever it is like. Undefined: the chain has all of it; otherwise the builder's `detail` says what was found. */
  read(chain: Chain, head: number): ChainProblem | undefined {
    if (head >= this.#size) return this.#found('descriptor-index', `the chain begins at descriptor ${head} of a table of ${this.#size}`)
    this.#builder.begin(chain)
    const problem = this.#readTableOf(head)
    if (problem === undefined) this.#builder.finish(head)
    return problem
  }

  #readTableOf(head: number): ChainProblem | undefined {
    const table = this.descriptors
    const size = this.#size
    const most = Math.min(this.#most, size)
    let index = head
    // Who visits more descriptors than the table has visits one twice.
    for (let count = 0; ; count++) {
      const at = index * words
      const length = table[at + lengthWord]!
      const flags = table[at + flagsWord]!
      const address = table[at + addressLow]! + table[at + addressHigh]! * high
      if ((flags & indirectFlag) !== 0) return this.#readTable(address, length, flags, count)
      if (count === most) return this.#tooLong(count)
      const problem = this.#builder.add(address, length, (flags & writeFlag) !== 0)
      if (problem !== undefined) return this.#badBuffer(problem, index)
      if ((flags & nextFlag) === 0) return undefined
      index = flags >>> nextShift
      if (index >= size) return this.#badIndex(index, size)
    }
  }

  /** Goes on with an indirect table. The device MUST ignore the write-only flag in the descriptor that refers to it (Indirect Descriptors). */
  #readTable(address: number, length: number, flags: number, before: number): ChainProblem | undefined {
    if (!this.#indirect) return this.#found('indirect-not-negotiated', 'an indirect descriptor without VIRTIO_F_INDIRECT_DESC')
    if ((flags & nextFlag) !== 0) return this.#found('indirect-next', 'VIRTQ_DESC_F_NEXT beside VIRTQ_DESC_F_INDIRECT')
    const table = this.#table
    if (!table.open(address, length)) return this.#found('indirect-table', table.detail)
    const { entries } = table
    let index = 0
    for (let count = 0; ; count++) {
      if (count === entries) return this.#found('descriptor-loop', `more than the ${entries} descriptors of the table`)
      if (before + count === this.#most) return this.#found('chain-length', `more than ${this.#most} descriptors`)
      const at = table.at(index)
      const flags = table.words[at + flagsWord]!
      if ((flags & indirectFlag) !== 0) return this.#found('indirect-nested', `descriptor ${index} of an indirect table refers to a table`)
      const buffer = table.words[at + addressLow]! + table.words[at + addressHigh]! * high
      const problem = this.#builder.add(buffer, table.words[at + lengthWord]!, (flags & writeFlag) !== 0)
      if (problem !== undefined) return this.#badBuffer(problem, index)
      if ((flags & nextFlag) === 0) return undefined
      index = flags >>> nextShift
      if (index >= entries) return this.#badIndex(index, entries)
    }
  }

  #tooLong(count: number): ChainProblem {
    return count === this.#size
      ? this.#found('descriptor-loop', `more than the ${count} descriptors of the table`)
      : this.#found('chain-length', `more than ${count} descriptors`)
  }

  #badIndex(index: number, entries: number): ChainProblem {
    return this.#found('descriptor-index', `descriptor ${index} of a table of ${entries}`)
  }

  #badBuffer(problem: ChainProblem, index: number): ChainProblem {
    return this.#found(problem, `descriptor ${index}: ${this.#builder.detail}`)
  }

  #found(problem: ChainProblem, detail: string): ChainProblem {
    this.#builder.detail = detail
    return problem
  }
}
