/** What a driver reads and writes in a split ring. VIRTIO 1.4, Basic Facilities of a Virtio Device / Split Virtqueues. */
import {
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_USED_F_NO_NOTIFY,
  VirtqAvailOffsets,
  VirtqDescOffsets,
  VirtqUsedElemOffsets,
  VirtqUsedElemSize,
  VirtqUsedOffsets,
} from 'virtgen/wire/split-ring'
import { areaBytes } from '../area-bytes.ts'
import type { GuestMemory } from '../memory.ts'
import type { QueueSetup } from '../queue.ts'
import { type AreaSizes, areaAlignment, areaSizes } from './areas.ts'

const availFlags16 = VirtqAvailOffsets.flags / 2
const availIdx16 = VirtqAvailOffsets.idx / 2
const availRing16 = VirtqAvailOffsets.ring / 2
const usedFlags16 = VirtqUsedOffsets.flags / 2
const usedIdx16 = VirtqUsedOffsets.idx / 2
const usedRing32 = VirtqUsedOffsets.ring / 4
const usedEntry32 = VirtqUsedElemSize / 4
const usedId32 = VirtqUsedElemOffsets.id / 4
const usedLen32 = VirtqUsedElemOffsets.len / 4

/** A descriptor in 32-bit words: address (low, high), length, and flags with `next` above them. */
const addressLow32 = VirtqDescOffsets.addr / 4
const addressHigh32 = addressLow32 + 1
const len32 = VirtqDescOffsets.len / 4
const flagsAndNext32 = VirtqDescOffsets.flags / 4

/**
 * Writes a descriptor, into the descriptor table or an indirect one. Plain stores: the device looks at descriptors only after it has seen the available index, which is
 * stored behind them.
 *
 * @param at - its first word
 * @param low - of the address, as `high`
 * @param flagsAndNext - `next` in the upper 16 bits
 */
export function putDescriptor(words: Uint32Array, at: number, low: number, high: number, length: number, flagsAndNext: number): void {
  words[at + addressLow32] = low
  words[at + addressHigh32] = high
  words[at + len32] = length
  words[at + flagsAndNext32] = flagsAndNext
}

/** No stamp of a memory: the views may be those of another time. */
const unstamped = -2

/** The areas of a split queue whose place we have chosen. `bind` comes before anything else. */
export class SplitDriverRing {
  /** Times at which the views were made. */
  bindings = 0
  /** The descriptor table. */
  descriptors: Uint32Array = new Uint32Array(0)
  readonly #memory: GuestMemory
  readonly #setup: QueueSetup
  readonly #sizes: AreaSizes
  readonly #mask: number
  #version = -1
  /** `memory.$stamp` of the views, where there is one: then nothing must be asked. */
  #stamp = unstamped
  #avail: Uint16Array = new Uint16Array(0)
  #used16: Uint16Array = new Uint16Array(0)
  #used32: Uint32Array = new Uint32Array(0)

  constructor(memory: GuestMemory, setup: QueueSetup) {
    this.#memory = memory
    this.#setup = setup
    this.#sizes = areaSizes(setup.size)
    this.#mask = setup.size - 1
  }

  /**
   * Makes the views anew where those of the memory are new.
   *
   * @throws RangeError where an area is misaligned, or not in one region (any more)
   */
  bind(): void {
    if (this.#stamp !== this.#memory.$stamp) this.#rebind()
  }

  /** Fills the areas with zeros: The driver MUST initialize flags in the used ring to 0, and the device must not find what lay there. */
  clear(): void {
    this.descriptors.fill(0)
    this.#avail.fill(0)
    this.#used16.fill(0)
  }

  /** Puts a head at an index of the available ring; visible to the device only after {@link publish}. */
  offer(index: number, head: number): void {
    this.#avail[availRing16 + (index & this.#mask)] = head
  }

  /**
   * Stores the available index.
   *
   * Release: orders the plain stores to buffers, descriptors and ring entries before this store. The device loads the index first.
   */
  publish(index: number): void {
    Atomics.store(this.#avail, availIdx16, index)
  }

  /**
   * The used index.
   *
   * Acquire: orders this load before the plain loads of used elements and buffers that follow. The device stores the index after those. Behind {@link setUsedEvent} and
   * {@link setInterruptsOff} it is the second look: sequentially consistent, it does not go before that store.
   */
  usedIndex(): number {
    return Atomics.load(this.#used16, usedIdx16)
  }

  usedId(index: number): number {
    return this.#used32[usedRing32 + (index & this.#mask) * usedEntry32 + usedId32]!
  }

  usedLength(index: number): number {
    return this.#used32[usedRing32 + (index & this.#mask) * usedEntry32 + usedLen32]!
  }

  /**
   * The flag by which the device asks for no available buffer notifications.
   *
   * Sequentially consistent, as the store of the available index before: the load cannot go before that store. The device clears the flag and then loads the available
   * index, so that at least one of the two sides sees the other's store.
   */
  notifyOff(): boolean {
    return (Atomics.load(this.#used16, usedFlags16) & VIRTQ_USED_F_NO_NOTIFY) !== 0
  }

  /** `avail_event`. Orders as {@link notifyOff}: the store of the available index before this load. */
  availEvent(): number {
    return Atomics.load(this.#used16, usedRing32 * 2 + (this.#mask + 1) * usedEntry32 * 2)
  }

  /**
   * Sets or clears the flag that asks the device for no used buffer notifications.
   *
   * Sequentially consistent: orders this store before the load of the used index that has to follow where the flag is cleared. The device stores that index and then loads
   * the flag.
   */
  setInterruptsOff(off: boolean): void {
    Atomics.store(this.#avail, availFlags16, off ? VIRTQ_AVAIL_F_NO_INTERRUPT : 0)
  }

  /** Stores `used_event`. Orders as {@link setInterruptsOff}: this store before the load of the used index that has to follow. */
  setUsedEvent(index: number): void {
    Atomics.store(this.#avail, availRing16 + this.#mask + 1, index)
  }

  #rebind(): void {
    this.#memory.refresh()
    if (this.#version !== this.#memory.version) this.#view()
    const stamp = this.#memory.$stamp
    this.#stamp = stamp < 0 ? unstamped : stamp
  }

  #view(): void {
    const bytes = (area: keyof AreaSizes) => areaBytes(this.#memory, this.#setup, area, this.#sizes, areaAlignment)
    const [table, driver, device] = [bytes('descriptorArea'), bytes('driverArea'), bytes('deviceArea')]
    this.descriptors = new Uint32Array(table.buffer, table.byteOffset, table.length / 4)
    this.#avail = new Uint16Array(driver.buffer, driver.byteOffset, driver.length / 2)
    this.#used16 = new Uint16Array(device.buffer, device.byteOffset, device.length / 2)
    this.#used32 = new Uint32Array(device.buffer, device.byteOffset, Math.floor(device.length / 4))
    this.#version = this.#memory.version
    this.bindings++
  }
}
