/** Driver side of a split virtqueue. VIRTIO 1.4, Basic Facilities of a Virtio Device / Split Virtqueues. */
import { split_ring_limits, VIRTQ_AVAIL_F_NO_INTERRUPT, VIRTQ_USED_F_NO_NOTIFY, VirtqAvail, VirtqUsed, VirtqUsedElem } from 'virtgen/wire/split-ring'
import type { DriverMemory } from '../driver/memory.ts'
import type { GuestMemory, MemoryRegion } from '../memory.ts'
import type { DeviceAddress, DriverQueue, QueueSetup } from '../queue.ts'
import type { Violation, ViolationKind } from '../violation.ts'
import { type AreaSizes, areaAlignment, areaSizes, isQueueSize } from './areas.ts'
import { DescriptorWriter } from './descriptor-writer.ts'
import { isEventDue } from './event-index.ts'
import { IndirectTables } from './indirect-tables.ts'

/** What `SplitDriverQueue` needs besides its place. */
export interface SplitDriverQueueOptions {
  /** VIRTIO_F_EVENT_IDX is negotiated. */
  readonly eventIndex: boolean
  /** VIRTIO_F_INDIRECT_DESC is negotiated. */
  readonly indirect: boolean
  /** Sends an available buffer notification; called only where the device wants one, and last. */
  readonly notify: () => void
  /** The device broke the rules; called once, and last. */
  readonly fail: (violation: Violation) => void
  /** Where indirect tables are allocated. Absent: all chains are direct. */
  readonly indirectTables?: DriverMemory
}

