/** Slots for devices at known addresses: who looks finds a device, or a place for one. VIRTIO 1.4, Virtio Over MMIO / MMIO Device Register Layout, DeviceID. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import { mmio_device_id, mmio_identity, virtio_mmio_DeviceID, virtio_mmio_MagicValue, virtio_mmio_Version } from 'virtgen/wire/transport-mmio'
import type { MmioPlace, MmioSlotLayout } from './slot-layouts.ts'
import { type MmioWindow, windowSize } from './window.ts'

/** A place and the device in it. */
export interface MmioSlot<T extends MmioWindow = MmioWindow> extends MmioPlace {
  readonly device: T
}

/** What the VMM does for its slots. */
export interface MmioSlotsOptions {
  /**
   * Level of an interrupt, by its number. Called when it changes, after all state is consistent: it may read and write registers at once. Slots that share an interrupt
   * keep it high while any of them has something to say.
   */
  readonly interrupt: (interrupt: number, level: boolean) => void
  /** What Version reads where there is no device: 2 by default, 1 for drivers that know nothing else. */
  readonly emptyVersion?: 1 | 2
}

const mostSlots = 0x1_0000
const registerWidth = 4

/**
 * Places at which a guest looks for devices, each with an interrupt of its own. Devices come and go at any time: MMIO has no word for that, a guest finds them when it
 * looks (Linux: when its driver is bound to the place).
 */
export class MmioSlots {
  /** All of them, with and without a device. */
  readonly places: readonly MmioPlace[]
  readonly #layout: MmioSlotLayout
  readonly #options: MmioSlotsOptions
  readonly #slots: (MmioSlot | undefined)[]
  /** How many slots hold an interrupt high, by its number. */
  readonly #asserted = new Map<number, number>()
  /** The slots that do. */
  readonly #high = new Set<number>()

