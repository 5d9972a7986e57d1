/** The driver's side of a packed virtqueue, by hand. VIRTIO 1.4, Basic Facilities of a Virtio Device / Packed Virtqueues. */
import {
  PvirtqDesc,
  packed_ring_alignment,
  packed_ring_entry_size,
  packed_ring_fixed_size,
  packed_ring_initial,
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  RING_EVENT_FLAGS_ENABLE,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
} from 'virtgen/wire/packed-ring'
import type { Amendment } from './chain.ts'
import { type EventSuppression, readEvent, writeEvent } from './event-suppression.ts'
import { FakeDriver, type FakeDriverOptions, type OfferedChain, type PutOptions, placeAreas, type RingPosition, RuleBroken } from './fake-driver.ts'
import type { TestMemory } from './memory.ts'
import { amended, decodeWords, descriptorSize, encodeWords, type PlacedChain, type Words } from './placed-chain.ts'
import { RingPlace } from './ring-place.ts'

const offsets = { ...PvirtqDesc.offsetOf, last: PvirtqDesc.offsetOf.id }
/** The id in a descriptor that is not the last one of its list, where it means nothing: who reads it there is found out. */
const nobody = 0xffff

export class PackedFakeDriver extends FakeDriver {
  readonly format = 'packed'
  /** Where the next descriptor goes, and where the next used one is looked for. */
  readonly #available: RingPlace
  readonly #used: RingPlace
  /** `#available` before the last `publish`, and at it. */
  #before: number
  #published: number
  #free: number
  readonly #ids: number[]
  /** Flags of first descriptors, which are written after all others. */
  readonly #held: { address: number; flags: number }[] = []

  constructor(memory: TestMemory, options: FakeDriverOptions = {}) {
    const { size = 8, eventIndex = false, indirect = true, inOrder = false, notify = () => {} } = options
    const bytes = {
      descriptorArea: packed_ring_entry_size.descriptor_ring * size,
      driverArea: packed_ring_fixed_size.driver_event_suppression,
      deviceArea: packed_ring_fixed_size.device_event_suppression,
    }
    const alignment = {
      descriptorArea: packed_ring_alignment.descriptor_ring,
      driverArea: packed_ring_alignment.driver_event_suppression,
      deviceArea: packed_ring_alignment.device_event_suppression,
    }
    super(memory, placeAreas(memory, options, bytes, alignment), { packed: true, eventIndex, indirect, inOrder }, notify)
    const initial = packed_ring_initial.initial_wrap_counter << 15
    const { available, used } = options.position ?? { available: initial, used: initial }
    this.#available = new RingPlace(size, available)
    this.#used = new RingPlace(size, used)
    this.#before = this.#published = available
    this.#free = size
    this.#ids = Array.from({ length: size }, (_, id) => id)
    this.#age()
  }

