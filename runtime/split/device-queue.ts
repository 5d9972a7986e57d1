/** Device side of a split virtqueue. VIRTIO 1.4, Basic Facilities of a Virtio Device / Split Virtqueues. */
import { split_ring_limits } from 'virtgen/wire/split-ring'
import { Chain, type ChainOwner } from '../chain.ts'
import { ChainBuilder } from '../chain-builder.ts'
import { SegmentSlab } from '../chain-slab.ts'
import type { GuestMemory } from '../memory.ts'
import type { DeviceQueue, QueueSetup, QueueState } from '../queue.ts'
import type { Violation, ViolationKind } from '../violation.ts'
import { ChainReader } from './chain-reader.ts'
import { SplitDeviceRing } from './device-ring.ts'
import { isEventDue } from './event-index.ts'

export interface DeviceQueueOptions {
  /** VIRTIO_F_EVENT_IDX is negotiated. */
  readonly eventIndex: boolean
  /** VIRTIO_F_INDIRECT_DESC is negotiated. */
  readonly indirect: boolean
  /**
   * Descriptors of a chain at most, from 1 to 65536; `strict`: the queue size, as the text says. Default 1024, which is what QEMU takes: Linux exceeds the queue size
   * with indirect tables. What lies in the descriptor table is always limited to the queue size; the descriptor that refers to an indirect table does not count.
   */
  readonly maxChainLength?: number | 'strict'
  /** A used buffer notification is due: the driver has not suppressed it. Called last, after all state is consistent. */
  readonly notify: () => void
  /** The driver broke the rules. Called once. */
  readonly fail: (violation: Violation) => void
  /**
   * Buffers are available that `next` could not take while so many others were out: the queue is to be served again. Called when a chain was completed, and only after
   * `next` gave nothing for want of room (see {@link SplitDeviceQueue.starved}).
   */
  readonly resume?: () => void
  /** Position to go on from; its heads in flight are delivered first. */
  readonly state?: QueueState
}

/** What a queue shows of itself for debugging and tests. */
export interface QueueInspection {
  readonly index: number
  readonly size: number
  readonly broken: Violation | undefined
  /** Index of the next available entry, and the available index as it was last loaded. */
  readonly available: number
  readonly availableSeen: number
  /** Index of the next used entry, and the used index that the driver sees. */
  readonly used: number
  readonly usedPublished: number
  /** Heads that are out, in the order in which they were taken. */
  readonly inFlight: readonly number[]
  /** Chain objects and typed arrays made so far; the number stands still in the steady state. */
  readonly allocations: number
  /** Segments there is room for now, and at most. */
  readonly segments: number
  readonly segmentBound: number
}

const indexMask = split_ring_limits.split_ring_index_wrap - 1
/** The largest number that the length of a used entry holds: a written length of 2^32 is told as one less, which the text permits. */
const mostUsed = split_ring_limits.split_ring_max_chain_length - 1
const defaultChainLength = 1024
/** Segments of all chains of a queue together: 24 MiB. */
const mostSegments = 2 ** 20
const leastSegments = 2 ** 12

/**
 * Device side of a split virtqueue.
 *
 * Memory order, in one place: the available index is loaded (acquire) before ring entries, descriptors and buffers; the used index is stored (release) after buffers
 * and used entries; whether to notify is loaded after that store, and the available index once more after asking for notifications, both in the total order of
 * Atomics. See {@link SplitDeviceRing}.
 *
 * Unless notifications are disabled, `next` asks for one before it gives undefined, so that a device that simply takes chains until there are none misses nothing.
 */
