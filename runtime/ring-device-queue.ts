/** What the device sides of both ring formats share: chains that are out, when used buffers become visible, and how a queue ends. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import { split_ring_limits } from 'virtgen/wire/split-ring'
import type { Chain, ChainOwner } from './chain.ts'
import { ChainBuilder, type ChainProblem } from './chain-builder.ts'
import { ChainPool } from './chain-pool.ts'
import { SegmentSlab, segmentLayout } from './chain-slab.ts'
import { chainOut } from './chain-state.ts'
import type { DeviceQueueOptions } from './device-queue-options.ts'
import type { InOrder, UsedRing } from './in-order.ts'
import type { GuestMemory } from './memory.ts'
import type { DeviceQueue, QueueInspection, QueueSetup, QueueState, SavedChain } from './queue.ts'
import type { Violation, ViolationKind } from './violation.ts'

const defaultChainLength = 1024
const highUnit = 0x1_0000_0000
/** Bytes of a window at most, and of them those before the buffer that it is made for. */
const mostSpan = 2 ** 31 - 1
const windowBefore = 2 ** 30
/** Segments of all chains of a queue together: 16 MiB. */
const mostSegments = segmentLayout.segmentMask + 1
const leastSegments = 2 ** 12
/** In place of a head: no chain is out, and the next one may be alone. */
export const noHead = -1
const nobody = noHead
/** In place of a head: what is out is marked. */
export const several = -2
/** More than a ring has. */
const noBatch = 2 ** 16
/** So many batches a driver does not see at most, though it waits for none: who is busy takes what it sees, and waking it again costs more than several requests. */
const mostBatches = 8
/** And no more than a quarter of the ring. */
const leastVisibleShift = 2
/** How often callbacks may complete more while a queue is saved. */
const mostRounds = 16
/** No stamp of a memory. */
const never = -2
/** What follows a use: entries become visible, the driver is notified if it wants, chains that wait for room are taken again. */
const shows = 1
const notifies = 2
const resumes = 4

/** What a format says of itself. */
export interface RingFormat {
  readonly name: 'split' | 'packed'
  /** What is wrong with a queue size. */
  readonly sizeProblem: (setup: QueueSetup) => Violation | undefined
  readonly start: QueueState
}

/**
 * A queue over a ring. A format extends it with the words of its ring: where they lie, and in which order they are read and written.
 *
 * Unless notifications are disabled, `next` asks for one before it gives undefined, so that a device that simply takes chains until there are none misses nothing.
 *
 * Members beginning with `$` are for the formats and this class. `next` and `used` are what each chain goes through: there, a call costs more than what it does.
 */