  /** Makes the ring what it is when it begins at a position: all before it was used in this round, all from there on in the one before. */
  #age(): void {
    const { index, wrap } = this.#available
    for (let i = 0; i < this.size; i++) {
      const isSet = i < index === (wrap === 1)
      if (isSet) this.setDescriptor(i, { flags: VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED })
    }
  }

  override get free(): number {
    return this.#free
  }
  override get position(): RingPosition {
    return { available: this.#available.word, used: this.#used.word }
  }

  // ---- Words of the ring

  override descriptor(index: number, table: number = this.setup.descriptorArea): Words {
    return decodeWords(this.memory.peek(table + index * descriptorSize, descriptorSize), offsets)
  }
  override setDescriptor(index: number, words: Amendment, table: number = this.setup.descriptorArea): void {
    const changed = amended(this.descriptor(index, table), words, ({ id }) => id)
    this.memory.poke(table + index * descriptorSize, encodeWords(changed, offsets))
  }

  /** What the driver asks for. Written as one 32-bit word. */
  get driverEvent(): EventSuppression {
    return readEvent(this.memory, this.setup.driverArea)
  }
  set driverEvent(event: EventSuppression) {
    writeEvent(this.memory, this.setup.driverArea, event)
  }
  /** What the device asks for. */
  get deviceEvent(): EventSuppression {
    return readEvent(this.memory, this.setup.deviceArea)
  }

  // ---- Offering

  protected override write(placed: PlacedChain, { head }: PutOptions): OfferedChain {
    const count = placed.descriptors
    if (count > this.#free) throw new RangeError(`the chain takes ${count} descriptors of the ring, ${this.#free} are free`)
    const id = this.#takeId(head)
    const { table, elements, spec } = placed
    const direct = elements.length - placed.inTable
    const descriptors: number[] = []
    const put = (words: Words, amend: Amendment | undefined): void => {
      const isLast = descriptors.length === count - 1
      const flags = words.flags | (isLast ? 0 : VIRTQ_DESC_F_NEXT)
      this.#writeRing({ ...words, flags, last: isLast ? id : nobody }, amend, descriptors.length === 0)
      descriptors.push(this.#available.index)
      this.#available.move(1)
    }
    elements.forEach(({ at, length, writable, amend }, i) => {
      const words = { address: at, length, flags: writable ? VIRTQ_DESC_F_WRITE : 0, last: nobody }
      if (i < direct) put(words, amend)
      else
        this.memory.poke(
          table! + (i - direct) * descriptorSize,
          encodeWords(
            amended(words, amend, ({ id }) => id),
            offsets,
          ),
        )
    })
    if (table !== undefined)
      put({ address: table, length: placed.inTable * descriptorSize, flags: VIRTQ_DESC_F_INDIRECT, last: id }, spec.table?.amend)
    this.#free -= count
    return { id, placed, descriptors }
  }

  /** An id may be any number of 16 bits; only those below the size are given out unasked. */
  #takeId(chosen: number | undefined): number {
    if (chosen === undefined) return this.#ids.shift()!
    if (this.out.some(({ id }) => id === chosen)) throw new RangeError(`buffer id ${chosen} is not free`)
    const at = this.#ids.indexOf(chosen)
    if (at >= 0) this.#ids.splice(at, 1)
    return chosen
  }

  /** Writes the next descriptor of the ring; the flags of the first one of a list wait for `show`, as they make all of it available. */
  #writeRing(words: Words, amend: Amendment | undefined, isFirst: boolean): void {
    const { flags = words.flags, ...others } = amend ?? {}
    const available = this.#available.wrap === 1 ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED
    const changed = amended({ ...words, flags: flags | available }, others, ({ id }) => id)
    const address = this.setup.descriptorArea + this.#available.index * descriptorSize
    const bytes = encodeWords(changed, offsets)
    if (isFirst) {
      this.#held.push({ address: address + offsets.flags, flags: changed.flags })
      this.memory.poke(address, bytes.subarray(0, offsets.flags))
    } else this.memory.poke(address, bytes)
  }

  protected override show(): void {
    for (const { address, flags } of this.#held.splice(0)) this.memory.poke16(address, flags)
    this.#before = this.#published
    this.#published = this.#available.word
  }

  override get deviceWantsNotification(): boolean {
    const { flags, offset, wrap } = this.deviceEvent
    if (flags === RING_EVENT_FLAGS_DISABLE) return false
    if (flags === RING_EVENT_FLAGS_ENABLE) return this.#before !== this.#published
    if (flags !== RING_EVENT_FLAGS_DESC || !this.features.eventIndex) throw new RuleBroken(`the event flags of the device are ${flags}`)
    return new RingPlace(this.size, this.#before).passes({ index: offset, wrap }, this.#published)
  }

  protected override tell(): void {
    const { wish } = this
    if (typeof wish !== 'number') {
      this.driverEvent = { offset: 0, wrap: 0, flags: wish === 'always' ? RING_EVENT_FLAGS_ENABLE : RING_EVENT_FLAGS_DISABLE }
      return
    }
    const place = new RingPlace(this.size, this.#used.word)
    place.move(wish - 1)
    this.driverEvent = { offset: place.index, wrap: place.wrap, flags: RING_EVENT_FLAGS_DESC }
  }

  // ---- Used chains

  protected override usedEntry(): { id: number; written: number } | undefined {
    const { flags, length, last } = this.descriptor(this.#used.index)
    const own = this.#used.wrap === 1 ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0
    if ((flags & (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED)) !== own) return undefined
    // Element Length is reserved for used descriptors without the flag.
    return { id: last, written: (flags & VIRTQ_DESC_F_WRITE) === 0 ? 0 : length }
  }

  protected override skip(chains: readonly OfferedChain[]): void {
    for (const { id, descriptors } of chains) {
      this.#used.move(descriptors.length)
      this.#free += descriptors.length
      if (id < this.size) this.#ids.push(id)
    }
  }
}
