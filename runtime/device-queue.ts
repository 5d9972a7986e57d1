/** Device side of a virtqueue in the format that was negotiated. VIRTIO 1.4, Basic Facilities of a Virtio Device / Virtqueues. */
import type { DeviceQueueOptions } from './device-queue-options.ts'
import type { GuestMemory } from './memory.ts'
import { PackedDeviceQueue } from './packed/device-queue.ts'
import type { DeviceQueue, QueueSetup } from './queue.ts'
import { SplitDeviceQueue } from './split/device-queue.ts'

export type { DeviceQueueOptions } from './device-queue-options.ts'

/**
 * Makes the device side of a queue, split or packed. Does not throw for what the driver chose: a wrong size or place breaks the queue and is told to `fail`.
 *
 * @throws RangeError for a wrong `maxChainLength` or `state`, which are our user's
 */
export function createDeviceQueue(memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions): DeviceQueue {
  return options.packed ? new PackedDeviceQueue(memory, setup, options) : new SplitDeviceQueue(memory, setup, options)
}