export abstract class RingDeviceQueue implements DeviceQueue, ChainOwner, UsedRing {
  readonly index: number = 0
  readonly size: number = 0
  declare readonly memory: GuestMemory
  declare readonly slab: SegmentSlab
  /** Where the next available buffer is looked for, and where the next used buffer goes. */
  $available = 0
  $used = 0
  /** Up to where used buffers are visible to the driver. */
  $published = 0
  /** `memory.$stamp`, as long as the views of the ring are those of now and `next` has nothing to do but to take a chain. */
  $stamp: number = never
  /** The chain object that is taken first, as long as it is free: a device that completes each chain before the next one needs no other. */
  declare readonly $spare: Chain
  /** The head of the only chain that is out, which is `$spare`; it is not marked then. Otherwise below 0. */
  $alone: number = nobody
  /** Number of the chain that was taken last; see `Chain.$ticket`. */
  $tickets = 0
  $starved = false
  declare readonly $builder: ChainBuilder
  declare readonly $pool: ChainPool
  /** With VIRTIO_F_IN_ORDER: what is complete and waits for its turn. */
  readonly $inOrder: InOrder | undefined
  /** Descriptors of a chain at most. */
  readonly $most: number = 0
  /** The bytes around the last buffer that lie in the same region, as 32-bit integers: see {@link $enter}. None at first. */
  $low = 0
  $high = 0
  $span = 0
  /** The window before: headers and payloads may lie in two regions, and take turns. */
  #lowBefore = 0
  #highBefore = 0
  #spanBefore = 0
  readonly #options: DeviceQueueOptions
  readonly #format: RingFormat
  /** Chains of a saved state, or put back, that are still to be delivered, last first. */
  readonly #restored: (number | SavedChain)[]
  /** By head, 1: the driver has not got it back. Grows, as the buffer ids of a packed ring are the driver's choice. */
  #isOut: Uint8Array
  #marked = 0
  #corked = 0
  /** While corked: used buffers become visible at once all the same. */
  #publishes = false
  /** See `showBatch`: chains, where the driver waits to hear of one, and where it does not. */
  readonly #batch: number = noBatch
  readonly #mostUnseen: number = noBatch
  /** Chains that were completed since some became visible by `showBatch`, or since `cork`. */
  #unseen = 0
  /** What follows when a chain is used. One number for all that decides it, as a truth value of a field costs the engine more than a number. */
  #after = shows | notifies
  /** The device wants available buffer notifications. */
  #wanted = true
  /** `next` has found none, looked, and is called once more. */
  #isLooking = false
  #broken: Violation | undefined
  #ended = false
  #paused = false
  /** Whoever waits until no chain is out: their promise, and what resolves it. */
  #draining: Promise<void> | undefined
  #whenDrained: (() => void) | undefined

  /** The format calls `$open` when it is ready. */
  constructor(memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions, format: RingFormat, inOrder: InOrder | undefined) {
    this.memory = memory
    this.index = setup.index
    // What came out of a calculation may be no integer to the engine, and then would be none in any queue.
    this.size = setup.size | 0
    this.#options = options
    if (options.batch) {
      // A driver that is to make more available must see what is used before the ring runs dry.
      const most = Math.max(this.size >> leastVisibleShift, 1)
      this.#batch = Math.min(options.batch, most)
      this.#mostUnseen = Math.min(mostBatches * options.batch, most)
    }
    this.#format = format
    // A queue that does not exist has no chains.
    const size = format.sizeProblem(setup) === undefined ? setup.size : 0
    this.$most = size === 0 ? 1 : chainLimit(options.maxChainLength ?? defaultChainLength, size)
    const bound = Math.max(leastSegments, Math.min(2 ** Math.ceil(Math.log2(2 * size * this.$most)), mostSegments))
    const state = options.state ?? format.start
    this.slab = new SegmentSlab(Math.min(4 * size, bound), bound)
    this.$builder = new ChainBuilder(memory, this.slab)
    this.$pool = new ChainPool(this)
    this.$spare = this.$pool.take()
    this.#isOut = new Uint8Array(size)
    this.$inOrder = inOrder
    if (inOrder !== undefined) this.$alone = several
    this.$available = state.available
    this.$used = this.$published = state.used
    this.#restored = state.inFlight.toReversed()
  }

  /** Looks at what the driver chose, and breaks the queue where it is wrong. */
  protected $open(setup: QueueSetup): void {
    this.memory.refresh()
    const problem = this.#format.sizeProblem(setup) ?? this.$bind()
    if (problem !== undefined) this.$break(problem)
  }

  // ---- What a format knows

