/** What the driver sides of both ring formats share: buffers that are put together and buffers that are out, what the device may say of them, and how a queue ends. */
import { VirtqDescSize } from 'virtgen/wire/split-ring'
import { BuffersOut } from './buffers-out.ts'
import type { DriverQueueOptions } from './driver-queue-options.ts'
import { countOf } from './driver-state.ts'
import { IndirectTables } from './indirect-tables.ts'
import type { GuestMemory } from './memory.ts'
import { Pieces } from './pieces.ts'
import type { DeviceAddress, DriverQueue, DriverQueueState, QueueInspection, QueueSetup } from './queue.ts'
import { type RingAreas, ringAreas } from './ring-areas.ts'
import type { AreaSizes } from './split/areas.ts'
import type { Violation, ViolationKind } from './violation.ts'

/** Of both formats. */
const descriptorBytes = VirtqDescSize
/** Of a queue itself: its shadow, what it puts together, and itself. */
const fixedAllocations = 11
/** Views of a ring. */
const viewsOfRing = 4
/** No stamp of a memory: the views may be those of another time. */
const unstamped = -2
/** The id of no buffer. */
const nobody = -1

/** What a format says of itself. */
export interface DriverRingFormat {
  readonly name: 'split' | 'packed'
  readonly isSize: (size: number) => boolean
  /** The sizes that there are, in words. */
  readonly sizes: string
  readonly areaSizes: (size: number) => AreaSizes
  readonly areaAlignment: AreaSizes
  /** The position at which a queue begins. */
  readonly start: number
  /** Throws a RangeError for a state that cannot be. */
  readonly checkState: (state: DriverQueueState, tokens: readonly unknown[] | undefined, size: number, inOrder: boolean) => void
}

/**
 * A driver's queue over a ring. A format extends it with the words of its ring: where they lie, and in which order they are read and written.
 *
 * What is known of a buffer is kept here and never read back: the device could have changed it. Only the device's own words are read, each once.
 *
 * Members beginning with `$` are for the formats and this class. What each used buffer goes through, `completed`, is theirs: a call for each thing that it asks of a ring
 * costs more than what it does. Fields that are read for each buffer begin with a value of their kind or are only declared: what begins undefined is checked at each use.
 *
 * @typeParam T - what the caller wants back with a used buffer
 */
export abstract class RingDriverQueue<T> implements DriverQueue<T> {
  readonly index: number = 0
  readonly size: number = 0
  /** Where the next buffer goes, and up to where the device has been told. */
  protected $available = 0
  protected $published = 0
  /** Where the next used buffer is looked for. */
  protected $used = 0
  /** VIRTIO_F_IN_ORDER: buffers of a used batch that are not given yet. */
  protected $batch = 0
  /**
   * Of each descriptor: the one behind it, in its chain or in the list of free ones. Where they go round it is always the next one of the table, and since buffers come back
   * as they went, the free ones are those from `$firstFree` on. Packed: of each buffer id that no buffer has, the next such one.
   */
  declare protected readonly $next: Uint16Array
  /** Of each head: the last descriptor of its chain. Packed: of each buffer id, itself. */
  declare protected readonly $last: Uint16Array
  protected $firstFree = 0
  declare protected readonly $pieces: Pieces
  declare protected readonly $out: BuffersOut<T>
  protected readonly $eventIndex: boolean = false
  /** Detached, closed or broken: takes no buffer and gives none. */
  protected $stopped = false
  readonly #memory: GuestMemory
  readonly #setup: QueueSetup
  readonly #format: DriverRingFormat
  readonly #fail: (violation: Violation) => void
  readonly #notify: () => void
  readonly #inOrder: boolean
  /** With VIRTIO_F_IN_ORDER the descriptors of a split ring are taken in the order of the table, round and round. */
  readonly #goesRound: boolean
  readonly #tables: IndirectTables | undefined
  /** `memory.$stamp` of the views, where there is one: then nothing must be asked. */
  #stamp = unstamped
  #version = -1
  /** Times at which the views were made. */
  #bindings = 0
  #free = 0
  /** Bytes written into the last buffer of the batch. */
  #batchWritten = 0
  /** What the device was told of the notifications that are wanted. */
  #told = 0
  #wantsNotifications = true
  #written = 0
  #broken: Violation | undefined

