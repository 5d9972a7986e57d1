/** Device side of Virtio Over MMIO: a window of registers. VIRTIO 1.4, Virtio Transport Options / Virtio Over MMIO. */
import { mmio_identity, mmio_interrupt, mmio_shared_memory, virtio_mmio } from 'virtgen/wire/transport-mmio'
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

const registers = virtio_mmio
const addresses: ReadonlyMap<number, { readonly area: QueueArea; readonly half: 0 | 1 }> = new Map([
  [registers.QueueDescLow.offset, { area: 'descriptorArea', half: 0 }],
  [registers.QueueDescHigh.offset, { area: 'descriptorArea', half: 1 }],
  [registers.QueueDriverLow.offset, { area: 'driverArea', half: 0 }],
  [registers.QueueDriverHigh.offset, { area: 'driverArea', half: 1 }],
  [registers.QueueDeviceLow.offset, { area: 'deviceArea', half: 0 }],
  [registers.QueueDeviceHigh.offset, { area: 'deviceArea', half: 1 }],
])
const registerWidth = registers.MagicValue.width
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
    if (!Number.isInteger(vendorId) || vendorId < 0 || vendorId > largestWord)
      throw new RangeError(`vendorId must be an integer from 0 to ${largestWord}, not ${vendorId}`)
    this.#interrupt = interrupt
    this.#vendorId = vendorId
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
    const needed = registers.Config.offset + this.device.config.length
    let size: number = 2 * registers.Config.offset
    while (size < needed) size *= 2
    return size
  }

  /**
   * @param offset - bytes from the start of the window
   * @param width - bytes: 4 for registers; 1, 2 or 4 in the configuration space, at any alignment
   * @returns an unsigned number of that width
   */
  read(offset: number, width: number): number {
    if (offset >= registers.Config.offset) return this.control.readConfig(offset - registers.Config.offset, width)
    return width === registerWidth ? this.#readRegister(offset) : 0
  }

  /** @param value - taken as an unsigned number of that width */
  write(offset: number, width: number, value: number): void {
    if (offset >= registers.Config.offset) this.control.writeConfig(offset - registers.Config.offset, width, value)
    else if (width === registerWidth) this.#writeRegister(offset, value >>> 0)
  }

  #readRegister(offset: number): number {
    const { control } = this
    switch (offset) {
      case registers.MagicValue.offset:
        return mmio_identity.mmio_magic_value
      case registers.Version.offset:
        return mmio_identity.mmio_version
      case registers.DeviceID.offset:
        return this.device.id
      case registers.VendorID.offset:
        return this.#vendorId
      case registers.DeviceFeatures.offset:
        return control.offered.word(this.$deviceFeaturesSel)
      case registers.QueueSizeMax.offset:
        return control.queueMaximum(this.$queueSel)
      case registers.QueueReady.offset:
        return control.queueReady(this.$queueSel) ? 1 : 0
      case registers.QueueReset.offset:
        return control.queueResetting(this.$queueSel) ? 1 : 0
      case registers.InterruptStatus.offset:
        return this.$interruptStatus
      case registers.Status.offset:
        return control.status
      // No region is shared: whatever SHMSel says, it does not exist.
      case registers.SHMLenLow.offset:
      case registers.SHMBaseLow.offset:
        return missingLow
      case registers.SHMLenHigh.offset:
      case registers.SHMBaseHigh.offset:
        return missingHigh
      case registers.ConfigGeneration.offset:
        return control.configGeneration
      default:
        return 0
    }
  }

  #writeRegister(offset: number, value: number): void {
    const { control } = this
    switch (offset) {
      case registers.QueueNotify.offset:
        control.notified(value)
        return
      case registers.InterruptACK.offset:
        this.#acknowledge(value)
        return
      case registers.DeviceFeaturesSel.offset:
        this.$deviceFeaturesSel = value
        return
      case registers.DriverFeaturesSel.offset:
        this.$driverFeaturesSel = value
        return
      case registers.DriverFeatures.offset:
        control.setDriverFeatures(this.$driverFeaturesSel, value)
        return
      case registers.QueueSel.offset:
        this.$queueSel = value
        return
      case registers.QueueSize.offset:
        control.setQueueSize(this.$queueSel, value)
        return
      case registers.QueueReady.offset:
        // Other values than 0 and 1 have no meaning.
        if (value <= 1) control.setQueueReady(this.$queueSel, value === 1)
        return
      case registers.QueueReset.offset:
        if (value === 1) control.resetQueue(this.$queueSel)
        return
      case registers.Status.offset:
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