export class SplitDeviceQueue implements DeviceQueue, ChainOwner {
  readonly index: number
  readonly size: number
  readonly memory: GuestMemory
  /** @internal */
  readonly slab: SegmentSlab
  readonly #options: DeviceQueueOptions
  readonly #ring: SplitDeviceRing
  readonly #builder: ChainBuilder
  readonly #reader: ChainReader
  /** All chains that were made; at most one for each entry of the queue. */
  readonly #pool: Chain[] = []
  /** Those of them that are free. The one given back last is taken first: it is still in the processor's cache. */
  readonly #free: (Chain | undefined)[]
  #freeCount = 0
  /** By head: when the chain was taken, counting from 1; 0: it is not out. */
  readonly #taken: Float64Array
  #takes = 0
  #inFlight = 0
  /** Heads of a saved state that are still to be delivered, last first. */
  readonly #restored: number[]
  #available: number
  #seen: number
  #used: number
  #published: number
  /** The driver's wish for notifications was asked for at least once since the used index is known: after a restore it may be older. */
  #signalled: boolean
  #corked = 0
  /** The device wants available buffer notifications, and what the driver was told: `avail_event`, or the flag (0: wanted); -1: unknown. */
  #wanted = true
  #told: number
  #starved = false
  #broken: Violation | undefined
  /** The queue was reset. */
  #ended = false
  #awaited = 0
  #ending: Promise<void> | undefined
  #resolve: (() => void) | undefined

  /**
   * Does not throw for what the driver chose: a wrong size or place breaks the queue and is told to `fail`.
   *
   * @throws RangeError for a wrong `maxChainLength` or `state`, which are our user's
   */
  constructor(memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions) {
    this.memory = memory
    this.index = setup.index
    this.size = setup.size
    this.#options = options
    this.#ring = new SplitDeviceRing(memory, setup)
    const problem = this.#ring.open()
    // A queue that does not exist has no chains.
    const size = problem?.kind === 'queue-size' ? 0 : setup.size
    const maxChainLength = size === 0 ? 1 : chainLimit(options.maxChainLength ?? defaultChainLength, size)
    const bound = Math.max(leastSegments, Math.min(2 ** Math.ceil(Math.log2(2 * size * maxChainLength)), mostSegments))
    this.slab = new SegmentSlab(Math.min(4 * size, bound), bound)
    this.#builder = new ChainBuilder(memory, this.slab)
    this.#reader = new ChainReader(memory, this.#ring, this.#builder, { size, indirect: options.indirect, maxChainLength })
    this.#free = new Array<Chain | undefined>(size).fill(undefined)
    this.#taken = new Float64Array(size)
    const state = options.state ?? { available: 0, used: 0, inFlight: [] }
    if (problem === undefined) requireState(state, size)
    this.#restored = state.inFlight.toReversed()
    this.#available = this.#seen = state.available
    this.#used = this.#published = state.used
    this.#signalled = options.state === undefined
    // The driver MUST initialize the flag to 0.
    this.#told = options.eventIndex || options.state !== undefined ? -1 : 0
    if (problem !== undefined) this.#break(problem)
  }

  get broken(): Violation | undefined {
    return this.#broken
  }

  /** `next` last gave nothing because the chains that are out take all the room there is; see `resume`. */
  get starved(): boolean {
    return this.#starved
  }

