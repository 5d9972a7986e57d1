/** Device side of Virtio Over MMIO: a window of registers. VIRTIO 1.4, Virtio Transport Options / Virtio Over MMIO. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import {
  mmio_identity,
  mmio_interrupt,
  virtio_mmio_Config,
  virtio_mmio_ConfigGeneration,
  virtio_mmio_DeviceFeatures,
  virtio_mmio_DeviceFeaturesSel,
  virtio_mmio_DeviceID,
  virtio_mmio_DriverFeatures,
  virtio_mmio_DriverFeaturesSel,
  virtio_mmio_InterruptACK,
  virtio_mmio_InterruptStatus,
  virtio_mmio_MagicValue,
  virtio_mmio_QueueDescHigh,
  virtio_mmio_QueueDescLow,
  virtio_mmio_QueueDeviceHigh,
  virtio_mmio_QueueDeviceLow,
  virtio_mmio_QueueDriverHigh,
  virtio_mmio_QueueDriverLow,
  virtio_mmio_QueueNotify,
  virtio_mmio_QueueReady,
  virtio_mmio_QueueReset,
  virtio_mmio_QueueSel,
  virtio_mmio_QueueSize,
  virtio_mmio_QueueSizeMax,
  virtio_mmio_SHMBaseHigh,
  virtio_mmio_SHMBaseLow,
  virtio_mmio_SHMLenHigh,
  virtio_mmio_SHMLenLow,
  virtio_mmio_SHMSel,
  virtio_mmio_Status,
  virtio_mmio_VendorID,
  virtio_mmio_Version,
} from 'virtgen/wire/transport-mmio'
import type { VirtioDevice } from '../device.ts'
import { DeviceControl, type DeviceControlSettings } from '../device-control.ts'
import type { QueueArea } from '../queue-registers.ts'
import { MmioInterrupt } from './interrupt.ts'
import { highHalf, lowHalf, type PlacedRegion, type PlaceRegion, placeRegions } from './shared-memory.ts'
import { type MmioWindow, windowSize } from './window.ts'

/** How a VMM places a device behind registers. */
export interface MmioDeviceOptions extends DeviceControlSettings {
  /**
   * Level of the device's interrupt line. Called when it changes, after all state is consistent: it may read and write registers at once.
   */
  readonly interrupt: (level: boolean) => void
  /** What VendorID reads, 0 by default; 32 bits. */
  readonly vendorId?: number
  /**
   * Guest address at which the VMM has put a shared memory region of the device, which stays there as long as the device lives. Regions for which it says undefined, or
   * all where this is absent, are not shown to the guest.
   */
  readonly sharedMemory?: PlaceRegion
}

/** @internal What the driver wrote into the registers that select; 32 bits each. */
export interface MmioSelectors {
  deviceFeaturesSel: number
  driverFeaturesSel: number
  queueSel: number
  shmSel: number
}

const addresses: ReadonlyMap<number, { readonly area: QueueArea; readonly half: 0 | 1 }> = new Map([
  [virtio_mmio_QueueDescLow, { area: 'descriptorArea', half: 0 }],
  [virtio_mmio_QueueDescHigh, { area: 'descriptorArea', half: 1 }],
  [virtio_mmio_QueueDriverLow, { area: 'driverArea', half: 0 }],
  [virtio_mmio_QueueDriverHigh, { area: 'driverArea', half: 1 }],
  [virtio_mmio_QueueDeviceLow, { area: 'deviceArea', half: 0 }],
  [virtio_mmio_QueueDeviceHigh, { area: 'deviceArea', half: 1 }],
])
/** The driver MUST only use 32 bit wide and aligned accesses (MMIO Device Register Layout). */
const registerWidth = 4
const largestWord = 0xffff_ffff
const nothingSelected: Readonly<MmioSelectors> = { deviceFeaturesSel: 0, driverFeaturesSel: 0, queueSel: 0, shmSel: 0 }

/**
 * A virtio device behind memory-mapped registers, version 2. The VMM routes accesses to its window here.
 *
 * Accesses that the text forbids to the driver have no effect and read as 0: registers by another width than 32 bits or misaligned, reads of write-only and writes of
 * read-only ones, places where there is no register. While a reset goes on no write has one. Nothing throws, whatever offset, width and value are.
 */
export class MmioDevice implements MmioWindow {
  readonly control: DeviceControl
  readonly #vendorId: number
  /** @internal By id. */
  readonly $regions: ReadonlyMap<number, PlacedRegion>
  /** @internal */
  readonly $interrupt: MmioInterrupt
  /** @internal */
  $selectors: MmioSelectors = { ...nothingSelected }