  /**
   * The format calls `$open` when it is ready.
   *
   * @throws RangeError for a wrong size
   */
  constructor(memory: GuestMemory, setup: QueueSetup, options: DriverQueueOptions<T>, format: DriverRingFormat) {
    const { size } = setup
    if (!format.isSize(size)) throw new RangeError(`a queue size must be ${format.sizes}, not ${size}`)
    this.index = setup.index
    this.size = size
    this.#memory = memory
    this.#setup = setup
    this.#format = format
    this.#fail = options.fail
    this.#notify = options.notify
    this.$eventIndex = options.eventIndex === true
    this.#inOrder = options.inOrder === true
    this.#goesRound = this.#inOrder && format.name === 'split'
    this.#tables = options.indirect && options.indirectTables !== undefined ? new IndirectTables(options.indirectTables, size) : undefined
    this.$pieces = new Pieces(size)
    this.$out = new BuffersOut(size, this.#inOrder)
    this.$available = this.$published = this.$used = format.start
    this.$next = new Uint16Array(size)
    this.$last = new Uint16Array(size)
    for (let i = 0; i < size; i++) {
      this.$next[i] = i + 1 < size ? i + 1 : 0
      this.$last[i] = i
    }
    this.#free = size
  }

  /**
   * Without `state` the areas are cleared: the queue begins anew. The transport tells the device afterwards.
   *
   * @throws RangeError for an area that is misaligned or not in one region of the memory, or a state that cannot be
   */
  protected $open({ state, tokens }: DriverQueueOptions<T>): void {
    this.$bind()
    if (state !== undefined) this.#restore(state, tokens)
    else this.#clear()
  }

  // ---- What a format knows

  abstract completed(): T | undefined
  /** Keeps views of the areas. */
  protected abstract $view(areas: RingAreas): void
  /**
   * Writes the pieces into free descriptors of the ring, not yet visible to the device, and moves on.
   *
   * @param isIndirect - the only piece is a table
   * @returns the id by which the device names the buffer
   */
  protected abstract $put(isIndirect: boolean): number
  /** Writes the pieces into an indirect table whose first word is that at `at`. */
  protected abstract $putTable(words: Uint32Array, at: number): void
  /**
   * Makes what was put visible, and says whether the device asked to be notified of any of it. What it asked for is loaded behind the store that makes it visible, and
   * neither can go before the other: the device states its wish and then looks for available buffers, so that at least one of the two sides sees the other's store.
   */
  protected abstract $publish(): boolean
  /** Says whether something is used; what that is will be looked at when it is taken. */
  protected abstract $isUsed(): boolean
  /** As {@link $isUsed}, before it is taken: where what the device says of it cannot be, the queue is broken. */
  protected abstract $look(): boolean
  /** Up to where used buffers were seen. */
  protected abstract get $usedSeen(): number
  /** What tells the device whether to notify of the next used buffer. */
  protected abstract $wish(wanted: boolean): number
  /** Tells it. What is used has to be looked at again after that: the device uses buffers and then looks for the wish. */
  protected abstract $ask(wish: number): void
  /** As in a saved state. */
  protected abstract $descriptors(id: number): number | readonly number[]

  // ---- Buffers for the device

  get free(): number {
    return this.#free
  }
  get out(): number {
    return this.$out.count
  }
  get broken(): Violation | undefined {
    return this.#broken
  }
  get written(): number {
    return this.#written
  }
  get published(): number {
    return this.$published
  }

  add(readable: readonly DeviceAddress[], writable: readonly DeviceAddress[], token: T): boolean {
    this.$pieces.begin(readable, writable)
    try {
      for (let i = 0; i < readable.length; i++) if (!this.append(readable[i]!.address, readable[i]!.length, false)) return false
      for (let i = 0; i < writable.length; i++) if (!this.append(writable[i]!.address, writable[i]!.length, true)) return false
      this.commit(token)
      return true
    } finally {
      this.$pieces.clear()
    }
  }

  append(address: number, length: number, writable: boolean): boolean {
    const pieces = this.$pieces
    pieces.put(address, length, writable)
    if (this.#hasRoom(pieces.count)) return true
    pieces.drop()
    return false
  }

  commit(token: T): void {
    const pieces = this.$pieces
    if (pieces.count === 0) throw new Error(`queue ${this.index}: nothing was appended that could be committed`)
    this.$bind()
    const writable = pieces.writableBytes
    const tables = pieces.count > 1 && this.#tables?.has(pieces.count) ? this.#tables : undefined
    if (tables !== undefined) this.#moveInto(tables)
    const id = this.$put(tables !== undefined)
    tables?.take(id)
    this.$out.add(id, pieces.count, writable, token)
    this.#free -= pieces.count
    pieces.clear()
  }

  rewind(): void {
    this.$pieces.clear()
  }

  publish(): void {
    if (this.$stopped || this.$out.isVisibleAll) return
    this.$bind()
    this.$out.publish()
    if (this.$publish()) this.#notify()
  }

  /** Says whether a buffer of so many pieces finds room: in a table behind one descriptor where there can be one, else in so many descriptors. */
  #hasRoom(count: number): boolean {
    if (this.$stopped) return false
    // The first piece has found a free descriptor.
    if (count > 1 && this.#tables !== undefined && this.#tables.reserve(count)) return true
    return count <= this.#free
  }

  /** The pieces go into the table that is ready, and become one piece, which is that table. */
  #moveInto(tables: IndirectTables): void {
    const pieces = this.$pieces
    const { count } = pieces
    const at = tables.open(count)
    this.$putTable(tables.words, at)
    pieces.become(tables.address, count * descriptorBytes)
  }

  // ---- Used buffers

  /** Nothing was used: the device then knows from where on to notify. */
  protected $lookAgain(): boolean {
    if (this.$stopped || !this.$eventIndex || !this.#wantsNotifications) return false
    const wish = this.$wish(true)
    if (wish === this.#told) return false
    // What the device used before it could see the wish comes without a notification: it is looked for again after asking.
    this.#tell(wish)
    return this.$look()
  }

  /**
   * Takes what the device says of the used buffer that is next, or breaks the queue.
   *
   * @param most - how many buffers can have been used, as far as the device has told
   * @returns the id of the buffer that comes back, or -1
   */
  protected $accept(id: number, length: number, most: number): number {
    const out = this.$out
    if (!out.isVisible(id) || length > out.writable(id)) return this.#refuse(id, length)
    if (!this.#inOrder) {
      this.#written = length
      return id
    }
    // What tells of one used buffer stands for all up to that one.
    const count = out.batchTo(id)
    if (count > most) return this.#refuseBatch(id, count, most)
    this.$batch = count
    this.#batchWritten = length
    return this.$nextOfBatch()
  }

  /** VIRTIO_F_IN_ORDER: the buffers that nothing tells of are assumed to have been used completely. */
  protected $nextOfBatch(): number {
    const id = this.$out.oldest()
    this.$batch--
    this.#written = this.$batch === 0 ? this.#batchWritten : this.$out.writable(id)
    return id
  }

  /** A buffer is back. */
  protected $release(id: number): T | undefined {
    this.#free += this.$out.descriptors(id)
    if (!this.#goesRound) {
      this.$next[this.$last[id]!] = this.$firstFree
      this.$firstFree = id
    }
    this.#tables?.give(id)
    return this.$out.release(id)
  }

  disableNotifications(): void {
    this.#wantsNotifications = false
    if (this.$stopped) return
    this.$bind()
    this.#tell(this.$wish(false))
  }

  enableNotifications(): boolean {
    this.#wantsNotifications = true
    if (this.$stopped) return false
    this.$bind()
    this.#tell(this.$wish(true))
    return this.$batch > 0 || this.$isUsed()
  }

  #tell(wish: number): void {
    this.#told = wish
    this.$ask(wish)
  }

  // ---- Life

  /** From the first call on the queue is over: it takes no buffer and gives none. */
  detach(): T | undefined {
    this.#stop()
    const id = this.$out.any()
    return id < 0 ? undefined : this.$release(id)
  }

  close(): void {
    this.#stop()
    this.#tables?.free()
  }

  #stop(): void {
    this.$stopped = true
    this.$pieces.clear()
  }

  /** Publishes what was added, so that the state is that of the ring in memory. Pieces without a `commit` are not in it. */
  save(): DriverQueueState {
    this.publish()
    return {
      available: this.$available,
      used: this.$used,
      out: this.$out.list().map((head) => ({ head, descriptors: this.$descriptors(head), writable: this.$out.writable(head) })),
      ...(this.#goesRound ? { descriptor: this.$firstFree } : {}),
      ...(this.$batch > 0 ? { batch: { buffers: this.$batch, written: this.#batchWritten } } : {}),
    }
  }

  #restore(state: DriverQueueState, tokens: readonly T[] | undefined): void {
    this.#format.checkState(state, tokens, this.size, this.#inOrder)
    const { available, used, out, batch } = state
    const taken = new Set<number>()
    out.forEach(({ head, descriptors, writable }, i) => {
      const chain = typeof descriptors === 'number' ? [head] : descriptors
      chain.forEach((at, place) => {
        taken.add(at)
        if (place > 0) this.$next[chain[place - 1]!] = at
      })
      this.$last[head] = chain.at(-1)!
      this.$out.add(head, countOf(descriptors), writable, tokens![i]!)
      this.#free -= countOf(descriptors)
    })
    this.$out.publish()
    this.$firstFree = this.#goesRound ? (state.descriptor ?? 0) : this.#linkFree(taken)
    this.$available = this.$published = available
    this.$used = used
    this.$batch = batch?.buffers ?? 0
    this.#batchWritten = batch?.written ?? 0
    this.#tell(this.$wish(true))
  }

  /** Makes a list of all descriptors (packed: buffer ids) that no buffer has; returns the first one. */
  #linkFree(taken: ReadonlySet<number>): number {
    let first = 0
    for (let i = this.size - 1; i >= 0; i--) {
      if (taken.has(i)) continue
      this.$next[i] = first
      first = i
    }
    return first
  }

  inspect(): QueueInspection {
    return {
      role: 'driver',
      format: this.#format.name,
      index: this.index,
      size: this.size,
      broken: this.#broken,
      available: this.$available,
      availableSeen: this.$published,
      used: this.$used,
      usedPublished: this.$usedSeen,
      inFlight: this.$out.list(),
      wantsNotifications: this.#wantsNotifications,
      allocations: fixedAllocations + this.#bindings * viewsOfRing + (this.#tables?.allocations ?? 0),
    }
  }

  // ---- Memory

  /**
   * Makes the views anew where those of the memory are new.
   *
   * @throws RangeError where an area is misaligned, or not in one region (any more)
   */
  protected $bind(): void {
    if (this.#stamp !== this.#memory.$stamp) this.#rebind()
  }

  #rebind(): void {
    const memory = this.#memory
    memory.refresh()
    if (this.#version !== memory.version) {
      this.$view(this.#areas())
      this.#version = memory.version
      this.#bindings++
    }
    this.#stamp = memory.$stamp < 0 ? unstamped : memory.$stamp
  }

  /** The device must not find what lay there: all begins with zeros, which also ask for all notifications. */
  #clear(): void {
    const { descriptorArea, driverArea, deviceArea } = this.#areas()
    for (const area of [descriptorArea, driverArea, deviceArea]) area.fill(0)
  }

  #areas(): RingAreas {
    const areas = ringAreas(this.#memory, this.#setup, this.#format.areaSizes(this.size), this.#format.areaAlignment)
    if ('kind' in areas) throw new RangeError(`queue ${this.index}: ${areas.detail}`)
    return areas
  }

  #refuse(id: number, length: number): number {
    const { visible } = this.$out
    if (visible === 0) return this.$violate('used-index', `there is a used buffer at ${this.$used}, but no buffer is out`)
    if (!this.$out.isVisible(id))
      return this.$violate('used-id', `the used buffer at ${this.$used} has id ${id}, which no buffer that is out has`, id)
    return this.$violate('used-length', `${length} bytes are used of a buffer with ${this.$out.writable(id)} device-writable ones`, id)
  }

  #refuseBatch(id: number, count: number, most: number): number {
    return this.$violate('used-id', `the used index is ${most} further, but id ${id} is that of buffer ${count} of those that are out`, id)
  }

  protected $violate(kind: ViolationKind, detail: string, head?: number): number {
    this.$stopped = true
    this.#broken = head === undefined ? { kind, queue: this.index, detail } : { kind, queue: this.index, head, detail }
    this.#fail(this.#broken)
    return nobody
  }
}
