/**
 * What the legacy interfaces of PCI and MMIO have in common: a driver that has not accepted VIRTIO_F_VERSION_1. VIRTIO 1.4, Legacy Interface: A Note on Feature Bits;
 * General Initialization And Device Operation / Legacy Interface: Device Initialization; Legacy Interfaces: A Note on Virtqueue Layout.
 */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { DRIVER_OK, FEATURES_OK } from 'virtgen/wire/content'
import type { DeviceControl } from './device-control.ts'
import type { QueueArea } from './queue-registers.ts'
import { legacyOffered } from './ring-features.ts'
import { areaSizes } from './split/areas.ts'
import { legacySteps } from './status.ts'

/** How a legacy driver lays a queue into memory: all of it in one piece. */
export interface LegacyQueuePlace {
  /** Bytes of a page, in which the place of the queue is told. */
  readonly pageSize: number
  /** Entries; absent where the interface lets the driver choose none: the largest. */
  readonly size?: number
  /** Of the used ring, in bytes: a power of 2. */
  readonly alignment: number
}

const word = 0x1_0000_0000
/** An address at which there never is memory. */
const nowhere = 2 ** 63

/**
 * The legacy side of a control: features of one word that nothing declares final, a queue by the number of its first page, and a device that is used from the first
 * notification on, whether DRIVER_OK has come or not. As everything a driver does, nothing here throws.
 *
 * What the legacy driver does decides which interface is in use until the next reset; once the other one has got FEATURES_OK, only a reset is heard here.
 */
export class LegacyControl {
  readonly control: DeviceControl
  /** Feature bits 0 to 31 that a legacy driver may choose from, an unsigned number. */
  readonly offered: number
  readonly #queueSizes: readonly number[]

  constructor(control: DeviceControl) {
    this.control = control
    this.offered = legacyOffered(control).word(0)
    this.#queueSizes = control.device.queueSizes
  }

  /** The driver has used the legacy interface since the last reset. */
  get active(): boolean {
    return this.control.$legacy
  }

  /** More than a reset is heard here: none goes on, and the driver does not use the other interface. */
  get isHeard(): boolean {
    return !this.control.isResetting && (this.control.status & FEATURES_OK) === 0
  }

  /** Says whether what the driver does is heard; it uses this interface then. */
  #begin(): boolean {
    const { control } = this
    if (!this.isHeard) return false
    if (!control.$legacy) control.$legacyFeatures = FeatureSet.empty
    control.$legacy = true
    return true
  }

  /** Bits 0 to 31 that the driver has accepted. */
  get driverFeatures(): number {
    return this.active ? this.control.driverFeatures.word(0) : 0
  }

  /** The driver accepts features; those not offered are dropped, as there is no way to refuse them. Frozen once a queue is set up or the device is live. */
  setDriverFeatures(value: number): void {
    if (!this.#begin() || this.control.$isLive || this.#queueSizes.some((_, index) => this.control.queueReady(index))) return
    this.control.$legacyFeatures = FeatureSet.empty.withWord(0, value & this.offered)
  }

  /** Device status, see `DeviceControl.status`; without FEATURES_OK where this interface is in use. */
  get status(): number {
    return this.control.status
  }

  /** 0 resets the device; anything else adds bits. */
  writeStatus(value: number): void {
    if (value === 0) this.control.reset()
    else if (this.#begin()) {
      this.control.$addStatus(value & legacySteps)
      if ((value & DRIVER_OK) !== 0) this.control.$startLegacy()
    }
  }

  /** Largest size of a queue; 0: there is no such queue. */
  queueMaximum(index: number): number {
    return this.control.queueMaximum(index)
  }

  /** What the queue has, or will have: what the driver wrote, at first the maximum; 0 where there is no such queue. */
  queueSize(index: number): number {
    return this.control.queueSize(index)
  }

  /** @returns the number of the first page of a queue that is in use; 0 for any other */
  queuePage(index: number, pageSize: number): number {
    const { control } = this
    if (!control.queueReady(index) || pageSize === 0) return 0
    return Math.floor((control.queueAddress(index, 'descriptorArea', 1) * word + control.queueAddress(index, 'descriptorArea', 0)) / pageSize) >>> 0
  }

  /** The driver says where a queue is; page 0: it uses it no more. A queue in use must be stopped before it is moved. */
  setQueuePage(index: number, page: number, { pageSize, size = this.queueMaximum(index), alignment }: LegacyQueuePlace): void {
    const { control } = this
    if (!this.#begin()) return
    if (page === 0) {
      control.setQueueReady(index, false)
      return
    }
    if (control.queueReady(index)) return
    const areas = areaSizes(size)
    const descriptorArea = pageSize > 0 ? page * pageSize : nowhere
    const driverArea = descriptorArea + areas.descriptorArea
    const deviceArea = alignment > 0 ? Math.ceil((driverArea + areas.driverArea) / alignment) * alignment : nowhere
    control.setQueueSize(index, size)
    this.#setAddress(index, 'descriptorArea', descriptorArea)
    this.#setAddress(index, 'driverArea', driverArea)
    this.#setAddress(index, 'deviceArea', deviceArea)
    control.setQueueReady(index, true)
  }

  #setAddress(index: number, area: QueueArea, address: number): void {
    this.control.setQueueAddress(index, area, 0, address % word)
    this.control.setQueueAddress(index, area, 1, Math.floor(address / word))
  }

  /** An available buffer notification. Drivers send it also before DRIVER_OK: the first one makes the device live. */
  notified(index: number): void {
    if (this.active && this.control.queueReady(index)) this.control.$startLegacy()
    this.control.notified(index)
  }

  /** See `ConfigSpace.read`. */
  readConfig(offset: number, width: number): number {
    return this.control.readConfig(offset, width)
  }

  /** Drivers write the configuration space at any time, also before they accept features. */
  writeConfig(offset: number, width: number, value: number): void {
    if (this.#begin()) this.control.writeConfig(offset, width, value)
  }
}