  /** @throws RangeError for a layout that no machine can have */
  constructor(layout: MmioSlotLayout, options: MmioSlotsOptions) {
    const { address, slotSize, slots, firstInterrupt, interrupts = slots } = layout
    checkInteger(slots, 1, mostSlots, 'slots')
    checkInteger(slotSize, windowSize(0), 2 ** 31, 'slotSize')
    if (!Number.isInteger(Math.log2(slotSize))) throw new RangeError(`slotSize must be a power of 2, not ${slotSize}`)
    checkInteger(address, 0, Number.MAX_SAFE_INTEGER - slots * slotSize, 'address')
    if (address % registerWidth !== 0) throw new RangeError(`address must be a multiple of ${registerWidth}, not ${address}`)
    checkInteger(interrupts, 1, slots, 'interrupts')
    checkInteger(firstInterrupt, 0, 2 ** 32 - interrupts, 'firstInterrupt')
    this.#layout = layout
    this.#options = options
    this.#slots = new Array(slots).fill(undefined)
    this.places = Array.from(this.#slots, (_, index) => {
      return { index, address: address + index * slotSize, size: slotSize, interrupt: firstInterrupt + (index % interrupts) }
    })
  }

  /** Guest address of the first slot. */
  get address(): number {
    return this.#layout.address
  }
  /** Bytes of all slots. */
  get size(): number {
    return this.#layout.slots * this.#layout.slotSize
  }
  /** The slots that hold a device, ascending. */
  get slots(): readonly MmioSlot[] {
    return this.#slots.filter((slot) => slot !== undefined)
  }
  /** The slot of that index; undefined where it is empty, or there is none. */
  slot(index: number): MmioSlot | undefined {
    return this.#slots[index]
  }

  /**
   * Puts a device into a slot. It is there at once.
   *
   * @param make - puts the device behind registers; what it is given is their interrupt, which ends with `detach`
   * @param index - of the slot, the first empty one by default
   * @throws RangeError where there is no such slot, no empty one, or the window is larger than a slot
   * @example
   * slots.attach((interrupt) => new MmioDevice(disk, { memory, interrupt }))
   */
  attach<T extends MmioWindow>(make: (interrupt: (level: boolean) => void) => T, index?: number): MmioSlot<T> {
    const place = this.#emptyPlace(index)
    let slot: MmioSlot<T> | undefined
    // A device that is restored before it is given back may already have its interrupt high.
    let early = false
    const device = make((level) => {
      if (slot === undefined) early = level
      else if (this.#slots[place.index] === slot) this.#drive(place, level)
    })
    // Whoever makes it may have put another one there meanwhile.
    this.#checkEmpty(place.index)
    if (device.size > place.size) throw new RangeError(`a window of ${device.size} bytes does not fit into a slot of ${place.size}`)
    slot = { ...place, device }
    this.#slots[place.index] = slot
    this.#drive(place, early)
    return slot
  }

  #emptyPlace(wanted: number | undefined): MmioPlace {
    const index = wanted ?? this.#slots.indexOf(undefined)
    if (index === -1) throw new RangeError(`all ${this.#slots.length} slots hold a device`)
    checkInteger(index, 0, this.#slots.length - 1, 'index')
    this.#checkEmpty(index)
    return this.places[index] as MmioPlace
  }

  #checkEmpty(index: number): void {
    if (this.#slots[index]) throw new RangeError(`slot ${index} holds a device already`)
  }

  /**
   * Takes a device out of its slot: the place is empty at once, its interrupt low, and the device is reset.
   *
   * @returns a promise where work of the device goes on that may still touch guest memory, until that is over
   * @throws RangeError where there is no device
   */
  detach(index: number): Promise<void> | undefined {
    const slot = this.#slots[index]
    if (slot === undefined) throw new RangeError(`slot ${index} holds no device`)
    this.#slots[index] = undefined
    this.#drive(slot, false)
    return slot.device.control.reset()
  }

  /** The machine is reset, and each device with it; they stay where they are. Resolves when all are at rest; undefined where they are so at once. */
  powerOnReset(): Promise<void> | undefined {
    const waits = this.slots.map(({ device }) => device.powerOnReset()).filter((wait) => wait !== undefined)
    return waits.length === 0 ? undefined : Promise.all(waits).then(() => undefined)
  }

  /** Whether an address belongs to a slot, also to an empty one. */
  contains(address: number): boolean {
    return address >= this.address && address < this.address + this.size
  }

  /**
   * The guest reads.
   *
   * @param address - any; outside of the slots there is nothing, and 0 is read
   * @param width - see `MmioDevice.read`
   */
  read(address: number, width: number): number {
    const { slotSize } = this.#layout
    const offset = (address - this.address) % slotSize
    const device = this.#at(address)
    return device ? device.read(offset, width) : this.contains(address) && width === registerWidth ? this.#readEmpty(offset) : 0
  }

  /** The guest writes. Where there is no device nothing happens. */
  write(address: number, width: number, value: number): void {
    this.#at(address)?.write((address - this.address) % this.#layout.slotSize, width, value)
  }

  #at(address: number): MmioWindow | undefined {
    return this.#slots[Math.floor((address - this.address) / this.#layout.slotSize)]?.device
  }

  #readEmpty(offset: number): number {
    switch (offset) {
      case virtio_mmio_MagicValue:
        return mmio_identity.mmio_magic_value
      case virtio_mmio_Version:
        return this.#options.emptyVersion ?? mmio_identity.mmio_version
      case virtio_mmio_DeviceID:
        return mmio_device_id.mmio_placeholder_device
      default:
        return 0
    }
  }

  #drive({ index, interrupt }: MmioPlace, level: boolean): void {
    if (this.#high.has(index) === level) return
    const before = this.#asserted.get(interrupt) ?? 0
    const after = level ? before + 1 : before - 1
    if (level) this.#high.add(index)
    else this.#high.delete(index)
    this.#asserted.set(interrupt, after)
    if (before === 0 || after === 0) this.#options.interrupt(interrupt, level)
  }
}
