/** The words of a split virtqueue as the device sees them: reads of the driver's parts, writes of its own, and the order between them. */
import {
  split_ring_entry_size,
  split_ring_limits,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_USED_F_NO_NOTIFY,
  VirtqAvail,
  VirtqDesc,
  VirtqUsed,
  VirtqUsedElem,
} from 'virtgen/wire/split-ring'
import type { GuestMemory } from '../memory.ts'
import type { QueueSetup } from '../queue.ts'
import type { Violation } from '../violation.ts'
import { areaAlignment, areaSizes, isQueueSize } from './areas.ts'

const idx16 = VirtqAvail.offsetOf.idx / 2
const availRing16 = VirtqAvail.offsetOf.ring / 2
const usedFlags16 = VirtqUsed.offsetOf.flags / 2
const usedIdx16 = VirtqUsed.offsetOf.idx / 2
const usedRing32 = VirtqUsed.offsetOf.ring / 4
const usedEntry32 = split_ring_entry_size.used_ring / 4
const usedId32 = VirtqUsedElem.offsetOf.id / 4
const usedLen32 = VirtqUsedElem.offsetOf.len / 4

/** The areas, as a violation names them. */
const areaNames = { descriptorArea: 'descriptor area', driverArea: 'driver area', deviceArea: 'device area' } as const

/**
 * Views over the three areas. They cover the areas and nothing else, so that no index can reach other memory; they are made anew when those of the memory are.
 */
export class SplitDeviceRing {
  /** The descriptor table, as 32-bit words. */
  descriptors: Uint32Array = new Uint32Array(0)
  readonly #memory: GuestMemory
  readonly #setup: QueueSetup
  readonly #mask: number
  #driver: Uint16Array = new Uint16Array(0)
  #used32: Uint32Array = new Uint32Array(0)
  #device: Uint16Array = new Uint16Array(0)
  #version = -1

  constructor(memory: GuestMemory, setup: QueueSetup) {
    this.#memory = memory
    this.#setup = setup
    this.#mask = setup.size - 1
  }

  /** Says what is wrong with the place that the driver chose, and makes the views where nothing is. */
  open(): Violation | undefined {
    const { index, size } = this.#setup
    if (!isQueueSize(size))
      return {
        kind: 'queue-size',
        queue: index,
        detail: `the queue size must be a power of 2 from 1 to ${split_ring_limits.split_ring_max_queue_size}, not ${size}`,
      }
    this.#memory.refresh()
    return this.bind()
  }

