/** What the device side of a virtqueue needs besides its place, whatever its format. */
import type { QueueState, RingFeatures } from './queue.ts'
import type { Violation } from './violation.ts'

export interface DeviceQueueOptions extends RingFeatures {
  /**
   * Descriptors of a chain at most, from 1 to 65536; `strict`: the queue size, as the text says. Default 1024, which is what QEMU takes: Linux exceeds the queue size
   * with indirect tables. What lies in the ring itself is always limited to the queue size; the descriptor that refers to an indirect table does not count.
   */
  readonly maxChainLength?: number | 'strict'
  /** A used buffer notification is due: the driver has not suppressed it. Called last, after all state is consistent. */
  readonly notify: () => void
  /** The driver broke the rules. Called once. */
  readonly fail: (violation: Violation) => void
  /**
   * Buffers are available that `next` could not take while so many others were out: the queue is to be served again. Called when a chain was completed, and only after
   * `next` gave nothing for want of room (see `DeviceQueue.starved`).
   */
  readonly resume?: () => void
  /** The transport looks for buffers by itself for now: where this says so, the driver is not asked to notify, whatever the device wants. */
  readonly quiet?: () => boolean
  /**
   * The driver works while the device does: it learns of used buffers after so many chains, and not when all are served that were available. One that does not wait to
   * hear of any, as it is busy with those before, learns after eight times as many: then it finds more of them together. After a quarter of the ring in any case.
   */
  readonly batch?: number
  /** Position to go on from; its heads in flight are delivered first. */
  readonly state?: QueueState
}
