/** Device side of Virtio Over MMIO: a window of registers. VIRTIO 1.4, Virtio Transport Options / Virtio Over MMIO. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import {
  mmio_identity,
  mmio_interrupt,
  mmio_shared_memory,
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
  virtio_mmio_Status,
  virtio_mmio_VendorID,
  virtio_mmio_Version,
} from 'virtgen/wire/transport-mmio'
import type { VirtioDevice } from '../device.ts'
import { DeviceControl, type DeviceControlSettings } from '../device-control.ts'
import type { QueueArea } from '../queue-registers.ts'

/** How a VMM places a device behind registers. */
export interface MmioDeviceOptions extends DeviceControlSettings {
  /**
   * Level of the device's interrupt line. Called when it changes, after all state is consistent: it may read and write registers at once.
   */
  readonly interrupt: (level: boolean) => void
  /** What VendorID reads, 0 by default; 32 bits. */
  readonly vendorId?: number
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
const missingLow = Number(BigInt.asUintN(32, mmio_shared_memory.mmio_missing_region_length))
const missingHigh = Number(mmio_shared_memory.mmio_missing_region_length >> 32n)

/**
 * A virtio device behind memory-mapped registers, version 2. The VMM routes accesses to its window here.
 *
 * Accesses that the text forbids to the driver have no effect and read as 0: registers by another width than 32 bits or misaligned, reads of write-only and writes of
 * read-only ones, places where there is no register. Nothing throws, whatever offset, width and value are.
 */
export class MmioDevice {
  readonly control: DeviceControl
  readonly #interrupt: (level: boolean) => void
  readonly #vendorId: number
  /** @internal */
  $deviceFeaturesSel = 0
  /** @internal */
  $driverFeaturesSel = 0
  /** @internal */
  $queueSel = 0
  /** @internal Changes are to be followed by `$drive`. */
  $interruptStatus = 0
  #line = false

  /** @throws RangeError as `DeviceControl`, and for a vendor id of more than 32 bits */
  constructor(device: VirtioDevice, options: MmioDeviceOptions) {
    const { interrupt, vendorId = 0, ...settings } = options
    this.#interrupt = interrupt
    this.#vendorId = checkInteger(vendorId, 0, largestWord, 'vendorId')
    this.control = new DeviceControl(device, {
      ...settings,
      notify: () => this.#raise(mmio_interrupt.used_buffer),
      configChanged: () => this.#raise(mmio_interrupt.config_change),
      reset: () => this.#reset(),
    })
  }

  get device(): VirtioDevice {
    return this.control.device
  }

  /** Bytes of the window: a power of two, at least as much again for the configuration space as for the registers. */
  get size(): number {
    const needed = virtio_mmio_Config + this.device.config.length
    let size: number = 2 * virtio_mmio_Config
    while (size < needed) size *= 2
    return size
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
    else if (width === registerWidth) this.#writeRegister(offset, value >>> 0)
  }

  #readRegister(offset: number): number {
    const { control } = this
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
        return control.offered.word(this.$deviceFeaturesSel)
      case virtio_mmio_QueueSizeMax:
        return control.queueMaximum(this.$queueSel)
      case virtio_mmio_QueueReady:
        return control.queueReady(this.$queueSel) ? 1 : 0
      case virtio_mmio_QueueReset:
        return control.queueResetting(this.$queueSel) ? 1 : 0
      case virtio_mmio_InterruptStatus:
        return this.$interruptStatus
      case virtio_mmio_Status:
        return control.status
      // No region is shared: whatever SHMSel says, it does not exist.
      case virtio_mmio_SHMLenLow:
      case virtio_mmio_SHMBaseLow:
        return missingLow
      case virtio_mmio_SHMLenHigh:
      case virtio_mmio_SHMBaseHigh:
        return missingHigh
      case virtio_mmio_ConfigGeneration:
        return control.configGeneration
      default:
        return 0
    }
  }

  #writeRegister(offset: number, value: number): void {
    const { control } = this
    switch (offset) {
      case virtio_mmio_QueueNotify:
        control.notified(value)
        return
      case virtio_mmio_InterruptACK:
        this.#acknowledge(value)
        return
      case virtio_mmio_DeviceFeaturesSel:
        this.$deviceFeaturesSel = value
        return
      case virtio_mmio_DriverFeaturesSel:
        this.$driverFeaturesSel = value
        return
      case virtio_mmio_DriverFeatures:
        control.setDriverFeatures(this.$driverFeaturesSel, value)
        return
      case virtio_mmio_QueueSel:
        this.$queueSel = value
        return
      case virtio_mmio_QueueSize:
        control.setQueueSize(this.$queueSel, value)
        return
      case virtio_mmio_QueueReady:
        // Other values than 0 and 1 have no meaning.
        if (value <= 1) control.setQueueReady(this.$queueSel, value === 1)
        return
      case virtio_mmio_QueueReset:
        if (value === 1) control.resetQueue(this.$queueSel)
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
    if (place) this.control.setQueueAddress(this.$queueSel, place.area, place.half, value)
  }

  /** An event takes place: its bit stays until the driver acknowledges it. */
  #raise(event: number): void {
    this.$interruptStatus |= event
    this.$drive()
  }

  #acknowledge(events: number): void {
    this.$interruptStatus &= ~events
    this.$drive()
  }

  #reset(): void {
    this.$deviceFeaturesSel = 0
    this.$driverFeaturesSel = 0
    this.$queueSel = 0
    this.$interruptStatus = 0
    this.$drive()
  }

  /** @internal The line is high while a bit is set. It is noted before the call, which may come back here. */
  $drive(): void {
    const level = this.$interruptStatus !== 0
    if (level === this.#line) return
    this.#line = level
    this.#interrupt(level)
  }
}
