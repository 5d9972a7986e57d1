/** Device side of a virtqueue, whatever the format of its ring. VIRTIO 1.4, Basic Facilities of a Virtio Device / Virtqueues. */
import { packed_ring_limits } from 'virtgen/wire/packed-ring'
import { split_ring_limits } from 'virtgen/wire/split-ring'
import type { Chain, ChainOwner } from './chain.ts'
import { ChainBuilder, type ChainProblem } from './chain-builder.ts'
import { ChainPool } from './chain-pool.ts'
import { SegmentSlab } from './chain-slab.ts'
import { chainOut } from './chain-state.ts'
import type { DeviceQueueOptions } from './device-queue-options.ts'
import { type DeviceRing, ringRefused } from './device-ring.ts'
import { InOrder } from './in-order.ts'
import type { GuestMemory } from './memory.ts'
import { isPackedQueueSize } from './packed/areas.ts'
import { PackedDeviceRing } from './packed/device-ring.ts'
import type { DeviceQueue, QueueInspection, QueueSetup, QueueState, SavedChain } from './queue.ts'
import { checkQueueState } from './queue-state.ts'
import { isQueueSize } from './split/areas.ts'
import { SplitDeviceRing } from './split/device-ring.ts'
import type { Violation, ViolationKind } from './violation.ts'

export type { DeviceQueueOptions } from './device-queue-options.ts'

// What is imported is loaded, and checked for being initialized, at each use; what a module keeps to itself is folded into the code.
const refused = ringRefused
const defaultChainLength = 1024
/** Segments of all chains of a queue together: 16 MiB. */
const mostSegments = 2 ** 20
const leastSegments = 2 ** 12
/** No head. */
const nobody = -1
/** No stamp of a memory: `next` has more to do than to take a chain. */
const never = -2

/**
 * Makes the device side of a queue, split or packed. Does not throw for what the driver chose: a wrong size or place breaks the queue and is told to `fail`.
 *
 * @throws RangeError for a wrong `maxChainLength` or `state`, which are our user's
 */
export function createDeviceQueue(memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions): DeviceQueue {
  return new RingDeviceQueue(memory, setup, options)
}

/**
 * A ring, and the chains that are taken from it.
 *
 * Unless notifications are disabled, `next` asks for one before it gives undefined, so that a device that simply takes chains until there are none misses nothing.
 */
class RingDeviceQueue implements DeviceQueue, ChainOwner {
  readonly index: number
  readonly size: number
  readonly memory: GuestMemory
  readonly slab: SegmentSlab
  readonly #options: DeviceQueueOptions
  readonly #ring: DeviceRing
  readonly #pool: ChainPool
  /** With VIRTIO_F_IN_ORDER: what is complete and waits for its turn. */
  readonly #inOrder: InOrder | undefined
  /** Chains of a saved state, or put back, that are still to be delivered, last first. */
  readonly #restored: (number | SavedChain)[]
  /** `memory.$stamp` as long as the views are those of now and `next` has nothing to do but to take a chain. */
  #stamp = never
  /** Of the only chain that is out: its head, which is not marked then. A device that completes each chain before the next one never marks any. */
  #alone = nobody
  /** By head, 1: the driver has not got it back. Grows, as the buffer ids of a packed ring are the driver's choice. */
  #isOut: Uint8Array
  #corked = 0
  /** While corked: used buffers become visible at once all the same. */
  #publishes = false
  /** The device wants available buffer notifications. */
  #wanted = true
  #starved = false
  #broken: Violation | undefined
  #ended = false

