/** Driver side of a packed virtqueue. VIRTIO 1.4, Basic Facilities of a Virtio Device / Packed Virtqueues. */
import {
  PvirtqDescSize,
  packed_ring_limits,
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  RING_EVENT_FLAGS_ENABLE,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
} from 'virtgen/wire/packed-ring'
import { BuffersOut } from '../buffers-out.ts'
import type { DriverQueueOptions } from '../driver-queue-options.ts'
import { checkPackedDriverState, countOf } from '../driver-state.ts'
import { IndirectTables } from '../indirect-tables.ts'
import type { GuestMemory } from '../memory.ts'
import { Pieces, pieceWords } from '../pieces.ts'
import type { DeviceAddress, DriverQueue, DriverQueueState, QueueInspection, QueueSetup } from '../queue.ts'
import type { Violation, ViolationKind } from '../violation.ts'
import { isPackedQueueSize } from './areas.ts'
import { eventFlagsShift, PackedDriverRing, putDescriptor } from './driver-ring.ts'
import { isOffsetDue, offsetMask, wrapBit } from './event-offset.ts'

// Constants of this module are folded into the code; imported ones are looked up at each use.
const nextFlag = VIRTQ_DESC_F_NEXT
const writeFlag = VIRTQ_DESC_F_WRITE
const pieceStep = pieceWords
const indirectFlag = VIRTQ_DESC_F_INDIRECT
const availFlag = VIRTQ_DESC_F_AVAIL
const usedFlag = VIRTQ_DESC_F_USED
const descriptorBytes = PvirtqDescSize
const descriptorStep = descriptorBytes / 4
const wrapCounter = wrapBit
const eventShift = eventFlagsShift
const eventDescriptor = RING_EVENT_FLAGS_DESC
const eventDisable = RING_EVENT_FLAGS_DISABLE
const eventEnable = RING_EVENT_FLAGS_ENABLE
/** The flags that tell whose a descriptor is: available where they differ, used where both equal the wrap counter. */
const ownerFlags = availFlag | usedFlag
const eventFlagsMask = eventDescriptor | eventDisable
/** Of a queue itself: its shadow, what it puts together, and itself. */
const fixedAllocations = 9
/** Views of the ring. */
const viewsOfRing = 4

/**
 * Driver side of a packed virtqueue.
 *
 * What is known of a buffer is kept here and never read back: the device could have changed it. Only what the device writes is read, each word once: flags, id and length
 * of the next used descriptor, and the device event suppression structure.
 *
 * @typeParam T - what the caller wants back with a used buffer
 */
export class PackedDriverQueue<T = unknown> implements DriverQueue<T> {
  readonly index: number
  readonly size: number
  readonly #fail: (violation: Violation) => void
  readonly #notify: () => void
  readonly #eventIndex: boolean
  readonly #inOrder: boolean
  readonly #ring: PackedDriverRing
  readonly #tables: IndirectTables | undefined
  readonly #pieces: Pieces
  readonly #out: BuffersOut<T>

  /** Buffer ids that no buffer has. */
  readonly #ids: Uint16Array
  #idCount: number
  #free: number

  /** Where the next descriptor goes, and what makes it available in this lap: VIRTQ_DESC_F_AVAIL where the wrap counter is 1, else VIRTQ_DESC_F_USED. */
  #availAt = 0
  #availFlags: number = availFlag
  /** Up to where the device has been told: position with the wrap counter in bit 15. */
  #published: number = wrapCounter
  /** The first descriptor that is not yet visible with its flags, which are not yet written, and how many there are; none where that is 0. */
  #heldAt = 0
  #heldFlags = 0
  #heldCount = 0
  /** Where the next used descriptor is looked for, and what makes it used in this lap. */
  #usedAt = 0
  #usedFlags: number = ownerFlags
  /** VIRTIO_F_IN_ORDER: buffers of a used batch that are not given yet, and the bytes written into the last of them. */
  #batch = 0
  #batchWritten = 0
  /** What the driver event suppression structure holds. */
  #event = 0
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
    if (!isPackedQueueSize(size)) throw new RangeError(`a queue size must be from 1 to ${packed_ring_limits.packed_ring_max_queue_size}, not ${size}`)
    this.index = setup.index
    this.size = size
    this.#fail = options.fail
    this.#notify = options.notify
    this.#eventIndex = options.eventIndex === true
    this.#inOrder = options.inOrder === true
    this.#ring = new PackedDriverRing(memory, setup)
    this.#tables = options.indirect && options.indirectTables !== undefined ? new IndirectTables(options.indirectTables, size) : undefined
    this.#pieces = new Pieces(size)
    this.#out = new BuffersOut(size, this.#inOrder)
    this.#ids = Uint16Array.from({ length: size }, (_, i) => size - 1 - i)
    this.#idCount = size
    this.#free = size
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
    const id = this.#ids[--this.#idCount]!
    if (count > 1 && this.#tables?.has(count)) this.#putIndirect(this.#tables, id)
    else this.#putDirect(id)
    this.#out.setToken(id, token)
    pieces.clear()
  }

