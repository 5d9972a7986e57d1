/** Device side of a virtqueue in the format that was negotiated. */
import type { DeviceQueueOptions } from './device-queue-options.ts'
import type { GuestMemory } from './memory.ts'
import type { DeviceQueue, QueueSetup } from './queue.ts'
import { SplitDeviceQueue } from './split/device-queue.ts'

export function createDeviceQueue(memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions): DeviceQueue {
  return new SplitDeviceQueue(memory, setup, options as never) as unknown as DeviceQueue
}