  next(): Chain | undefined {
    if (!this.#usable()) return undefined
    if (this.#restored.length > 0) return this.#nextRestored()
    if (this.#available === this.#seen && !this.#look()) return undefined
    const chain = this.#take(this.#ring.head(this.#available))
    if (chain !== undefined) this.#available = (this.#available + 1) & indexMask
    return chain
  }

  cork(): void {
    this.#corked++
  }

  /** @throws Error without `cork` */
  uncork(): void {
    if (this.#corked === 0) throw new Error(`queue ${this.index} is not corked`)
    if (--this.#corked === 0) this.#publish()
  }

  disableNotifications(): void {
    this.#wanted = false
    // With VIRTIO_F_EVENT_IDX the flag MUST be 0, and an avail_event that stays behind is enough.
    if (this.#options.eventIndex || this.#told === 1 || !this.#usable()) return
    this.#told = 1
    this.#ring.notifyOff = true
  }

  enableNotifications(): boolean {
    this.#wanted = true
    if (!this.#usable()) return false
    this.#ask()
    if (!this.#usable()) return false
    return this.#restored.length > 0 || ((this.#available !== this.#seen || this.#load()) && !this.#starved)
  }

  reset(): Promise<void> | undefined {
    if (this.#ended) return this.#ending
    this.#ended = true
    const out = this.#out()
    for (const chain of out) {
      chain.$cancel()
      if (!(chain.$out && chain.$lent)) continue
      chain.$awaited = true
      this.#awaited++
    }
    if (this.#awaited > 0) {
      this.#ending = new Promise((resolve) => {
        this.#resolve = resolve
      })
    }
    // What was written until now is told now: a cancelled chain may never be completed.
    for (const chain of out) chain.writable.$announce()
    return this.#ending
  }

  /** Publishes what was held back, so that the state is that of the ring in memory. */
  save(): QueueState {
    this.#publish()
    return {
      available: this.#available,
      used: this.#published,
      inFlight: [...this.#out().map((chain) => chain.head), ...this.#restored.toReversed()],
    }
  }

  /** The state of the queue, for debugging. */
  inspect(): QueueInspection {
    return {
      index: this.index,
      size: this.size,
      broken: this.#broken,
      available: this.#available,
      availableSeen: this.#seen,
      used: this.#used,
      usedPublished: this.#published,
      inFlight: this.#out().map((chain) => chain.head),
      allocations: this.#pool.length + this.slab.allocations,
      segments: this.slab.capacity,
      segmentBound: this.slab.bound,
    }
  }

  /** @internal A chain is completed. */
  used(chain: Chain, written: number): void {
    this.#release(chain)
    if (!this.#current()) return
    this.#ring.use(this.#used, chain.head, Math.min(written, mostUsed))
    this.#used = (this.#used + 1) & indexMask
    if (this.#corked === 0) this.#publish()
    if (!this.#starved) return
    this.#starved = false
    this.#options.resume?.()
  }

  /** @internal Nobody works on a cancelled chain any more. */
  released(chain: Chain): void {
    this.#release(chain)
    if (!chain.$awaited) return
    chain.$awaited = false
    if (--this.#awaited > 0) return
    this.#ending = undefined
    this.#resolve?.()
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
    if (this.#load()) return true
    // A buffer that became available before the driver could see the wish comes without a notification: the index is loaded again after asking.
    return this.#broken === undefined && this.#wanted && this.#ask() && this.#usable() && this.#load()
  }

  /** Loads the available index. True when there are buffers. */
  #load(): boolean {
    const index = this.#ring.availableIndex()
    const count = (index - this.#available) & indexMask
    if (count > this.size) {
      this.#violate('available-index', undefined, `the available index went from ${this.#available} to ${index}, the queue has ${this.size} entries`)
      return false
    }
    this.#seen = index
    return count > 0
  }

  /** Asks the driver to notify of the next available buffer. False where it knows already. */
  #ask(): boolean {
    const wish = this.#options.eventIndex ? this.#available : 0
    if (this.#told === wish) return false
    this.#told = wish
    if (this.#options.eventIndex) this.#ring.availEvent = wish
    else this.#ring.notifyOff = false
    return true
  }

  #nextRestored(): Chain | undefined {
    const chain = this.#take(this.#restored.at(-1)!)
    if (chain !== undefined) this.#restored.pop()
    return chain
  }

  #take(head: number): Chain | undefined {
    if (head >= this.size) return this.#violate('descriptor-index', head, `the chain begins at descriptor ${head} of a table of ${this.size}`)
    if (this.#taken[head] !== 0) return this.#violate('available-index', head, 'the chain is made available again while the device has it')
    const chain = this.#freeCount > 0 ? this.#free[--this.#freeCount]! : this.#make()
    this.#builder.begin(chain)
    const problem = this.#reader.read(head)
    if (problem !== undefined) {
      this.#keep(chain)
      return problem === 'full' ? this.#retry(head) : this.#violate(problem, head, this.#reader.detail)
    }
    this.#starved = false
    this.#taken[head] = ++this.#takes
    this.#inFlight++
    this.#builder.finish(head)
    return chain
  }

  #make(): Chain {
    const chain = new Chain(this)
    this.#pool.push(chain)
    return chain
  }

  #release(chain: Chain): void {
    this.#taken[chain.head] = 0
    this.#inFlight--
    chain.$busy = false
    this.#keep(chain)
  }

  #keep(chain: Chain): void {
    const at = this.#freeCount++
    // Mostly it is there already, and a comparison is cheaper than what the garbage collector wants of a store.
    if (this.#free[at] !== chain) this.#free[at] = chain
  }

  /** No room in the slab: waits for the chains that are out; when there are none, all ranges are given up, as they are only kept for later. */
  #retry(head: number): Chain | undefined {
    if (this.#inFlight > 0) {
      this.#starved = true
      return undefined
    }
    // Where only the chain that found no room has a range, it cannot be helped.
    const kept = this.#pool.filter((chain) => chain.$capacity > 0).length > 1
    for (const chain of this.#pool) {
      chain.$first = 0
      chain.$capacity = 0
    }
    this.slab.clear()
    return kept ? this.#take(head) : this.#violate('chain-length', head, `more pieces of memory than the ${this.slab.bound} that there is room for`)
  }

  /** Makes the used entries visible that are not yet, and notifies the driver if it asked for one of them. */
  #publish(): void {
    if (this.#ended || this.#published === this.#used || !this.#current()) return
    const before = this.#published
    const now = this.#used
    this.#published = now
    this.#ring.publish(now)
    this.#ring.announce(before, now)
    // Who was told may have reset the queue, let memory grow, or completed other chains; the entries up to `now` are this call's to notify of.
    if (this.#ended || !this.#current()) return
    if (this.#isNotificationDue(now, before)) this.#options.notify()
  }

  #isNotificationDue(now: number, before: number): boolean {
    if (!this.#options.eventIndex) return !this.#ring.interruptsOff
    const first = !this.#signalled
    this.#signalled = true
    return isEventDue(this.#ring.usedEvent, now, before) || first
  }

  /** The chains that are out, in the order in which they were taken. */
  #out(): Chain[] {
    const taken = this.#taken
    return this.#pool.filter((chain) => chain.$busy).sort((a, b) => taken[a.head]! - taken[b.head]!)
  }

  #violate(kind: ViolationKind, head: number | undefined, detail: string): undefined {
    this.#break(head === undefined ? { kind, queue: this.index, detail } : { kind, queue: this.index, head, detail })
  }

  #break(violation: Violation): void {
    if (this.#broken !== undefined) return
    this.#broken = violation
    this.#options.fail(violation)
  }
}

function chainLimit(limit: number | 'strict', size: number): number {
  if (limit === 'strict') return size
  const most = split_ring_limits.split_ring_index_wrap
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= most))
    throw new RangeError(`maxChainLength must be an integer from 1 to ${most}, not ${limit}`)
  return limit
}

function requireState({ available, used, inFlight }: QueueState, size: number): void {
  for (const [name, value] of Object.entries({ available, used })) {
    if (!(Number.isInteger(value) && value >= 0 && value <= indexMask))
      throw new RangeError(`${name} must be an integer from 0 to ${indexMask}, not ${value}`)
  }
  const wrong = inFlight.find((head) => !(Number.isInteger(head) && head >= 0 && head < size))
  if (wrong !== undefined) throw new RangeError(`inFlight holds descriptors from 0 to ${size - 1}, not ${wrong}`)
  if (new Set(inFlight).size < inFlight.length) throw new RangeError(`inFlight holds each descriptor once, not ${inFlight}`)
}