  /** Makes the views anew where those of the memory are new; says so where an area is in no region (any more). */
  bind(): Violation | undefined {
    if (this.#version === this.#memory.version) return undefined
    const sizes = areaSizes(this.#setup.size)
    for (const area of ['descriptorArea', 'driverArea', 'deviceArea'] as const) {
      const address = this.#setup[area]
      const detail =
        address % areaAlignment[area] !== 0
          ? `the ${areaNames[area]} at 0x${address.toString(16)} is not aligned to ${areaAlignment[area]} bytes`
          : this.#memory.indexOf(address, sizes[area]) < 0
            ? `the ${areaNames[area]}, ${sizes[area]} bytes at 0x${address.toString(16)}, is not in one region`
            : undefined
      if (detail !== undefined) return { kind: 'queue-address', queue: this.#setup.index, detail }
    }
    this.#view(sizes)
    this.#version = this.#memory.version
    return undefined
  }

  #view(sizes: { descriptorArea: number; driverArea: number; deviceArea: number }): void {
    const { descriptorArea, driverArea, deviceArea } = this.#setup
    const bytes = (address: number, length: number): Uint8Array => {
      const region = this.#memory.regions[this.#memory.indexOf(address, length)]!
      return region.u8.subarray(address - region.guestAddress, address - region.guestAddress + length)
    }
    const table = bytes(descriptorArea, sizes.descriptorArea)
    const driver = bytes(driverArea, sizes.driverArea)
    const device = bytes(deviceArea, sizes.deviceArea)
    this.descriptors = new Uint32Array(table.buffer, table.byteOffset, table.length / 4)
    this.#driver = new Uint16Array(driver.buffer, driver.byteOffset, driver.length / 2)
    this.#device = new Uint16Array(device.buffer, device.byteOffset, device.length / 2)
    this.#used32 = new Uint32Array(device.buffer, device.byteOffset, Math.floor(device.length / 4))
  }

  /**
   * The available index.
   *
   * Acquire: orders this load before the plain loads of ring entries, descriptors and buffers that follow. The driver stores those before it stores the index.
   */
  availableIndex(): number {
    return Atomics.load(this.#driver, idx16)
  }

  /** The head that the driver put at an index of the available ring. */
  head(index: number): number {
    return this.#driver[availRing16 + (index & this.#mask)]!
  }

  /** Writes an entry of the used ring; visible to the driver only after {@link publish}. */
  use(index: number, id: number, length: number): void {
    const at = usedRing32 + (index & this.#mask) * usedEntry32
    this.#used32[at + usedId32] = id
    this.#used32[at + usedLen32] = length
  }

  /**
   * Stores the used index.
   *
   * Release: orders the plain stores of payload and used entries before this store. The driver loads the index first.
   */
  publish(index: number): void {
    Atomics.store(this.#device, usedIdx16, index)
  }

  /**
   * The flag by which the driver asks for no used buffer notifications.
   *
   * Sequentially consistent, as the store of the used index before: the load cannot go before that store. The driver clears the flag and then loads the used index, so
   * that at least one of the two sides sees the other's store.
   */
  get interruptsOff(): boolean {
    return (Atomics.load(this.#driver, VirtqAvail.offsetOf.flags / 2) & VIRTQ_AVAIL_F_NO_INTERRUPT) !== 0
  }

  /** `used_event`. Orders as {@link interruptsOff}: the store of the used index before this load. */
  get usedEvent(): number {
    return Atomics.load(this.#driver, availRing16 + this.#setup.size)
  }

  /**
   * Sets or clears the flag that asks the driver for no available buffer notifications.
   *
   * Sequentially consistent: orders this store before the load of the available index that has to follow. The driver stores that index and then loads the flag.
   */
  set notifyOff(off: boolean) {
    Atomics.store(this.#device, usedFlags16, off ? VIRTQ_USED_F_NO_NOTIFY : 0)
    this.#written(VirtqUsed.offsetOf.flags, 2)
  }

  /** Stores `avail_event`. Orders as {@link notifyOff}: this store before the load of the available index that has to follow. */
  set availEvent(index: number) {
    const { size } = this.#setup
    Atomics.store(this.#device, (VirtqUsed.offsetOf.ring + split_ring_entry_size.used_ring * size) / 2, index)
    this.#written(VirtqUsed.offsetOf.ring + split_ring_entry_size.used_ring * size, 2)
  }

  /** Tells `onWrite` of the used entries from index `from` up to `to`, and of the used index. */
  announce(from: number, to: number): void {
    if (this.#memory.onWrite === undefined) return
    const { size } = this.#setup
    const count = Math.min((to - from) & 0xffff, size)
    const first = from & this.#mask
    const straight = Math.min(count, size - first)
    this.#written(VirtqUsed.offsetOf.ring + first * split_ring_entry_size.used_ring, straight * split_ring_entry_size.used_ring)
    if (count > straight) this.#written(VirtqUsed.offsetOf.ring, (count - straight) * split_ring_entry_size.used_ring)
    this.#written(VirtqUsed.offsetOf.idx, 2)
  }

  #written(offset: number, length: number): void {
    this.#memory.onWrite?.(this.#setup.deviceArea + offset, length)
  }
}

/** Words of a descriptor that lies at 32-bit words. */
export const descriptorWords = {
  size: VirtqDesc.size / 4,
  addressLow: VirtqDesc.offsetOf.addr / 4,
  addressHigh: VirtqDesc.offsetOf.addr / 4 + 1,
  len: VirtqDesc.offsetOf.len / 4,
  /** `flags` in the lower half, `next` in the upper one: read together, so that they belong together. */
  flagsAndNext: VirtqDesc.offsetOf.flags / 4,
} as const
