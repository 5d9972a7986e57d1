/** A driver's side of a ring as plain data over bytes that may be a copy: what the driver would see there. */
import { VIRTQ_DESC_F_AVAIL, VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_USED, VIRTQ_DESC_F_WRITE } from 'virtgen/wire/packed-ring'
import type { QueueSetup } from '../../runtime/queue.ts'

/** What the driver has made available, and what tells it apart from others: its length. */
export interface ImageChain {
  readonly id: number
  readonly length: number
  /** Entries of the ring that it takes; split: its descriptors. */
  readonly slots: readonly number[]
}

const places = { descriptorArea: 0x1000, driverArea: 0x2000, deviceArea: 0x3000, tables: 0x4000, buffers: 0x8000 }
/** Bytes of memory that a ring has to itself. */
export const imageSize = 0x1_0000
const descriptorSize = 16

export abstract class RingImage {
  readonly size: number
  readonly inOrder: boolean
  /** In the order in which they were made available. */
  out: ImageChain[] = []
  protected readonly view: DataView
  #lengths = 0

  constructor(buffer: ArrayBuffer, size: number, inOrder: boolean) {
    this.size = size
    this.inOrder = inOrder
    this.view = new DataView(buffer)
  }

  get setup(): QueueSetup {
    const { descriptorArea, driverArea, deviceArea } = places
    return { index: 0, size: this.size, descriptorArea, driverArea, deviceArea }
  }

  /** Makes a chain available, as far as there is room. With a table it has one descriptor in the ring. */
  offer(descriptors: number, indirect: boolean): void {
    const length = ++this.#lengths
    const slots = this.take(indirect ? 1 : descriptors)
    if (slots === undefined) return
    const id = this.write(slots, (place, flags, slot) => {
      const last = slot === slots.length - 1
      if (indirect) {
        const table = places.tables + slots[0]! * descriptorSize * 4
        for (let i = 0; i < descriptors; i++)
          this.#put(table + i * descriptorSize, i === 0 ? length : 1, VIRTQ_DESC_F_WRITE | (i + 1 < descriptors ? VIRTQ_DESC_F_NEXT : 0), i + 1)
        this.#put(place, descriptors * descriptorSize, flags | VIRTQ_DESC_F_INDIRECT, 0, table)
      } else this.#put(place, slot === 0 ? length : 1, flags | VIRTQ_DESC_F_WRITE | (last ? 0 : VIRTQ_DESC_F_NEXT), slots[slot + 1] ?? 0)
    })
    this.out.push({ id, length: length + descriptors - 1, slots })
  }

  #put(place: number, length: number, flags: number, next: number, address = places.buffers): void {
    this.view.setUint32(place, address, true)
    this.view.setUint32(place + 4, 0, true)
    this.view.setUint32(place + 8, length, true)
    this.finish(place, flags, next)
  }

  /** What the driver would see used in bytes that are a copy of its memory. Throws where something is used that it has not made available, or twice. */
  usedIn(image: Uint8Array): ImageChain[] {
    const view = new DataView(image.buffer, image.byteOffset)
    const left = [...this.out]
    const used: ImageChain[] = []
    for (let id = this.entry(view, used); id !== undefined; id = this.entry(view, used)) {
      const at = left.findIndex((chain) => chain.id === id)
      if (at < 0) throw new Error(`${id} is used, which is not out, behind ${used.map((chain) => chain.id)}`)
      used.push(...(this.inOrder ? left.splice(0, at + 1) : left.splice(at, 1)))
    }
    return used
  }

  /** Takes what is used. */
  reap(): void {
    const used = this.usedIn(new Uint8Array(this.view.buffer))
    this.forget(used)
    this.out = this.out.filter((chain) => !used.includes(chain))
  }

  protected abstract take(count: number): number[] | undefined
  protected abstract write(slots: readonly number[], put: (place: number, flags: number, slot: number) => void): number
  protected abstract finish(place: number, flags: number, next: number): void
  /** Id of the used entry behind those chains. */
  protected abstract entry(view: DataView, used: readonly ImageChain[]): number | undefined
  protected abstract forget(used: readonly ImageChain[]): void
}

export class SplitImage extends RingImage {
  #free: number[]
  #available: number
  #used: number

