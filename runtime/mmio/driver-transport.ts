/** The control registers, as a driver uses them. VIRTIO 1.4, Virtio Over MMIO / MMIO Device Register Layout. */
import {
  mmio_interrupt,
  mmio_shared_memory,
  virtio_mmio_Config,
  virtio_mmio_ConfigGeneration,
  virtio_mmio_DeviceFeatures,
  virtio_mmio_DeviceFeaturesSel,
  virtio_mmio_DriverFeatures,
  virtio_mmio_DriverFeaturesSel,
  virtio_mmio_InterruptACK,
  virtio_mmio_InterruptStatus,
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
  virtio_mmio_SHMSel,
  virtio_mmio_Status,
} from 'virtgen/wire/transport-mmio'
import { DriverError } from '../driver/host.ts'
import { driverRingFeatures } from '../driver/negotiate.ts'
import { type Doorbell, type DriverSharedMemory, type DriverTransport, driverEvents, type RegisterBus } from '../driver/transport.ts'
import type { QueueSetup } from '../queue.ts'

/** Where a device is: reads and writes at offsets from its first register. Values are unsigned and little-endian. */
export type MmioBus = RegisterBus

const wordSize = 2 ** 32
const missingLength = Number(mmio_shared_memory.mmio_missing_region_length)

/** The driver MUST only use 32 bit wide and aligned accesses (MMIO Device Register Layout). */
export class MmioRegisters {
  readonly #bus: MmioBus

  constructor(bus: MmioBus) {
    this.#bus = bus
  }

  read(offset: number): number {
    return this.#bus.read(offset, 4) >>> 0
  }

  write(offset: number, value: number): void {
    this.#bus.write(offset, 4, value >>> 0)
  }

  /** Writes an address into a pair of registers. */
  writeAddress(low: number, high: number, address: number): void {
    this.write(low, address % wordSize)
    this.write(high, Math.floor(address / wordSize))
  }

  /** Selects 32 bits of features, or what else is seen through a window. */
  readSelected(select: number, index: number, offset: number): number {
    this.write(select, index)
    return this.read(offset)
  }

  writeSelected(select: number, index: number, offset: number, value: number): void {
    this.write(select, index)
    this.write(offset, value)
  }

  /** The configuration space behind the registers. */
  configAt(start: number): RegisterBus {
    return {
      read: (offset, width) => this.#bus.read(start + offset, width),
      write: (offset, width, value) => this.#bus.write(start + offset, width, value),
    }
  }
}

/** Names of bits that both layouts of registers share. */
export function mmioEvents(status: number): number {
  // The driver MUST ignore undefined bits.
  return (
    ((status & mmio_interrupt.used_buffer) !== 0 ? driverEvents.used : 0) | ((status & mmio_interrupt.config_change) !== 0 ? driverEvents.config : 0)
  )
}

/** The driver MUST NOT acknowledge undefined bits. */
export function mmioAcknowledgement(events: number): number {
  return (
    ((events & driverEvents.used) !== 0 ? mmio_interrupt.used_buffer : 0) | ((events & driverEvents.config) !== 0 ? mmio_interrupt.config_change : 0)
  )
}

/** Version 2 of the registers. */
export class MmioTransport implements DriverTransport {
  readonly legacy = false
  /** VIRTIO_F_NOTIF_CONFIG_DATA is not among them: no register says the value that the driver would send. */
  readonly features = driverRingFeatures
  readonly queueAlign = undefined
  readonly fixedQueueSize = false
  readonly config: RegisterBus
  readonly #registers: MmioRegisters

  constructor(registers: MmioRegisters) {
    this.#registers = registers
    this.config = registers.configAt(virtio_mmio_Config)
  }

  get configGeneration(): number {
    return this.#registers.read(virtio_mmio_ConfigGeneration)
  }

  get status(): number {
    return this.#registers.read(virtio_mmio_Status)
  }

  set status(value: number) {
    this.#registers.write(virtio_mmio_Status, value)
  }

  readFeatures(word: number): number {
    return this.#registers.readSelected(virtio_mmio_DeviceFeaturesSel, word, virtio_mmio_DeviceFeatures)
  }

  writeFeatures(word: number, value: number): void {
    this.#registers.writeSelected(virtio_mmio_DriverFeaturesSel, word, virtio_mmio_DriverFeatures, value)
  }

  findQueue(index: number): number | 'in-use' {
    const isReady = this.#registers.readSelected(virtio_mmio_QueueSel, index, virtio_mmio_QueueReady) !== 0
    return isReady ? 'in-use' : this.#registers.read(virtio_mmio_QueueSizeMax)
  }

  doorbell(index: number): Doorbell {
    return { value: index, ring: (word) => this.#registers.write(virtio_mmio_QueueNotify, word) }
  }

  enableQueue({ index, size, descriptorArea, driverArea, deviceArea }: QueueSetup): void {
    const registers = this.#registers
    registers.writeSelected(virtio_mmio_QueueSel, index, virtio_mmio_QueueSize, size)
    registers.writeAddress(virtio_mmio_QueueDescLow, virtio_mmio_QueueDescHigh, descriptorArea)
    registers.writeAddress(virtio_mmio_QueueDriverLow, virtio_mmio_QueueDriverHigh, driverArea)
    registers.writeAddress(virtio_mmio_QueueDeviceLow, virtio_mmio_QueueDeviceHigh, deviceArea)
    registers.write(virtio_mmio_QueueReady, 1)
  }

  resetQueue(index: number): void {
    this.#registers.writeSelected(virtio_mmio_QueueSel, index, virtio_mmio_QueueReset, 1)
  }

  /**
   * The driver MUST NOT consider a reset complete until it reads back 0 in QueueReset. QueueReady is 0 then as well; where it is not, the queue's memory is still the
   * device's (QEMU 10.0 offers VIRTIO_F_RING_RESET here and has no such register: it reads 0 and does nothing).
   */
  isQueueResetting(index: number): boolean {
    // Selected anew: others do so in the pauses.
    if (this.#registers.readSelected(virtio_mmio_QueueSel, index, virtio_mmio_QueueReset) !== 0) return true
    return this.#registers.read(virtio_mmio_QueueReady) !== 0
  }

  events(): number {
    return mmioEvents(this.#registers.read(virtio_mmio_InterruptStatus))
  }

  acknowledge(events: number): void {
    this.#registers.write(virtio_mmio_InterruptACK, mmioAcknowledgement(events))
  }

  sharedMemory(id: number): DriverSharedMemory | undefined {
    const registers = this.#registers
    const length = registers.readSelected(virtio_mmio_SHMSel, id, virtio_mmio_SHMLenLow) + registers.read(virtio_mmio_SHMLenHigh) * wordSize
    // A device that knows no such registers reads as 0.
    if (length === missingLength || length === 0) return undefined
    const address = registers.read(virtio_mmio_SHMBaseLow) + registers.read(virtio_mmio_SHMBaseHigh) * wordSize
    if (!Number.isSafeInteger(address + length)) throw new DriverError('layout', `shared memory region ${id} lies beyond 2^53`)
    return { id, length, address }
  }
}
