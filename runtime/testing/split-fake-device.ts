/** The device's side of a split virtqueue, by hand. VIRTIO 1.4, Basic Facilities of a Virtio Device / Split Virtqueues. */
import {
  split_ring_entry_size,
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
import type { QueueSetup } from '../queue.ts'
import { FakeDevice, type FakeDeviceOptions, type TakenBuffer } from './fake-device.ts'
import { indexMask, type RingPosition, RuleBroken } from './fake-driver.ts'
import { tableLength } from './indirect-table.ts'
import type { TestMemory } from './memory.ts'
import { decodeWords, descriptorSize, type Words } from './placed-chain.ts'

const offsets = { ...VirtqDesc.offsetOf, last: VirtqDesc.offsetOf.next }

export class SplitFakeDevice extends FakeDevice {
  readonly format = 'split'
  #available: number
  #used: number
  #published: number
  /** The used index before the last `publish`. */
  #before: number
  /** With VIRTIO_F_IN_ORDER: the descriptor that the next chain begins with. */
  #expected = 0

  constructor(memory: TestMemory, setup: QueueSetup, options: FakeDeviceOptions = {}) {
    const { eventIndex = false, indirect = true, inOrder = false, notify = () => {}, position = { available: 0, used: 0 } } = options
    super(memory, setup, { eventIndex, indirect, inOrder }, notify)
    this.#available = position.available
    this.#used = this.#published = this.#before = position.used
  }

  override get position(): RingPosition {
    return { available: this.#available, used: this.#used }
  }

  // ---- Words of the rings

  /** `idx` of the available ring. */
  get availableIndex(): number {
    return this.memory.peek16(this.setup.driverArea + VirtqAvail.offsetOf.idx)
  }
  /** `flags` of the available ring. */
  get availableFlags(): number {
    return this.memory.peek16(this.setup.driverArea + VirtqAvail.offsetOf.flags)
  }
  get usedEvent(): number {
    return this.memory.peek16(this.setup.driverArea + VirtqAvail.offsetOf.ring + this.size * split_ring_entry_size.available_ring)
  }
  /** Writes `idx` of the used ring, whatever it is. */
  set usedIndex(index: number) {
    this.memory.poke16(this.setup.deviceArea + VirtqUsed.offsetOf.idx, index)
  }
  /** Writes `flags` of the used ring. */
  set usedFlags(flags: number) {
    this.memory.poke16(this.setup.deviceArea + VirtqUsed.offsetOf.flags, flags)
  }
  set availEvent(index: number) {
    this.memory.poke16(this.setup.deviceArea + VirtqUsed.offsetOf.ring + this.size * split_ring_entry_size.used_ring, index)
  }
  /** Writes an entry of the used ring. */
  setUsedElement(index: number, id: number, len: number): void {
    const at = this.setup.deviceArea + VirtqUsed.offsetOf.ring + (index % this.size) * split_ring_entry_size.used_ring
    this.memory.poke(at, VirtqUsedElem.encode({ id, len }))
  }
  /** Makes visible a used index, whatever it is, and notifies the driver. */
  jumpTo(index: number): void {
    this.#used = index & indexMask
    this.publish()
  }

  // ---- Taking

  protected override read(): { id: number; buffers: TakenBuffer[]; entries: number } | undefined {
    const count = (this.availableIndex - this.#available) & indexMask
    if (count > this.size)
      throw new RuleBroken(`the available index went from ${this.#available} to ${this.availableIndex}, the queue has ${this.size} entries`)
    if (count === 0) return undefined
    const entry = VirtqAvail.offsetOf.ring + (this.#available % this.size) * split_ring_entry_size.available_ring
    const id = this.memory.peek16(this.setup.driverArea + entry)
    this.#available = (this.#available + 1) & indexMask
    return { id, ...this.#follow(id) }
  }

  #follow(head: number): { buffers: TakenBuffer[]; entries: number } {
    const { inOrder, indirect } = this.features
    const buffers: TakenBuffer[] = []
    const visited = new Set<number>()
    let table = this.setup.descriptorArea
    let size = this.size
    let entries = 0
    let inRing = true
    for (let index = head; ; ) {
      if (index >= size) throw new RuleBroken(`a chain goes on at descriptor ${index} of a table of ${size}`)
      if (visited.has(index)) throw new RuleBroken(`a chain comes to descriptor ${index} again`)
      visited.add(index)
      if (inRing) entries++
      if (inOrder) this.#checkOrder(index, inRing ? this.#expected : visited.size - 1)
      if (inOrder && inRing) this.#expected = (index + 1) % this.size
      const words: Words = decodeWords(this.memory.peek(table + index * descriptorSize, descriptorSize), offsets)
      const goesOn = (words.flags & VIRTQ_DESC_F_NEXT) !== 0
      if ((words.flags & VIRTQ_DESC_F_INDIRECT) !== 0) {
        if (!inRing) throw new RuleBroken('an indirect table refers to an indirect table')
        if (goesOn) throw new RuleBroken('a descriptor has VIRTQ_DESC_F_INDIRECT and VIRTQ_DESC_F_NEXT')
        size = tableLength(this.memory, words, indirect)
        table = Number(words.address)
        inRing = false
        index = 0
        visited.clear()
        continue
      }
      buffers.push({ address: Number(words.address), length: words.length, writable: (words.flags & VIRTQ_DESC_F_WRITE) !== 0 })
      if (!goesOn) return { buffers, entries }
      index = words.last
    }
  }

  #checkOrder(index: number, expected: number): void {
    if (index !== expected) throw new RuleBroken(`with VIRTIO_F_IN_ORDER descriptor ${expected} is the next one, not ${index}`)
  }

  protected override tell(): void {
    const { wish } = this
    if (!this.features.eventIndex) {
      this.usedFlags = wish === 'never' ? VIRTQ_USED_F_NO_NOTIFY : 0
      return
    }
    const entries = wish === 'always' ? 1 : wish === 'never' ? 0 : wish
    this.availEvent = (this.#available + entries - 1) & indexMask
  }

  // ---- Using

  protected override write({ id, length, count }: { id: number; length: number; count: number }): void {
    this.setUsedElement(this.#used, id, length)
    this.#used = (this.#used + count) & indexMask
  }

  protected override show(): void {
    this.#before = this.#published
    this.#published = this.#used
    this.usedIndex = this.#used
  }

  override get driverWantsNotification(): boolean {
    if (!this.features.eventIndex) return (this.availableFlags & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0
    // The driver asks for the entry with the index used_event: is it among those that were published last?
    for (let index = this.#before; index !== this.#published; index = (index + 1) & indexMask) if (index === this.usedEvent) return true
    return false
  }
}
