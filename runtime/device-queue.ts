/** Device side of a virtqueue in the format that was negotiated. VIRTIO 1.4, Basic Facilities of a Virtio Device / Virtqueues. */
import type { DeviceQueueOptions } from './device-queue-options.ts'
import { InOrder } from './in-order.ts'
import type { GuestMemory } from './memory.ts'
import { isPackedQueueSize } from './packed/areas.ts'
import { PackedDeviceQueue } from './packed/device-queue.ts'
import type { DeviceQueue, QueueSetup } from './queue.ts'
import { checkQueueState } from './queue-state.ts'
import { isQueueSize } from './split/areas.ts'
import { SplitDeviceQueue } from './split/device-queue.ts'

export type { DeviceQueueOptions } from './device-queue-options.ts'

/**
 * Makes the device side of a queue, split or packed. Does not throw for what the driver chose: a wrong size or place breaks the queue and is told to `fail`.
 *
 * @throws RangeError for a wrong `maxChainLength` or `state`, which are our user's
 */
export function createDeviceQueue(memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions): DeviceQueue {
  const { size } = setup
  const { packed = false, inOrder = false, state } = options
  // A queue that does not exist has no chains, whatever the state says.
  const exists = packed ? isPackedQueueSize(size) : isQueueSize(size)
  if (exists && state !== undefined) checkQueueState(state, size, options, 'state')
  const order = exists && inOrder ? new InOrder(size) : undefined
  return packed ? new PackedDeviceQueue(memory, setup, options, order) : new SplitDeviceQueue(memory, setup, options, order)
}

/**
 * The same for split rings whose buffers may be used in any order, and for states that are checked already: a page that needs nothing else loads nothing else.
 *
 * @throws RangeError for a wrong `maxChainLength`
 */
export function createSplitDeviceQueue(memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions): DeviceQueue {
  return new SplitDeviceQueue(memory, setup, options)
}
