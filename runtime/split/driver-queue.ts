/** Driver side of a split virtqueue. VIRTIO 1.4, Basic Facilities of a Virtio Device / Split Virtqueues. */
import { split_ring_limits, VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE, VirtqDescSize } from 'virtgen/wire/split-ring'
import { BuffersOut } from '../buffers-out.ts'
import type { DriverQueueOptions } from '../driver-queue-options.ts'
import { checkSplitDriverState } from '../driver-state.ts'
import { IndirectTables } from '../indirect-tables.ts'
import type { GuestMemory } from '../memory.ts'
import { Pieces, pieceWords } from '../pieces.ts'
import type { DeviceAddress, DriverQueue, DriverQueueState, QueueInspection, QueueSetup } from '../queue.ts'
import type { Violation, ViolationKind } from '../violation.ts'
import { isQueueSize } from './areas.ts'
import { putDescriptor, SplitDriverRing } from './driver-ring.ts'
import { isEventDue } from './event-index.ts'

// Constants of this module are folded into the code; imported ones are looked up at each use.
const nextFlag = VIRTQ_DESC_F_NEXT
const writeFlag = VIRTQ_DESC_F_WRITE
const pieceStep = pieceWords
const indirectFlag = VIRTQ_DESC_F_INDIRECT
const descriptorBytes = VirtqDescSize
const descriptorStep = descriptorBytes / 4
const indexMask = split_ring_limits.split_ring_index_wrap - 1
/** Half of the way round an index: farther than any queue is long. */
const halfWay = split_ring_limits.split_ring_index_wrap / 2
/** Of a queue itself: its shadow, what it puts together, and itself. */
const fixedAllocations = 10
/** Views of the rings. */
const viewsOfRing = 4

/**
 * Driver side of a split virtqueue.
 *
 * What is known of a buffer is kept here and never read back: the device could have changed it. Only the device's own words are read, each once: `used.idx`, the used
 * elements, `avail_event` and `used.flags`.
 *
 * @typeParam T - what the caller wants back with a used buffer
 */
export class SplitDriverQueue<T = unknown> implements DriverQueue<T> {
  readonly index: number
  readonly size: number
  readonly #fail: (violation: Violation) => void
  readonly #notify: () => void
  readonly #eventIndex: boolean
  readonly #inOrder: boolean
  readonly #ring: SplitDriverRing
  readonly #tables: IndirectTables | undefined
  readonly #pieces: Pieces
  readonly #out: BuffersOut<T>

  /**
   * Of each descriptor: the one behind it, in its chain or in the list of free ones. With VIRTIO_F_IN_ORDER that is always the next one of the table, and since buffers come
   * back as they went, the free ones are those from `#firstFree` on.
   */
  readonly #next: Uint16Array
  /** Of each head: the last descriptor of its chain. */
  readonly #last: Uint16Array
  #firstFree = 0
  #free: number

  /** Where the next buffer goes, and up to where the device has been told. */
  #availIndex = 0
  #published = 0
  /** The next used element, and up to where the device has used when it was looked at last. */
  #usedIndex = 0
  #usedSeen = 0
  /** VIRTIO_F_IN_ORDER: buffers of a used batch that are not given yet, and the bytes written into the last of them. */
  #batch = 0
  #batchWritten = 0
  /** What `used_event` holds. */
  #usedEvent = 0
  #wantsNotifications = true
  #written = 0
  /** Detached, closed or broken: takes no buffer and gives none. */
  #stopped = false
  #broken: Violation | undefined

