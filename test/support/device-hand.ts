/** The device's hands on the rings of a driver under test: through a DataView, as far from the code under test as possible, right or wrong as it is told. */
import * as packed from 'virtgen/wire/packed-ring'
import * as split from 'virtgen/wire/split-ring'
import type { GuestMemory } from '../../runtime/memory.ts'
import type { QueueSetup } from '../../runtime/queue.ts'

/** A buffer as the device finds it. */
export interface FoundBuffer {
  id: number
  pieces: { address: number; length: number; writable: boolean }[]
  /** Descriptors that it takes in the ring itself. */
  slots: number
  isIndirect: boolean
}

/** What the driver has asked for: all notifications, none, or one of the used buffer that lies `ahead` places (packed: descriptors) of where the device stands. */
export type DriverWish = 'all' | 'none' | { ahead: number }
/** What the device asks for; `ahead` counts places (packed: descriptors) from where it stands in what is available. */
export type DeviceWish = 'all' | 'none' | { ahead: number }

/** The same for both formats. */
export interface DeviceHand {
  /** Buffers that have become available since the last call, as the text says to find them. */
  take(): FoundBuffer[]
  /** Uses a buffer. With `skipped`, those are used too, without an element of their own: they must be the ones before it (VIRTIO_F_IN_ORDER). */
  use(id: number, length?: number, skipped?: readonly number[]): void
  /** Writes what `use` would write, but does not move on: a lie may follow. */
  forge(id: number, length?: number): void
  /** Where the device stands in what is available, in the form of `published`. */
  readonly position: number
  readonly driverWish: DriverWish
  wish(wish: DeviceWish): void
  /** Writes noise over all that the device may write and the driver reads. */
  noise(bytes: Uint8Array): void
}

export class SplitHand implements DeviceHand {
  readonly #view: () => DataView
  readonly #setup: QueueSetup
  readonly #eventIndex: boolean
  #taken = 0
  #used = 0

  constructor(memory: GuestMemory, setup: QueueSetup, eventIndex: boolean) {
    this.#view = viewOf(memory)
    this.#setup = setup
    this.#eventIndex = eventIndex
  }

