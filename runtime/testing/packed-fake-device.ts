/** The device's side of a packed virtqueue, by hand. VIRTIO 1.4, Basic Facilities of a Virtio Device / Packed Virtqueues. */
import {
  PvirtqDesc,
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
import type { QueueSetup } from '../queue.ts'
import { type EventSuppression, readEvent, writeEvent } from './event-suppression.ts'
import { FakeDevice, type FakeDeviceOptions, type TakenBuffer } from './fake-device.ts'
import { type RingPosition, RuleBroken } from './fake-driver.ts'
import { tableLength } from './indirect-table.ts'
import type { TestMemory } from './memory.ts'
import { decodeWords, descriptorSize, type Words } from './placed-chain.ts'
import { RingPlace } from './ring-place.ts'

const offsets = { ...PvirtqDesc.offsetOf, last: PvirtqDesc.offsetOf.id }
const marks = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED

export class PackedFakeDevice extends FakeDevice {
  readonly format = 'packed'
  readonly #available: RingPlace
  readonly #used: RingPlace
  /** `#used` before the last `publish`, and at it. */
  #before: number
  #published: number
  /** Flags of used descriptors that the driver does not see yet. */
  readonly #held: { address: number; flags: number }[] = []

  constructor(memory: TestMemory, setup: QueueSetup, options: FakeDeviceOptions = {}) {
    const { eventIndex = false, indirect = true, inOrder = false, notify = () => {} } = options
    super(memory, setup, { packed: true, eventIndex, indirect, inOrder }, notify)
    const initial = packed_ring_initial.initial_wrap_counter << 15
    const { available, used } = options.position ?? { available: initial, used: initial }
    this.#available = new RingPlace(setup.size, available)
    this.#used = new RingPlace(setup.size, used)
    this.#before = this.#published = used
  }

  override get position(): RingPosition {
    return { available: this.#available.word, used: this.#used.word }
  }

  // ---- Words of the ring

  /** What the driver asks for. */
  get driverEvent(): EventSuppression {
    return readEvent(this.memory, this.setup.driverArea)
  }
  /** What the device asks for. Written as one 32-bit word. */
  get deviceEvent(): EventSuppression {
    return readEvent(this.memory, this.setup.deviceArea)
  }
  set deviceEvent(event: EventSuppression) {
    writeEvent(this.memory, this.setup.deviceArea, event)
  }

  // ---- Taking

  protected override read(): { id: number; buffers: TakenBuffer[]; entries: number } | undefined {
    if (!this.#isAvailable(this.#descriptor(this.#available.index))) return undefined
    const buffers: TakenBuffer[] = []
    for (let entries = 1; ; entries++) {
      const words = this.#descriptor(this.#available.index)
      if (!this.#isAvailable(words)) throw new RuleBroken(`a list goes on in descriptor ${this.#available.index}, which is not available`)
      this.#available.move(1)
      const goesOn = (words.flags & VIRTQ_DESC_F_NEXT) !== 0
      if ((words.flags & VIRTQ_DESC_F_INDIRECT) !== 0) {
        if (goesOn || entries > 1) throw new RuleBroken('a list has an indirect table among other descriptors')
        buffers.push(...this.#table(words))
      } else buffers.push(bufferOf(words))
      if (!goesOn) return { id: words.last, buffers, entries }
      if (entries === this.size) throw new RuleBroken(`a list has more than the ${this.size} descriptors of the ring`)
    }
  }

  #descriptor(index: number): Words {
    return decodeWords(this.memory.peek(this.setup.descriptorArea + index * descriptorSize, descriptorSize), offsets)
  }

  #isAvailable({ flags }: Words): boolean {
    return (flags & marks) === (this.#available.wrap === 1 ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED)
  }

  /** The driver MUST NOT set any flags except VIRTQ_DESC_F_WRITE within an indirect descriptor. */
  #table(words: Words): TakenBuffer[] {
    const count = tableLength(this.memory, words, this.features.indirect)
    return Array.from({ length: count }, (_, index) => {
      const inner = decodeWords(this.memory.peek(Number(words.address) + index * descriptorSize, descriptorSize), offsets)
      if ((inner.flags & ~VIRTQ_DESC_F_WRITE) !== 0) throw new RuleBroken(`descriptor ${index} of an indirect table has flags ${inner.flags}`)
      return bufferOf(inner)
    })
  }

  protected override tell(): void {
    const { wish } = this
    if (typeof wish !== 'number') {
      this.deviceEvent = { offset: 0, wrap: 0, flags: wish === 'always' ? RING_EVENT_FLAGS_ENABLE : RING_EVENT_FLAGS_DISABLE }
      return
    }
    const place = new RingPlace(this.size, this.#available.word)
    place.move(wish - 1)
    this.deviceEvent = { offset: place.index, wrap: place.wrap, flags: RING_EVENT_FLAGS_DESC }
  }

  // ---- Using

  protected override write({ id, length, entries }: { id: number; length: number; entries: number }): void {
    const address = this.setup.descriptorArea + this.#used.index * descriptorSize
    this.memory.poke32(address + offsets.len, length)
    this.memory.poke16(address + offsets.last, id)
    const flags = (this.#used.wrap === 1 ? marks : 0) | (length > 0 ? VIRTQ_DESC_F_WRITE : 0)
    this.#held.push({ address: address + offsets.flags, flags })
    this.#used.move(entries)
  }

  protected override show(): void {
    // The first one last: who looks there sees all of them.
    for (const { address, flags } of this.#held.splice(0).toReversed()) this.memory.poke16(address, flags)
    this.#before = this.#published
    this.#published = this.#used.word
  }

  override get driverWantsNotification(): boolean {
    const { flags, offset, wrap } = this.driverEvent
    if (flags === RING_EVENT_FLAGS_DISABLE) return false
    if (flags === RING_EVENT_FLAGS_ENABLE) return this.#before !== this.#published
    if (flags !== RING_EVENT_FLAGS_DESC || !this.features.eventIndex) throw new RuleBroken(`the event flags of the driver are ${flags}`)
    return new RingPlace(this.size, this.#before).passes({ index: offset, wrap }, this.#published)
  }
}

function bufferOf({ address, length, flags }: Words): TakenBuffer {
  return { address: Number(address), length, writable: (flags & VIRTQ_DESC_F_WRITE) !== 0 }
}
