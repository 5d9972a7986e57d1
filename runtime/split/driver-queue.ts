/** Driver side of a split virtqueue: writes of the driver's parts, reads of the device's, and the order between them. VIRTIO 1.4, Split Virtqueues. */
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
import type { DriverQueueOptions } from '../driver-queue-options.ts'
import { checkSplitDriverState } from '../driver-state.ts'
import type { GuestMemory } from '../memory.ts'
import { pieceWords } from '../pieces.ts'
import type { QueueSetup } from '../queue.ts'
import { type RingAreas, words16, words32 } from '../ring-areas.ts'
import { type DriverRingFormat, RingDriverQueue } from '../ring-driver-queue.ts'
import { areaAlignment, areaSizes, isQueueSize } from './areas.ts'
import { descriptorWords } from './descriptor-words.ts'
import { isEventDue } from './event-index.ts'

// What is imported is loaded, and checked for being initialized, at each use; what a module keeps to itself is folded into the code.
const nextFlag = VIRTQ_DESC_F_NEXT
const writeFlag = VIRTQ_DESC_F_WRITE
const indirectFlag = VIRTQ_DESC_F_INDIRECT
const pieceStep = pieceWords
const { words, addressLow, addressHigh, lengthWord, flagsWord, nextShift } = descriptorWords
const availFlags16 = VirtqAvailOffsets.flags / 2
const availIdx16 = VirtqAvailOffsets.idx / 2
const availRing16 = VirtqAvailOffsets.ring / 2
const usedFlags16 = VirtqUsedOffsets.flags / 2
const usedIdx16 = VirtqUsedOffsets.idx / 2
const usedRing32 = VirtqUsedOffsets.ring / 4
const usedEntry32 = split_ring_entry_size.used_ring / 4
const usedId32 = VirtqUsedElemOffsets.id / 4
const usedLen32 = VirtqUsedElemOffsets.len / 4
/** The id of no buffer. */
const nobody = -1
const indexMask = split_ring_limits.split_ring_index_wrap - 1
/** Half of the way round an index: farther than any queue is long. */
const halfWay = split_ring_limits.split_ring_index_wrap / 2

const format: DriverRingFormat = {
  name: 'split',
  isSize: isQueueSize,
  sizes: `a power of 2 from 1 to ${split_ring_limits.split_ring_max_queue_size}`,
  areaSizes,
  areaAlignment,
  start: 0,
  checkState: checkSplitDriverState,
}

/**
 * Of the device's words it reads `used.idx`, the used elements, `avail_event` and `used.flags`.
 *
 * Memory order, in one place: the available index is stored (release) after buffers, descriptors and ring entries; the used index is loaded (acquire) before used elements
 * and buffers; whether to notify is loaded after the store of the available index, and the used index once more after asking for notifications, both in the total order of
 * Atomics.
 *
 * @typeParam T - what the caller wants back with a used buffer
 */
export class SplitDriverQueue<T = unknown> extends RingDriverQueue<T> {
  /** The used index as it was last loaded. */
  #seen = 0
  /** The areas: descriptor table, available ring, used ring by 16 and by 32 bits. */
  #table: Uint32Array = new Uint32Array(0)
  #driver: Uint16Array = new Uint16Array(0)
  #device: Uint16Array = new Uint16Array(0)
  #used32: Uint32Array = new Uint32Array(0)

  /** @throws RangeError for a wrong size, an area that is misaligned or not in one region of the memory, or a state that cannot be */
  constructor(memory: GuestMemory, setup: QueueSetup, options: DriverQueueOptions<T>) {
    super(memory, setup, options, format)
    this.$open(options)
    this.#seen = (this.$used + this.$batch) & indexMask
  }

  protected override $view({ descriptorArea, driverArea, deviceArea }: RingAreas): void {
    this.#table = words32(descriptorArea)
    this.#driver = words16(driverArea)
    this.#device = words16(deviceArea)
    this.#used32 = words32(deviceArea)
  }