  abstract next(): Chain | undefined
  /** Up to where available buffers were seen. */
  protected abstract get $availableSeen(): number
  /** Makes the views anew where those of the memory are new; says so where an area is misaligned or in no region (any more). */
  protected abstract $bind(): Violation | undefined
  /** Looks for available buffers; where what the driver says of them cannot be, the queue is broken. */
  protected abstract $look(): boolean
  /** Reads a chain that was out before. */
  protected abstract $restore(chain: Chain, saved: number | SavedChain): ChainProblem | undefined
  /** What `$restore` needs of a chain that is out. */
  protected abstract $save(chain: Chain): number | SavedChain
  abstract $use(head: number, written: number, slots: number, count: number): void
  /** Makes the used entries visible. */
  protected abstract $publish(): void
  /**
   * Whether the driver asked to be notified of one of the entries published since this was asked last. What it asked for is loaded behind the store of `$publish`,
   * and neither can go before the other: the driver states its wish and then looks for used entries, so that at least one of the two sides sees the other's store.
   */
  protected abstract $isNotificationDue(): boolean
  /** Whether it asked to be notified of one of those, or of one that is not published yet. */
  protected abstract $isAwaited(): boolean
  /**
   * Tells the driver whether the device wants to be notified of the next available buffer. What is available has to be looked at again after that: the driver
   * makes buffers available and then looks for the wish.
   *
   * @returns false where the driver knows already
   */
  protected abstract $ask(wanted: boolean): boolean

  /** Memory has other regions: there is no window. */
  protected $leave(): void {
    this.$span = this.#spanBefore = 0
  }

  // ---- Chains

  get broken(): Violation | undefined {
    return this.#broken
  }
  get ended(): boolean {
    return this.#ended
  }
  get starved(): boolean {
    return this.$starved
  }

  /**
   * Moves the window to a buffer: `$span` bytes from an address of which `$low` and `$high` are the halves. All of them lie in one region and have the same `$high`,
   * so that who compares other buffers with it needs no floating-point numbers, which addresses are to the engine.
   *
   * @param low - half of its address, as a signed integer
   * @param length - of the buffer; signed as well, but not below 0
   * @returns false where the window does not hold all of it: it is in no region, or reaches far
   */
  protected $enter(low: number, high: number, length: number): boolean {
    const { $low, $high, $span } = this
    const offset = (low - this.#lowBefore) | 0
    const isBefore = high === this.#highBefore && offset >= 0 && offset <= ((this.#spanBefore - length) | 0)
    if (isBefore) {
      this.$low = this.#lowBefore
      this.$high = high
      this.$span = this.#spanBefore
    }
    this.#lowBefore = $low
    this.#highBefore = $high
    this.#spanBefore = $span
    return isBefore || this.#find(low, high, length)
  }

  #find(low: number, high: number, length: number): boolean {
    const address = (low >>> 0) + (high >>> 0) * highUnit
    const index = this.memory.indexOf(address, length)
    if (index < 0) return false
    const start = Math.max(this.memory.$starts[index]!, address - windowBefore, (high >>> 0) * highUnit)
    const end = Math.min(this.memory.$ends[index]!, start + mostSpan, (high >>> 0) * highUnit + highUnit)
    this.$low = start | 0
    this.$high = high
    this.$span = end - start
    return address + length <= end
  }

