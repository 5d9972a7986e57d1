/** The common configuration structure. VIRTIO 1.4, Virtio Over PCI Bus / PCI Device Layout / Common configuration structure layout. */
import { VIRTIO_F_ADMIN_VQ, VIRTIO_F_NOTIF_CONFIG_DATA, VIRTIO_F_RING_PACKED, VIRTIO_F_RING_RESET } from 'virtgen/wire/content'
import {
  virtio_pci_common_cfg_admin_queue_index,
  virtio_pci_common_cfg_admin_queue_num,
  virtio_pci_common_cfg_config_generation,
  virtio_pci_common_cfg_config_msix_vector,
  virtio_pci_common_cfg_device_feature,
  virtio_pci_common_cfg_device_feature_select,
  virtio_pci_common_cfg_device_status,
  virtio_pci_common_cfg_driver_feature,
  virtio_pci_common_cfg_driver_feature_select,
  virtio_pci_common_cfg_num_queues,
  virtio_pci_common_cfg_queue_desc,
  virtio_pci_common_cfg_queue_device,
  virtio_pci_common_cfg_queue_driver,
  virtio_pci_common_cfg_queue_enable,
  virtio_pci_common_cfg_queue_msix_vector,
  virtio_pci_common_cfg_queue_notif_config_data,
  virtio_pci_common_cfg_queue_notify_off,
  virtio_pci_common_cfg_queue_reset,
  virtio_pci_common_cfg_queue_select,
  virtio_pci_common_cfg_queue_size,
} from 'virtgen/wire/transport-pci'
import type { DeviceControl } from '../device-control.ts'
import type { QueueArea } from '../queue-registers.ts'
import type { DeviceConfigWindow } from './device-config.ts'
import type { PciInterrupts } from './interrupts.ts'
import type { RegisterFile } from './register-window.ts'

/** What the common configuration tells of. */
export interface CommonConfigOptions {
  readonly control: DeviceControl
  readonly deviceConfig: DeviceConfigWindow
  readonly interrupts: PciInterrupts
  /** How many of the last queues are administration virtqueues. */
  readonly adminQueues: number
  readonly notifConfigData: readonly number[] | undefined
}

/** Index of no queue: stands for those that the driver does not see. */
export const noQueue = -1
const highHalf = 4
const addresses: ReadonlyMap<number, QueueArea> = new Map([
  [virtio_pci_common_cfg_queue_desc, 'descriptorArea'],
  [virtio_pci_common_cfg_queue_driver, 'driverArea'],
  [virtio_pci_common_cfg_queue_device, 'deviceArea'],
])

/** Which half of which address of a queue a register is. */
function placeOf(offset: number): { readonly area: QueueArea; readonly half: 0 | 1 } | undefined {
  const low = addresses.get(offset)
  if (low) return { area: low, half: 0 }
  const high = addresses.get(offset - highHalf)
  return high && { area: high, half: 1 }
}

/** The largest power of 2 that is not above a number; 0 for 0. */
export function powerOf2Below(value: number): number {
  return value === 0 ? 0 : 2 ** (31 - Math.clz32(value))
}

export class CommonConfig implements RegisterFile {
  readonly #control: DeviceControl
  readonly #options: CommonConfigOptions
  /** @internal */
  $deviceFeatureSelect = 0
  /** @internal */
  $driverFeatureSelect = 0
  /** @internal */
  $queueSelect = 0

  constructor(options: CommonConfigOptions) {
    this.#control = options.control
    this.#options = options
  }

  /** Selectors as they are at first. */
  reset(): void {
    this.$deviceFeatureSelect = 0
    this.$driverFeatureSelect = 0
    this.$queueSelect = 0
  }

