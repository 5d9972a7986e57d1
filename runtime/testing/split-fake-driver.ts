/** The driver's side of a split virtqueue, by hand. VIRTIO 1.4, Basic Facilities of a Virtio Device / Split Virtqueues. */
import {
  split_ring_alignment,
  split_ring_entry_size,
  split_ring_fixed_size,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_F_NO_NOTIFY,
  VirtqAvail,
  VirtqDesc,
  VirtqUsed,
  VirtqUsedElem,
} from 'virtgen/wire/split-ring'
import type { Amendment } from './chain.ts'
import {
  FakeDriver,
  type FakeDriverOptions,
  indexMask,
  type OfferedChain,
  type PutOptions,
  placeAreas,
  type RingPosition,
  RuleBroken,
} from './fake-driver.ts'
import type { TestMemory } from './memory.ts'
import { amended, decodeWords, descriptorSize, encodeWords, type PlacedChain, type Words } from './placed-chain.ts'

const offsets = { ...VirtqDesc.offsetOf, last: VirtqDesc.offsetOf.next }
/** `next` of a descriptor that has none: who follows it anyway is found out. */
const nowhere = 0xffff

export class SplitFakeDriver extends FakeDriver {
  readonly format = 'split'
  /** Free descriptors, in the order in which they are taken: that of the ring, as long as they come back in it. */
  readonly #free: number[]
  /** Indices of the next entries, modulo 2^16: of the available ring, as published, and of the used ring. */
  #available: number
  #published: number
  #used: number
  /** The available index before the last `publish`. */
  #before: number

  constructor(memory: TestMemory, options: FakeDriverOptions = {}) {
    const { size = 8, eventIndex = false, indirect = true, inOrder = false, notify = () => {}, position = { available: 0, used: 0 } } = options
    const bytes = {
      descriptorArea: split_ring_fixed_size.descriptor_table + split_ring_entry_size.descriptor_table * size,
      driverArea: split_ring_fixed_size.available_ring + split_ring_entry_size.available_ring * size,
      deviceArea: split_ring_fixed_size.used_ring + split_ring_entry_size.used_ring * size,
    }
    const alignment = {
      descriptorArea: split_ring_alignment.descriptor_table,
      driverArea: split_ring_alignment.available_ring,
      deviceArea: split_ring_alignment.used_ring,
    }
    super(memory, placeAreas(memory, options, bytes, alignment), { eventIndex, indirect, inOrder }, notify)
    this.#free = Array.from({ length: size }, (_, index) => index)
    this.#available = this.#published = this.#before = position.available
    this.#used = position.used
  }

