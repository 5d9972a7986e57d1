/** Device side of a virtqueue whose chains in flight outlive the device: for back-ends that may die and be started again. */
import type { DeviceQueueOptions } from './device-queue-options.ts'
import { InOrder } from './in-order.ts'
import type { GuestMemory } from './memory.ts'
import { LoggedPackedDeviceQueue } from './packed/logged-device-queue.ts'
import type { DeviceQueue, QueueSetup } from './queue.ts'
import type { PackedRingLog, SplitRingLog } from './ring-log.ts'
import { LoggedSplitDeviceQueue } from './split/logged-device-queue.ts'

/** The logs, each for one format. */
export type AnyRingLog = { readonly split: SplitRingLog } | { readonly packed: PackedRingLog }

/**
 * Makes the device side of a queue that tells a log of each step. The size of the queue is one that it can have; a log that found a problem breaks the queue.
 *
 * @param options - `state` is what the log says: heads of a split ring, and of a packed one chains without `buffers`, which `PackedRingLog.restore` has
 */
export function createLoggedDeviceQueue(memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions, log: AnyRingLog): DeviceQueue {
  const order = options.inOrder ? new InOrder(setup.size) : undefined
  if ('split' in log) return new LoggedSplitDeviceQueue(memory, setup, options, log.split, order)
  return new LoggedPackedDeviceQueue(memory, setup, options, log.packed, order)
}