  /**
   * Without `state` the areas are cleared: the queue begins anew. The transport tells the device afterwards.
   *
   * @throws RangeError for a wrong size, an area that is misaligned or not in one region of the memory, or a state that cannot be
   */
  constructor(memory: GuestMemory, setup: QueueSetup, options: DriverQueueOptions<T>) {
    const { size } = setup
    if (!isQueueSize(size))
      throw new RangeError(`a queue size must be a power of 2 from 1 to ${split_ring_limits.split_ring_max_queue_size}, not ${size}`)
    this.index = setup.index
    this.size = size
    this.#fail = options.fail
    this.#notify = options.notify
    this.#eventIndex = options.eventIndex === true
    this.#inOrder = options.inOrder === true
    this.#ring = new SplitDriverRing(memory, setup)
    this.#tables = options.indirect && options.indirectTables !== undefined ? new IndirectTables(options.indirectTables, size) : undefined
    this.#pieces = new Pieces(size)
    this.#out = new BuffersOut(size, this.#inOrder)
    this.#next = new Uint16Array(size)
    this.#last = new Uint16Array(size)
    this.#free = size
    for (let i = 0; i < size; i++) this.#next[i] = (i + 1) & (size - 1)
    this.#ring.bind()
    if (options.state === undefined) this.#ring.clear()
    else this.#restore(options.state, options.tokens)
  }

  get free(): number {
    return this.#free
  }

  get out(): number {
    return this.#out.count
  }

  get broken(): Violation | undefined {
    return this.#broken
  }

  get written(): number {
    return this.#written
  }

  get published(): number {
    return this.#published
  }

  add(readable: readonly DeviceAddress[], writable: readonly DeviceAddress[], token: T): boolean {
    this.#pieces.begin(readable, writable)
    try {
      for (let i = 0; i < readable.length; i++) if (!this.append(readable[i]!.address, readable[i]!.length, false)) return false
      for (let i = 0; i < writable.length; i++) if (!this.append(writable[i]!.address, writable[i]!.length, true)) return false
      this.commit(token)
      return true
    } finally {
      this.#pieces.clear()
    }
  }

