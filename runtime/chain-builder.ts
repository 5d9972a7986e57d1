/** How a queue makes a chain of what the driver's descriptors say: each is checked here, once. The same for all ring formats. */
import { split_ring_limits } from 'virtgen/wire/split-ring'
import type { Chain } from './chain.ts'
import type { SegmentSlab } from './chain-slab.ts'
import { chainJoined } from './chain-state.ts'
import type { GuestMemory } from './memory.ts'
import type { ViolationKind } from './violation.ts'

/** What is wrong with a descriptor; `full`: nothing, but the slab has no room for it. */
export type ChainProblem = ViolationKind | 'full'

const leastCapacity = 4
const mostBytes = split_ring_limits.split_ring_max_chain_length

/** Takes the buffers of one chain after the other and writes their segments into the slab. */
export class ChainBuilder {
  readonly #memory: GuestMemory
  readonly slab: SegmentSlab
  #chain!: Chain
  /** Where the next segment goes, and where the range of the chain ends. */
  #next = 0
  #end = 0
  /** Bytes of the part so far. */
  #length = 0
  /** The first writable buffer was seen: the readable part is complete and has this many segments and bytes. */
  #writing = false
  #readableCount = 0
  #readableLength = 0
  /** A buffer crosses regions: which segments go on with the descriptor of the one before. */
  #joints: number[] | undefined

  constructor(memory: GuestMemory, slab: SegmentSlab) {
    this.#memory = memory
    this.slab = slab
  }

  /** What was found and what is allowed, after a problem. */
  detail = ''

  /** Begins with an empty chain, in the range that it has kept. */
  begin(chain: Chain): void {
    // Mostly the last one was given back and is taken again, and a comparison is cheaper than what the garbage collector wants of a store.
    if (this.#chain !== chain) this.#chain = chain
    this.#next = chain.$first
    this.#end = chain.$first + chain.$capacity
    this.#length = 0
    this.#writing = false
    this.#readableCount = 0
    this.#readableLength = 0
    if (this.#joints !== undefined) this.#joints = undefined
  }

  /** Adds the buffer of a descriptor. One of no bytes adds no segment; its address does not matter, its direction does. */
  add(address: number, length: number, writable: boolean): ChainProblem | undefined {
    if (writable !== this.#writing) {
      // The driver MUST place any device-writable descriptor elements after any device-readable descriptor elements (Message Framing).
      if (!writable) return this.#refuse('descriptor-order', address, length, 'to be read, behind what is to be written')
      this.#turn()
    }
    if (length === 0) return undefined
    const before = this.#length
    if (this.#readableLength + before + length > mostBytes) return this.#refuse('chain-bytes', address, length, `beyond ${mostBytes} in all`)
    if (!this.#memory.contains(address, length)) return this.#cross(address, length)
    const at = this.#next
    if (at === this.#end) return this.#grow() ? this.add(address, length, writable) : 'full'
    this.slab.put(at, address, length, before)
    this.#next = at + 1
    this.#length = before + length
    return undefined
  }

  /** Begins the use of the chain. */
  finish(head: number): void {
    if (!this.#writing) this.#turn()
    const chain = this.#chain
    chain.$begin(head, this.#readableCount, this.#readableLength, this.#next - chain.$first - this.#readableCount, this.#length)
    if (this.#joints === undefined) return
    chain.$joints = this.#joints
    chain.$state |= chainJoined
  }

  #refuse(problem: ChainProblem, address: number, length: number, why: string): ChainProblem {
    this.detail = `${length} bytes at 0x${address.toString(16)}, ${why}`
    return problem
  }

  #turn(): void {
    this.#writing = true
    this.#readableCount = this.#next - this.#chain.$first
    this.#readableLength = this.#length
    this.#length = 0
  }

  /** A buffer that is in no region as a whole: it may cross regions that touch. */
  #cross(address: number, length: number): ChainProblem | undefined {
    for (let done = 0; done < length; ) {
      const region = this.#memory.indexAt(address + done)
      if (region < 0) return this.#refuse('descriptor-address', address, length, 'outside memory')
      const { guestAddress, size } = this.#memory.regions[region]!
      const piece = Math.min(length - done, guestAddress + size - address - done)
      const problem = this.add(address + done, piece, this.#writing)
      if (problem !== undefined) return problem
      this.#joints ??= []
      if (done > 0) this.#joints.push(this.#next - 1 - this.#chain.$first)
      done += piece
    }
    return undefined
  }

  /** Moves the chain to a range of twice the capacity. */
  #grow(): boolean {
    const chain = this.#chain
    const slab = this.slab
    const capacity = chain.$capacity === 0 ? leastCapacity : chain.$capacity * 2
    const first = slab.take(capacity)
    if (first < 0) return false
    const count = this.#next - chain.$first
    if (chain.$capacity > 0) {
      slab.move(chain.$first, first, count)
      slab.give(chain.$first, chain.$capacity)
    }
    chain.$first = first
    chain.$capacity = capacity
    this.#next = first + count
    this.#end = first + capacity
    return true
  }
}
