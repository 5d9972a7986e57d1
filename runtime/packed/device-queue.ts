/** Device side of a packed virtqueue: one ring that both sides write, and the order between them. VIRTIO 1.4, Packed Virtqueues. */
import {
  PvirtqDescOffsets,
  PvirtqDescSize,
  packed_ring_entry_size,
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
import { split_ring_limits } from 'virtgen/wire/split-ring'
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
import { isPackedQueueSize, packedAreaAlignment, packedAreaSizes } from './areas.ts'
import { PackedChainReader } from './chain-reader.ts'
import { packedDescriptorWords } from './descriptor-words.ts'
import { offsetMask as importedOffsetMask, wrapBit as importedWrapBit, isOffsetDue } from './event-offset.ts'

// What is imported is loaded, and checked for being initialized, at each use; what a module keeps to itself is folded into the code.
const nextFlag = VIRTQ_DESC_F_NEXT
const writeFlag = VIRTQ_DESC_F_WRITE
const availFlag = VIRTQ_DESC_F_AVAIL
const usedFlag = VIRTQ_DESC_F_USED
const bothFlags = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED
const unusualFlags = bothFlags | VIRTQ_DESC_F_INDIRECT
const { words, addressLow, addressHigh, lengthWord, idWord, flagsShift, idMask } = packedDescriptorWords
const { rowWords, rowLow, rowHigh, rowLength, rowPosition, segmentMask } = segmentLayout
/** In place of a head: no chain is out. */
const nobody = noHead
const wrapBit = importedWrapBit
const offsetMask = importedOffsetMask
const words16PerDescriptor = PvirtqDescSize / 2
const flags16 = PvirtqDescOffsets.flags / 2
/** As in a split ring. */
const mostInt = 0x7fff_ffff
const mostUsed = split_ring_limits.split_ring_max_chain_length - 1
/** `flags` of an event suppression structure stand above `desc`. */
const eventFlagsShift = 16
const eventFlagsMask = RING_EVENT_FLAGS_DESC | RING_EVENT_FLAGS_DISABLE

const format: RingFormat = {
  name: 'packed',
  // Both wrap counters are initialized to 1 (Driver and Device Ring Wrap Counters).
  start: { available: importedWrapBit, used: importedWrapBit, inFlight: [] },
  sizeProblem: ({ index, size }) => {
    if (isPackedQueueSize(size)) return undefined
    const detail = `the queue size must be a number from 1 to ${packed_ring_limits.packed_ring_max_queue_size}, not ${size}`
    return { kind: 'queue-size', queue: index, detail }
  },
}

/**
 * Positions are offsets with the wrap counter in bit 15.
 *
 * Memory order, in one place: the flags of the next descriptor are loaded (acquire) before the rest of its list, which the driver makes available before; used
 * descriptors are written without the flags of the first one, and those are stored last (release), as the driver looks at no other; whether to notify is loaded after
 * that store, and the flags of the next descriptor once more after asking for notifications, both in the total order of Atomics.
 */
export class PackedDeviceQueue extends RingDeviceQueue {
  readonly #setup: QueueSetup
  readonly #eventIndex: boolean
  readonly #reader: PackedChainReader
  /** The descriptor ring by 32 and by 16 bits, and the event suppression structures. */
  #table: Uint32Array = new Uint32Array(0)
  #table16: Uint16Array = new Uint16Array(0)
  #driver: Uint32Array = new Uint32Array(0)
  #device: Uint32Array = new Uint32Array(0)
  #version = -1
  /** The segments of the slab, as long as it does not grow. */
  #rows: Uint32Array = new Uint32Array(0)
  /** Flags of the used descriptor at `$published`, which is written without them; -1: nothing is held back. */
  #heldFlags = -1
  /** What the device's event suppression structure holds; -1: unknown. */
  #told = -1
  /** Entries that became used since the driver's wish was looked at last. */
  #unchecked = 0
  /** Entries that became used since the last `$publish`. */
  #unpublished = 0
  /** The driver's wish may be older than the position: it is notified once in any case. */
  #isStale: boolean

  /** @param inOrder - with VIRTIO_F_IN_ORDER: empty, of that size */
  constructor(memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions, inOrder?: InOrder) {
    super(memory, setup, options, format, inOrder)
    this.#setup = setup
    this.#eventIndex = options.eventIndex === true
    this.#rows = this.slab.words
    this.#reader = new PackedChainReader(memory, this.$builder, setup.size, { indirect: options.indirect === true, maxChainLength: this.$most })
    this.#isStale = options.state !== undefined
    this.$open(setup)
  }

  /** Whether a descriptor is available is only known of the next one. */
  protected override get $availableSeen(): number {
    return this.$available
  }

  protected override $bind(): Violation | undefined {
    return this.#version === this.memory.version ? undefined : this.#bind()
  }

  #bind(): Violation | undefined {
    const areas = ringAreas(this.memory, this.#setup, packedAreaSizes(this.size), packedAreaAlignment)
    if ('kind' in areas) return areas
    this.#table = words32(areas.descriptorArea)
    this.#reader.descriptors = this.#table
    this.#table16 = words16(areas.descriptorArea)
    this.#driver = words32(areas.driverArea)
    this.#device = words32(areas.deviceArea)
    this.$leave()
    this.#version = this.memory.version
    return undefined
  }

  /**
   * The usual chain is read here, in locals: direct descriptors, each in one region, with room in the range that the chain has kept. Any other is read anew by the
   * reader, but for the flags of its first descriptor, and nothing of what was read here is used then.
   */
  override next(): Chain | undefined {
    if (this.$stamp !== this.memory.$stamp && !this.$prepare()) return this.$nextRestored()
    const available = this.$available
    const { size } = this
    const position = available & offsetMask
    // Acquire: orders this load before the plain loads of the list and of its buffers that follow. The driver stores those before it stores these flags.
    const firstFlags = Atomics.load(this.#table16, position * words16PerDescriptor + flags16) | 0
    /** AVAIL as the wrap counter, USED as its inverse. */
    let expected = (available & wrapBit) === 0 ? usedFlag : availFlag
    if ((firstFlags & bothFlags) !== expected) return this.$nextUnseen()
    const spare = this.$spare
    const chain = spare.$state === 0 ? spare : this.$pool.take()
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
    let index = position
    let last = 0
    for (let flags = firstFlags; ; ) {
      // Where the engine knows how large a number is, it does not check sums for overflow.
      const word = (index & offsetMask) * words
      last = table[word + idWord]!
      if (at !== first) flags = last >>> flagsShift
      // 2 GiB or more are below 0.
      const length = table[word + lengthWord]! | 0
      const low = table[word + addressLow]! | 0
      const high = table[word + addressHigh]! | 0
      if (at === room || (flags & unusualFlags) !== expected || length <= 0) return this.#nextAny(chain, firstFlags)
      const offset = (low - this.$low) | 0
      // Nothing here overflows: offset and length are compared with a span as non-negative integers.
      if (high !== this.$high || offset < 0 || offset > ((this.$span - length) | 0))
        if (!this.$enter(low, high, length)) return this.#nextAny(chain, firstFlags)
      if ((flags & writeFlag) === 0) {
        if (turn >= 0) return this.#nextAny(chain, firstFlags)
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
      index++
      if (index === size) {
        index = 0
        expected ^= bothFlags
      }
      if ((flags & nextFlag) === 0) break
    }
    const slots = at - first
    const id = last & idMask
    if (carry < 0 || slots > this.$most) return this.#nextAny(chain, firstFlags)
    if (slots > this.#free(available)) return this.#tooMany(chain, id, slots)
    if (turn < 0) {
      turn = at
      readableBytes = bytes
      bytes = 0
    }
    chain.$begin(id, turn - first, readableBytes, at - turn, bytes)
    chain.$slots = slots
    this.$available = index | (expected === availFlag ? wrapBit : 0)
    if (this.$alone !== nobody || chain !== spare) return this.$deliver(chain, id)
    this.$alone = id
    this.$tickets = (this.$tickets + 1) | 0
    chain.$ticket = this.$tickets
    return chain
  }

  /** Entries between the next available one and those that are not yet used, as far as the driver can know. */
  #free(available: number): number {
    const published = this.$published
    const taken = (available & offsetMask) - (published & offsetMask)
    return (available & wrapBit) === (published & wrapBit) ? this.size - taken : -taken
  }

  #nextAny(chain: Chain, firstFlags: number): Chain | undefined {
    const reader = this.#reader
    const available = this.$available
    const problem = reader.read(chain, available & offsetMask, firstFlags)
    this.#rows = this.slab.words
    // The id stands in the last descriptor of a list: where that was not found, the first one says which list it is.
    const { id, slots } = reader
    if (problem !== undefined) return this.$refuse(chain, problem, id < 0 ? available & offsetMask : id, this.$builder.detail)
    if (slots > this.#free(available)) return this.#tooMany(chain, id, slots)
    this.$builder.finish(id)
    chain.$slots = slots
    this.$available = this.#moved(available, slots)
    return this.$deliver(chain, id)
  }

  #tooMany(chain: Chain, id: number, slots: number): Chain | undefined {
    const free = this.#free(this.$available)
    const detail = `a list of ${slots} descriptors, but all except ${free} of the ${this.size} entries are with the device`
    return this.$refuse(chain, 'available-index', id, detail)
  }

  protected override $restore(chain: Chain, saved: number | SavedChain): ChainProblem | undefined {
    const { head, slots = 1, buffers = [] } = typeof saved === 'number' ? { head: saved } : saved
    this.$builder.begin(chain)
    let problem: ChainProblem | undefined
    for (const [address, length, writable] of buffers) problem ??= this.$builder.add(address, length, writable === 1)
    this.$grown()
    if (problem !== undefined) return problem
    this.$builder.finish(head)
    chain.$slots = slots
    return undefined
  }

  /** A chain was built otherwise than in `next`: the slab may have grown. */
  protected $grown(): void {
    this.#rows = this.slab.words
  }

  /** Used descriptors may be written over those of a chain that is out: its buffers are saved as they were read. */
  protected override $save(chain: Chain): SavedChain {
    return { head: chain.head, slots: chain.$slots, buffers: chain.$buffers() }
  }

  protected override $look(): boolean {
    const available = this.$available
    // Acquire: as in `next`.
    const flags = Atomics.load(this.#table16, (available & offsetMask) * words16PerDescriptor + flags16)
    return (flags & bothFlags) === ((available & wrapBit) === 0 ? usedFlag : availFlag)
  }

  override $use(id: number, written: number, slots: number, _count: number): void {
    const used = this.$used
    const word = (used & offsetMask) * words
    this.#table[word + lengthWord] = written > mostInt ? Math.min(written, mostUsed) : written
    const flags = ((used & wrapBit) === 0 ? 0 : bothFlags) | (written > 0 ? writeFlag : 0)
    if (this.#heldFlags < 0) {
      // The driver looks at this descriptor, and at no later one before it: its flags come last.
      this.#heldFlags = flags
      this.#table16[word * 2 + flags16 - 1] = id
    } else this.#table[word + idWord] = id | (flags << flagsShift)
    this.#unpublished += slots
    this.$used = this.#moved(used, slots)
  }

  protected override $publish(): void {
    const place = (this.$published & offsetMask) * words16PerDescriptor + flags16
    const flags = this.#heldFlags
    const count = this.#unpublished
    const from = this.$published & offsetMask
    this.#heldFlags = -1
    this.#unchecked += count
    this.#unpublished = 0
    this.$published = this.$used
    // Release: orders the plain stores of payload and of the other used descriptors before this store. The driver loads these flags first.
    Atomics.store(this.#table16, place, flags)
    if (this.memory.onWrite !== undefined) this.#announce(from, count)
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
    return this.#wants(this.#unchecked + this.#unpublished, false)
  }

  /** Whether the driver wants to hear of one of the last `count` used descriptors. */
  #wants(count: number, stale: boolean): boolean {
    // One load of both halves, so that they belong together; sequentially consistent like the store of the flags: it cannot go before that store.
    const wish = Atomics.load(this.#driver, 0)
    const flags = (wish >>> eventFlagsShift) & eventFlagsMask
    if (flags === RING_EVENT_FLAGS_DISABLE) return false
    if (flags !== RING_EVENT_FLAGS_DESC || !this.#eventIndex) return true
    return count > this.size || isOffsetDue(wish & 0xffff, this.$used, count, this.size) || stale
  }

  protected override $ask(wanted: boolean): boolean {
    const wish = !wanted
      ? RING_EVENT_FLAGS_DISABLE << eventFlagsShift
      : this.#eventIndex
        ? this.$available | (RING_EVENT_FLAGS_DESC << eventFlagsShift)
        : RING_EVENT_FLAGS_ENABLE << eventFlagsShift
    if (this.#told === wish) return false
    this.#told = wish
    // Sequentially consistent: orders this store before the load of the next descriptor's flags that has to follow. The driver stores those and then loads this word.
    Atomics.store(this.#device, 0, wish)
    this.memory.onWrite?.(this.#setup.deviceArea, this.#device.byteLength)
    return true
  }

  #moved(position: number, slots: number): number {
    const offset = (position & offsetMask) + slots
    return offset < this.size ? position + slots : ((position & wrapBit) ^ wrapBit) | (offset - this.size)
  }

  /** Tells `onWrite` of the entries that hold used descriptors, and of those that they stand for. */
  #announce(from: number, count: number): void {
    const straight = Math.min(count, this.size - from)
    this.memory.onWrite?.(
      this.#setup.descriptorArea + from * packed_ring_entry_size.descriptor_ring,
      straight * packed_ring_entry_size.descriptor_ring,
    )
    if (count > straight) this.memory.onWrite?.(this.#setup.descriptorArea, (count - straight) * packed_ring_entry_size.descriptor_ring)
  }
}