  /** Before a chain is taken, where the stamp is not that of the memory: views become those of now. False where another one comes first, or nothing any more. */
  protected $prepare(): boolean {
    if (!this.#usable() || this.#restored.length > 0) return false
    // Where a buffer may become another one at any time there is no stamp, and each chain comes this way.
    if (this.memory.$stamp >= 0) this.$stamp = this.memory.$stamp
    return true
  }

  /** What `next` gives where `$prepare` gave false. */
  protected $nextRestored(): Chain | undefined {
    const saved = this.#restored.at(-1)
    if (saved === undefined || !this.#usable()) return undefined
    const head = typeof saved === 'number' ? saved : saved.head
    const chain = this.$spare.$state === 0 ? this.$spare : this.$pool.take()
    const problem = this.$restore(chain, saved)
    if (problem !== undefined) return this.$refuse(chain, problem, head, this.$builder.detail)
    this.#restored.pop()
    const delivered = this.$deliver(chain, head)
    this.#holdRestored()
    return delivered
  }

  /** Saved chains that were complete already and only wait for the one before them, which was delivered: they must be known when that one is complete. */
  #holdRestored(): void {
    for (let saved = this.#restored.at(-1); typeof saved === 'object' && saved.written !== undefined; saved = this.#restored.at(-1)) {
      this.#restored.pop()
      const inOrder = this.$inOrder!
      this.#mark(saved.head)
      // Whether it has a device-writable part is not known any more.
      inOrder.complete(inOrder.take(saved.head, saved.slots ?? 1), saved.written, false)
    }
  }

  /** The chain is out now, beside others or in a place among them. */
  protected $deliver(chain: Chain, head: number): Chain | undefined {
    if (!this.#mark(head)) {
      chain.$state = 0
      this.$pool.keep(chain)
      return this.$violate('available-index', head, 'the chain is made available again while the device has it')
    }
    if (this.$inOrder !== undefined) chain.$order = this.$inOrder.take(head, chain.$slots)
    this.$tickets = (this.$tickets + 1) | 0
    chain.$ticket = this.$tickets
    if (this.$starved) {
      this.$starved = false
      this.#settle()
    }
    return chain
  }

  /** The chain could not be read. */
  protected $refuse(chain: Chain, problem: ChainProblem, head: number, detail: string): Chain | undefined {
    this.$pool.keep(chain)
    return problem === 'full' ? this.#retry(head) : this.$violate(problem, head, detail)
  }

  /** No room in the slab: waits for the chains that are out; when there are none, all ranges are given up, as they are only kept for later. */
  #retry(head: number): Chain | undefined {
    // One that is being put back right now is not marked any more, and has its range still.
    if (this.$alone >= 0 || this.#marked > 0 || this.$pool.out().length > 0) {
      this.$starved = true
      this.#settle()
      return undefined
    }
    // Where only the chain that found no room has a range, it cannot be helped.
    const kept = this.$pool.dropRanges()
    this.slab.clear()
    return kept ? this.next() : this.$violate('chain-length', head, `more pieces of memory than the ${this.slab.bound} that there is room for`)
  }