  /** Index of the first administration virtqueue: they are the last ones. */
  get #firstAdminQueue(): number {
    return this.#control.queueCount - this.#options.adminQueues
  }

  get #hasAdminQueues(): boolean {
    return this.#control.features.has(VIRTIO_F_ADMIN_VQ)
  }

  /** Index of the selected queue; of none where there is no such queue. Administration virtqueues are there with their feature alone. */
  get #queue(): number {
    const isSeen = this.$queueSelect < this.#firstAdminQueue || this.#hasAdminQueues
    return isSeen && this.#control.queueMaximum(this.$queueSelect) > 0 ? this.$queueSelect : noQueue
  }

  get isResetting(): boolean {
    return this.#control.isResetting
  }

  /** A reset is heard always; else nothing while one goes on, as it would outlive it, nor while the driver uses the legacy interface. */
  #hears(offset: number): boolean {
    return offset === virtio_pci_common_cfg_device_status || !(this.#control.isResetting || this.#control.$legacy)
  }

  readRegister(offset: number): number {
    const control = this.#control
    const { interrupts, deviceConfig, notifConfigData, adminQueues } = this.#options
    switch (offset) {
      case virtio_pci_common_cfg_device_feature_select:
        return this.$deviceFeatureSelect
      case virtio_pci_common_cfg_device_feature:
        return control.offered.word(this.$deviceFeatureSelect)
      case virtio_pci_common_cfg_driver_feature_select:
        return this.$driverFeatureSelect
      case virtio_pci_common_cfg_driver_feature:
        return control.driverFeatures.word(this.$driverFeatureSelect)
      case virtio_pci_common_cfg_config_msix_vector:
        return interrupts.configVector
      case virtio_pci_common_cfg_num_queues:
        return this.#firstAdminQueue
      case virtio_pci_common_cfg_device_status:
        return control.status
      case virtio_pci_common_cfg_config_generation:
        return deviceConfig.generation
      case virtio_pci_common_cfg_queue_select:
        return this.$queueSelect
      case virtio_pci_common_cfg_queue_size:
        return this.#presentedSize(control.queueSize(this.#queue))
      case virtio_pci_common_cfg_queue_msix_vector:
        return interrupts.queueVector(this.#queue)
      case virtio_pci_common_cfg_queue_enable:
        return control.queueReady(this.#queue) ? 1 : 0
      case virtio_pci_common_cfg_queue_notify_off:
        // Each queue has its place, also where the multiplier is 0 and all places are one.
        return Math.max(0, this.#queue)
      case virtio_pci_common_cfg_queue_notif_config_data:
        return (control.features.has(VIRTIO_F_NOTIF_CONFIG_DATA) && notifConfigData?.[this.#queue]) || 0
      case virtio_pci_common_cfg_queue_reset:
        return control.queueResetting(this.#queue) ? 1 : 0
      case virtio_pci_common_cfg_admin_queue_index:
        return this.#hasAdminQueues ? this.#firstAdminQueue : 0
      case virtio_pci_common_cfg_admin_queue_num:
        return this.#hasAdminQueues ? adminQueues : 0
      default: {
        const place = placeOf(offset)
        return place ? control.queueAddress(this.#queue, place.area, place.half) : 0
      }
    }
  }

  writeRegister(offset: number, value: number): void {
    const control = this.#control
    const { interrupts } = this.#options
    if (!this.#hears(offset)) return
    switch (offset) {
      case virtio_pci_common_cfg_device_status:
        control.writeStatus(value)
        return
      case virtio_pci_common_cfg_device_feature_select:
        this.$deviceFeatureSelect = value
        return
      case virtio_pci_common_cfg_driver_feature_select:
        this.$driverFeatureSelect = value
        return
      case virtio_pci_common_cfg_driver_feature:
        control.setDriverFeatures(this.$driverFeatureSelect, value)
        return
      case virtio_pci_common_cfg_config_msix_vector:
        interrupts.mapConfig(value)
        return
      case virtio_pci_common_cfg_queue_select:
        this.$queueSelect = value
        return
      case virtio_pci_common_cfg_queue_size:
        control.setQueueSize(this.#queue, value)
        return
      case virtio_pci_common_cfg_queue_msix_vector:
        interrupts.mapQueue(this.#queue, value)
        return
      case virtio_pci_common_cfg_queue_enable:
        // The driver MUST NOT write 0; other values have no meaning.
        if (value === 1) this.#enable(this.#queue)
        return
      case virtio_pci_common_cfg_queue_reset:
        if (value === 1) this.#resetQueue(this.#queue)
        return
      default: {
        const place = placeOf(offset)
        if (place) control.setQueueAddress(this.#queue, place.area, place.half, value)
      }
    }
  }

  /** If VIRTIO_F_RING_PACKED has not been negotiated, the device MUST present either a value of 0 or a power of 2 in queue_size. */
  #presentedSize(size: number): number {
    return this.#control.features.has(VIRTIO_F_RING_PACKED) ? size : powerOf2Below(size)
  }

  #enable(queue: number): void {
    const control = this.#control
    const size = control.queueSize(queue)
    // A driver that wrote no size relies on what it was shown. One that wrote a wrong size keeps it, and is found out.
    if (size === control.queueMaximum(queue)) control.setQueueSize(queue, this.#presentedSize(size))
    control.setQueueReady(queue, true)
  }

  #resetQueue(queue: number): void {
    const control = this.#control
    if (control.features.has(VIRTIO_F_RING_RESET)) this.#options.interrupts.unmapQueue(queue)
    control.resetQueue(queue)
  }
}