  override get free(): number {
    return this.#free.length
  }
  override get position(): RingPosition {
    return { available: this.#available, used: this.#used }
  }

  // ---- Words of the rings

  override descriptor(index: number, table: number = this.setup.descriptorArea): Words {
    return decodeWords(this.memory.peek(table + index * descriptorSize, descriptorSize), offsets)
  }
  override setDescriptor(index: number, words: Amendment, table: number = this.setup.descriptorArea): void {
    const changed = amended(this.descriptor(index, table), words, ({ next }) => next)
    this.memory.poke(table + index * descriptorSize, encodeWords(changed, offsets))
  }

  /** Writes an entry of the available ring. */
  setAvailableEntry(index: number, head: number): void {
    this.memory.poke16(this.setup.driverArea + VirtqAvail.offsetOf.ring + (index % this.size) * split_ring_entry_size.available_ring, head)
  }
  /** `idx` of the available ring; modulo 2^16. */
  get availableIndex(): number {
    return this.memory.peek16(this.setup.driverArea + VirtqAvail.offsetOf.idx)
  }
  set availableIndex(index: number) {
    this.memory.poke16(this.setup.driverArea + VirtqAvail.offsetOf.idx, index)
  }
  /** `flags` of the available ring. */
  get availableFlags(): number {
    return this.memory.peek16(this.setup.driverArea + VirtqAvail.offsetOf.flags)
  }
  set availableFlags(flags: number) {
    this.memory.poke16(this.setup.driverArea + VirtqAvail.offsetOf.flags, flags)
  }
  get usedEvent(): number {
    return this.memory.peek16(this.setup.driverArea + VirtqAvail.offsetOf.ring + this.size * split_ring_entry_size.available_ring)
  }
  set usedEvent(index: number) {
    this.memory.poke16(this.setup.driverArea + VirtqAvail.offsetOf.ring + this.size * split_ring_entry_size.available_ring, index)
  }

  /** An entry of the used ring. */
  usedElement(index: number): { id: number; len: number } {
    const at = this.setup.deviceArea + VirtqUsed.offsetOf.ring + (index % this.size) * split_ring_entry_size.used_ring
    return VirtqUsedElem.decode(this.memory.peek(at, VirtqUsedElem.size))
  }
  /** `idx` of the used ring. */
  get usedIndex(): number {
    return this.memory.peek16(this.setup.deviceArea + VirtqUsed.offsetOf.idx)
  }
  /** `flags` of the used ring. */
  get usedFlags(): number {
    return this.memory.peek16(this.setup.deviceArea + VirtqUsed.offsetOf.flags)
  }
  get availEvent(): number {
    return this.memory.peek16(this.setup.deviceArea + VirtqUsed.offsetOf.ring + this.size * split_ring_entry_size.used_ring)
  }

  // ---- Offering

  /** Puts heads into the available ring, whatever they are, not yet visible. */
  putHeads(...heads: readonly number[]): void {
    for (const head of heads) {
      this.setAvailableEntry(this.#available, head)
      this.#available = (this.#available + 1) & indexMask
    }
  }

  /** Makes chains available that begin at these descriptors, whatever lies there. */
  offerHeads(...heads: readonly number[]): void {
    this.putHeads(...heads)
    this.publish()
  }

  /** Writes an available index, whatever it is, and notifies the device. */
  jumpTo(index: number): void {
    this.#available = index & indexMask
    this.publish()
  }

  protected override write(placed: PlacedChain, options: PutOptions): OfferedChain {
    const descriptors = this.#take(placed.descriptors, options)
    const { table, elements, spec } = placed
    const direct = elements.length - placed.inTable
    const indexOf = (element: number): number => (element < direct ? descriptors[element]! : element - direct)
    elements.forEach(({ at, length, writable, amend }, i) => {
      const isLast = i === elements.length - 1
      const flags = (writable ? VIRTQ_DESC_F_WRITE : 0) | (isLast ? 0 : VIRTQ_DESC_F_NEXT)
      const next = isLast ? nowhere : i + 1 === direct ? descriptors[direct]! : indexOf(i + 1)
      const inRing = i < direct ? this.setup.descriptorArea : table!
      this.#writeDescriptor(inRing, indexOf(i), { address: at, length, flags, last: next }, amend, indexOf)
    })
    if (table !== undefined) {
      const words = { address: table, length: placed.inTable * descriptorSize, flags: VIRTQ_DESC_F_INDIRECT, last: nowhere }
      this.#writeDescriptor(this.setup.descriptorArea, descriptors[direct]!, words, spec.table?.amend, indexOf)
    }
    this.putHeads(descriptors[0]!)
    return { id: descriptors[0]!, placed, descriptors }
  }

  #take(count: number, { head, descriptors }: PutOptions): number[] {
    if (count > this.#free.length) throw new RangeError(`the chain takes ${count} descriptors of the ring, ${this.#free.length} are free`)
    const chosen = descriptors ?? (head === undefined ? [] : [head])
    if (descriptors !== undefined && chosen.length !== count)
      throw new RangeError(`the chain takes ${count} descriptors of the ring, not ${chosen.length}`)
    for (const index of chosen) {
      const at = this.#free.indexOf(index)
      if (at < 0) throw new RangeError(`descriptor ${index} is not free`)
      this.#free.splice(at, 1)
    }
    return [...chosen, ...this.#free.splice(0, count - chosen.length)]
  }

  #writeDescriptor(table: number, index: number, words: Words, amend: Amendment | undefined, indexOf: (element: number) => number): void {
    const next = ({ next, nextElement }: Amendment): number | undefined => (nextElement === undefined ? next : indexOf(nextElement))
    this.memory.poke(table + index * descriptorSize, encodeWords(amended(words, amend, next), offsets))
  }

  protected override show(): void {
    this.#before = this.#published
    this.#published = this.#available
    this.availableIndex = this.#available
  }

  override get deviceWantsNotification(): boolean {
    if (!this.features.eventIndex) return (this.usedFlags & VIRTQ_USED_F_NO_NOTIFY) === 0
    // The device asks for the entry with the index avail_event: is it among those that were published last?
    for (let index = this.#before; index !== this.#published; index = (index + 1) & indexMask) if (index === this.availEvent) return true
    return false
  }

  protected override tell(): void {
    const { wish } = this
    if (!this.features.eventIndex) {
      this.availableFlags = wish === 'never' ? VIRTQ_AVAIL_F_NO_INTERRUPT : 0
      return
    }
    const entries = wish === 'always' ? 1 : wish === 'never' ? 0 : wish
    this.usedEvent = (this.#used + entries - 1) & indexMask
  }

  // ---- Used chains

  protected override usedEntry(): { id: number; written: number } | undefined {
    const count = (this.usedIndex - this.#used) & indexMask
    if (count > this.out.length)
      throw new RuleBroken(`the used index went from ${this.#used} to ${this.usedIndex}, the device has ${this.out.length} chains`)
    if (count === 0) return undefined
    const { id, len } = this.usedElement(this.#used)
    return { id, written: len }
  }

  protected override skip(chains: readonly OfferedChain[]): void {
    const count = (this.usedIndex - this.#used) & indexMask
    if (chains.length > count) throw new RuleBroken(`the device used ${chains.length} chains in order, but the used index went on by ${count}`)
    this.#used = (this.#used + chains.length) & indexMask
    for (const { descriptors } of chains) this.#free.push(...descriptors)
  }
}