const indexMask = split_ring_limits.split_ring_index_wrap - 1
/** Half of the way round an index: farther than any queue is long. */
const halfWay = split_ring_limits.split_ring_index_wrap / 2

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
  readonly #memory: GuestMemory
  readonly #setup: QueueSetup
  readonly #options: SplitDriverQueueOptions
  readonly #sizes: AreaSizes
  readonly #descriptors: DescriptorWriter
  readonly #tables: IndirectTables | undefined

  // The shadow. Of each descriptor: the one behind it, in its chain or in the list of free ones.
  readonly #next: Uint16Array
  // Of each head: the last descriptor of its chain, descriptors in the chain (0: not in the ring), device-writable bytes, and whether the device was told.
  readonly #last: Uint16Array
  readonly #count: Uint16Array
  readonly #writable: Float64Array
  readonly #isVisible: Uint8Array
  readonly #tokens: (T | undefined)[]
  /** Of each place in the available ring: its head. */
  readonly #ring: Uint16Array
  #firstFree = 0
  #free: number

  // The rings. Views are made anew when the memory's version changes.
  #version = -1
  #avail: Uint16Array = new Uint16Array(0)
  #availAt = 0
  #used16: Uint16Array = new Uint16Array(0)
  #used32: Uint32Array = new Uint32Array(0)
  #usedAt = 0

  /** Where the next buffer goes, and up to where the device has been told. */
  #availIndex = 0
  #published = 0
  /** The next used element, and up to where the device has used when it was looked at last. */
  #usedIndex = 0
  #usedSeen = 0
  /** What `used_event` holds. */
  #usedEvent = 0
  #wantsNotifications = true
  #written = 0
  #ended = false
  #detachFrom = 0
  #broken: Violation | undefined

  /**
   * Clears the three areas: the queue begins anew. The transport tells the device afterwards.
   *
   * @throws RangeError for a wrong size, or an area that is misaligned or not in one region of the memory
   */
  constructor(memory: GuestMemory, setup: QueueSetup, options: SplitDriverQueueOptions) {
    if (!isQueueSize(setup.size))
      throw new RangeError(`a queue size must be a power of 2 from 1 to ${split_ring_limits.split_ring_max_queue_size}, not ${setup.size}`)
    const { size } = setup
    this.index = setup.index
    this.size = size
    this.#memory = memory
    this.#setup = setup
    this.#options = options
    this.#sizes = areaSizes(size)
    this.#next = new Uint16Array(size)
    this.#last = new Uint16Array(size)
    this.#count = new Uint16Array(size)
    this.#writable = new Float64Array(size)
    this.#isVisible = new Uint8Array(size)
    this.#ring = new Uint16Array(size)
    this.#tokens = new Array<T | undefined>(size).fill(undefined)
    for (let i = 0; i < size; i++) this.#next[i] = i + 1
    this.#free = size
    this.#descriptors = new DescriptorWriter(memory)
    this.#tables = options.indirect && options.indirectTables !== undefined ? new IndirectTables(options.indirectTables, size) : undefined
    for (const area of ['descriptorArea', 'driverArea', 'deviceArea'] as const) this.#clear(area)
    this.#bind()
  }

  /** Bytes of the three parts of a queue of `size` entries. */
  static sizes(size: number): AreaSizes {
    return areaSizes(size)
  }

  get free(): number {
    return this.#free
  }

  get broken(): Violation | undefined {
    return this.#broken
  }

  get written(): number {
    return this.#written
  }

  /** The available index up to which buffers are visible to the device, 16 bits: what a notification with VIRTIO_F_NOTIFICATION_DATA tells. */
  get published(): number {
    return this.#published
  }

  /**
   * @throws RangeError for a buffer without pieces, with more than the queue has entries (The driver MUST NOT create a descriptor chain longer than the Queue
   * Size), an empty piece, or more than 2^32 bytes
   */
  add(readable: readonly DeviceAddress[], writable: readonly DeviceAddress[], token: T): boolean {
    const writableBytes = checkPieces(readable, writable, this.size)
    if (this.#ended || this.#broken !== undefined || this.#free === 0) return false
    this.#bind()
    const head = this.#firstFree
    const count = readable.length + writable.length
    if (count > 1 && this.#tables?.reserve(head, count)) this.#addIndirect(head, readable, writable)
    else if (count <= this.#free) this.#addDirect(head, readable, writable)
    else return false
    this.#writable[head] = writableBytes
    this.#tokens[head] = token
    const place = this.#availIndex & (this.size - 1)
    this.#ring[place] = head
    this.#avail[this.#availAt + VirtqAvail.offsetOf.ring / 2 + place] = head
    this.#availIndex = (this.#availIndex + 1) & indexMask
    return true
  }

  publish(): void {
    if (this.#ended || this.#broken !== undefined || this.#published === this.#availIndex) return
    this.#bind()
    const old = this.#published
    for (let i = old; i !== this.#availIndex; i = (i + 1) & indexMask) this.#isVisible[this.#ring[i & (this.size - 1)] as number] = 1
    this.#published = this.#availIndex
    // Orders the stores to the descriptors and to the ring before the store of idx, whose load by the device precedes its loads of them.
    Atomics.store(this.#avail, this.#availAt + VirtqAvail.offsetOf.idx / 2, this.#availIndex)
    if (this.#deviceWantsNotification(old)) this.#options.notify()
  }

  completed(): T | undefined {
    if (this.#ended || this.#broken !== undefined) return undefined
    this.#bind()
    if (this.#usedIndex === this.#usedSeen && !this.#look()) return undefined
    const at = (this.#usedAt + VirtqUsed.offsetOf.ring + VirtqUsedElem.size * (this.#usedIndex & (this.size - 1))) / 4
    const id = this.#used32[at + VirtqUsedElem.offsetOf.id / 4] as number
    const length = this.#used32[at + VirtqUsedElem.offsetOf.len / 4] as number
    // An id that no descriptor has finds nothing here.
    if (this.#isVisible[id] !== 1) return this.#fail('used-id', `the used ring holds id ${id}, which is not the head of a buffer that is out`)
    const writable = this.#writable[id] as number
    if (length > writable) return this.#fail('used-length', `${length} bytes are used of a buffer with ${writable} device-writable ones`, id)
    this.#usedIndex = (this.#usedIndex + 1) & indexMask
    this.#written = length
    return this.#release(id)
  }

  disableNotifications(): void {
    this.#wantsNotifications = false
    if (this.#ended) return
    this.#bind()
    if (this.#options.eventIndex) this.#setUsedEvent((this.#usedIndex + halfWay) & indexMask)
    // Advisory: nothing depends on when the device sees it.
    else this.#avail[this.#availAt + VirtqAvail.offsetOf.flags / 2] = VIRTQ_AVAIL_F_NO_INTERRUPT
  }

  enableNotifications(): boolean {
    this.#wantsNotifications = true
    if (this.#ended || this.#broken !== undefined) return false
    this.#bind()
    if (this.#options.eventIndex) this.#setUsedEvent(this.#usedIndex)
    // Orders the store of flags before the load of used.idx below: either the device sees the flag after its store of idx, or we see that idx.
    else Atomics.store(this.#avail, this.#availAt + VirtqAvail.offsetOf.flags / 2, 0)
    return this.#usedIndex !== this.#usedSeen || Atomics.load(this.#used16, this.#usedWord(VirtqUsed.offsetOf.idx)) !== this.#usedIndex
  }

  /** From the first call on the queue is over: it takes no buffer and gives none. */
  detach(): T | undefined {
    this.#ended = true
    for (; this.#detachFrom < this.size; this.#detachFrom++) if (this.#count[this.#detachFrom] !== 0) return this.#release(this.#detachFrom++)
    return undefined
  }

  /** Ends the queue and gives the memory of its indirect tables back; only when the device is reset. `detach` works still. */
  close(): void {
    this.#ended = true
    this.#tables?.free()
  }

  /** Reads used.idx, once. False when nothing new is there; the device then knows from where on to notify. */
  #look(): boolean {
    if (this.#loadUsedIndex()) return true
    if (this.#broken !== undefined || !this.#options.eventIndex || !this.#wantsNotifications || this.#usedEvent === this.#usedIndex) return false
    this.#setUsedEvent(this.#usedIndex)
    return this.#loadUsedIndex()
  }

  #loadUsedIndex(): boolean {
    // Orders the device's stores of used elements and of data before our loads of them: it stores idx after those.
    const index = Atomics.load(this.#used16, this.#usedWord(VirtqUsed.offsetOf.idx))
    const used = (index - this.#usedIndex) & indexMask
    const out = (this.#published - this.#usedIndex) & indexMask
    if (used > out) {
      this.#fail('used-index', `the used index goes from ${this.#usedIndex} to ${index}, but only ${out} buffers are out`)
      return false
    }
    this.#usedSeen = index
    return used !== 0
  }

  #release(head: number): T | undefined {
    const token = this.#tokens[head]
    this.#tokens[head] = undefined
    this.#next[this.#last[head] as number] = this.#firstFree
    this.#firstFree = head
    this.#free += this.#count[head] as number
    this.#count[head] = 0
    this.#isVisible[head] = 0
    return token
  }

  #addDirect(head: number, readable: readonly DeviceAddress[], writable: readonly DeviceAddress[]): void {
    const count = readable.length + writable.length
    let at = head
    let last = head
    for (let i = 0; i < count; i++) {
      const piece = (i < readable.length ? readable[i] : writable[i - readable.length]) as DeviceAddress
      const next = this.#next[at] as number
      this.#descriptors.put(this.#setup.descriptorArea, at, piece, i >= readable.length, i + 1 < count ? next : undefined)
      last = at
      at = next
    }
    this.#keep(head, last, at, count)
  }

  #addIndirect(head: number, readable: readonly DeviceAddress[], writable: readonly DeviceAddress[]): void {
    const table = (this.#tables as IndirectTables).at(head)
    const count = readable.length + writable.length
    for (let i = 0; i < count; i++) {
      const piece = (i < readable.length ? readable[i] : writable[i - readable.length]) as DeviceAddress
      this.#descriptors.put(table.address, i, piece, i >= readable.length, i + 1 < count ? i + 1 : undefined)
    }
    this.#descriptors.putIndirect(this.#setup.descriptorArea, head, table.address, count)
    this.#keep(head, head, this.#next[head] as number, 1)
  }

  /** Takes a chain's descriptors out of the list of free ones. */
  #keep(head: number, last: number, firstFree: number, count: number): void {
    this.#last[head] = last
    this.#count[head] = count
    this.#firstFree = firstFree
    this.#free -= count
  }

  #deviceWantsNotification(old: number): boolean {
    // Atomic like the store of avail.idx before it, so that the two keep their order: had the load gone first, the device could set its event and miss our idx.
    if (!this.#options.eventIndex) return (Atomics.load(this.#used16, this.#usedWord(VirtqUsed.offsetOf.flags)) & VIRTQ_USED_F_NO_NOTIFY) === 0
    const event = Atomics.load(this.#used16, this.#usedWord(VirtqUsed.offsetOf.ring + VirtqUsedElem.size * this.size))
    return isEventDue(event, this.#published, old)
  }

  #setUsedEvent(event: number): void {
    this.#usedEvent = event
    // Orders this store before our next load of used.idx: either the device sees the event after its store of idx, or we see that idx.
    Atomics.store(this.#avail, this.#availAt + VirtqAvail.offsetOf.ring / 2 + this.size, event)
  }

  #usedWord(offset: number): number {
    return (this.#usedAt + offset) / 2
  }

  #fail(kind: ViolationKind, detail: string, head?: number): undefined {
    this.#broken = head === undefined ? { kind, queue: this.index, detail } : { kind, queue: this.index, head, detail }
    this.#options.fail(this.#broken)
    return undefined
  }

  #bind(): void {
    this.#memory.refresh()
    if (this.#version === this.#memory.version) return
    this.#version = this.#memory.version
    const driver = this.#region('driverArea')
    this.#avail = driver.u16
    this.#availAt = (this.#setup.driverArea - driver.guestAddress) / 2
    const device = this.#region('deviceArea')
    this.#used16 = device.u16
    this.#used32 = device.u32
    this.#usedAt = this.#setup.deviceArea - device.guestAddress
  }

  #region(area: keyof AreaSizes): MemoryRegion {
    const address = this.#setup[area]
    const region = this.#memory.regions[this.#memory.indexOf(address, this.#sizes[area])]
    if (region === undefined)
      throw new RangeError(`${area} of queue ${this.index} must lie in one region, ${this.#sizes[area]} bytes at ${address} do not`)
    if (address % areaAlignment[area] !== 0 || (address - region.guestAddress) % areaAlignment[area] !== 0)
      throw new RangeError(`${area} of queue ${this.index} must be at a multiple of ${areaAlignment[area]}, not at ${address}`)
    return region
  }

  #clear(area: keyof AreaSizes): void {
    const region = this.#region(area)
    const start = this.#setup[area] - region.guestAddress
    region.u8.fill(0, start, start + this.#sizes[area])
  }
}

/** Checks what the caller puts into a ring; returns the bytes that the device may write. */
function checkPieces(readable: readonly DeviceAddress[], writable: readonly DeviceAddress[], size: number): number {
  const count = readable.length + writable.length
  if (count === 0 || count > size) throw new RangeError(`a buffer in a queue of size ${size} must have 1 to ${size} pieces, not ${count}`)
  const readableBytes = bytesOf(readable)
  const writableBytes = bytesOf(writable)
  if (readableBytes + writableBytes > split_ring_limits.split_ring_max_chain_length)
    throw new RangeError(`a buffer must have at most ${split_ring_limits.split_ring_max_chain_length} bytes, not ${readableBytes + writableBytes}`)
  return writableBytes
}

function bytesOf(pieces: readonly DeviceAddress[]): number {
  let bytes = 0
  for (let i = 0; i < pieces.length; i++) {
    const { address, length } = pieces[i] as DeviceAddress
    if (!(Number.isInteger(length) && length > 0 && length <= 0xffff_ffff))
      throw new RangeError(`the length of a piece must be an integer from 1 to 4294967295, not ${length}`)
    if (!(Number.isInteger(address) && address >= 0 && address + length <= Number.MAX_SAFE_INTEGER))
      throw new RangeError(`the address of a piece must be an integer from 0, ending below 2^53, not ${address}`)
    bytes += length
  }
  return bytes
}
