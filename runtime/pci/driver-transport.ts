/** Virtio Over PCI Bus, as a driver uses it. VIRTIO 1.4, Virtio Over PCI Bus / PCI Device Layout. */
import type { FeatureSet, RegisterInfo } from 'virtgen/codegen/v1/wire'
import { VIRTIO_F_NOTIF_CONFIG_DATA, VIRTIO_F_NOTIFICATION_DATA, VIRTIO_F_RING_RESET } from 'virtgen/wire/content'
import {
  pci_isr,
  VIRTIO_PCI_CAP_COMMON_CFG,
  VIRTIO_PCI_CAP_DEVICE_CFG,
  VIRTIO_PCI_CAP_ISR_CFG,
  VIRTIO_PCI_CAP_NOTIFY_CFG,
  VIRTIO_PCI_CAP_SHARED_MEMORY_CFG,
  virtio_pci_common_cfg,
  virtio_pci_isr,
} from 'virtgen/wire/transport-pci'
import { DriverError } from '../driver/host.ts'
import { driverRingFeatures } from '../driver/negotiate.ts'
import { type Doorbell, type DriverSharedMemory, type DriverTransport, driverEvents, type RegisterBus } from '../driver/transport.ts'
import type { QueueSetup } from '../queue.ts'
import type { QueueInfo } from '../request/message.ts'
import type { DriverFunction } from './driver-function.ts'
import type { DriverVectors } from './driver-vectors.ts'

const common = virtio_pci_common_cfg
const wordSize = 2 ** 32
const leastCommon = end(common.queue_device)
const mostCommon = end(common.admin_queue_num)
/** Drivers may limit what they map of a structure to this (Virtio Structure PCI Capabilities). */
const mostConfig = 4096

function end({ offset, width }: RegisterInfo): number {
  return offset + width
}

/** What the bits of ISR status stand for. The others are reserved. */
export function pciEvents(isr: number): number {
  return (
    ((isr & pci_isr.queue_interrupt) !== 0 ? driverEvents.used : 0) | ((isr & pci_isr.device_configuration_interrupt) !== 0 ? driverEvents.config : 0)
  )
}

/** A part of a device's configuration space that is shorter than the driver knows it: the rest reads as 0. */
export function shortBus(bus: RegisterBus | undefined, start: () => number, end: number): RegisterBus {
  return {
    read: (offset, width) => (bus && start() + offset + width <= end ? bus.read(start() + offset, width) : 0),
    write: (offset, width, value) => {
      if (bus && start() + offset + width <= end) bus.write(start() + offset, width, value)
    },
  }
}

export class PciTransport implements DriverTransport {
  readonly legacy = false
  readonly features: FeatureSet
  readonly queueAlign = undefined
  readonly fixedQueueSize = false
  readonly config: RegisterBus
  readonly #function: DriverFunction
  readonly #vectors: DriverVectors
  readonly #common: RegisterBus
  readonly #isr: RegisterBus

  /**
   * @param hasConfig - the driver looks at the configuration space
   * @throws DriverError `layout` where a structure is missing, too short, misaligned or out of reach
   */
  constructor(fn: DriverFunction, vectors: DriverVectors, hasConfig: boolean) {
    this.#function = fn
    this.#vectors = vectors
    const found = fn.get({
      type: VIRTIO_PCI_CAP_COMMON_CFG,
      name: 'common configuration structure',
      least: leastCommon,
      most: mostCommon,
      alignment: 4,
    })
    this.#common = found.bus
    this.#isr = fn.get({ type: VIRTIO_PCI_CAP_ISR_CFG, name: 'ISR status', least: end(virtio_pci_isr.isr_status), alignment: 1 }).bus
    this.#checkNotifications()
    const need = { type: VIRTIO_PCI_CAP_DEVICE_CFG, name: 'configuration space', least: 1, most: mostConfig, alignment: 4 }
    const config = hasConfig ? fn.get(need) : fn.find(need)
    this.config = shortBus(config?.bus, () => 0, config?.length ?? 0)
    const without = found.length < end(common.queue_reset) ? driverRingFeatures.without(VIRTIO_F_RING_RESET) : driverRingFeatures
    this.features = found.length < end(common.queue_notif_config_data) ? without : without.with(VIRTIO_F_NOTIF_CONFIG_DATA)
  }

