/** A queue of a device behind MMIO registers. VIRTIO 1.4, Virtio Over MMIO / Virtqueue Configuration. */
import { type FeatureSet, viewOf } from 'virtgen/codegen/v1/wire'
import { NotificationLe, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_NOTIFICATION_DATA } from 'virtgen/wire/content'
import { split_ring_limits } from 'virtgen/wire/split-ring'
import { virtio_mmio } from 'virtgen/wire/transport-mmio'
import { DriverError } from '../driver/host.ts'
import type { DmaBuffer, DriverMemory } from '../driver/memory.ts'
import type { QueueInfo } from '../request/message.ts'
import { areaAlignment } from '../split/areas.ts'
import { SplitDriverQueue } from '../split/driver-queue.ts'
import type { Violation } from '../violation.ts'
import { type MmioRegisters, powerOf2 } from './registers.ts'

const registers = virtio_mmio
/** Bits 0 to 14 of the available index are `next_off`, the highest one is `next_wrap`. */
const offsetBits = 15

export class MmioQueue {
  readonly info: QueueInfo
  readonly queue: SplitDriverQueue
  readonly #registers: MmioRegisters
  readonly #memory: DriverMemory
  #areas: DmaBuffer[] = []

  /**
   * Finds the queue and allocates its memory. Not yet ready.
   *
   * @param most - entries at most
   * @throws DriverError `queue` when it is missing or in use, `memory` when there is not enough
   */
  constructor(
    access: MmioRegisters,
    memory: DriverMemory,
    info: QueueInfo,
    features: FeatureSet,
    most: number,
    fail: (violation: Violation) => void,
  ) {
    this.info = info
    this.#registers = access
    this.#memory = memory
    const size = this.#findSize(most)
    this.queue = this.#make(size, features, fail)
  }

  /** Tells the device where the queue is, and that it is ready. */
  enable(): void {
    const access = this.#registers
    const [descriptors, driver, device] = this.#areas as [DmaBuffer, DmaBuffer, DmaBuffer]
    access.write(registers.QueueSel, this.info.index)
    access.write(registers.QueueSize, this.queue.size)
    access.writeAddress(registers.QueueDescLow, registers.QueueDescHigh, descriptors.address)
    access.writeAddress(registers.QueueDriverLow, registers.QueueDriverHigh, driver.address)
    access.writeAddress(registers.QueueDeviceLow, registers.QueueDeviceHigh, device.address)
    access.write(registers.QueueReady, 1)
  }

  /** Gives the memory of the queue back; only while the device is not live. */
  free(): void {
    this.queue.close()
    for (const area of this.#areas) this.#memory.free(area)
    this.#areas = []
  }

  #findSize(most: number): number {
    const { index, name } = this.info
    this.#registers.write(registers.QueueSel, index)
    if (this.#registers.read(registers.QueueReady) !== 0) throw new DriverError('queue', `queue ${index} (${name}) is in use`)
    const offered = this.#registers.read(registers.QueueSizeMax)
    if (offered === 0) throw new DriverError('queue', `the device does not have queue ${index} (${name})`)
    return powerOf2(Math.min(most, offered, split_ring_limits.split_ring_max_queue_size))
  }

  #make(size: number, features: FeatureSet, fail: (violation: Violation) => void): SplitDriverQueue {
    const sizes = SplitDriverQueue.sizes(size)
    try {
      for (const area of ['descriptorArea', 'driverArea', 'deviceArea'] as const)
        this.#areas.push(this.#memory.allocate(sizes[area], areaAlignment[area]))
    } catch (error) {
      for (const area of this.#areas) this.#memory.free(area)
      throw error
    }
    const [descriptors, driver, device] = this.#areas as [DmaBuffer, DmaBuffer, DmaBuffer]
    return new SplitDriverQueue(
      this.#memory.memory,
      { index: this.info.index, size, descriptorArea: descriptors.address, driverArea: driver.address, deviceArea: device.address },
      {
        eventIndex: features.has(VIRTIO_F_EVENT_IDX),
        indirect: features.has(VIRTIO_F_INDIRECT_DESC),
        indirectTables: this.#memory,
        notify: this.#notifier(features),
        fail,
      },
    )
  }

  #notifier(features: FeatureSet): () => void {
    const { index } = this.info
    if (!features.has(VIRTIO_F_NOTIFICATION_DATA)) return () => this.#registers.write(registers.QueueNotify, index)
    const view = viewOf(new Uint8Array(NotificationLe.size))
    const data = new NotificationLe().at(view)
    data.vq_index = index
    return () => {
      data.next_off = this.queue.published % 2 ** offsetBits
      data.next_wrap = this.queue.published >>> offsetBits
      this.#registers.write(registers.QueueNotify, view.getUint32(0, true))
    }
  }
}