  constructor(memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions) {
    this.memory = memory
    this.index = setup.index
    this.size = setup.size
    this.#options = options
    const { packed = false, eventIndex = false, indirect = false, inOrder = false } = options
    const wrongSize = sizeProblem(setup, packed)
    // A queue that does not exist has no chains.
    const size = wrongSize === undefined ? setup.size : 0
    const maxChainLength = size === 0 ? 1 : chainLimit(options.maxChainLength ?? defaultChainLength, size)
    const bound = Math.max(leastSegments, Math.min(2 ** Math.ceil(Math.log2(2 * size * maxChainLength)), mostSegments))
    const state = options.state ?? (packed ? packedStart : splitStart)
    if (wrongSize === undefined) checkQueueState(state, size, options, 'state')
    this.slab = new SegmentSlab(Math.min(4 * size, bound), bound)
    this.#pool = new ChainPool(this, size)
    this.#isOut = new Uint8Array(size)
    this.#inOrder = inOrder ? new InOrder(size) : undefined
    this.#restored = state.inFlight.toReversed()
    const Ring = packed ? PackedDeviceRing : SplitDeviceRing
    const { available, used } = state
    const ringOptions = { eventIndex, indirect, maxChainLength, available, used, fresh: options.state === undefined }
    this.#ring = new Ring(memory, setup, new ChainBuilder(memory, this.slab), ringOptions)
    memory.refresh()
    const problem = wrongSize ?? this.#ring.bind()
    if (problem !== undefined) this.#break(problem)
  }

  get broken(): Violation | undefined {
    return this.#broken
  }
  get ended(): boolean {
    return this.#ended
  }
  get starved(): boolean {
    return this.#starved
  }

