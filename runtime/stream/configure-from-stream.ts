/** The first messages of a VMM to a device: where its queues are, and that the driver is ready. */
import type { FeatureSet } from 'virtgen/codegen/v1/wire'
import type { DriverNotify } from '../notify/driver-notify.ts'
import type { Device } from './device.ts'
import type { DeviceBuilder, QueueConfig } from './device-builder.ts'
import { DeviceError } from './device-error.ts'

/** The VMM tells of a queue. */
export interface ConfigureQueueMessage {
  readonly type: 'configureQueue'
  readonly queue: QueueConfig
  /** Tells the VMM that the queue was taken. */
  readonly respond?: () => void
}

/** The VMM has told of all queues, and the driver is ready. */
export interface ReadyMessage {
  readonly type: 'ready'
  /** What was negotiated. */
  readonly features: FeatureSet
  /** Tells the VMM that the device is ready, too. */
  readonly respond?: () => void
}

/** Queues that a device has: their indices, a range that includes both its ends (without `to`: open), or whatever a function says of an index and those before it. */
export type QueueCheck =
  | readonly number[]
  | { readonly from: number; readonly to?: number }
  | ((index: number, configured: readonly number[]) => boolean)

/** Whether a device has a queue. */
export function checkQueue(check: QueueCheck, index: number, configured: readonly number[] = []): boolean {
  if (typeof check === 'function') return check(index, configured)
  if ('from' in check) return index >= check.from && index <= (check.to ?? Number.POSITIVE_INFINITY)
  return check.includes(index)
}

/**
 * Takes messages until one says that everything is ready, and builds the device. That not all queues that the device has were configured is no error: look at
 * `Device.configuredQueues` before you answer.
 *
 * The messages are taken one by one and the iterator is left open, so that what follows them can be read from the same iterator, by `runNotify` for instance.
 *
 * @returns the device, and the last message, which the caller answers by `respond` once the device is able to start
 * @throws DeviceError `invalid-queue` for a queue that the device does not have or that is there already, `bad-queue-config` for one that cannot be (its `cause` says
 * more), `unexpected-message` for any other message, `unexpected-end` where none follows
 */
export async function configureFromStream<N extends DriverNotify, R extends ReadyMessage = ReadyMessage>(
  builder: DeviceBuilder<N>,
  messages: AsyncIterator<ConfigureQueueMessage | R>,
  queues: QueueCheck,
): Promise<{ device: Device<N>; ready: R }> {
  for (;;) {
    const { done, value: message } = await messages.next()
    if (done) throw new DeviceError('unexpected-end', 'the messages ended before the device was ready')
    switch (message?.type) {
      case 'configureQueue':
        addQueue(builder, message.queue, queues)
        message.respond?.()
        break
      case 'ready':
        return { device: build(builder, message.features), ready: message }
      default:
        throw new DeviceError(
          'unexpected-message',
          `only queues are configured before the device is ready, not ${String((message as { type?: unknown })?.type)}`,
        )
    }
  }
}

function addQueue(builder: DeviceBuilder, config: QueueConfig, queues: QueueCheck): void {
  const { index } = config
  const configured = builder.configuredQueues
  if (!checkQueue(queues, index, configured)) throw new DeviceError('invalid-queue', `the device has no queue ${index}`, { queue: index })
  if (configured.includes(index)) throw new DeviceError('invalid-queue', `queue ${index} is configured already`, { queue: index })
  asBadConfig(() => builder.addQueue(config), index)
}

function build<N extends DriverNotify>(builder: DeviceBuilder<N>, features: FeatureSet): Device<N> {
  return asBadConfig(() => builder.build(features))
}

/** What is a wrong call of the builder is here what the VMM said. */
function asBadConfig<T>(call: () => T, queue?: number): T {
  try {
    return call()
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause
    throw new DeviceError('bad-queue-config', cause.message, { cause, ...(queue !== undefined && { queue }) })
  }
}
