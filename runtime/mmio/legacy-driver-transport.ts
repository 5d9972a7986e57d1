/** Version 1 of the registers, as a legacy driver uses them. VIRTIO 1.4, Virtio Over MMIO / Legacy interface. */
import {
  virtio_mmio_legacy_Config,
  virtio_mmio_legacy_GuestFeatures,
  virtio_mmio_legacy_GuestFeaturesSel,
  virtio_mmio_legacy_GuestPageSize,
  virtio_mmio_legacy_HostFeatures,
  virtio_mmio_legacy_HostFeaturesSel,
  virtio_mmio_legacy_InterruptACK,
  virtio_mmio_legacy_InterruptStatus,
  virtio_mmio_legacy_QueueAlign,
  virtio_mmio_legacy_QueueNotify,
  virtio_mmio_legacy_QueuePFN,
  virtio_mmio_legacy_QueueSel,
  virtio_mmio_legacy_QueueSize,
  virtio_mmio_legacy_QueueSizeMax,
  virtio_mmio_legacy_Status,
} from 'virtgen/wire/transport-mmio'
import { legacyPage, legacyPageSize } from '../driver/legacy-queue.ts'
import { legacyRingFeatures } from '../driver/negotiate.ts'
import type { Doorbell, DriverTransport, RegisterBus } from '../driver/transport.ts'
import type { QueueSetup } from '../queue.ts'
import { type MmioRegisters, mmioAcknowledgement, mmioEvents } from './driver-transport.ts'

export class LegacyMmioTransport implements DriverTransport {
  readonly legacy = true
  readonly features = legacyRingFeatures
  readonly queueAlign = legacyPageSize
  readonly fixedQueueSize = false
  readonly config: RegisterBus
  readonly configGeneration = undefined
  readonly #registers: MmioRegisters

  constructor(registers: MmioRegisters) {
    this.#registers = registers
    this.config = registers.configAt(virtio_mmio_legacy_Config)
  }

  get status(): number {
    return this.#registers.read(virtio_mmio_legacy_Status)
  }

  set status(value: number) {
    this.#registers.write(virtio_mmio_legacy_Status, value)
  }

  readFeatures(word: number): number {
    return this.#registers.readSelected(virtio_mmio_legacy_HostFeaturesSel, word, virtio_mmio_legacy_HostFeatures)
  }

  writeFeatures(word: number, value: number): void {
    this.#registers.writeSelected(virtio_mmio_legacy_GuestFeaturesSel, word, virtio_mmio_legacy_GuestFeatures, value)
  }

  /** The driver writes the page size before any queue is used; a reset may have cleared it. */
  prepare(): void {
    this.#registers.write(virtio_mmio_legacy_GuestPageSize, legacyPageSize)
  }

  /** The largest size is read only while QueuePFN is 0. */
  findQueue(index: number): number | 'in-use' {
    const isUsed = this.#registers.readSelected(virtio_mmio_legacy_QueueSel, index, virtio_mmio_legacy_QueuePFN) !== 0
    return isUsed ? 'in-use' : this.#registers.read(virtio_mmio_legacy_QueueSizeMax)
  }

  doorbell(index: number): Doorbell {
    return { value: index, ring: (word) => this.#registers.write(virtio_mmio_legacy_QueueNotify, word) }
  }

  enableQueue({ index, size, descriptorArea }: QueueSetup): void {
    const page = legacyPage(descriptorArea)
    this.#registers.writeSelected(virtio_mmio_legacy_QueueSel, index, virtio_mmio_legacy_QueueSize, size)
    this.#registers.write(virtio_mmio_legacy_QueueAlign, legacyPageSize)
    this.#registers.write(virtio_mmio_legacy_QueuePFN, page)
  }

  /** VIRTIO_F_RING_RESET is no feature of the legacy interface. */
  resetQueue(): void {}

  isQueueResetting(): boolean {
    return false
  }

  events(): number {
    return mmioEvents(this.#registers.read(virtio_mmio_legacy_InterruptStatus))
  }

  acknowledge(events: number): void {
    this.#registers.write(virtio_mmio_legacy_InterruptACK, mmioAcknowledgement(events))
  }

  sharedMemory(): undefined {
    return undefined
  }
}
