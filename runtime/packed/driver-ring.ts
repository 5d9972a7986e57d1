/** What a driver reads and writes in a packed ring. VIRTIO 1.4, Basic Facilities of a Virtio Device / Packed Virtqueues. */
import { PvirtqDescOffsets, PvirtqDescSize, PvirtqEventSuppressOffsets } from 'virtgen/wire/packed-ring'
import { areaBytes } from '../area-bytes.ts'
import type { GuestMemory } from '../memory.ts'
import type { QueueSetup } from '../queue.ts'
import type { AreaSizes } from '../split/areas.ts'
import { packedAreaAlignment, packedAreaSizes } from './areas.ts'

/** A descriptor in 32-bit words: address (low, high), length, and the id with the flags above it. */
const descriptor32 = PvirtqDescSize / 4
const addressLow32 = PvirtqDescOffsets.addr / 4
const addressHigh32 = addressLow32 + 1
const len32 = PvirtqDescOffsets.len / 4
const idAndFlags32 = PvirtqDescOffsets.id / 4
/** And in 16-bit words. */
const descriptor16 = PvirtqDescSize / 2
const id16 = PvirtqDescOffsets.id / 2
const flags16 = PvirtqDescOffsets.flags / 2

/** Where `flags` stand in an event suppression structure that is read as one word: above `desc`. */
export const eventFlagsShift = PvirtqEventSuppressOffsets.flags * 8

/**
 * Writes a whole descriptor, into the ring or an indirect table, with plain stores.
 *
 * @param at - its first word
 * @param low - of the address, as `high`
 * @param idAndFlags - flags in the upper 16 bits
 */
export function putDescriptor(words: Uint32Array, at: number, low: number, high: number, length: number, idAndFlags: number): void {
  words[at + addressLow32] = low
  words[at + addressHigh32] = high
  words[at + len32] = length
  words[at + idAndFlags32] = idAndFlags
}

/** No stamp of a memory: the views may be those of another time. */
const unstamped = -2

/** The areas of a packed queue whose place we have chosen. `bind` comes before anything else. */
export class PackedDriverRing {
  /** Times at which the views were made. */
  bindings = 0
  /** The descriptor ring. */
  descriptors: Uint32Array = new Uint32Array(0)
  readonly #memory: GuestMemory
  readonly #setup: QueueSetup
  readonly #sizes: AreaSizes
  #version = -1
  /** `memory.$stamp` of the views, where there is one: then nothing must be asked. */
  #stamp = unstamped
  #descriptors16: Uint16Array = new Uint16Array(0)
  #driverEvent: Uint32Array = new Uint32Array(0)
  #deviceEvent: Uint32Array = new Uint32Array(0)

  constructor(memory: GuestMemory, setup: QueueSetup) {
    this.#memory = memory
    this.#setup = setup
    this.#sizes = packedAreaSizes(setup.size)
  }

  /**
   * Makes the views anew where those of the memory are new.
   *
   * @throws RangeError where an area is misaligned, or not in one region (any more)
   */
  bind(): void {
    if (this.#stamp !== this.#memory.$stamp) this.#rebind()
  }

  /** The descriptor ring is zero-initialized; zeros in the event suppression structures ask for all notifications. */
  clear(): void {
    this.descriptors.fill(0)
    this.#driverEvent.fill(0)
    this.#deviceEvent.fill(0)
  }

  /** Writes a descriptor except its flags: what is there says still that the device does not have it. {@link publish} follows. */
  hold(index: number, low: number, high: number, length: number, id: number): void {
    const words = this.descriptors
    const at = index * descriptor32
    words[at + addressLow32] = low
    words[at + addressHigh32] = high
    words[at + len32] = length
    this.#descriptors16[index * descriptor16 + id16] = id
  }

  /**
   * Stores the flags of a descriptor.
   *
   * Release: orders the plain stores to buffers, to the rest of this descriptor and to those behind it before this store. The device loads these flags first, and nothing
   * behind them before they say that the descriptor is available.
   */
  publish(index: number, flags: number): void {
    Atomics.store(this.#descriptors16, index * descriptor16 + flags16, flags)
  }

  /**
   * The flags of a descriptor.
   *
   * Acquire: orders this load before the plain loads of its id and length and of buffers that follow. The device stores the flags after those. Behind
   * {@link setDriverEvent} it is the second look: sequentially consistent, it does not go before that store.
   */
  flags(index: number): number {
    return Atomics.load(this.#descriptors16, index * descriptor16 + flags16)
  }

  usedId(index: number): number {
    return this.#descriptors16[index * descriptor16 + id16]!
  }

  usedLength(index: number): number {
    return this.descriptors[index * descriptor32 + len32]!
  }

  /**
   * The device event suppression structure, both its words in one load: apart from each other they could be of two different wishes.
   *
   * Sequentially consistent, as the store of the flags before: the load cannot go before that store. The device stores the structure and then loads the flags, so that at
   * least one of the two sides sees the other's store.
   */
  deviceEvent(): number {
    return Atomics.load(this.#deviceEvent, 0)
  }

  /**
   * Stores the driver event suppression structure, in one.
   *
   * Sequentially consistent: orders this store before the load of the flags of the next used descriptor that has to follow where notifications are asked for. The device
   * stores those flags and then loads the structure.
   */
  setDriverEvent(event: number): void {
    Atomics.store(this.#driverEvent, 0, event)
  }

  #rebind(): void {
    this.#memory.refresh()
    if (this.#version !== this.#memory.version) this.#view()
    const stamp = this.#memory.$stamp
    this.#stamp = stamp < 0 ? unstamped : stamp
  }

  #view(): void {
    const bytes = (area: keyof AreaSizes) => areaBytes(this.#memory, this.#setup, area, this.#sizes, packedAreaAlignment)
    const [ring, driver, device] = [bytes('descriptorArea'), bytes('driverArea'), bytes('deviceArea')]
    this.descriptors = new Uint32Array(ring.buffer, ring.byteOffset, ring.length / 4)
    this.#descriptors16 = new Uint16Array(ring.buffer, ring.byteOffset, ring.length / 2)
    this.#driverEvent = new Uint32Array(driver.buffer, driver.byteOffset, 1)
    this.#deviceEvent = new Uint32Array(device.buffer, device.byteOffset, 1)
    this.#version = this.#memory.version
    this.bindings++
  }
}