  /** Large on purpose, like {@link used}: what is called here costs more than it does. */
  next(): Chain | undefined {
    if (this.#stamp !== this.memory.$stamp) return this.#nextSlowly()
    const pool = this.#pool
    const chain = pool.freeCount > 0 ? pool.free[pool.freeCount - 1]! : pool.spare()
    const head = this.#ring.take(chain)
    if (head < 0) return this.#notTaken(head)
    if (pool.inFlight === 0 && this.#inOrder === undefined) this.#alone = head
    else if (!this.#takenBesides(chain, head)) return undefined
    pool.freeCount--
    pool.inFlight++
    pool.tickets = (pool.tickets + 1) | 0
    chain.$ticket = pool.tickets
    this.#starved = false
    return chain
  }

  /** A chain is taken while others are out, or has to keep its place among them. False where it is out already. */
  #takenBesides(chain: Chain, head: number): boolean {
    if (!this.#mark(head)) {
      chain.$state = 0
      this.#violate('available-index', head, 'the chain is made available again while the device has it')
      return false
    }
    if (this.#inOrder !== undefined) chain.$order = this.#inOrder.take(head, chain.$slots)
    return true
  }

  /** More than usual is to be done: memory has changed or may have, chains are to be delivered again, or nothing comes any more. */
  #nextSlowly(): Chain | undefined {
    if (!this.#usable()) return undefined
    if (this.#restored.length > 0) return this.#nextRestored()
    if (this.memory.$stamp < 0) return this.#nextOf()
    this.#stamp = this.memory.$stamp
    return this.next()
  }

  /** Where a buffer may become another one at any time there is no stamp, and each chain comes this way; or one that is delivered again. */
  #nextOf(saved?: number | SavedChain): Chain | undefined {
    const pool = this.#pool
    const chain = pool.spare()
    const head = saved === undefined ? this.#ring.take(chain) : typeof saved === 'number' ? saved : saved.head
    if (head < 0) return this.#notTaken(head)
    if (saved !== undefined) {
      const problem = this.#ring.restore(chain, saved)
      if (problem !== undefined) return this.#cannot(problem, head, this.#ring.detail)
      this.#restored.pop()
    }
    if (!this.#takenBesides(chain, head)) return undefined
    pool.freeCount--
    pool.inFlight++
    pool.tickets = (pool.tickets + 1) | 0
    chain.$ticket = pool.tickets
    this.#starved = false
    return chain
  }

  #notTaken(head: number): Chain | undefined {
    if (head === refused) return this.#refused()
    return this.#look() ? this.next() : undefined
  }

  #nextRestored(): Chain | undefined {
    const saved = this.#restored.at(-1)!
    if (typeof saved === 'object' && saved.written !== undefined) return this.#hold(saved, saved.written)
    return this.#nextOf(saved)
  }

  /** A saved chain that was complete already, and only waits for those before it. */
  #hold({ head, slots = 1 }: SavedChain, written: number): Chain | undefined {
    this.#restored.pop()
    const inOrder = this.#inOrder!
    this.#mark(head)
    // Whether it has a device-writable part is not known any more.
    inOrder.complete(inOrder.take(head, slots), written, false)
    return this.next()
  }

  putBack(chain: Chain): void {
    if ((chain.$state & chainOut) === 0) chain.$misused()
    if (this.#pool.out().at(-1) !== chain) throw new Error(`the chain at descriptor ${chain.head} is not the one that was taken last`)
    this.#restored.push(this.#ring.save(chain))
    this.#stamp = never
    chain.$state &= ~chainOut
    chain.writable.$announce()
    if (this.#ended) {
      this.#pool.released(chain)
      return
    }
    this.#unmark(chain.head)
    this.#inOrder?.putBack()
    this.#pool.release(chain)
  }

  cork(publishes = false): void {
    if (this.#corked++ === 0) this.#publishes = publishes
    else if (!publishes) this.#publishes = false
  }

  /** @throws Error without `cork` */
  uncork(): void {
    if (this.#corked === 0) throw new Error(`queue ${this.index} is not corked`)
    if (--this.#corked === 0) this.#publish()
  }

  disableNotifications(): void {
    this.#wanted = false
    if (this.#usable()) this.#ring.ask(false)
  }

  enableNotifications(): boolean {
    this.#wanted = true
    if (!this.#usable()) return false
    this.#ring.ask(true)
    // Who is told of the write may have reset the queue.
    if (!this.#usable()) return false
    return this.#restored.length > 0 || (this.#hasMore() && !this.#starved)
  }

  reset(): Promise<void> | undefined {
    if (this.#ended) return this.#pool.ending
    this.#ended = true
    this.#stamp = never
    return this.#pool.cancel()
  }

  save(): QueueState {
    this.#publish()
    const ring = this.#ring
    return { available: ring.available, used: ring.published, inFlight: [...this.#saved(), ...this.#restored.toReversed()] }
  }

  /** The chains that the driver has not got back, oldest first. */
  #saved(): (number | SavedChain)[] {
    const out = this.#pool.out().map((chain) => this.#ring.save(chain))
    if (this.#inOrder === undefined) return out
    let next = 0
    return this.#inOrder.held(this.#options.packed === true).map((held) => held ?? out[next++]!)
  }

  inspect(): QueueInspection {
    const ring = this.#ring
    return {
      role: 'device',
      format: this.#options.packed ? 'packed' : 'split',
      index: this.index,
      size: this.size,
      broken: this.#broken,
      available: ring.available,
      availableSeen: ring.availableSeen,
      used: ring.used,
      usedPublished: ring.published,
      inFlight: this.#saved().map((chain) => (typeof chain === 'number' ? chain : chain.head)),
      wantsNotifications: this.#wanted,
      allocations: this.#pool.made + this.slab.allocations,
    }
  }

  /** @internal A chain is completed. */
  used(chain: Chain, written: number): void {
    const pool = this.#pool
    const head = chain.head
    pool.inFlight--
    chain.$state = 0
    const at = pool.freeCount++
    // Mostly it is there already, and a comparison is cheaper than what the garbage collector wants of a store.
    if (pool.free[at] !== chain) pool.free[at] = chain
    if (this.#stamp !== this.memory.$stamp && !this.#current()) return
    if (this.#inOrder !== undefined) this.#usedInOrder(this.#inOrder, chain, written)
    else {
      if (this.#alone === head) this.#alone = nobody
      else this.#isOut[head] = 0
      this.#ring.use(head, written, chain.$slots, 1)
    }
    if (this.#corked === 0) this.#publish()
    else if (this.#publishes) this.#show()
    if (this.#starved) this.#resume()
  }

  #usedInOrder(inOrder: InOrder, chain: Chain, written: number): void {
    inOrder.complete(chain.$order, written, chain.$isReadOnly)
    for (let head = inOrder.advance(this.#ring); head >= 0; head = inOrder.advance(this.#ring)) this.#unmark(head)
  }

  /** @internal Nobody works on a cancelled chain any more. */
  released(chain: Chain): void {
    this.#pool.released(chain)
  }

  /** Notes that a head is out. False where it is so already. */
  #mark(head: number): boolean {
    if (this.#alone !== nobody) this.#setOut(this.#alone)
    this.#alone = nobody
    if (this.#isOut[head] === 1) return false
    this.#setOut(head)
    return true
  }

  #setOut(head: number): void {
    if (head >= this.#isOut.length) this.#isOut = enlarged(this.#isOut, head)
    this.#isOut[head] = 1
  }

  #unmark(head: number): void {
    if (this.#alone === head) this.#alone = nobody
    else this.#isOut[head] = 0
  }

  #resume(): void {
    this.#starved = false
    this.#options.resume?.()
  }

  /** The queue may take chains, and its views are those of now. */
  #usable(): boolean {
    return this.#broken === undefined && !this.#ended && this.#current()
  }

  /** Makes the views of the ring anew where memory has changed. False where the ring is not in memory any more. */
  #current(): boolean {
    this.memory.refresh()
    const problem = this.#ring.bind()
    if (problem !== undefined) this.#break(problem)
    return problem === undefined
  }

  /** Looks for available buffers; before it finds none, it asks for a notification. */
  #look(): boolean {
    if (this.#hasMore()) return true
    // A buffer that became available before the driver could see the wish comes without a notification: it is looked for again after asking.
    return this.#broken === undefined && this.#wanted && this.#ring.ask(true) && this.#usable() && this.#hasMore()
  }

  #hasMore(): boolean {
    const found = this.#ring.look()
    if (found === refused) this.#refused()
    return found === 0
  }

  #refused(): Chain | undefined {
    const { problem, problemHead, detail } = this.#ring
    return this.#cannot(problem, problemHead, detail)
  }

  #cannot(problem: ChainProblem, head: number, detail: string): Chain | undefined {
    return problem === 'full' ? this.#retry(head) : this.#violate(problem, head, detail)
  }

  /** No room in the slab: waits for the chains that are out; when there are none, all ranges are given up, as they are only kept for later. */
  #retry(head: number): Chain | undefined {
    if (this.#pool.inFlight > 0) {
      this.#starved = true
      return undefined
    }
    // Where only the chain that found no room has a range, it cannot be helped.
    const kept = this.#pool.dropRanges()
    this.slab.clear()
    return kept ? this.next() : this.#violate('chain-length', head, `more pieces of memory than the ${this.slab.bound} that there is room for`)
  }

  /** Makes the used entries visible that are not yet, and notifies the driver if it asked for one of them. */
  #publish(): void {
    if (this.#show() && this.#ring.isNotificationDue()) this.#options.notify()
  }

  /** Makes the used entries visible that are not yet. False where the queue is not at work any more. */
  #show(): boolean {
    const ring = this.#ring
    if (this.#ended || (this.#stamp !== this.memory.$stamp && !this.#current())) return false
    this.#inOrder?.flush(ring)
    if (ring.published === ring.used) return true
    ring.publish()
    // Who was told of the writes may have reset the queue, let memory grow, or completed other chains.
    return this.memory.onWrite === undefined || (!this.#ended && this.#current())
  }

  #violate(kind: ViolationKind, head: number, detail: string): undefined {
    this.#break(head < 0 ? { kind, queue: this.index, detail } : { kind, queue: this.index, head, detail })
  }

  #break(violation: Violation): void {
    if (this.#broken !== undefined) return
    this.#broken = violation
    this.#stamp = never
    this.#options.fail(violation)
  }
}

const splitStart: QueueState = { available: 0, used: 0, inFlight: [] }
/** Both wrap counters are initialized to 1 (Driver and Device Ring Wrap Counters). */
const packedStart: QueueState = { available: packed_ring_limits.packed_ring_max_queue_size, used: packed_ring_limits.packed_ring_max_queue_size, inFlight: [] }

function sizeProblem({ index, size }: QueueSetup, packed: boolean): Violation | undefined {
  if (packed ? isPackedQueueSize(size) : isQueueSize(size)) return undefined
  const most = packed ? packed_ring_limits.packed_ring_max_queue_size : split_ring_limits.split_ring_max_queue_size
  return { kind: 'queue-size', queue: index, detail: `the queue size must be ${packed ? 'a number' : 'a power of 2'} from 1 to ${most}, not ${size}` }
}

function enlarged(flags: Uint8Array, index: number): Uint8Array {
  const larger = new Uint8Array(2 ** Math.ceil(Math.log2(index + 1)))
  larger.set(flags)
  return larger
}

function chainLimit(limit: number | 'strict', size: number): number {
  if (limit === 'strict') return size
  const most = split_ring_limits.split_ring_index_wrap
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= most))
    throw new RangeError(`maxChainLength must be an integer from 1 to ${most}, not ${limit}`)
  return limit
}