  /** Said at once, not only when there is a queue. */
  #checkNotifications(): void {
    this.#function.get({ type: VIRTIO_PCI_CAP_NOTIFY_CFG, name: 'notification structure', least: 2, alignment: 2 })
  }

  /** Each field is accessed by its own width. */
  #read({ offset, width }: RegisterInfo): number {
    return this.#common.read(offset, width as 1 | 2 | 4) >>> 0
  }

  #write({ offset, width }: RegisterInfo, value: number): void {
    this.#common.write(offset, width as 1 | 2 | 4, value >>> 0)
  }

  /** 64 bits are two fields of 32, the low one first. */
  #writeAddress({ offset }: RegisterInfo, address: number): void {
    this.#common.write(offset, 4, address % wordSize)
    this.#common.write(offset + 4, 4, Math.floor(address / wordSize))
  }

  get configGeneration(): number {
    return this.#read(common.config_generation)
  }

  get status(): number {
    return this.#read(common.device_status)
  }

  set status(value: number) {
    this.#write(common.device_status, value)
  }

  readFeatures(word: number): number {
    this.#write(common.device_feature_select, word)
    return this.#read(common.device_feature)
  }

  writeFeatures(word: number, value: number): void {
    this.#write(common.driver_feature_select, word)
    this.#write(common.driver_feature, value)
  }

  prepare(queues: readonly QueueInfo[]): void {
    this.#vectors.prepare(queues)
    const register = common.config_msix_vector
    this.#vectors.map(
      'config',
      (vector) => this.#write(register, vector),
      () => this.#read(register),
    )
  }

  findQueue(index: number): number | 'in-use' {
    if (index >= this.#read(common.num_queues)) return 0
    this.#write(common.queue_select, index)
    return this.#read(common.queue_enable) !== 0 ? 'in-use' : this.#read(common.queue_size)
  }

  /** @throws DriverError `layout` where the queue's place is not inside any notification structure */
  doorbell(index: number, features: FeatureSet): Doorbell {
    const units = this.#read(common.queue_notify_off)
    const value = features.has(VIRTIO_F_NOTIF_CONFIG_DATA) ? this.#read(common.queue_notif_config_data) : index
    const width = features.has(VIRTIO_F_NOTIFICATION_DATA) ? 4 : 2
    const { bus } = this.#function.get({
      type: VIRTIO_PCI_CAP_NOTIFY_CFG,
      name: `notification structure with a place ${units} for queue ${index}`,
      from: ({ multiplier }) => units * multiplier,
      least: width,
      alignment: width,
    })
    return { value, ring: (word) => bus.write(0, width, word) }
  }

  enableQueue({ index, size, descriptorArea, driverArea, deviceArea }: QueueSetup): void {
    this.#write(common.queue_select, index)
    this.#write(common.queue_size, size)
    this.#vectors.map(
      index,
      (vector) => this.#write(common.queue_msix_vector, vector),
      () => this.#read(common.queue_msix_vector),
    )
    this.#writeAddress(common.queue_desc, descriptorArea)
    this.#writeAddress(common.queue_driver, driverArea)
    this.#writeAddress(common.queue_device, deviceArea)
    this.#write(common.queue_enable, 1)
  }

  resetQueue(index: number): void {
    this.#write(common.queue_select, index)
    this.#write(common.queue_reset, 1)
  }

  /** The driver MUST NOT consider a reset complete until it reads back 0 in queue_reset. */
  isQueueResetting(index: number): boolean {
    // Selected anew: others do so in the pauses.
    this.#write(common.queue_select, index)
    return this.#read(common.queue_reset) !== 0
  }

  events(vector: number | undefined): number {
    return this.#vectors.count > 0 ? this.#vectors.events(vector) : pciEvents(this.#isr.read(virtio_pci_isr.isr_status.offset, 1))
  }

  isServedBy(index: number, vector: number): boolean {
    return this.#vectors.isServedBy(index, vector)
  }

  sharedMemory(id: number): DriverSharedMemory | undefined {
    const fn = this.#function
    const region = fn.structures.find((structure) => structure.type === VIRTIO_PCI_CAP_SHARED_MEMORY_CFG && structure.id === id)
    if (region === undefined) return undefined
    const { bar, offset, length } = region
    const isInside = length > 0 && Number.isSafeInteger(offset + length) && fn.fn.map(bar, offset, length) !== undefined
    if (!isInside) throw new DriverError('layout', `shared memory region ${id}, ${length} bytes at ${offset} of BAR ${bar}, cannot be reached`)
    const base = fn.bar(bar)?.address ?? 0
    return { id, length, address: base === 0 ? undefined : base + offset, bar: { index: bar, offset } }
  }

  release(): void {
    this.#vectors.close()
    this.#function.close()
  }
}
