/** The legacy interface of a transitional PCI device, as a driver uses it. */
import type { RegisterInfo } from 'virtgen/codegen/v1/wire'
import { VIRTIO_MSI_NO_VECTOR, virtio_pci_legacy_header } from 'virtgen/wire/transport-pci'
import type { VirtioDevice } from '../../runtime/device.ts'
import type { QueueSetup } from '../../runtime/queue.ts'
import type { TestMemory } from '../../runtime/testing/memory.ts'
import { legacyPage, legacyPlace } from './legacy-place.ts'
import { PciSubject } from './pci-subject.ts'
import { type SubjectSettings, selectors } from './subject.ts'

/** The legacy structure is where all such devices have it. */
const bar = 0

export class TransitionalSubject extends PciSubject {
  constructor(device: VirtioDevice, settings: SubjectSettings) {
    super(device, settings, true)
  }

  #get({ offset, width }: RegisterInfo): number {
    return this.pci.readBar(bar, offset, width)
  }
  #set({ offset, width }: RegisterInfo, value: number): void {
    this.pci.writeBar(bar, offset, width, value)
  }

  override get status(): number {
    return this.#get(virtio_pci_legacy_header.device_status)
  }
  override set status(value: number) {
    this.#set(virtio_pci_legacy_header.device_status, value)
  }

  /** There is one word of features. */
  override offered(index: number): number {
    return index === 0 ? this.#get(virtio_pci_legacy_header.device_features) : 0
  }
  override accept(index: number, value: number): void {
    if (index === 0) this.#set(virtio_pci_legacy_header.driver_features, value)
  }

  place(memory: TestMemory, size: number) {
    return legacyPlace(memory, size)
  }
  /** The device says how many entries a queue has. */
  sizeOf(index: number): number {
    this.#set(virtio_pci_legacy_header.queue_select, index)
    return this.#get(virtio_pci_legacy_header.queue_size)
  }
  override setUpQueue({ index, descriptorArea }: QueueSetup): void {
    this.#set(virtio_pci_legacy_header.queue_select, index)
    this.#mapQueue(index + 1)
    this.#set(virtio_pci_legacy_header.queue_address, descriptorArea / legacyPage)
  }
  /** Without MSI-X the configuration space is where the vectors would be. */
  #mapQueue(vector: number): void {
    if (!this.hasMsix) return
    this.#set(virtio_pci_legacy_header.queue_msix_vector, vector)
    if (this.#get(virtio_pci_legacy_header.queue_msix_vector) === VIRTIO_MSI_NO_VECTOR) this.#set(virtio_pci_legacy_header.queue_msix_vector, 0)
  }
  override stopQueue(index: number): void {
    this.#set(virtio_pci_legacy_header.queue_select, index)
    this.#set(virtio_pci_legacy_header.queue_address, 0)
  }
  override resetQueue(index: number): void {
    this.stopQueue(index)
  }

  override notify(index: number): void {
    this.#set(virtio_pci_legacy_header.queue_notify, index)
  }
  override acknowledge(): boolean {
    return this.#get(virtio_pci_legacy_header.isr_status) !== 0 || this.hasMsix
  }

  override probe(see: (value: number) => void): void {
    for (const value of selectors) {
      see(this.sizeOf(value))
      see(this.#get(virtio_pci_legacy_header.queue_address))
    }
    this.#set(virtio_pci_legacy_header.queue_select, 0)
    super.probe(see)
  }
}