  /** @throws RangeError as `DeviceControl`, for a vendor id of more than 32 bits, and for a shared memory region whose id, length or address is none */
  constructor(device: VirtioDevice, options: MmioDeviceOptions) {
    const { interrupt, vendorId = 0, sharedMemory = () => undefined, ...settings } = options
    this.$interrupt = new MmioInterrupt(interrupt)
    this.#vendorId = checkInteger(vendorId, 0, largestWord, 'vendorId')
    this.$regions = placeRegions(device.sharedMemory, sharedMemory)
    this.control = new DeviceControl(device, {
      ...settings,
      notify: () => this.$interrupt.raise(mmio_interrupt.used_buffer),
      configChanged: () => this.$interrupt.raise(mmio_interrupt.config_change),
      reset: () => this.#reset(),
    })
  }

  get device(): VirtioDevice {
    return this.control.device
  }

  /** Bytes of the window: a power of two, at least as much again for the configuration space as for the registers. */
  get size(): number {
    return windowSize(this.device.config.length)
  }

  /**
   * @param offset - bytes from the start of the window
   * @param width - bytes: 4 for registers; 1, 2 or 4 in the configuration space, at any alignment
   * @returns an unsigned number of that width
   */
  read(offset: number, width: number): number {
    if (offset >= virtio_mmio_Config) return this.control.readConfig(offset - virtio_mmio_Config, width)
    return width === registerWidth ? this.#readRegister(offset) : 0
  }

  /** @param value - taken as an unsigned number of that width */
  write(offset: number, width: number, value: number): void {
    if (offset >= virtio_mmio_Config) this.control.writeConfig(offset - virtio_mmio_Config, width, value)
    // What a reset has cleared stays so until it is over.
    else if (width === registerWidth && !this.control.isResetting) this.#writeRegister(offset, value >>> 0)
  }

  /** The machine is reset; see `DeviceControl.reset`. */
  powerOnReset(): Promise<void> | undefined {
    return this.control.reset()
  }

  #readRegister(offset: number): number {
    const { control } = this
    const { deviceFeaturesSel, queueSel } = this.$selectors
    switch (offset) {
      case virtio_mmio_MagicValue:
        return mmio_identity.mmio_magic_value
      case virtio_mmio_Version:
        return mmio_identity.mmio_version
      case virtio_mmio_DeviceID:
        return this.device.id
      case virtio_mmio_VendorID:
        return this.#vendorId
      case virtio_mmio_DeviceFeatures:
        return control.offered.word(deviceFeaturesSel)
      case virtio_mmio_QueueSizeMax:
        return control.queueMaximum(queueSel)
      case virtio_mmio_QueueReady:
        return control.queueReady(queueSel) ? 1 : 0
      case virtio_mmio_QueueReset:
        return control.queueResetting(queueSel) ? 1 : 0
      case virtio_mmio_InterruptStatus:
        return this.$interrupt.status
      case virtio_mmio_Status:
        return control.status
      case virtio_mmio_SHMLenLow:
        return lowHalf(this.#region?.length)
      case virtio_mmio_SHMLenHigh:
        return highHalf(this.#region?.length)
      case virtio_mmio_SHMBaseLow:
        return lowHalf(this.#region?.address)
      case virtio_mmio_SHMBaseHigh:
        return highHalf(this.#region?.address)
      case virtio_mmio_ConfigGeneration:
        return control.configGeneration
      default:
        return 0
    }
  }

  get #region(): PlacedRegion | undefined {
    return this.$regions.get(this.$selectors.shmSel)
  }

  #writeRegister(offset: number, value: number): void {
    const { control, $selectors: selectors } = this
    switch (offset) {
      case virtio_mmio_QueueNotify:
        control.notified(value)
        return
      case virtio_mmio_InterruptACK:
        this.$interrupt.acknowledge(value)
        return
      case virtio_mmio_DeviceFeaturesSel:
        selectors.deviceFeaturesSel = value
        return
      case virtio_mmio_DriverFeaturesSel:
        selectors.driverFeaturesSel = value
        return
      case virtio_mmio_DriverFeatures:
        control.setDriverFeatures(selectors.driverFeaturesSel, value)
        return
      case virtio_mmio_QueueSel:
        selectors.queueSel = value
        return
      case virtio_mmio_SHMSel:
        selectors.shmSel = value
        return
      case virtio_mmio_QueueSize:
        control.setQueueSize(selectors.queueSel, value)
        return
      case virtio_mmio_QueueReady:
        // Other values than 0 and 1 have no meaning.
        if (value <= 1) control.setQueueReady(selectors.queueSel, value === 1)
        return
      case virtio_mmio_QueueReset:
        if (value === 1) control.resetQueue(selectors.queueSel)
        return
      case virtio_mmio_Status:
        control.writeStatus(value)
        return
      default:
        this.#writeAddress(offset, value)
    }
  }

  #writeAddress(offset: number, value: number): void {
    const place = addresses.get(offset)
    if (place) this.control.setQueueAddress(this.$selectors.queueSel, place.area, place.half, value)
  }

  #reset(): void {
    this.$selectors = { ...nothingSelected }
    this.$interrupt.clear()
  }
}
