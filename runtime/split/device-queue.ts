/** Device side of a split virtqueue: reads of the driver's parts, writes of its own, and the order between them. VIRTIO 1.4, Split Virtqueues. */
import {
  split_ring_entry_size,
  split_ring_limits,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_F_NO_NOTIFY,
  VirtqAvailOffsets,
  VirtqUsedElemOffsets,
  VirtqUsedOffsets,
} from 'virtgen/wire/split-ring'
import type { Chain } from '../chain.ts'
import type { ChainProblem } from '../chain-builder.ts'
import { segmentLayout } from '../chain-slab.ts'
import type { DeviceQueueOptions } from '../device-queue-options.ts'
import type { InOrder } from '../in-order.ts'
import type { GuestMemory } from '../memory.ts'
import type { QueueSetup, SavedChain } from '../queue.ts'
import { ringAreas, words16, words32 } from '../ring-areas.ts'
import { noHead, RingDeviceQueue, type RingFormat } from '../ring-device-queue.ts'
import type { Violation } from '../violation.ts'
import { areaAlignment, areaSizes, isQueueSize } from './areas.ts'
import { ChainReader } from './chain-reader.ts'
import { descriptorWords } from './descriptor-words.ts'
import { isEventDue } from './event-index.ts'

// What is imported is loaded, and checked for being initialized, at each use; what a module keeps to itself is folded into the code.
const nextFlag = VIRTQ_DESC_F_NEXT
const writeFlag = VIRTQ_DESC_F_WRITE
const indirectFlag = VIRTQ_DESC_F_INDIRECT
const noInterrupt = VIRTQ_AVAIL_F_NO_INTERRUPT
const { words, addressLow, addressHigh, lengthWord, flagsWord, nextShift } = descriptorWords
const { rowWords, rowLow, rowHigh, rowLength, rowPosition, segmentMask } = segmentLayout
const availFlags16 = VirtqAvailOffsets.flags / 2
const availIdx16 = VirtqAvailOffsets.idx / 2
const availRing16 = VirtqAvailOffsets.ring / 2
const usedFlags16 = VirtqUsedOffsets.flags / 2
const usedIdx16 = VirtqUsedOffsets.idx / 2
const usedRing32 = VirtqUsedOffsets.ring / 4
const usedEntry32 = split_ring_entry_size.used_ring / 4
const usedId32 = VirtqUsedElemOffsets.id / 4
const usedLen32 = VirtqUsedElemOffsets.len / 4
const indexMask = split_ring_limits.split_ring_index_wrap - 1
/** Of a place in a ring. Where the engine knows how large a number is, it does not check sums for overflow. */
const placeMask = split_ring_limits.split_ring_max_queue_size - 1
const mostBytes = split_ring_limits.split_ring_max_chain_length
/** In place of a head: no chain is out. */
const nobody = noHead
/** The largest number that the length of a used entry holds: a written length of 2^32 is told as one less, which the text permits. */
const mostInt = 0x7fff_ffff
const mostUsed = mostBytes - 1

const format: RingFormat = {
  name: 'split',
  start: { available: 0, used: 0, inFlight: [] },
  sizeProblem: ({ index, size }) => {
    if (isQueueSize(size)) return undefined
    const detail = `the queue size must be a power of 2 from 1 to ${split_ring_limits.split_ring_max_queue_size}, not ${size}`
    return { kind: 'queue-size', queue: index, detail }
  },
}

/**
 * Memory order, in one place: the available index is loaded (acquire) before ring entries, descriptors and buffers; the used index is stored (release) after buffers
 * and used entries; whether to notify is loaded after that store, and the available index once more after asking for notifications, both in the total order of
 * Atomics.
 */
export class SplitDeviceQueue extends RingDeviceQueue {
  /** The available index as it was last loaded. */
  #seen = 0
  readonly #setup: QueueSetup
  readonly #eventIndex: boolean
  readonly #reader: ChainReader
  /** The areas: descriptor table, available ring, used ring by 16 and by 32 bits. */
  #table: Uint32Array = new Uint32Array(0)
  #driver: Uint16Array = new Uint16Array(0)
  #device: Uint16Array = new Uint16Array(0)
  #used32: Uint32Array = new Uint32Array(0)
  #version = -1
  /** The segments of the slab, as long as it does not grow. */
  #rows: Uint32Array = new Uint32Array(0)
  /** What the driver was told: `avail_event`, or the flag; -1: unknown. */
  #told = 0
  /** Entries that became visible since the driver's wish was looked at last. */
  #unchecked = 0
  /** The driver's wish may be older than the position: it is notified once in any case. */
  #isStale: boolean