  protected override $put(isIndirect: boolean): number {
    const { words: from, count, readable } = this.$pieces
    const readableFlags = isIndirect ? indirectFlag : 0
    const to = this.#table
    const nexts = this.$next
    const head = this.$firstFree
    let at = head
    let last = head
    for (let i = 0, piece = 0; i < count; i++, piece += pieceStep) {
      const next = nexts[at]!
      const flags = i < readable ? readableFlags : writeFlag
      const word = at * words
      to[word + addressLow] = from[piece]!
      to[word + addressHigh] = from[piece + 1]!
      to[word + lengthWord] = from[piece + 2]!
      to[word + flagsWord] = i + 1 < count ? flags | nextFlag | (next << nextShift) : flags
      last = at
      at = next
    }
    this.$last[head] = last
    this.$firstFree = at
    const available = this.$available
    this.#driver[availRing16 + (available & (this.size - 1))] = head
    this.$available = (available + 1) & indexMask
    return head
  }

  protected override $putTable(to: Uint32Array, at: number): void {
    const { words: from, count, readable } = this.$pieces
    for (let i = 0, piece = 0, word = at; i < count; i++, piece += pieceStep, word += words) {
      const flags = i < readable ? 0 : writeFlag
      to[word + addressLow] = from[piece]!
      to[word + addressHigh] = from[piece + 1]!
      to[word + lengthWord] = from[piece + 2]!
      to[word + flagsWord] = i + 1 < count ? flags | nextFlag | ((i + 1) << nextShift) : flags
    }
  }

  protected override $publish(): boolean {
    const before = this.$published
    const now = this.$available
    this.$published = now
    // Release: orders the plain stores of buffers, descriptors and ring entries before this store. The device loads the index first.
    Atomics.store(this.#driver, availIdx16, now)
    // Either load is sequentially consistent like the store of the available index: it cannot go before that store.
    if (!this.$eventIndex) return (Atomics.load(this.#device, usedFlags16) & VIRTQ_USED_F_NO_NOTIFY) === 0
    return isEventDue(Atomics.load(this.#device, (usedRing32 + this.size * usedEntry32) * 2), now, before)
  }

  override completed(): T | undefined {
    if (this.$stopped) return undefined
    const head = this.$batch > 0 ? this.$nextOfBatch() : this.#nextUsed()
    if (head === nobody) return undefined
    this.$used = (this.$used + 1) & indexMask
    return this.$release(head)
  }

  #nextUsed(): number {
    this.$bind()
    if (!this.$look() && !this.$lookAgain()) return nobody
    const used = this.$used
    const element = usedRing32 + (used & (this.size - 1)) * usedEntry32
    // With VIRTIO_F_IN_ORDER the next element lies as many places further as this one stands for.
    return this.$accept(this.#used32[element + usedId32]!, this.#used32[element + usedLen32]!, (this.#seen - used) & indexMask)
  }

  #usedIndex(): number {
    // Acquire: orders this load before the plain loads of used elements and buffers that follow. The device stores the index after those. Behind `$ask` it is the second
    // look: sequentially consistent, it does not go before that store.
    return Atomics.load(this.#device, usedIdx16)
  }

  protected override $isUsed(): boolean {
    return this.#usedIndex() !== this.$used
  }

  protected override $look(): boolean {
    const from = this.$used
    if (from !== this.#seen) return true
    const index = this.#usedIndex()
    const used = (index - from) & indexMask
    const out = (this.$published - from) & indexMask
    if (used > out) {
      this.$violate('used-index', `the used index goes from ${from} to ${index}, but only ${out} buffers are out`)
      return false
    }
    this.#seen = index
    return used !== 0
  }

  protected override get $usedSeen(): number {
    return this.#seen
  }

  /** With VIRTIO_F_EVENT_IDX the flag MUST be 0; an index that is not reached for long asks for none. */
  protected override $wish(wanted: boolean): number {
    if (this.$eventIndex) return wanted ? this.$used : (this.$used + halfWay) & indexMask
    return wanted ? 0 : VIRTQ_AVAIL_F_NO_INTERRUPT
  }

  protected override $ask(wish: number): void {
    // Sequentially consistent: orders this store before the load of the used index that has to follow where notifications are asked for. The device stores that index and
    // then loads this word.
    Atomics.store(this.#driver, this.$eventIndex ? availRing16 + this.size : availFlags16, wish)
  }

  protected override $descriptors(head: number): number[] {
    const chain = [head]
    for (let at = head; at !== this.$last[head]; chain.push(at)) at = this.$next[at]!
    return chain
  }
}
