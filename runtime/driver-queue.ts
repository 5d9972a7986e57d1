/** The driver side of a virtqueue, whatever its format. */
import type { DriverQueueOptions } from './driver-queue-options.ts'
import type { GuestMemory } from './memory.ts'
import { PackedDriverQueue } from './packed/driver-queue.ts'
import type { DriverQueue, QueueSetup } from './queue.ts'
import { SplitDriverQueue } from './split/driver-queue.ts'

export type { DriverQueueOptions } from './driver-queue-options.ts'

/**
 * Makes the driver side of a queue, with what was negotiated. Without a saved state its areas are cleared: it begins anew, and the transport tells the device afterwards.
 *
 * @param memory - what the device sees; the areas lie in it as `setup` says (see {@link queueLayout})
 * @throws RangeError for a size that the format does not have, an area that is misaligned or not in one region of the memory, or a saved state that cannot be
 */
export function createDriverQueue<T = unknown>(memory: GuestMemory, setup: QueueSetup, options: DriverQueueOptions<T>): DriverQueue<T> {
  return options.packed ? new PackedDriverQueue(memory, setup, options) : new SplitDriverQueue(memory, setup, options)
}
