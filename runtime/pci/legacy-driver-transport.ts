/** A transitional or legacy device through its legacy header. VIRTIO 1.4, Legacy Interfaces: A Note on PCI Device Layout. */
import type { RegisterInfo } from 'virtgen/codegen/v1/wire'
import { pci_bar_size } from 'virtgen/wire/pci'
import { virtio_pci_legacy_header } from 'virtgen/wire/transport-pci'
import { DriverError } from '../driver/host.ts'
import { legacyPage, legacyPageSize } from '../driver/legacy-queue.ts'
import { legacyRingFeatures } from '../driver/negotiate.ts'
import type { Doorbell, DriverTransport, RegisterBus } from '../driver/transport.ts'
import type { QueueSetup } from '../queue.ts'
import type { QueueInfo } from '../request/message.ts'
import type { DriverFunction } from './driver-function.ts'
import { pciEvents, shortBus } from './driver-transport.ts'
import type { DriverVectors } from './driver-vectors.ts'

const header = virtio_pci_legacy_header
/** The header is in BAR 0, the configuration space behind it, further with MSI-X than without. */
const headerBar = 0
const configOffset = { line: header.config.at({ caller: { msix: 0 } }), msix: header.config.at({ caller: { msix: 1 } }) }

export class LegacyPciTransport implements DriverTransport {
  readonly legacy = true
  readonly features = legacyRingFeatures
  readonly queueAlign = legacyPageSize
  /** There was no mechanism to negotiate it (Legacy Interface: A Note on Virtqueue Configuration). */
  readonly fixedQueueSize = true
  readonly config: RegisterBus
  readonly configGeneration = undefined
  readonly #function: DriverFunction
  readonly #vectors: DriverVectors
  readonly #bus: RegisterBus

  /** @throws DriverError `layout` where BAR 0 is no I/O region with room for the header, or out of reach */
  constructor(fn: DriverFunction, vectors: DriverVectors) {
    this.#function = fn
    this.#vectors = vectors
    const { bus, length } = openHeader(fn)
    this.#bus = bus
    this.config = shortBus(bus, () => (vectors.isEnabled ? configOffset.msix : configOffset.line), length)
  }

  #read({ offset, width }: RegisterInfo): number {
    return this.#bus.read(offset, width as 1 | 2 | 4) >>> 0
  }

  #write({ offset, width }: RegisterInfo, value: number): void {
    this.#bus.write(offset, width as 1 | 2 | 4, value >>> 0)
  }

  get status(): number {
    return this.#read(header.device_status)
  }

  set status(value: number) {
    this.#write(header.device_status, value)
  }

  readFeatures(): number {
    return this.#read(header.device_features)
  }

  writeFeatures(_: number, value: number): void {
    this.#write(header.driver_features, value)
  }

  prepare(queues: readonly QueueInfo[]): void {
    this.#vectors.prepare(queues)
    this.#vectors.map(
      'config',
      (vector) => this.#write(header.config_msix_vector, vector),
      () => this.#read(header.config_msix_vector),
    )
  }

  findQueue(index: number): number | 'in-use' {
    this.#write(header.queue_select, index)
    return this.#read(header.queue_address) !== 0 ? 'in-use' : this.#read(header.queue_size)
  }

  doorbell(index: number): Doorbell {
    return { value: index, ring: (word) => this.#write(header.queue_notify, word) }
  }

  enableQueue({ index, descriptorArea }: QueueSetup): void {
    const page = legacyPage(descriptorArea)
    this.#write(header.queue_select, index)
    this.#vectors.map(
      index,
      (vector) => this.#write(header.queue_msix_vector, vector),
      () => this.#read(header.queue_msix_vector),
    )
    this.#write(header.queue_address, page)
  }

  /** VIRTIO_F_RING_RESET is no feature of the legacy interface. */
  resetQueue(): void {}

  isQueueResetting(): boolean {
    return false
  }

  events(vector: number | undefined): number {
    return this.#vectors.count > 0 ? this.#vectors.events(vector) : pciEvents(this.#read(header.isr_status))
  }

  isServedBy(index: number, vector: number): boolean {
    return this.#vectors.isServedBy(index, vector)
  }

  sharedMemory(): undefined {
    return undefined
  }

  release(): void {
    this.#vectors.close()
    this.#function.close()
  }
}

/** All of BAR 0: no capability says how long it is, but that is a power of 2. */
function openHeader(fn: DriverFunction): { bus: RegisterBus; length: number } {
  if (!fn.bar(headerBar)?.isIo) throw new DriverError('layout', 'BAR 0 is no I/O region: there is no legacy header')
  for (let length = pci_bar_size.pci_io_bar_size_max; length >= configOffset.msix; length /= 2) {
    const bus = fn.fn.map(headerBar, 0, length)
    if (bus) return { bus, length }
  }
  throw new DriverError('layout', 'BAR 0, where the legacy header is, is too short or out of reach')
}
