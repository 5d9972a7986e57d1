/** From what a VMM says of a device's queues to the device. */
import { checkInteger, type FeatureSet } from 'virtgen/codegen/v1/wire'
import { virtqueue_limits } from 'virtgen/wire/content'
import { split_ring_limits } from 'virtgen/wire/split-ring'
import { checkChainLength } from '../control-options.ts'
import type { GuestMemory } from '../memory.ts'
import type { DoorbellRange } from '../notify/doorbell-range.ts'
import type { DriverNotify } from '../notify/driver-notify.ts'
import type { QueueSetup, QueueState } from '../queue.ts'
import { ringFeaturesOf } from '../ring-features.ts'
import type { Violation } from '../violation.ts'
import { Device } from './device.ts'

/** A queue as the VMM configures it: where the driver has put it and, of a device that moved, where it was. */
export interface QueueConfig extends QueueSetup {
  /** Position to go on from; chains that were out are delivered again. */
  readonly state?: QueueState
}

export interface DeviceBuilderOptions<N extends DriverNotify> {
  readonly memory: GuestMemory
  /** Where used buffer notifications go. Called last, after all state is consistent. */
  readonly notify: N
  /** Addresses that the driver writes to instead of telling the VMM. */
  readonly doorbell?: DoorbellRange
  /** Most descriptors of a chain, 1024 by default; `strict`: the queue size. */
  readonly maxChainLength?: number | 'strict'
  /** The driver broke the rules: that queue gives nothing any more, and its stream ends. */
  readonly onViolation?: (violation: Violation) => void
  /** See `ChainStreamOptions.defer`. */
  readonly defer?: (callback: () => void) => void
}

/**
 * Puts a device together whose transport is elsewhere: a VMM in another process or thread says where the queues are and passes notifications on.
 *
 * @typeParam N - what sends notifications to the driver
 */
export class DeviceBuilder<N extends DriverNotify = DriverNotify> {
  readonly #options: DeviceBuilderOptions<N>
  readonly #queues = new Map<number, QueueConfig>()
  #built = false

  /** @throws RangeError for a wrong `maxChainLength` */
  constructor(options: DeviceBuilderOptions<N>) {
    checkChainLength(options.maxChainLength)
    this.#options = options
  }

  /** A builder with the same queues, whose notifications go through what `map` makes of the present one: `(notify) => new BufferedNotifier(notify)`. */
  mapNotify<M extends DriverNotify>(map: (notify: N) => M): DeviceBuilder<M> {
    const builder = new DeviceBuilder<M>({ ...this.#options, notify: map(this.#options.notify) })
    for (const config of this.#queues.values()) builder.addQueue(config)
    return builder
  }

  /**
   * Notes a queue. Where it lies is not looked at yet: that is the driver's doing, and found by `build`.
   *
   * @throws RangeError for an index that there is already or that no queue has, and for a size or an address that none has, whatever its format
   */
  addQueue(config: QueueConfig): this {
    checkConfig(config)
    if (this.#queues.has(config.index)) throw new RangeError(`queue ${config.index} is configured already`)
    this.#queues.set(config.index, config)
    return this
  }

  /** Indices of the queues so far, ascending. */
  get configuredQueues(): number[] {
    return [...this.#queues.keys()].sort((a, b) => a - b)
  }

  /**
   * Makes the device. What the driver chose wrongly (a size that the format does not have, an area outside memory) breaks that queue and is told to `onViolation`.
   *
   * @param features - what was negotiated
   * @throws Error when a device was built already: two of them would take the same buffers
   * @throws RangeError for a state that the queue cannot have
   */
  build(features: FeatureSet): Device<N> {
    if (this.#built) throw new Error('this builder has built its device already')
    const configs = this.configuredQueues.map((index) => this.#queues.get(index)!)
    const device = new Device(configs, features, { ...this.#options, ringFeatures: ringFeaturesOf(features) })
    this.#built = true
    return device
  }
}

function checkConfig({ index, size, ...areas }: QueueConfig): void {
  checkInteger(index, 0, virtqueue_limits.max_virtqueues - 1, 'index of a queue')
  checkInteger(size, 1, split_ring_limits.split_ring_max_queue_size, 'size of a queue')
  for (const area of ['descriptorArea', 'driverArea', 'deviceArea'] as const)
    checkInteger(areas[area], 0, Number.MAX_SAFE_INTEGER, `${area} of a queue`)
}