  constructor(buffer: ArrayBuffer, size: number, inOrder: boolean, position: number) {
    super(buffer, size, inOrder)
    this.#free = Array.from({ length: size }, (_, index) => index)
    this.#available = this.#used = position
    this.view.setUint16(places.driverArea + 2, position, true)
    this.view.setUint16(places.deviceArea + 2, position, true)
  }

  protected override take(count: number): number[] | undefined {
    return this.#free.length < count ? undefined : this.#free.splice(0, count)
  }

  protected override write(slots: readonly number[], put: (place: number, flags: number, slot: number) => void): number {
    for (const [slot, descriptor] of slots.entries()) put(places.descriptorArea + descriptor * descriptorSize, 0, slot)
    this.view.setUint16(places.driverArea + 4 + (this.#available % this.size) * 2, slots[0]!, true)
    this.#available = (this.#available + 1) & 0xffff
    this.view.setUint16(places.driverArea + 2, this.#available, true)
    return slots[0]!
  }

  protected override finish(place: number, flags: number, next: number): void {
    this.view.setUint16(place + 12, flags, true)
    this.view.setUint16(place + 14, next, true)
  }

  protected override entry(view: DataView, used: readonly ImageChain[]): number | undefined {
    const at = (this.#used + used.length) & 0xffff
    const index = view.getUint16(places.deviceArea + 2, true)
    if (((index - this.#used) & 0xffff) > this.out.length)
      throw new Error(`the used index went from ${this.#used} to ${index}, ${this.out.length} chains are out`)
    return index === at ? undefined : view.getUint32(places.deviceArea + 4 + (at % this.size) * 8, true)
  }

  protected override forget(used: readonly ImageChain[]): void {
    this.#used = (this.#used + used.length) & 0xffff
    for (const { slots } of used) this.#free.push(...slots)
  }
}

/** Where in a packed ring something is, counted without end: the wrap counter is 1 in even rounds. */
export class PackedImage extends RingImage {
  #available: number
  #used: number
  #ids: number[]

  /** @param position - offset with the wrap counter in bit 15 */
  constructor(buffer: ArrayBuffer, size: number, inOrder: boolean, position: number) {
    super(buffer, size, inOrder)
    this.#ids = Array.from({ length: size }, (_, index) => index * 3 + 1)
    const wrap = position >> 15
    this.#available = this.#used = (position & 0x7fff) + (wrap === 1 ? 0 : size)
    // As they are in a ring that has been there: used in the round before.
    for (let entry = 0; entry < size; entry++) {
      const isBehind = entry < (position & 0x7fff)
      const used = (wrap === 1) === isBehind
      this.view.setUint16(places.descriptorArea + entry * descriptorSize + 14, used ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0, true)
    }
  }

  #wrap(position: number): boolean {
    return Math.floor(position / this.size) % 2 === 0
  }

  protected override take(count: number): number[] | undefined {
    const taken = this.#available - this.#used
    return this.size - taken < count ? undefined : Array.from({ length: count }, (_, slot) => this.#available + slot)
  }

  protected override write(slots: readonly number[], put: (place: number, flags: number, slot: number) => void): number {
    const id = this.#ids.shift()!
    for (const [slot, position] of [...slots.entries()].toReversed()) {
      const place = places.descriptorArea + (position % this.size) * descriptorSize
      this.view.setUint16(place + 12, id, true)
      put(place, this.#wrap(position) ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED, slot)
    }
    this.#available += slots.length
    return id
  }

  protected override finish(place: number, flags: number): void {
    this.view.setUint16(place + 14, flags, true)
  }

  protected override entry(view: DataView, used: readonly ImageChain[]): number | undefined {
    const at = this.#used + used.reduce((sum, { slots }) => sum + slots.length, 0)
    const place = places.descriptorArea + (at % this.size) * descriptorSize
    const flags = view.getUint16(place + 14, true) & (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED)
    return flags === (this.#wrap(at) ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0) ? view.getUint16(place + 12, true) : undefined
  }

  protected override forget(used: readonly ImageChain[]): void {
    for (const { id, slots } of used) {
      this.#used += slots.length
      this.#ids.push(id)
    }
  }
}