  rewind(): void {
    this.#pieces.clear()
  }

  /**
   * Of all that was added since the last time, only the flags of the very first descriptor are not written yet. They are stored here, behind everything else, and make all
   * of it visible together: the device looks at descriptors in the order of the ring and goes no further than one that is not available (each side is "only required to poll
   * a single location in memory", Polling of available and used descriptors). One store with its order for the whole batch is all that it takes, and no chain is ever seen
   * in part, since those behind the first one are complete before the first one can be seen.
   */
  publish(): void {
    const count = this.#heldCount
    if (this.#stopped || count === 0) return
    this.#ring.bind()
    this.#out.publish()
    this.#heldCount = 0
    const now = this.#available()
    this.#published = now
    this.#ring.publish(this.#heldAt, this.#heldFlags)
    if (this.#deviceWantsNotification(now, count)) this.#notify()
  }

  completed(): T | undefined {
    if (this.#stopped) return undefined
    if (this.#batch > 0) return this.#nextOfBatch()
    this.#ring.bind()
    const flags = this.#look()
    if (flags < 0) return undefined
    const at = this.#usedAt
    const id = this.#ring.usedId(at)
    // Element Length is reserved for used descriptors without the VIRTQ_DESC_F_WRITE flag, and is ignored by drivers.
    const length = (flags & writeFlag) === 0 ? 0 : this.#ring.usedLength(at)
    if (!this.#out.isVisible(id)) return this.#violateId(id)
    const writable = this.#out.writable(id)
    if (length > writable) return this.#violate('used-length', `${length} bytes are used of a buffer with ${writable} device-writable ones`, id)
    if (this.#inOrder) return this.#openBatch(id, length)
    this.#advance(id)
    this.#written = length
    return this.#release(id)
  }

  disableNotifications(): void {
    this.#wantsNotifications = false
    if (this.#stopped) return
    this.#ring.bind()
    this.#setEvent(eventDisable << eventShift)
  }

  enableNotifications(): boolean {
    this.#wantsNotifications = true
    if (this.#stopped) return false
    this.#ring.bind()
    this.#setEvent(this.#wish())
    return this.#batch > 0 || this.#isUsed(this.#ring.flags(this.#usedAt))
  }

  /** From the first call on the queue is over: it takes no buffer and gives none. */
  detach(): T | undefined {
    this.#stop()
    const id = this.#out.any()
    return id < 0 ? undefined : this.#release(id)
  }

  close(): void {
    this.#stop()
    this.#tables?.free()
  }

  /** Publishes what was added, so that the state is that of the ring in memory. Pieces without a `commit` are not in it. */
  save(): DriverQueueState {
    this.publish()
    return {
      available: this.#available(),
      used: this.#used(),
      out: this.#out.list().map((id) => ({ head: id, descriptors: this.#out.descriptors(id), writable: this.#out.writable(id) })),
      ...(this.#batch > 0 ? { batch: { buffers: this.#batch, written: this.#batchWritten } } : {}),
    }
  }

  inspect(): QueueInspection {
    const inFlight = this.#out.list()
    const inBatch = inFlight.slice(0, this.#batch).reduce((sum, id) => sum + this.#out.descriptors(id), 0)
    return {
      role: 'driver',
      format: 'packed',
      index: this.index,
      size: this.size,
      broken: this.#broken,
      available: this.#available(),
      availableSeen: this.#published,
      used: this.#used(),
      usedPublished: this.#usedAfter(inBatch),
      inFlight,
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

  #putDirect(id: number): void {
    const { words: from, count, readable, writableBytes } = this.#pieces
    for (let i = 0, word = 0; i < count; i++, word += pieceStep) {
      const write = i < readable ? 0 : writeFlag
      this.#put(from[word]!, from[word + 1]!, from[word + 2]!, id, i + 1 < count ? write | nextFlag : write)
    }
    this.#out.add(id, count, writableBytes)
    this.#free -= count
  }

  /** The DESC_F_WRITE bit is the only valid flag in an indirect table, and the buffer id is reserved there. */
  #putIndirect(tables: IndirectTables, id: number): void {
    const { words: from, count, readable, writableBytes } = this.#pieces
    const address = tables.take(id)
    let at = tables.open(address, count)
    const { words: to } = tables
    for (let i = 0, word = 0; i < count; i++, word += pieceStep, at += descriptorStep)
      putDescriptor(to, at, from[word]!, from[word + 1]!, from[word + 2]!, i < readable ? 0 : writeFlag << 16)
    this.#put(address >>> 0, Math.floor(address / 0x1_0000_0000), count * descriptorBytes, id, indirectFlag)
    this.#out.add(id, 1, writableBytes)
    this.#free--
  }

  /** Writes the next descriptor of the ring. */
  #put(low: number, high: number, length: number, id: number, flags: number): void {
    const at = this.#availAt
    const all = flags | this.#availFlags
    if (this.#heldCount++ > 0) putDescriptor(this.#ring.descriptors, at * descriptorStep, low, high, length, id | (all << 16))
    else {
      this.#ring.hold(at, low, high, length, id)
      this.#heldAt = at
      this.#heldFlags = all
    }
    if (at + 1 < this.size) this.#availAt = at + 1
    else {
      this.#availAt = 0
      this.#availFlags ^= ownerFlags
    }
  }

  #deviceWantsNotification(now: number, count: number): boolean {
    const event = this.#ring.deviceEvent()
    const flags = (event >>> eventShift) & eventFlagsMask
    if (flags === eventDescriptor && this.#eventIndex) return isOffsetDue(event, now, count, this.size)
    // A reserved value is no reason to let the device wait.
    return flags !== eventDisable
  }

  #release(id: number): T | undefined {
    this.#free += this.#out.descriptors(id)
    this.#ids[this.#idCount++] = id
    this.#tables?.give(id)
    return this.#out.release(id)
  }

  /** Behind the descriptors of a buffer: there the device writes the next used descriptor. */
  #advance(id: number): void {
    const at = this.#usedAt + this.#out.descriptors(id)
    if (at < this.size) this.#usedAt = at
    else {
      this.#usedAt = at - this.size
      this.#usedFlags ^= ownerFlags
    }
  }

  /** The flags of the next used descriptor, or -1 where there is none; the device then knows from where on to notify. */
  #look(): number {
    const flags = this.#ring.flags(this.#usedAt)
    if (this.#isUsed(flags)) return flags
    if (!this.#eventIndex || !this.#wantsNotifications || this.#event === this.#wish()) return -1
    // What the device used before it could see the wish comes without a notification: the flags are loaded again after asking.
    this.#setEvent(this.#wish())
    const now = this.#ring.flags(this.#usedAt)
    return this.#isUsed(now) ? now : -1
  }

  #isUsed(flags: number): boolean {
    return (flags & ownerFlags) === this.#usedFlags
  }

  /** VIRTIO_F_IN_ORDER: one used descriptor stands for all buffers up to the one that it names, and the next one lies behind the descriptors of all of them. */
  #openBatch(id: number, length: number): T | undefined {
    this.#batch = this.#out.batchTo(id)
    this.#batchWritten = length
    return this.#nextOfBatch()
  }

  /** The buffers without a used descriptor are assumed to have been used completely. */
  #nextOfBatch(): T | undefined {
    const id = this.#out.oldest()
    this.#batch--
    this.#written = this.#batch === 0 ? this.#batchWritten : this.#out.writable(id)
    this.#advance(id)
    return this.#release(id)
  }

  /** What asks for a notification of the next used descriptor. */
  #wish(): number {
    return this.#eventIndex ? this.#used() | (eventDescriptor << eventShift) : eventEnable << eventShift
  }

  #setEvent(event: number): void {
    this.#event = event
    this.#ring.setDriverEvent(event)
  }

  #available(): number {
    return this.#availAt | (this.#availFlags === availFlag ? wrapCounter : 0)
  }

  #used(): number {
    return this.#usedAt | (this.#usedFlags === 0 ? 0 : wrapCounter)
  }

  #usedAfter(descriptors: number): number {
    const at = this.#usedAt + descriptors
    return at < this.size ? this.#used() + descriptors : (at - this.size) | (this.#usedFlags === 0 ? wrapCounter : 0)
  }

  #restore(state: DriverQueueState, tokens: readonly T[] | undefined): void {
    checkPackedDriverState(state, tokens, this.size, this.#inOrder)
    const { available, used, out, batch } = state
    out.forEach(({ head, descriptors, writable }, i) => {
      this.#out.add(head, countOf(descriptors), writable)
      this.#out.setToken(head, tokens![i]!)
      this.#free -= countOf(descriptors)
    })
    this.#out.publish()
    const taken = new Set(out.map(({ head }) => head))
    const ids = this.#ids.filter((id) => !taken.has(id))
    this.#ids.set(ids)
    this.#idCount = ids.length
    this.#availAt = available & offsetMask
    this.#availFlags = (available & wrapCounter) === 0 ? usedFlag : availFlag
    this.#published = available
    this.#usedAt = used & offsetMask
    this.#usedFlags = (used & wrapCounter) === 0 ? 0 : ownerFlags
    this.#batch = batch?.buffers ?? 0
    this.#batchWritten = batch?.written ?? 0
    this.enableNotifications()
  }

  #stop(): void {
    this.#stopped = true
    this.#pieces.clear()
  }

  #violateId(id: number): undefined {
    if (this.#out.visible > 0)
      return this.#violate('used-id', `the used descriptor at ${this.#usedAt} holds id ${id}, which no buffer that is out has`, id)
    return this.#violate('used-index', `the descriptor at ${this.#usedAt} is marked as used, but no buffer is out`)
  }

  #violate(kind: ViolationKind, detail: string, head?: number): undefined {
    this.#stopped = true
    this.#broken = head === undefined ? { kind, queue: this.index, detail } : { kind, queue: this.index, head, detail }
    this.#fail(this.#broken)
  }
}
