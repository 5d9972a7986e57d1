/** A queue of a device behind MMIO registers. VIRTIO 1.4, Virtio Over MMIO / Virtqueue Configuration. */
import type { FeatureSet } from 'virtgen/codegen/v1/wire'
import { VIRTIO_F_NOTIFICATION_DATA } from 'virtgen/wire/content'
import { virtio_mmio } from 'virtgen/wire/transport-mmio'
import { DriverError } from '../driver/host.ts'
import type { DmaBuffer, DriverMemory } from '../driver/memory.ts'
import { createDriverQueue } from '../driver-queue.ts'
import { notificationWord } from '../notification.ts'
import type { DriverQueue, QueueSetup, RingFeatures } from '../queue.ts'
import { negotiateQueueSize, placeQueue, queueLayout } from '../queue-layout.ts'
import type { QueueInfo } from '../request/message.ts'
import { ringFeaturesOf } from '../ring-features.ts'
import type { Violation } from '../violation.ts'
import type { MmioRegisters, Patience } from './registers.ts'

const registers = virtio_mmio

export class MmioQueue {
  readonly info: QueueInfo
  readonly #registers: MmioRegisters
  readonly #memory: DriverMemory
  readonly #features: FeatureSet
  readonly #rings: RingFeatures
  readonly #fail: (violation: Violation) => void
  #queue: DriverQueue | undefined
  #area: DmaBuffer | undefined
  #resetting: Promise<void> | undefined

  constructor(access: MmioRegisters, memory: DriverMemory, info: QueueInfo, features: FeatureSet, fail: (violation: Violation) => void) {
    this.info = info
    this.#registers = access
    this.#memory = memory
    this.#features = features
    this.#rings = ringFeaturesOf(features)
    this.#fail = fail
  }

  /** The queue: not before `enable`, and not once it alone is reset. */
  get queue(): DriverQueue | undefined {
    return this.#resetting === undefined ? this.#queue : undefined
  }

  /**
   * Finds the queue, allocates its memory, tells the device where it is, and that it is ready.
   *
   * @param most - entries at most
   * @throws RangeError for a wrong `most`; Error when the queue is in use here
   * @throws DriverError `queue` when it is missing or in use, `memory` when there is not enough
   */
  enable(most: number): DriverQueue {
    const { index } = this.info
    if (this.#queue !== undefined) throw new Error(`queue ${index} is not reset`)
    const layout = queueLayout({ size: this.#findSize(most), ...this.#rings })
    this.#area = this.#memory.allocate(layout.size, layout.alignment)
    const setup = placeQueue(layout, index, this.#area.address)
    const queue = createDriverQueue(this.#memory.memory, setup, {
      ...this.#rings,
      indirectTables: this.#memory,
      notify: this.#notifier(),
      fail: this.#fail,
    })
    this.#queue = queue
    this.#tell(setup)
    return queue
  }

  /**
   * Resets the queue and gives its memory back when that is done; whoever asks meanwhile waits for the same.
   *
   * @throws DriverError `reset` when it does not come back: its memory stays with the device
   */
  reset(patience: Patience): Promise<void> {
    this.#resetting ??= this.#registers.resetQueue(this.info.index, patience).then(() => {
      this.#resetting = undefined
      this.free()
      this.#queue = undefined
    })
    return this.#resetting
  }

  /** Closes the queue and gives its memory back; only while the device does not use it. */
  free(): void {
    this.#queue?.close()
    if (this.#area) this.#memory.free(this.#area)
    this.#area = undefined
  }

  #findSize(most: number): number {
    const { index, name } = this.info
    this.#registers.write(registers.QueueSel, index)
    if (this.#registers.read(registers.QueueReady) !== 0) throw new DriverError('queue', `queue ${index} (${name}) is in use`)
    const size = negotiateQueueSize(this.#registers.read(registers.QueueSizeMax), most, this.#rings)
    if (size === 0) throw new DriverError('queue', `the device does not have queue ${index} (${name})`)
    return size
  }

  #tell({ index, size, descriptorArea, driverArea, deviceArea }: QueueSetup): void {
    const access = this.#registers
    access.write(registers.QueueSel, index)
    access.write(registers.QueueSize, size)
    access.writeAddress(registers.QueueDescLow, registers.QueueDescHigh, descriptorArea)
    access.writeAddress(registers.QueueDriverLow, registers.QueueDriverHigh, driverArea)
    access.writeAddress(registers.QueueDeviceLow, registers.QueueDeviceHigh, deviceArea)
    access.write(registers.QueueReady, 1)
  }

  #notifier(): () => void {
    const { index } = this.info
    const tellsPosition = this.#features.has(VIRTIO_F_NOTIFICATION_DATA)
    return () => {
      if (this.#queue) this.#registers.write(registers.QueueNotify, tellsPosition ? notificationWord(index, this.#queue.published) : index)
    }
  }
}
