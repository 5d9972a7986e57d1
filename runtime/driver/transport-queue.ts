/** A queue of a device behind a transport. VIRTIO 1.4, General Initialization And Device Operation; Basic Facilities of a Virtio Device / Virtqueues. */
import type { FeatureSet } from 'virtgen/codegen/v1/wire'
import { VIRTIO_F_NOTIFICATION_DATA } from 'virtgen/wire/content'
import { createDriverQueue } from '../driver-queue.ts'
import { notificationWord } from '../notification.ts'
import type { DriverQueue, RingFeatures } from '../queue.ts'
import { negotiateQueueSize, placeQueue, queueLayout } from '../queue-layout.ts'
import type { QueueInfo } from '../request/message.ts'
import { ringFeaturesOf } from '../ring-features.ts'
import type { Violation } from '../violation.ts'
import { DriverError } from './host.ts'
import type { DmaBuffer, DriverMemory } from './memory.ts'
import { becomesTrue, type Doorbell, type DriverTransport, type Patience } from './transport.ts'

export class TransportQueue {
  readonly info: QueueInfo
  readonly #transport: DriverTransport
  readonly #memory: DriverMemory
  readonly #features: FeatureSet
  readonly #rings: RingFeatures
  readonly #fail: (violation: Violation) => void
  #queue: DriverQueue | undefined
  #area: DmaBuffer | undefined
  #resetting: Promise<void> | undefined

  constructor(transport: DriverTransport, memory: DriverMemory, info: QueueInfo, features: FeatureSet, fail: (violation: Violation) => void) {
    this.info = info
    this.#transport = transport
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
   * @param most - entries at most, where the driver may choose
   * @throws RangeError for a wrong `most`; Error when the queue is in use here
   * @throws DriverError `queue` when it is missing, in use or of an impossible size, `memory` when there is not enough, or what the transport refuses
   */
  enable(most: number): DriverQueue {
    const { index } = this.info
    if (this.#queue !== undefined) throw new Error(`queue ${index} is not reset`)
    const { queueAlign } = this.#transport
    const layout = queueLayout({ size: this.#findSize(most), ...this.#rings, ...(queueAlign !== undefined && { queueAlign }) })
    const doorbell = this.#transport.doorbell(index, this.#features)
    this.#area = this.#memory.allocate(layout.size, layout.alignment)
    const setup = placeQueue(layout, index, this.#area.address)
    try {
      this.#queue = createDriverQueue(this.#memory.memory, setup, {
        ...this.#rings,
        indirectTables: this.#memory,
        notify: this.#notifier(doorbell),
        fail: this.#fail,
      })
      this.#transport.enableQueue(setup)
      return this.#queue
    } catch (error) {
      this.free()
      this.#queue = undefined
      throw error
    }
  }

  /**
   * Resets the queue and gives its memory back when that is done; whoever asks meanwhile waits for the same.
   *
   * @throws DriverError `reset` when it does not come back: its memory stays with the device
   */
  reset(patience: Patience): Promise<void> {
    this.#resetting ??= this.#reset(patience).then(() => {
      this.#resetting = undefined
      this.free()
      this.#queue = undefined
    })
    return this.#resetting
  }

  async #reset(patience: Patience): Promise<void> {
    const { index } = this.info
    this.#transport.resetQueue(index)
    if (await becomesTrue(() => !this.#transport.isQueueResetting(index), patience)) return
    throw new DriverError('reset', `queue ${index} does not come back from a reset: that has not ended after ${patience.polls} looks`)
  }

  /** Closes the queue and gives its memory back; only while the device does not use it. */
  free(): void {
    this.#queue?.close()
    if (this.#area) this.#memory.free(this.#area)
    this.#area = undefined
  }

  #findSize(most: number): number {
    const { index, name } = this.info
    const found = this.#transport.findQueue(index)
    if (found === 'in-use') throw new DriverError('queue', `queue ${index} (${name}) is in use`)
    const size = negotiateQueueSize(found, this.#transport.fixedQueueSize ? Number.MAX_SAFE_INTEGER : most, this.#rings)
    if (size === 0) throw new DriverError('queue', `the device does not have queue ${index} (${name})`)
    if (this.#transport.fixedQueueSize && size !== found)
      throw new DriverError('queue', `the device says that queue ${index} (${name}) has ${found} entries, which no queue has`)
    return size
  }

  #notifier({ value, ring }: Doorbell): () => void {
    if (!this.#features.has(VIRTIO_F_NOTIFICATION_DATA)) return () => ring(value)
    return () => {
      if (this.#queue) ring(notificationWord(value, this.#queue.published))
    }
  }
}