  get position(): number {
    return this.#taken
  }
  get availIndex(): number {
    return this.#view().getUint16(this.#setup.driverArea + split.VirtqAvail.offsetOf.idx, true)
  }
  get availFlags(): number {
    return this.#view().getUint16(this.#setup.driverArea + split.VirtqAvail.offsetOf.flags, true)
  }
  get usedEvent(): number {
    return this.#view().getUint16(this.#setup.driverArea + split.VirtqAvail.offsetOf.ring + 2 * this.#setup.size, true)
  }
  availEntry(index: number): number {
    return this.#view().getUint16(this.#setup.driverArea + split.VirtqAvail.offsetOf.ring + 2 * ((index & 0xffff) % this.#setup.size), true)
  }
  descriptor(index: number, table = this.#setup.descriptorArea): split.VirtqDescValue {
    return new split.VirtqDesc().at(this.#view(), table + index * split.VirtqDesc.size).$get()
  }
  /** The descriptors of the chain that begins at `head`, with the indices at which they lie. */
  chain(head: number): (split.VirtqDescValue & { at: number })[] {
    const found = []
    let table = this.#setup.descriptorArea
    for (let at = head; ; ) {
      const descriptor = this.descriptor(at, table)
      if ((descriptor.flags & split.VIRTQ_DESC_F_INDIRECT) !== 0) {
        table = descriptor.addr
        at = 0
        continue
      }
      found.push({ ...descriptor, at })
      if ((descriptor.flags & split.VIRTQ_DESC_F_NEXT) === 0) return found
      at = descriptor.next
    }
  }

  take(): FoundBuffer[] {
    const found: FoundBuffer[] = []
    for (; this.#taken !== this.availIndex; this.#taken = (this.#taken + 1) & 0xffff) {
      const id = this.availEntry(this.#taken)
      const isIndirect = (this.descriptor(id).flags & split.VIRTQ_DESC_F_INDIRECT) !== 0
      const chain = this.chain(id)
      const pieces = chain.map(({ addr, len, flags }) => ({ address: addr, length: len, writable: (flags & split.VIRTQ_DESC_F_WRITE) !== 0 }))
      found.push({ id, pieces, slots: isIndirect ? 1 : chain.length, isIndirect })
    }
    return found
  }

  use(id: number, length = 0, skipped: readonly number[] = []): void {
    this.forge(id, length)
    this.usedIndex = this.#used + 1 + skipped.length
  }
  forge(id: number, length = 0): void {
    this.element(this.#used, id, length)
  }
  /** Writes a used element. */
  element(index: number, id: number, length: number): void {
    const at = this.#setup.deviceArea + split.VirtqUsed.offsetOf.ring + split.VirtqUsedElem.size * (index % this.#setup.size)
    this.#view().setUint32(at + split.VirtqUsedElem.offsetOf.id, id, true)
    this.#view().setUint32(at + split.VirtqUsedElem.offsetOf.len, length, true)
  }
  get usedIndex(): number {
    return this.#used
  }
  set usedIndex(value: number) {
    this.#used = value & 0xffff
    this.#view().setUint16(this.#setup.deviceArea + split.VirtqUsed.offsetOf.idx, this.#used, true)
  }

  get driverWish(): DriverWish {
    if (!this.#eventIndex) return this.availFlags === 0 ? 'all' : 'none'
    const ahead = (this.usedEvent - this.#used) & 0xffff
    return ahead > this.#setup.size ? 'none' : { ahead }
  }
  wish(wish: DeviceWish): void {
    const flags = wish === 'none' ? split.VIRTQ_USED_F_NO_NOTIFY : 0
    this.#view().setUint16(this.#setup.deviceArea + split.VirtqUsed.offsetOf.flags, flags, true)
    if (typeof wish === 'object') this.availEvent = this.#taken + wish.ahead
  }
  set availEvent(value: number) {
    const at = this.#setup.deviceArea + split.VirtqUsed.offsetOf.ring + split.VirtqUsedElem.size * this.#setup.size
    this.#view().setUint16(at, value & 0xffff, true)
  }
  noise(bytes: Uint8Array): void {
    const view = this.#view()
    const length = split.VirtqUsed.offsetOf.ring + split.VirtqUsedElem.size * this.#setup.size + 2
    for (let i = 0; i < length; i++) view.setUint8(this.#setup.deviceArea + i, bytes[i % bytes.length]!)
  }
}

const { VIRTQ_DESC_F_AVAIL, VIRTQ_DESC_F_USED } = packed

export class PackedHand implements DeviceHand {
  readonly #view: () => DataView
  readonly #setup: QueueSetup
  /** Of each buffer that the device has: the entries of the ring that it takes. */
  readonly #slots = new Map<number, number>()
  #at = 0
  #wrap = 1
  #usedAt = 0
  #usedWrap = 1

  constructor(memory: GuestMemory, setup: QueueSetup) {
    this.#view = viewOf(memory)
    this.#setup = setup
  }

  get position(): number {
    return this.#at | (this.#wrap << 15)
  }
  get usedPosition(): number {
    return this.#usedAt | (this.#usedWrap << 15)
  }
  descriptor(index: number, table = this.#setup.descriptorArea): packed.PvirtqDescValue {
    return new packed.PvirtqDesc().at(this.#view(), table + index * packed.PvirtqDesc.size).$get()
  }
  isAvailable(index: number, wrap: number): boolean {
    const { flags } = this.descriptor(index)
    return ((flags & VIRTQ_DESC_F_AVAIL) !== 0) === (wrap === 1) && ((flags & VIRTQ_DESC_F_USED) !== 0) !== (wrap === 1)
  }

  take(): FoundBuffer[] {
    const found: FoundBuffer[] = []
    while (this.isAvailable(this.#at, this.#wrap)) {
      const first = this.descriptor(this.#at)
      const isIndirect = (first.flags & packed.VIRTQ_DESC_F_INDIRECT) !== 0
      const ring: packed.PvirtqDescValue[] = []
      for (let more = true; more; ) {
        // The text: all flags MUST be set correctly in all descriptors of a list, so each of them is available in its lap.
        if (!this.isAvailable(this.#at, this.#wrap)) throw new Error(`the descriptor at ${this.#at} is in a list, but not available`)
        const descriptor = this.descriptor(this.#at)
        ring.push(descriptor)
        if (ring.length > this.#setup.size) throw new Error('a list longer than the ring')
        more = (descriptor.flags & packed.VIRTQ_DESC_F_NEXT) !== 0
        this.#at++
        if (this.#at < this.#setup.size) continue
        this.#at = 0
        this.#wrap ^= 1
      }
      const table = (): packed.PvirtqDescValue[] =>
        Array.from({ length: first.len / packed.PvirtqDesc.size }, (_, i) => this.descriptor(i, first.addr))
      const pieces = (isIndirect ? table() : ring).map(({ addr, len, flags }) => {
        return { address: addr, length: len, writable: (flags & packed.VIRTQ_DESC_F_WRITE) !== 0 }
      })
      const { id } = ring.at(-1)!
      if (this.#slots.has(id)) throw new Error(`id ${id} comes twice`)
      this.#slots.set(id, ring.length)
      found.push({ id, pieces, slots: ring.length, isIndirect })
    }
    return found
  }

  use(id: number, length = 0, skipped: readonly number[] = []): void {
    this.forge(id, length)
    for (const used of [...skipped, id]) {
      this.#usedAt += this.#slots.get(used) ?? 1
      this.#slots.delete(used)
      if (this.#usedAt < this.#setup.size) continue
      this.#usedAt -= this.#setup.size
      this.#usedWrap ^= 1
    }
  }
  forge(id: number, length = 0, flags: number = length > 0 ? packed.VIRTQ_DESC_F_WRITE : 0): void {
    const at = this.#setup.descriptorArea + this.#usedAt * packed.PvirtqDesc.size
    this.#view().setUint16(at + packed.PvirtqDesc.offsetOf.id, id & 0xffff, true)
    this.#view().setUint32(at + packed.PvirtqDesc.offsetOf.len, length, true)
    const owner = this.#usedWrap === 1 ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0
    this.#view().setUint16(at + packed.PvirtqDesc.offsetOf.flags, owner | flags, true)
  }

  /** What lies in the driver area. */
  get driverEvent(): { offset: number; wrap: number; flags: number } {
    const { desc, flags } = new packed.PvirtqEventSuppress().at(this.#view(), this.#setup.driverArea).$get()
    return { offset: desc.desc_event_off, wrap: desc.desc_event_wrap, flags: flags.desc_event_flags }
  }
  get driverWish(): DriverWish {
    const { offset, wrap, flags } = this.driverEvent
    if (flags === packed.RING_EVENT_FLAGS_ENABLE) return 'all'
    if (flags === packed.RING_EVENT_FLAGS_DISABLE) return 'none'
    const lap = wrap === this.#usedWrap ? 0 : this.#setup.size
    return { ahead: offset + lap - this.#usedAt }
  }
  wish(wish: DeviceWish): void {
    if (wish === 'all') this.deviceEvent(0, 0, packed.RING_EVENT_FLAGS_ENABLE)
    else if (wish === 'none') this.deviceEvent(0, 0, packed.RING_EVENT_FLAGS_DISABLE)
    else {
      // Positions repeat after two laps; those before this one are counted backwards.
      const { size } = this.#setup
      const place = (((this.#at + wish.ahead) % (2 * size)) + 2 * size) % (2 * size)
      this.deviceEvent(place % size, place < size ? this.#wrap : this.#wrap ^ 1, packed.RING_EVENT_FLAGS_DESC)
    }
  }
  deviceEvent(offset: number, wrap: number, flags: number): void {
    this.#view().setUint16(this.#setup.deviceArea, offset | (wrap << 15), true)
    this.#view().setUint16(this.#setup.deviceArea + packed.PvirtqEventSuppress.offsetOf.flags, flags, true)
  }
  noise(bytes: Uint8Array): void {
    const view = this.#view()
    const write = (at: number, length: number) => {
      for (let i = 0; i < length; i++) view.setUint8(at + i, bytes[i % bytes.length]!)
    }
    write(this.#setup.descriptorArea, packed.PvirtqDesc.size * this.#setup.size)
    write(this.#setup.deviceArea, packed.PvirtqEventSuppress.size)
  }
}

function viewOf(memory: GuestMemory): () => DataView {
  return () => {
    memory.refresh()
    return memory.regions[0]!.view
  }
}