  /** @param inOrder - with VIRTIO_F_IN_ORDER: empty, of that size */
  constructor(memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions, inOrder?: InOrder) {
    super(memory, setup, options, format, inOrder)
    this.#setup = setup
    this.#eventIndex = options.eventIndex === true
    this.#rows = this.slab.words
    this.#reader = new ChainReader(memory, this.$builder, setup.size, { indirect: options.indirect === true, maxChainLength: this.$most })
    this.#seen = this.$available
    this.#isStale = options.state !== undefined
    // The driver MUST initialize the flag to 0.
    this.#told = options.state === undefined && !this.#eventIndex ? 0 : -1
    this.$open(setup)
  }

  protected override get $availableSeen(): number {
    return this.#seen
  }

  protected override $bind(): Violation | undefined {
    return this.#version === this.memory.version ? undefined : this.#bind()
  }

  #bind(): Violation | undefined {
    const areas = ringAreas(this.memory, this.#setup, areaSizes(this.size), areaAlignment)
    if ('kind' in areas) return areas
    this.#table = words32(areas.descriptorArea)
    this.#reader.descriptors = this.#table
    this.#driver = words16(areas.driverArea)
    this.#device = words16(areas.deviceArea)
    this.#used32 = words32(areas.deviceArea)
    this.$leave()
    this.#version = this.memory.version
    return undefined
  }

  /**
   * The usual chain is read here, in locals: direct descriptors, each in one region, with room in the range that the chain has kept. Any other is read anew by the
   * reader, and nothing of what was read here is used then.
   */
  override next(): Chain | undefined {
    if (this.$stamp !== this.memory.$stamp && !this.$prepare()) return this.$nextRestored()
    const available = this.$available
    if (available === this.#seen) return this.$nextUnseen()
    const spare = this.$spare
    const chain = spare.$state === 0 ? spare : this.$pool.take()
    const { size } = this
    const head = this.#driver[availRing16 + (available & (size - 1) & placeMask)]!
    const table = this.#table
    const rows = this.#rows
    const first = chain.$first
    const room = first + chain.$capacity
    let at = first
    let bytes = 0
    let readableBytes = 0
    /** Below 0 where the bytes of a part were, at some point, more than an integer has room for. */
    let carry = 0
    /** The first segment of the device-writable part. */
    let turn = -1
    for (let index = head; ; ) {
      if (index >= size || at === room) return this.#nextAny(chain, head)
      const word = index * words
      const flags = table[word + flagsWord]!
      // 2 GiB or more are below 0.
      const length = table[word + lengthWord]! | 0
      const low = table[word + addressLow]! | 0
      const high = table[word + addressHigh]! | 0
      if ((flags & indirectFlag) !== 0 || length <= 0) return this.#nextAny(chain, head)
      const offset = (low - this.$low) | 0
      // Nothing here overflows: offset and length are compared with a span as non-negative integers.
      if (high !== this.$high || offset < 0 || offset > ((this.$span - length) | 0))
        if (!this.$enter(low, high, length)) return this.#nextAny(chain, head)
      if ((flags & writeFlag) === 0) {
        if (turn >= 0) return this.#nextAny(chain, head)
      } else if (turn < 0) {
        turn = at
        readableBytes = bytes
        bytes = 0
      }
      const row = (at & segmentMask) * rowWords
      rows[row + rowLow] = low
      rows[row + rowHigh] = high
      rows[row + rowLength] = length
      rows[row + rowPosition] = bytes
      bytes = (bytes + length) | 0
      carry |= bytes
      at++
      if ((flags & nextFlag) === 0) break
      index = flags >>> nextShift
    }
    if (carry < 0 || at - first > this.$most) return this.#nextAny(chain, head)
    if (turn < 0) {
      turn = at
      readableBytes = bytes
      bytes = 0
    }
    chain.$begin(head, turn - first, readableBytes, at - turn, bytes)
    this.$available = (available + 1) & indexMask
    if (this.$alone !== nobody || chain !== spare) return this.$deliver(chain, head)
    this.$alone = head
    this.$tickets = (this.$tickets + 1) | 0
    chain.$ticket = this.$tickets
    return chain
  }

  #nextAny(chain: Chain, head: number): Chain | undefined {
    const problem = this.#reader.read(chain, head)
    this.#rows = this.slab.words
    if (problem !== undefined) return this.$refuse(chain, problem, head, this.$builder.detail)
    this.$available = (this.$available + 1) & indexMask
    return this.$deliver(chain, head)
  }