  /** No chain is known to be available: looks for one, and asks for a notification before it finds none. */
  protected $nextUnseen(): Chain | undefined {
    // A buffer that became available before the driver could see the wish comes without a notification: it is looked for again after asking.
    const found = this.$look() || (this.#broken === undefined && this.#wanted && this.$ask(true) && this.#usable() && this.$look())
    // Where what was found is gone again, another thread plays with the ring, and could do so for ever.
    if (!found || this.#isLooking) return undefined
    this.#isLooking = true
    try {
      return this.next()
    } finally {
      this.#isLooking = false
    }
  }

  putBack(chain: Chain): void {
    if ((chain.$state & chainOut) === 0) chain.$misused()
    // With VIRTIO_F_IN_ORDER one that was taken later may be complete, and wait.
    const isLast = this.$pool.out().at(-1) === chain && (this.$inOrder === undefined || this.$inOrder.isLast(chain.$order))
    if (!isLast) throw new Error(`the chain at descriptor ${chain.head} is not the one that was taken last`)
    chain.$state &= ~chainOut
    this.#restored.push(this.$save(chain))
    this.$stamp = never
    this.#unmark(chain.head)
    this.$inOrder?.putBack()
    // The chain has kept its room, and `next` says anew whether that is enough.
    this.$starved = false
    this.#settle()
    this.#checkDrained()
    // Whoever is told may take it again at once, or reset the queue.
    chain.writable.$announce()
    if (this.#ended) {
      this.released(chain)
      return
    }
    chain.$state = 0
    this.$pool.keep(chain)
  }

  /** A chain is completed. */
  used(chain: Chain, written: number): void {
    const head = chain.head
    chain.$state = 0
    this.#unseen = (this.#unseen + 1) | 0
    if (head === this.$alone && this.$stamp === this.memory.$stamp) {
      this.$alone = nobody
      this.$use(head, written, chain.$slots, 1)
      const after = this.#after
      if (after === 0) return
      // As in `#show`, without what cannot be: the views are those of now, and nothing waits for its turn.
      if (after === shows && this.memory.onWrite === undefined) {
        this.$publish()
        return
      }
    } else if (!this.#usedAmong(chain, head, written)) return
    if (this.#after !== 0) this.#tell(this.#after)
    if (this.#whenDrained !== undefined) this.#checkDrained()
  }

  /** The chain may be one of several. False where the ring is not in memory any more. */
  #usedAmong(chain: Chain, head: number, written: number): boolean {
    if (chain !== this.$spare) this.$pool.keep(chain)
    if (this.$stamp !== this.memory.$stamp && !this.#current()) return false
    const inOrder = this.$inOrder
    if (inOrder === undefined) {
      this.#unmark(head)
      this.$use(head, written, chain.$slots, 1)
      return true
    }
    inOrder.complete(chain.$order, written, chain.$isReadOnly)
    for (let head = inOrder.advance(this); head >= 0; head = inOrder.advance(this)) this.#unmark(head)
    return true
  }

  #tell(after: number): void {
    if ((after & shows) !== 0 && this.#show() && (after & notifies) !== 0 && this.$isNotificationDue()) this.#options.notify()
    if ((after & resumes) === 0) return
    this.$starved = false
    this.#settle()
    this.#options.resume?.()
  }

  #settle(): void {
    this.#after = (this.#corked === 0 ? shows | notifies : this.#publishes ? shows : 0) | (this.$starved ? resumes : 0)
  }

  /** Nobody works on a cancelled chain any more. */
  released(chain: Chain): void {
    this.$pool.released(chain)
  }

  /** Notes that a head is out, besides the one that was alone until now. False where it is so already. */
  #mark(head: number): boolean {
    if (this.$alone >= 0) this.#setOut(this.$alone)
    this.$alone = several
    if (this.#isOut[head] === 1) return false
    this.#setOut(head)
    return true
  }

  #setOut(head: number): void {
    if (head >= this.#isOut.length) this.#isOut = enlarged(this.#isOut, head)
    this.#isOut[head] = 1
    this.#marked++
  }

  #unmark(head: number): void {
    if (this.#isOut[head] === 1) {
      this.#isOut[head] = 0
      this.#marked--
    }
    if (this.#marked === 0 && this.$inOrder === undefined) this.$alone = nobody
  }

  // ---- Visibility and notifications

  cork(publishes = false): void {
    if (this.#corked++ === 0) {
      this.#publishes = publishes
      this.#unseen = 0
    } else if (!publishes) this.#publishes = false
    this.#settle()
  }

  /** @throws Error without `cork` */
  uncork(): void {
    if (this.#corked === 0) throw new Error(`queue ${this.index} is not corked`)
    this.#corked--
    this.#settle()
    if (this.#corked !== 0) return
    this.#publish()
    if (this.#whenDrained !== undefined) this.#checkDrained()
  }

  showBatch(): void {
    const unseen = this.#unseen
    if (unseen < this.#batch || (unseen < this.#mostUnseen && !this.#isAwaited())) return
    this.#unseen = 0
    this.#publish()
  }

  /** The driver waits to hear of what is used, and not visible yet. */
  #isAwaited(): boolean {
    if (this.$published === this.$used) return false
    // Where the views may not be those of now, who makes the entries visible finds out.
    return this.$stamp !== this.memory.$stamp || this.$isAwaited()
  }

  /** Makes the used entries visible that are not yet, and notifies the driver if it asked for one of them. */
  #publish(): void {
    if (this.#show() && this.$isNotificationDue()) this.#options.notify()
  }

  /** Makes the used entries visible that are not yet. False where the queue is not at work any more. */
  #show(): boolean {
    // After a reset no stamp is that of the memory.
    if (this.$stamp !== this.memory.$stamp && (this.#ended || !this.#current())) return false
    if (this.$inOrder !== undefined) this.$inOrder.flush(this)
    if (this.$published === this.$used) return true
    this.$publish()
    // Who was told of the writes may have reset the queue, let memory grow, or completed other chains.
    return this.memory.onWrite === undefined || (!this.#ended && this.#current())
  }

  disableNotifications(): void {
    this.#wanted = false
    if (this.#usable()) this.$ask(false)
  }

  enableNotifications(): boolean {
    if (this.#options.quiet?.()) return false
    this.#wanted = true
    if (!this.#usable()) return false
    this.$ask(true)
    // Who is told of the write may have reset the queue.
    if (!this.#usable()) return false
    // What there is no room for is told of by `resume`.
    return !this.$starved && (this.#restored.length > 0 || this.$look())
  }

  // ---- Life

  reset(): Promise<void> | undefined {
    if (this.#ended) return this.$pool.ending
    this.#ended = true
    this.$stamp = never
    const atRest = this.$pool.cancel()
    this.#checkDrained()
    return atRest
  }

  pause(): void {
    this.#paused = true
    // Neither `next` nor `used` takes its short way any more.
    this.$stamp = never
  }

  unpause(): void {
    this.#paused = false
  }

  drained(): Promise<void> | undefined {
    if (this.#isDrained) return undefined
    this.#draining ??= new Promise((resolve) => {
      this.#whenDrained = resolve
    })
    return this.#draining
  }

  get #isDrained(): boolean {
    if (this.#broken !== undefined || this.#ended) return true
    return this.#marked === 0 && this.$alone < 0 && this.$published === this.$used
  }

  #checkDrained(): void {
    if (this.#whenDrained === undefined || !this.#isDrained) return
    this.#whenDrained()
    this.#whenDrained = this.#draining = undefined
  }

  save(): QueueState {
    // Who is told of what becomes visible may complete other chains.
    for (let round = 0; round === 0 || (this.$published !== this.$used && this.#broken === undefined && !this.#ended); round++) {
      if (round === mostRounds) throw new Error(`queue ${this.index} cannot be saved: chains are completed as often as they become visible`)
      this.#publish()
    }
    return { available: this.$available, used: this.$published, inFlight: [...this.#out(), ...this.#restored.toReversed()] }
  }

  /** The chains that the driver has not got back, oldest first. */
  #out(): (number | SavedChain)[] {
    const out = this.$pool.out().map((chain) => this.$save(chain))
    if (this.$inOrder === undefined) return out
    let next = 0
    return this.$inOrder.held(this.#format.name === 'packed').map((held) => held ?? out[next++]!)
  }

  inspect(): QueueInspection {
    return {
      role: 'device',
      format: this.#format.name,
      index: this.index,
      size: this.size,
      broken: this.#broken,
      available: this.$available,
      availableSeen: this.$availableSeen,
      used: this.$used,
      usedPublished: this.$published,
      inFlight: this.#out().map((chain) => (typeof chain === 'number' ? chain : chain.head)),
      wantsNotifications: this.#wanted,
      allocations: this.$pool.made + this.slab.allocations,
    }
  }

  /** The queue may take chains, and its views are those of now. */
  #usable(): boolean {
    return this.#broken === undefined && !this.#ended && !this.#paused && this.#current()
  }

  /** Makes the views of the ring anew where memory has changed. False where the ring is not in memory any more. */
  #current(): boolean {
    this.memory.refresh()
    const problem = this.$bind()
    if (problem !== undefined) this.$break(problem)
    return problem === undefined
  }

  protected $violate(kind: ViolationKind, head: number, detail: string): undefined {
    this.$break(head < 0 ? { kind, queue: this.index, detail } : { kind, queue: this.index, head, detail })
  }

  protected $break(violation: Violation): void {
    if (this.#broken !== undefined) return
    this.#broken = violation
    this.$stamp = never
    this.#checkDrained()
    this.#options.fail(violation)
  }
}

function enlarged(flags: Uint8Array, index: number): Uint8Array {
  const larger = new Uint8Array(2 ** Math.ceil(Math.log2(index + 1)))
  larger.set(flags)
  return larger
}

function chainLimit(limit: number | 'strict', size: number): number {
  if (limit === 'strict') return size
  return checkInteger(limit, 1, split_ring_limits.split_ring_index_wrap, 'maxChainLength')
}
