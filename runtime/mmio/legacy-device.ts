/** Device side of the legacy register layout, version 1. VIRTIO 1.4, Virtio Over MMIO / Legacy interface. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import { split_ring_legacy } from 'virtgen/wire/split-ring'
import {
  mmio_identity,
  mmio_interrupt,
  virtio_mmio_legacy_Config,
  virtio_mmio_legacy_DeviceID,
  virtio_mmio_legacy_GuestFeatures,
  virtio_mmio_legacy_GuestFeaturesSel,
  virtio_mmio_legacy_GuestPageSize,
  virtio_mmio_legacy_HostFeatures,
  virtio_mmio_legacy_HostFeaturesSel,
  virtio_mmio_legacy_InterruptACK,
  virtio_mmio_legacy_InterruptStatus,
  virtio_mmio_legacy_MagicValue,
  virtio_mmio_legacy_QueueAlign,
  virtio_mmio_legacy_QueueNotify,
  virtio_mmio_legacy_QueuePFN,
  virtio_mmio_legacy_QueueSel,
  virtio_mmio_legacy_QueueSize,
  virtio_mmio_legacy_QueueSizeMax,
  virtio_mmio_legacy_Status,
  virtio_mmio_legacy_VendorID,
  virtio_mmio_legacy_Version,
  virtio_mmio_SHMBaseHigh,
  virtio_mmio_SHMBaseLow,
  virtio_mmio_SHMLenHigh,
  virtio_mmio_SHMLenLow,
} from 'virtgen/wire/transport-mmio'
import type { VirtioDevice } from '../device.ts'
import { DeviceControl } from '../device-control.ts'
import { LegacyControl } from '../legacy-control.ts'
import type { MmioDeviceOptions } from './device.ts'
import { MmioInterrupt } from './interrupt.ts'
import { missingHalf } from './shared-memory.ts'
import { type MmioWindow, windowSize } from './window.ts'

/** How a VMM places a device behind legacy registers, which have no place for shared memory. */
export type LegacyMmioDeviceOptions = Omit<MmioDeviceOptions, 'sharedMemory'>

/** @internal What the driver wrote of the whole device; 32 bits each. */
export interface LegacyMmioRegisters {
  hostFeaturesSel: number
  guestFeaturesSel: number
  queueSel: number
}

/** @internal What the driver wrote of a queue; 32 bits each. */
export interface LegacyMmioQueue {
  size: number
  align: number
}

const registerWidth = 4
const largestWord = 0xffff_ffff
/** Pages and Queue Align of a driver that says nothing of them. */
const usualPage = split_ring_legacy.legacy_queue_align
const nothingSelected: Readonly<LegacyMmioRegisters> = { hostFeaturesSel: 0, guestFeaturesSel: 0, queueSel: 0 }

/**
 * A virtio device behind memory-mapped registers, version 1, for guests that know no other: a queue is one piece of memory whose first page the driver names, there are 32
 * feature bits and no FEATURES_OK, and configuration space and rings are little-endian as the guest.
 *
 * Accesses are answered as those of `MmioDevice` are. Of registers that this layout does not have those of shared memory read as where there is no region, since Linux
 * does not ask the version before it reads them.
 */
export class LegacyMmioDevice implements MmioWindow {
  readonly control: DeviceControl
  readonly legacy: LegacyControl
  readonly #vendorId: number
  /** @internal */
  readonly $interrupt: MmioInterrupt
  /** @internal */
  $registers: LegacyMmioRegisters = { ...nothingSelected }
  /** @internal Survives a reset by the driver: Linux writes it once, and resets the device after that. */
  $guestPageSize: number = usualPage
  /** @internal By index; undefined where the device has no such queue. */
  $queues: readonly (LegacyMmioQueue | undefined)[]

  /** @throws RangeError as `MmioDevice` */
  constructor(device: VirtioDevice, options: LegacyMmioDeviceOptions) {
    const { interrupt, vendorId = 0, ...settings } = options
    this.$interrupt = new MmioInterrupt(interrupt)
    this.#vendorId = checkInteger(vendorId, 0, largestWord, 'vendorId')
    this.control = new DeviceControl(device, {
      ...settings,
      notify: () => this.$interrupt.raise(mmio_interrupt.used_buffer),
      configChanged: () => this.$interrupt.raise(mmio_interrupt.config_change),
      reset: () => this.#reset(),
    })
    this.legacy = new LegacyControl(this.control)
    this.$queues = this.#freshQueues()
  }