  protected override $restore(chain: Chain, saved: number | SavedChain): ChainProblem | undefined {
    const problem = this.#reader.read(chain, typeof saved === 'number' ? saved : saved.head)
    this.#rows = this.slab.words
    return problem
  }

  /** Descriptors stay until their chain is used: the head is enough. */
  protected override $save(chain: Chain): number {
    return chain.head
  }

  protected override $look(): boolean {
    if (this.$available !== this.#seen) return true
    // Acquire: orders this load before the plain loads of ring entries, descriptors and buffers that follow. The driver stores those before it stores the index.
    const index = Atomics.load(this.#driver, availIdx16)
    const count = (index - this.$available) & indexMask
    // What the driver cannot see used yet takes entries as well.
    if (count > this.size - ((this.$available - this.$published) & indexMask)) {
      this.$violate('available-index', -1, `the available index went from ${this.$available} to ${index}, the queue has ${this.size} entries`)
      return false
    }
    this.#seen = index
    return count > 0
  }

  override $use(head: number, written: number, _slots: number, count: number): void {
    const used = this.$used
    const entries = this.#used32
    const at = usedRing32 + (used & (this.size - 1) & placeMask) * usedEntry32
    entries[at + usedId32] = head
    entries[at + usedLen32] = written > mostInt ? Math.min(written, mostUsed) : written
    this.$used = (used + count) & indexMask
  }

  protected override $publish(): void {
    const before = this.$published
    this.#unchecked += (this.$used - before) & indexMask
    this.$published = this.$used
    // Release: orders the plain stores of payload and used entries before this store. The driver loads the index first.
    Atomics.store(this.#device, usedIdx16, this.$used)
    if (this.memory.onWrite !== undefined) this.#announce(before, this.$published)
  }

  protected override $isNotificationDue(): boolean {
    const count = this.#unchecked
    if (count === 0) return false
    this.#unchecked = 0
    const stale = this.#isStale
    this.#isStale = false
    return this.#wants(count, stale)
  }

  protected override $isAwaited(): boolean {
    return this.#wants(this.#unchecked + ((this.$used - this.$published) & indexMask), false)
  }

  /** Whether the driver wants to hear of one of the last `count` used entries. */
  #wants(count: number, stale: boolean): boolean {
    // Either load is sequentially consistent like the store of the used index: it cannot go before that store.
    if (!this.#eventIndex) return (Atomics.load(this.#driver, availFlags16) & noInterrupt) === 0
    const now = this.$used
    // More entries than there are indices pass every event.
    return count > indexMask || isEventDue(Atomics.load(this.#driver, availRing16 + this.size), now, (now - count) & indexMask) || stale
  }

  protected override $ask(wanted: boolean): boolean {
    // With VIRTIO_F_EVENT_IDX the flag MUST be 0, and an avail_event that stays behind is enough.
    if (this.#eventIndex && !wanted) return false
    const wish = this.#eventIndex ? this.$available : wanted ? 0 : VIRTQ_USED_F_NO_NOTIFY
    if (this.#told === wish) return false
    this.#told = wish
    const word = this.#eventIndex ? (VirtqUsedOffsets.ring + split_ring_entry_size.used_ring * this.size) / 2 : usedFlags16
    // Sequentially consistent: orders this store before the load of the available index that has to follow. The driver stores that index and then loads this word.
    Atomics.store(this.#device, word, wish)
    this.#tell(word * 2, 2)
    return true
  }

  /** Tells `onWrite` of the used entries from index `from` up to `to`, and of the used index. */
  #announce(from: number, to: number): void {
    const count = Math.min((to - from) & indexMask, this.size)
    const first = from & (this.size - 1)
    const straight = Math.min(count, this.size - first)
    this.#tell(VirtqUsedOffsets.ring + first * split_ring_entry_size.used_ring, straight * split_ring_entry_size.used_ring)
    if (count > straight) this.#tell(VirtqUsedOffsets.ring, (count - straight) * split_ring_entry_size.used_ring)
    this.#tell(VirtqUsedOffsets.idx, 2)
  }

  #tell(offset: number, length: number): void {
    this.memory.onWrite?.(this.#setup.deviceArea + offset, length)
  }
}
