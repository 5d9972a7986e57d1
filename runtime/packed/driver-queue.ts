/** Driver side of a packed virtqueue: one ring that both sides write, and the order between them. VIRTIO 1.4, Packed Virtqueues. */
import {
  PvirtqDescOffsets,
  PvirtqDescSize,
  PvirtqEventSuppressOffsets,
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
import type { DriverQueueOptions } from '../driver-queue-options.ts'
import { checkPackedDriverState } from '../driver-state.ts'
import type { GuestMemory } from '../memory.ts'
import { pieceWords } from '../pieces.ts'
import type { QueueSetup } from '../queue.ts'
import { type RingAreas, words16, words32 } from '../ring-areas.ts'
import { type DriverRingFormat, RingDriverQueue } from '../ring-driver-queue.ts'
import { isPackedQueueSize, packedAreaAlignment, packedAreaSizes } from './areas.ts'
import { packedDescriptorWords } from './descriptor-words.ts'
import { offsetMask as importedOffsetMask, wrapBit as importedWrapBit, isOffsetDue } from './event-offset.ts'

// What is imported is loaded, and checked for being initialized, at each use; what a module keeps to itself is folded into the code.
const nextFlag = VIRTQ_DESC_F_NEXT
const writeFlag = VIRTQ_DESC_F_WRITE
const indirectFlag = VIRTQ_DESC_F_INDIRECT
const availFlag = VIRTQ_DESC_F_AVAIL
const usedFlag = VIRTQ_DESC_F_USED
/** The flags that tell whose a descriptor is: available where they differ, used where both equal the wrap counter. */
const ownerFlags = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED
/** The id of no buffer. */
const nobody = -1
const pieceStep = pieceWords
const { words, addressLow, addressHigh, lengthWord, idWord, flagsShift } = packedDescriptorWords
const wrapBit = importedWrapBit
const offsetMask = importedOffsetMask
/** A descriptor in 16-bit words. */
const words16PerDescriptor = PvirtqDescSize / 2
const id16 = PvirtqDescOffsets.id / 2
const flags16 = PvirtqDescOffsets.flags / 2
/** Where `flags` stand in an event suppression structure that is read as one word: above `desc`. */
const eventShift = PvirtqEventSuppressOffsets.flags * 8
const eventFlagsMask = RING_EVENT_FLAGS_DESC | RING_EVENT_FLAGS_DISABLE

const format: DriverRingFormat = {
  name: 'packed',
  isSize: isPackedQueueSize,
  sizes: `from 1 to ${packed_ring_limits.packed_ring_max_queue_size}`,
  areaSizes: packedAreaSizes,
  areaAlignment: packedAreaAlignment,
  // Both wrap counters are initialized to 1 (Driver and Device Ring Wrap Counters).
  start: importedWrapBit,
  checkState: checkPackedDriverState,
}

/**
 * Positions are offsets with the wrap counter in bit 15. Of what the device writes it reads flags, id and length of the next used descriptor, and the device event
 * suppression structure.
 *
 * Memory order, in one place: the flags of the first descriptor that was added since the last time are stored (release) after all others and after the buffers; those of the
 * next used descriptor are loaded (acquire) before its id and length and before buffers; whether to notify is loaded after the store of the flags, and the flags of the next
 * used descriptor once more after asking for notifications, both in the total order of Atomics.
 *
 * @typeParam T - what the caller wants back with a used buffer
 */
export class PackedDriverQueue<T = unknown> extends RingDriverQueue<T> {
  /** The descriptor ring by 32 and by 16 bits, and the event suppression structures. */
  #table: Uint32Array = new Uint32Array(0)
  #table16: Uint16Array = new Uint16Array(0)
  #driver: Uint32Array = new Uint32Array(0)
  #device: Uint32Array = new Uint32Array(0)
  /** Descriptors that are not visible yet, and the flags of the first of them, at `$published`: what is there says still that the device does not have it. */
  #unpublished = 0
  #heldFlags = 0
  /** Flags of the next used descriptor. */
  #usedFlags = 0

  /** @throws RangeError for a wrong size, an area that is misaligned or not in one region of the memory, or a state that cannot be */
  constructor(memory: GuestMemory, setup: QueueSetup, options: DriverQueueOptions<T>) {
    super(memory, setup, options, format)
    this.$open(options)
  }

  protected override $view({ descriptorArea, driverArea, deviceArea }: RingAreas): void {
    this.#table = words32(descriptorArea)
    this.#table16 = words16(descriptorArea)
    this.#driver = words32(driverArea)
    this.#device = words32(deviceArea)
  }

  protected override $put(isIndirect: boolean): number {
    const { words: from, count, readable } = this.$pieces
    const { size } = this
    const readableFlags = isIndirect ? indirectFlag : 0
    const to = this.#table
    const id = this.$firstFree
    this.$firstFree = this.$next[id]!
    let at = this.$available & offsetMask
    /** What makes a descriptor available in this lap. */
    let owner = (this.$available & wrapBit) === 0 ? usedFlag : availFlag
    for (let i = 0, piece = 0; i < count; i++, piece += pieceStep) {
      const flags = owner | (i < readable ? readableFlags : writeFlag) | (i + 1 < count ? nextFlag : 0)
      const word = at * words
      to[word + addressLow] = from[piece]!
      to[word + addressHigh] = from[piece + 1]!
      to[word + lengthWord] = from[piece + 2]!
      if (this.#unpublished++ > 0) to[word + idWord] = id | (flags << flagsShift)
      else {
        this.#heldFlags = flags
        this.#table16[at * words16PerDescriptor + id16] = id
      }
      if (++at === size) {
        at = 0
        owner ^= ownerFlags
      }
    }
    this.$available = at | (owner === availFlag ? wrapBit : 0)
    return id
  }

  /** The DESC_F_WRITE bit is the only valid flag in an indirect table, and the buffer id is reserved there. */
  protected override $putTable(to: Uint32Array, at: number): void {
    const { words: from, count, readable } = this.$pieces
    for (let i = 0, piece = 0, word = at; i < count; i++, piece += pieceStep, word += words) {
      to[word + addressLow] = from[piece]!
      to[word + addressHigh] = from[piece + 1]!
      to[word + lengthWord] = from[piece + 2]!
      to[word + idWord] = i < readable ? 0 : writeFlag << flagsShift
    }
  }

  /**
   * Of all that was added since the last time, only the flags of the very first descriptor are not written yet. They are stored here, behind everything else, and make all
   * of it visible together: the device looks at descriptors in the order of the ring and goes no further than one that is not available (each side is "only required to poll
   * a single location in memory", Polling of available and used descriptors). One store with its order for the whole batch is all that it takes, and no chain is ever seen
   * in part, since those behind the first one are complete before the first one can be seen.
   */
  protected override $publish(): boolean {
    const first = this.$published & offsetMask
    const now = this.$available
    const count = this.#unpublished
    this.#unpublished = 0
    this.$published = now
    // Release: orders the plain stores of buffers, of the rest of this descriptor and of those behind it before this store. The device loads these flags first, and nothing
    // behind them before they say that the descriptor is available.
    Atomics.store(this.#table16, first * words16PerDescriptor + flags16, this.#heldFlags)
    // One load of both halves, as apart they could be of two different wishes; sequentially consistent like the store of the flags: it cannot go before that store.
    const event = Atomics.load(this.#device, 0)
    const flags = (event >>> eventShift) & eventFlagsMask
    if (flags === RING_EVENT_FLAGS_DESC && this.$eventIndex) return isOffsetDue(event, now, count, this.size)
    // A reserved value is no reason to let the device wait.
    return flags !== RING_EVENT_FLAGS_DISABLE
  }

  override completed(): T | undefined {
    if (this.$stopped) return undefined
    const id = this.$batch > 0 ? this.$nextOfBatch() : this.#nextUsed()
    if (id === nobody) return undefined
    this.$used = this.#behind(this.$out.descriptors(id))
    return this.$release(id)
  }

  #nextUsed(): number {
    this.$bind()
    if (!this.$look() && !this.$lookAgain()) return nobody
    const at = this.$used & offsetMask
    const id = this.#table16[at * words16PerDescriptor + id16]!
    // Element Length is reserved for used descriptors without the VIRTQ_DESC_F_WRITE flag, and is ignored by drivers. QEMU (10.0) never sets the flag and Linux never asks
    // for it, so a length that can be one is taken for one; what was written is not believed further than without the flag.
    const told = this.#table[at * words + lengthWord]!
    const length = (this.#usedFlags & writeFlag) === 0 && told > this.$out.writable(id) ? 0 : told
    // With VIRTIO_F_IN_ORDER the next used descriptor lies behind the descriptors of all that this one stands for.
    return this.$accept(id, length, this.size)
  }

  protected override $isUsed(): boolean {
    return this.$look()
  }

  protected override $look(): boolean {
    const used = this.$used
    // Acquire: orders this load before the plain loads of id, length and buffers that follow. The device stores the flags after those. Behind `$ask` it is the second look:
    // sequentially consistent, it does not go before that store.
    const flags = Atomics.load(this.#table16, (used & offsetMask) * words16PerDescriptor + flags16)
    this.#usedFlags = flags
    return (flags & ownerFlags) === ((used & wrapBit) === 0 ? 0 : ownerFlags)
  }

  protected override get $usedSeen(): number {
    const batch = this.$out.list().slice(0, this.$batch)
    return this.#behind(batch.reduce((sum, id) => sum + this.$out.descriptors(id), 0))
  }

  /** Behind the descriptors of a buffer: there the device writes the next used descriptor. */
  #behind(descriptors: number): number {
    const used = this.$used
    const offset = (used & offsetMask) + descriptors
    return offset < this.size ? used + descriptors : ((used & wrapBit) ^ wrapBit) | (offset - this.size)
  }

  protected override $wish(wanted: boolean): number {
    if (!wanted) return RING_EVENT_FLAGS_DISABLE << eventShift
    return this.$eventIndex ? this.$used | (RING_EVENT_FLAGS_DESC << eventShift) : RING_EVENT_FLAGS_ENABLE << eventShift
  }

  protected override $ask(wish: number): void {
    // Sequentially consistent: orders this store before the load of the flags of the next used descriptor that has to follow where notifications are asked for. The device
    // stores those flags and then loads this word.
    Atomics.store(this.#driver, 0, wish)
  }

  protected override $descriptors(id: number): number {
    return this.$out.descriptors(id)
  }
}