  get device(): VirtioDevice {
    return this.control.device
  }

  /** See `MmioDevice.size`. */
  get size(): number {
    return windowSize(this.device.config.length)
  }

  /** See `MmioDevice.read`. */
  read(offset: number, width: number): number {
    if (offset >= virtio_mmio_legacy_Config) return this.legacy.readConfig(offset - virtio_mmio_legacy_Config, width)
    return width === registerWidth ? this.#readRegister(offset) : 0
  }

  /** See `MmioDevice.write`. */
  write(offset: number, width: number, value: number): void {
    if (offset >= virtio_mmio_legacy_Config) this.legacy.writeConfig(offset - virtio_mmio_legacy_Config, width, value)
    else if (width === registerWidth && !this.control.isResetting) this.#writeRegister(offset, value >>> 0)
  }

  /** The machine is reset: unlike a reset by the driver this forgets the page size, too. */
  powerOnReset(): Promise<void> | undefined {
    this.$guestPageSize = usualPage
    return this.control.reset()
  }

  #readRegister(offset: number): number {
    const { legacy, $registers: registers } = this
    switch (offset) {
      case virtio_mmio_legacy_MagicValue:
        return mmio_identity.mmio_magic_value
      case virtio_mmio_legacy_Version:
        return mmio_identity.mmio_legacy_version
      case virtio_mmio_legacy_DeviceID:
        return this.device.id
      case virtio_mmio_legacy_VendorID:
        return this.#vendorId
      case virtio_mmio_legacy_HostFeatures:
        return registers.hostFeaturesSel === 0 ? legacy.offered : 0
      case virtio_mmio_legacy_QueueSizeMax:
        return legacy.queueMaximum(registers.queueSel)
      case virtio_mmio_legacy_QueuePFN:
        return legacy.queuePage(registers.queueSel, this.$guestPageSize)
      case virtio_mmio_legacy_InterruptStatus:
        return this.$interrupt.status
      case virtio_mmio_legacy_Status:
        return legacy.status
      case virtio_mmio_SHMLenLow:
      case virtio_mmio_SHMLenHigh:
      case virtio_mmio_SHMBaseLow:
      case virtio_mmio_SHMBaseHigh:
        return missingHalf
      default:
        return 0
    }
  }

  #writeRegister(offset: number, value: number): void {
    const { legacy, $registers: registers } = this
    switch (offset) {
      case virtio_mmio_legacy_QueueNotify:
        legacy.notified(value)
        return
      case virtio_mmio_legacy_InterruptACK:
        this.$interrupt.acknowledge(value)
        return
      case virtio_mmio_legacy_HostFeaturesSel:
        registers.hostFeaturesSel = value
        return
      case virtio_mmio_legacy_GuestFeaturesSel:
        registers.guestFeaturesSel = value
        return
      case virtio_mmio_legacy_GuestFeatures:
        if (registers.guestFeaturesSel === 0) legacy.setDriverFeatures(value)
        return
      case virtio_mmio_legacy_GuestPageSize:
        this.$guestPageSize = value
        return
      case virtio_mmio_legacy_QueueSel:
        registers.queueSel = value
        return
      case virtio_mmio_legacy_Status:
        legacy.writeStatus(value)
        return
      default:
        this.#writeQueue(offset, value)
    }
  }

  #writeQueue(offset: number, value: number): void {
    const { queueSel } = this.$registers
    const queue = this.$queues[queueSel]
    if (queue === undefined) return
    if (offset === virtio_mmio_legacy_QueueSize) queue.size = value
    else if (offset === virtio_mmio_legacy_QueueAlign) queue.align = value
    else if (offset === virtio_mmio_legacy_QueuePFN)
      this.legacy.setQueuePage(queueSel, value, { pageSize: this.$guestPageSize, size: queue.size, alignment: queue.align })
  }

  #freshQueues(): (LegacyMmioQueue | undefined)[] {
    return this.device.queueSizes.map((size) => (size === 0 ? undefined : { size, align: usualPage }))
  }

  #reset(): void {
    this.$registers = { ...nothingSelected }
    this.$queues = this.#freshQueues()
    this.$interrupt.clear()
  }
}