  append(address: number, length: number, writable: boolean): boolean {
    const pieces = this.#pieces
    pieces.put(address, length, writable)
    if (this.#hasRoom(pieces.count)) return true
    pieces.drop()
    return false
  }

  commit(token: T): void {
    const pieces = this.#pieces
    const { count } = pieces
    if (count === 0) throw new Error(`queue ${this.index}: nothing was appended that could be committed`)
    this.#ring.bind()
    const head = this.#firstFree
    if (count > 1 && this.#tables?.has(count)) this.#putIndirect(this.#tables, head)
    else this.#putDirect(head)
    this.#ring.offer(this.#availIndex, head)
    this.#availIndex = (this.#availIndex + 1) & indexMask
    this.#out.setToken(head, token)
    pieces.clear()
  }

  rewind(): void {
    this.#pieces.clear()
  }

  publish(): void {
    const old = this.#published
    const now = this.#availIndex
    if (this.#stopped || old === now) return
    this.#ring.bind()
    this.#out.publish()
    this.#published = now
    this.#ring.publish(now)
    if (this.#eventIndex ? isEventDue(this.#ring.availEvent(), now, old) : !this.#ring.notifyOff()) this.#notify()
  }

  completed(): T | undefined {
    if (this.#stopped) return undefined
    if (this.#batch > 0) return this.#nextOfBatch()
    this.#ring.bind()
    const at = this.#usedIndex
    if (at === this.#usedSeen && !this.#look()) return undefined
    const id = this.#ring.usedId(at)
    const length = this.#ring.usedLength(at)
    if (!this.#out.isVisible(id)) return this.#violate('used-id', `the used ring holds id ${id}, which is not the head of a buffer that is out`, id)
    const writable = this.#out.writable(id)
    if (length > writable) return this.#violate('used-length', `${length} bytes are used of a buffer with ${writable} device-writable ones`, id)
    if (this.#inOrder) return this.#openBatch(id, length)
    this.#usedIndex = (at + 1) & indexMask
    this.#written = length
    return this.#release(id)
  }

  disableNotifications(): void {
    this.#wantsNotifications = false
    if (this.#stopped) return
    this.#ring.bind()
    if (this.#eventIndex) this.#setUsedEvent((this.#usedIndex + halfWay) & indexMask)
    else this.#ring.setInterruptsOff(true)
  }

  enableNotifications(): boolean {
    this.#wantsNotifications = true
    if (this.#stopped) return false
    this.#ring.bind()
    if (this.#eventIndex) this.#setUsedEvent(this.#usedIndex)
    else this.#ring.setInterruptsOff(false)
    return this.#ring.usedIndex() !== this.#usedIndex
  }

  /** From the first call on the queue is over: it takes no buffer and gives none. */
  detach(): T | undefined {
    this.#stop()
    const head = this.#out.any()
    return head < 0 ? undefined : this.#release(head)
  }

  close(): void {
    this.#stop()
    this.#tables?.free()
  }

  /** Publishes what was added, so that the state is that of the ring in memory. Pieces without a `commit` are not in it. */
  save(): DriverQueueState {
    this.publish()
    return {
      available: this.#availIndex,
      used: this.#usedIndex,
      out: this.#out.list().map((head) => ({ head, descriptors: this.#chain(head), writable: this.#out.writable(head) })),
      ...(this.#inOrder ? { descriptor: this.#firstFree } : {}),
      ...(this.#batch > 0 ? { batch: { buffers: this.#batch, written: this.#batchWritten } } : {}),
    }
  }

  inspect(): QueueInspection {
    return {
      role: 'driver',
      format: 'split',
      index: this.index,
      size: this.size,
      broken: this.#broken,
      available: this.#availIndex,
      availableSeen: this.#published,
      used: this.#usedIndex,
      usedPublished: this.#usedSeen,
      inFlight: this.#out.list(),
      wantsNotifications: this.#wantsNotifications,
      allocations: fixedAllocations + this.#ring.bindings * viewsOfRing + (this.#tables?.allocations ?? 0),
    }
  }

  /** Says whether a buffer of so many pieces finds room: in a table behind one descriptor where there can be one, else in so many descriptors. */
  #hasRoom(count: number): boolean {
    if (this.#stopped) return false
    // The first piece has found a free descriptor.
    if (count > 1 && this.#tables !== undefined && this.#tables.reserve(count)) return true
    return count <= this.#free
  }

  #putDirect(head: number): void {
    const { words: from, count, readable, writableBytes } = this.#pieces
    const to = this.#ring.descriptors
    const nexts = this.#next
    let at = head
    let last = head
    for (let i = 0, word = 0; i < count; i++, word += pieceStep) {
      const next = nexts[at]!
      const write = i < readable ? 0 : writeFlag
      putDescriptor(to, at * descriptorStep, from[word]!, from[word + 1]!, from[word + 2]!, i + 1 < count ? write | nextFlag | (next << 16) : write)
      last = at
      at = next
    }
    this.#keep(head, last, at, count, writableBytes)
  }

  #putIndirect(tables: IndirectTables, head: number): void {
    const { words: from, count, readable, writableBytes } = this.#pieces
    const address = tables.take(head)
    let at = tables.open(address, count)
    const { words: to } = tables
    for (let i = 0, word = 0; i < count; i++, word += pieceStep, at += descriptorStep) {
      const write = i < readable ? 0 : writeFlag
      putDescriptor(to, at, from[word]!, from[word + 1]!, from[word + 2]!, i + 1 < count ? write | nextFlag | ((i + 1) << 16) : write)
    }
    const high = Math.floor(address / 0x1_0000_0000)
    putDescriptor(this.#ring.descriptors, head * descriptorStep, address >>> 0, high, count * descriptorBytes, indirectFlag)
    this.#keep(head, head, this.#next[head]!, 1, writableBytes)
  }

  /** Takes a chain's descriptors out of the list of free ones. */
  #keep(head: number, last: number, firstFree: number, count: number, writable: number): void {
    this.#out.add(head, count, writable)
    this.#last[head] = last
    this.#firstFree = firstFree
    this.#free -= count
  }

  #release(head: number): T | undefined {
    this.#free += this.#out.descriptors(head)
    if (!this.#inOrder) {
      this.#next[this.#last[head]!] = this.#firstFree
      this.#firstFree = head
    }
    this.#tables?.give(head)
    return this.#out.release(head)
  }

  /** Indices of the descriptors of a chain. */
  #chain(head: number): number[] {
    const chain = [head]
    for (let at = head; at !== this.#last[head]; chain.push(at)) at = this.#next[at]!
    return chain
  }

  /** Reads used.idx, once. False when nothing new is there; the device then knows from where on to notify. */
  #look(): boolean {
    if (this.#loadUsedIndex()) return true
    if (this.#broken !== undefined || !this.#eventIndex || !this.#wantsNotifications || this.#usedEvent === this.#usedIndex) return false
    // What the device used before it could see the wish comes without a notification: the index is loaded again after asking.
    this.#setUsedEvent(this.#usedIndex)
    return this.#loadUsedIndex()
  }

  #loadUsedIndex(): boolean {
    const index = this.#ring.usedIndex()
    const used = (index - this.#usedIndex) & indexMask
    const out = (this.#published - this.#usedIndex) & indexMask
    if (used > out) {
      this.#violate('used-index', `the used index goes from ${this.#usedIndex} to ${index}, but only ${out} buffers are out`)
      return false
    }
    this.#usedSeen = index
    return used !== 0
  }

  /** VIRTIO_F_IN_ORDER: one element stands for all buffers up to the one that it names, and the next element lies as many places further. */
  #openBatch(id: number, length: number): T | undefined {
    const count = this.#out.batchTo(id)
    const used = (this.#usedSeen - this.#usedIndex) & indexMask
    if (count > used)
      return this.#violate('used-id', `the used index is ${used} further, but id ${id} is that of buffer ${count} of those that are out`, id)
    this.#batch = count
    this.#batchWritten = length
    return this.#nextOfBatch()
  }

  /** The buffers without an element are assumed to have been used completely. */
  #nextOfBatch(): T | undefined {
    const head = this.#out.oldest()
    this.#batch--
    this.#written = this.#batch === 0 ? this.#batchWritten : this.#out.writable(head)
    this.#usedIndex = (this.#usedIndex + 1) & indexMask
    return this.#release(head)
  }

  #setUsedEvent(index: number): void {
    this.#usedEvent = index
    this.#ring.setUsedEvent(index)
  }

  #restore(state: DriverQueueState, tokens: readonly T[] | undefined): void {
    checkSplitDriverState(state, tokens, this.size, this.#inOrder)
    const { available, used, out, batch } = state
    const taken = new Set<number>()
    out.forEach(({ head, descriptors, writable }, i) => {
      const chain = descriptors as readonly number[]
      chain.forEach((at, place) => {
        taken.add(at)
        if (place + 1 < chain.length) this.#next[at] = chain[place + 1]!
      })
      this.#keep(head, chain.at(-1)!, 0, chain.length, writable)
      this.#out.setToken(head, tokens![i]!)
    })
    this.#out.publish()
    this.#firstFree = this.#inOrder ? (state.descriptor ?? 0) : this.#linkFree(taken)
    this.#availIndex = available
    this.#published = available
    this.#usedIndex = used
    this.#usedSeen = (used + (batch?.buffers ?? 0)) & indexMask
    this.#batch = batch?.buffers ?? 0
    this.#batchWritten = batch?.written ?? 0
    this.enableNotifications()
  }

  /** Makes a list of all descriptors that no chain has; returns the first one. */
  #linkFree(taken: ReadonlySet<number>): number {
    let first = 0
    for (let i = this.size - 1; i >= 0; i--) {
      if (taken.has(i)) continue
      this.#next[i] = first
      first = i
    }
    return first
  }

  #stop(): void {
    this.#stopped = true
    this.#pieces.clear()
  }

  #violate(kind: ViolationKind, detail: string, head?: number): undefined {
    this.#stopped = true
    this.#broken = head === undefined ? { kind, queue: this.index, detail } : { kind, queue: this.index, head, detail }
    this.#fail(this.#broken)
  }
}
