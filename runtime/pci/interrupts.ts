/** How the function interrupts. VIRTIO 1.4, Virtio Over PCI Bus / PCI-specific Initialization And Device Operation. */
import { pci_isr, VIRTIO_MSI_NO_VECTOR } from 'virtgen/wire/transport-pci'
import type { MsixTable } from './msix.ts'

/** What the interrupts of a function go through. */
export interface InterruptPaths {
  /** Undefined where the function has no MSI-X. */
  readonly msix: MsixTable | undefined
  /** MSI-X is enabled. */
  readonly isMsixEnabled: () => boolean
  /** What ISR status says has changed. */
  readonly isrChanged: () => void
}

/** ISR status and the vectors of all events. */
export class PciInterrupts {
  readonly #paths: InterruptPaths
  readonly #queueVectors: Uint16Array
  #configVector: number = VIRTIO_MSI_NO_VECTOR
  /** @internal ISR status. Changes are to be followed by `isrChanged`. */
  $isr = 0

  constructor(queues: number, paths: InterruptPaths) {
    this.#paths = paths
    this.#queueVectors = new Uint16Array(queues).fill(VIRTIO_MSI_NO_VECTOR)
  }

  /** Of changes of the configuration. */
  get configVector(): number {
    return this.#configVector
  }

  /** @param index - of any queue, also one that does not exist */
  queueVector(index: number): number {
    return this.#queueVectors[index] ?? VIRTIO_MSI_NO_VECTOR
  }

  /** Maps an event to a vector; to none where there is no such vector, which is how the driver finds out. */
  mapConfig(vector: number): void {
    this.#configVector = this.#valid(vector)
  }

  mapQueue(index: number, vector: number): void {
    // What lies outside of the array is not kept.
    this.#queueVectors[index] = this.#valid(vector)
  }

  unmapQueue(index: number): void {
    this.#queueVectors[index] = VIRTIO_MSI_NO_VECTOR
  }

  #valid(vector: number): number {
    return vector < (this.#paths.msix?.vectors ?? 0) ? vector : VIRTIO_MSI_NO_VECTOR
  }

  /** A used buffer notification. With MSI-X the Queue Interrupt bit is not used. */
  queueUsed(index: number): void {
    if (this.#paths.isMsixEnabled()) this.#send(this.queueVector(index))
    else this.#raise(pci_isr.queue_interrupt)
  }

  /** A configuration change notification. The device MUST set the bit before it sends one, also with MSI-X. */
  configChanged(): void {
    this.#raise(pci_isr.device_configuration_interrupt)
    if (this.#paths.isMsixEnabled()) this.#send(this.#configVector)
  }

  #send(vector: number): void {
    if (vector !== VIRTIO_MSI_NO_VECTOR) this.#paths.msix?.trigger(vector)
  }

  #raise(event: number): void {
    this.$isr |= event
    this.#paths.isrChanged()
  }

  /** The driver reads ISR status, which resets it to 0. */
  takeIsr(): number {
    const isr = this.$isr
    this.$isr = 0
    if (isr !== 0) this.#paths.isrChanged()
    return isr
  }

  /** The device was reset: all events are unmapped, and what had not been told is void. */
  reset(): void {
    this.#configVector = VIRTIO_MSI_NO_VECTOR
    this.#queueVectors.fill(VIRTIO_MSI_NO_VECTOR)
    this.#paths.msix?.clearPending()
    this.$isr = 0
    this.#paths.isrChanged()
  }
}
