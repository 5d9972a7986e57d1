/** The legacy configuration structure of a transitional device. VIRTIO 1.4, PCI Device Layout / Legacy Interfaces: A Note on PCI Device Layout. */
import { DRIVER_OK } from 'virtgen/wire/content'
import {
  pci_legacy_queue,
  virtio_pci_legacy_header,
  virtio_pci_legacy_header_config_msix_vector,
  virtio_pci_legacy_header_device_features,
  virtio_pci_legacy_header_device_status,
  virtio_pci_legacy_header_driver_features,
  virtio_pci_legacy_header_isr_status,
  virtio_pci_legacy_header_queue_address,
  virtio_pci_legacy_header_queue_msix_vector,
  virtio_pci_legacy_header_queue_notify,
  virtio_pci_legacy_header_queue_select,
  virtio_pci_legacy_header_queue_size,
} from 'virtgen/wire/transport-pci'
import type { LegacyControl } from '../legacy-control.ts'
import { noQueue, powerOf2Below } from './common-config.ts'
import type { PciInterrupts } from './interrupts.ts'
import { type BarWindow, type RegisterFile, RegisterWindow } from './register-window.ts'

const { legacy_queue_address_shift, legacy_pci_queue_align: alignment } = pci_legacy_queue
const pageSize = 2 ** legacy_queue_address_shift

export interface LegacyHeaderOptions {
  readonly legacy: LegacyControl
  readonly interrupts: PciInterrupts
  /** How many queues there are for a legacy driver: administration virtqueues, the last ones, are not. */
  readonly queues: number
  readonly isMsixEnabled: () => boolean
  /** The driver has said DRIVER_OK. */
  readonly driverReady: () => void
  /** See `RegisterWindow`. */
  readonly assemble: boolean
}

/** Where the configuration space begins. */
export function legacyConfigOffset(msix: boolean): number {
  return virtio_pci_legacy_header.config.at({ caller: { msix: msix ? 1 : 0 } })
}

/**
 * The header, and right behind it the configuration space, which moves while MSI-X is enabled: then two vectors lie between them. The configuration space may be accessed by
 * any width.
 */
export class LegacyHeader implements BarWindow, RegisterFile {
  readonly #options: LegacyHeaderOptions
  readonly #legacy: LegacyControl
  /** @internal */
  readonly $registers: RegisterWindow
  /** @internal */
  $queueSelect = 0

  constructor(options: LegacyHeaderOptions) {
    this.#options = options
    this.#legacy = options.legacy
    this.$registers = new RegisterWindow(virtio_pci_legacy_header, this, options.assemble)
  }

  get #queue(): number {
    const isSeen = this.$queueSelect < this.#options.queues && this.#legacy.queueMaximum(this.$queueSelect) > 0
    return isSeen ? this.$queueSelect : noQueue
  }

  reset(): void {
    this.$queueSelect = 0
    this.$registers.reset()
  }

  read(offset: number, width: number): number {
    const config = legacyConfigOffset(this.#options.isMsixEnabled())
    return offset < config ? this.$registers.read(offset, width) : this.#legacy.readConfig(offset - config, width)
  }

  write(offset: number, width: number, value: number): void {
    const config = legacyConfigOffset(this.#options.isMsixEnabled())
    if (offset < config) this.$registers.write(offset, width, value)
    else this.#legacy.writeConfig(offset - config, width, value)
  }

  get isResetting(): boolean {
    return this.#legacy.control.isResetting
  }

  readRegister(offset: number): number {
    const legacy = this.#legacy
    const { interrupts } = this.#options
    switch (offset) {
      case virtio_pci_legacy_header_device_features:
        return legacy.offered
      case virtio_pci_legacy_header_driver_features:
        return legacy.driverFeatures
      case virtio_pci_legacy_header_queue_address:
        return legacy.queuePage(this.#queue, pageSize)
      case virtio_pci_legacy_header_queue_size:
        return this.#queueSize
      case virtio_pci_legacy_header_queue_select:
        return this.$queueSelect
      case virtio_pci_legacy_header_device_status:
        return legacy.status
      case virtio_pci_legacy_header_isr_status:
        return interrupts.takeIsr()
      case virtio_pci_legacy_header_config_msix_vector:
        return interrupts.configVector
      case virtio_pci_legacy_header_queue_msix_vector:
        return interrupts.queueVector(this.#queue)
      default:
        return 0
    }
  }

  /** There was no mechanism to negotiate the queue size. */
  get #queueSize(): number {
    return powerOf2Below(this.#legacy.queueMaximum(this.#queue))
  }

  writeRegister(offset: number, value: number): void {
    const legacy = this.#legacy
    const { interrupts, driverReady } = this.#options
    if (offset !== virtio_pci_legacy_header_device_status && !legacy.isHeard) return
    switch (offset) {
      case virtio_pci_legacy_header_driver_features:
        legacy.setDriverFeatures(value)
        return
      case virtio_pci_legacy_header_queue_address:
        legacy.setQueuePage(this.#queue, value, { pageSize, size: this.#queueSize, alignment })
        return
      case virtio_pci_legacy_header_queue_select:
        this.$queueSelect = value
        return
      case virtio_pci_legacy_header_queue_notify:
        legacy.notified(value)
        return
      case virtio_pci_legacy_header_device_status:
        legacy.writeStatus(value)
        if ((value & DRIVER_OK) !== 0 && legacy.active) driverReady()
        return
      case virtio_pci_legacy_header_config_msix_vector:
        interrupts.mapConfig(value)
        return
      case virtio_pci_legacy_header_queue_msix_vector:
        interrupts.mapQueue(this.#queue, value)
        return
      default:
    }
  }
}
