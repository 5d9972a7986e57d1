/** A device whose queues are streams, and whose transport is elsewhere. */
import type { FeatureSet } from 'virtgen/codegen/v1/wire'
import { createDeviceQueue } from '../device-queue.ts'
import type { GuestMemory } from '../memory.ts'
import type { BadDoorbell, DoorbellRange } from '../notify/doorbell-range.ts'
import type { DriverNotify } from '../notify/driver-notify.ts'
import type { DeviceQueue, QueueState, RingFeatures } from '../queue.ts'
import type { Violation } from '../violation.ts'
import { ChainStream } from './chain-stream.ts'
import type { DeviceBuilderOptions, QueueConfig } from './device-builder.ts'
import { type DriverNotification, type RunNotifyOptions, runNotify } from './run-notify.ts'

/** A queue, and its stream while somebody has it. */
interface StreamedQueue {
  readonly queue: DeviceQueue
  stream: ChainStream | undefined
}

/** A notification that leads to no queue: what the guest did. */
export type BadNotification = BadDoorbell | { readonly kind: 'no-such-queue'; readonly queue: number; readonly detail: string }

/** @internal */
export interface DeviceOptions<N extends DriverNotify> extends DeviceBuilderOptions<N> {
  readonly ringFeatures: RingFeatures
}

/**
 * A device that takes its chains from streams. Made by `DeviceBuilder` or `configureFromStream`.
 *
 * Nothing happens by itself: somebody must pass the driver's notifications on, by `runNotify` or `notifyQueue` and `ringDoorbell`.
 *
 * @typeParam N - what sends notifications to the driver
 *
 * @example
 * await Promise.all([device.runNotify(notifications), serve(device.takeStream(0))])
 */
export class Device<N extends DriverNotify = DriverNotify> {
  readonly memory: GuestMemory
  /** What was negotiated. */
  readonly features: FeatureSet
  /** What sends notifications to the driver: to flush it where it keeps them back, or for a configuration change. */
  readonly notifier: N
  readonly doorbell: DoorbellRange | undefined
  readonly #defer: DeviceBuilderOptions<N>['defer']
  readonly #queues = new Map<number, StreamedQueue>()

  /** @internal */
  constructor(configs: readonly QueueConfig[], features: FeatureSet, options: DeviceOptions<N>) {
    this.memory = options.memory
    this.features = features
    this.notifier = options.notify
    this.doorbell = options.doorbell
    this.#defer = options.defer
    for (const config of configs) {
      const { index, state } = config
      const queue = createDeviceQueue(options.memory, config, {
        ...options.ringFeatures,
        ...(options.maxChainLength !== undefined && { maxChainLength: options.maxChainLength }),
        ...(state !== undefined && { state }),
        notify: () => options.notify.notify(index),
        fail: (violation) => this.#violated(violation, options.onViolation),
        resume: () => this.notifyQueue(index),
      })
      this.#queues.set(index, { queue, stream: undefined })
    }
  }

  /** Indices of the queues, ascending. */
  get configuredQueues(): number[] {
    return [...this.#queues.keys()]
  }

  /** A queue itself, to inspect it or to hold completions back. Its chains come from the stream. */
  queue(index: number): DeviceQueue | undefined {
    return this.#queues.get(index)?.queue
  }

  /**
   * The chains of a queue, for the caller alone until the stream is released (see `ChainStream`).
   *
   * @throws RangeError for a queue that is not configured
   * @throws Error while somebody else has the stream
   */
  takeStream(index: number): ChainStream {
    const streamed = this.#queues.get(index)
    if (streamed === undefined) throw new RangeError(`the device has queues ${this.configuredQueues.join(', ') || 'none'}, not ${index}`)
    if (streamed.stream !== undefined) throw new Error(`the stream of queue ${index} is taken; it can be taken again when it is released`)
    const stream = new ChainStream(streamed.queue, {
      ...(this.#defer !== undefined && { defer: this.#defer }),
      released: () => {
        streamed.stream = undefined
      },
    })
    streamed.stream = stream
    return stream
  }

  /**
   * The driver has made buffers of a queue available: its stream goes on. Nothing is lost where nobody has the stream.
   *
   * @returns false where there is no such queue, as a guest may say what it wants
   */
  notifyQueue(index: number): boolean {
    const streamed = this.#queues.get(index)
    streamed?.stream?.wake()
    return streamed !== undefined
  }

  /** The driver has written to an address: the stream of the queue goes on whose doorbell it is. Gives what is wrong, if anything. */
  ringDoorbell(address: number): BadNotification | undefined {
    const queue = this.doorbell?.queueForAddress(address) ?? {
      kind: 'doorbell-outside',
      address,
      detail: `the device has no doorbells, also not at 0x${address.toString(16)}`,
    }
    return typeof queue === 'number' ? this.#heard(queue) : queue
  }

  /** The same as `notifyQueue`, with what is wrong in words. */
  #heard(queue: number): BadNotification | undefined {
    if (this.notifyQueue(queue)) return undefined
    return { kind: 'no-such-queue', queue, detail: `the device has queues ${this.configuredQueues.join(', ')}, not ${queue}` }
  }

  /**
   * Passes notifications on as they come: queue indices from the VMM, and addresses that the driver wrote to. Several sources may run at the same time.
   *
   * @returns a promise that resolves with the end of the source (or rejects, see `endless`), and rejects with what the source throws and with the reason of the signal
   */
  runNotify(source: AsyncIterable<DriverNotification>, options: RunNotifyOptions = {}): Promise<void> {
    const pass = (notification: DriverNotification): BadNotification | undefined =>
      typeof notification === 'number' ? this.#heard(notification) : this.ringDoorbell(notification.address)
    return runNotify(source, pass, options)
  }

  /** Ends all streams and queues. Resolves when nothing can write into guest memory any more (see `DeviceQueue.reset`); undefined where that is so at once. */
  reset(): Promise<void> | undefined {
    const waits: Promise<void>[] = []
    for (const streamed of this.#queues.values()) {
      const atRest = streamed.queue.reset()
      if (atRest !== undefined) waits.push(atRest)
      streamed.stream?.release()
    }
    return waits.length === 0 ? undefined : Promise.all(waits).then(() => {})
  }

  /** Positions of the queues by index, to build the device again elsewhere; what a device keeps besides is its own business. */
  save(): Map<number, QueueState> {
    return new Map(Array.from(this.#queues, ([index, { queue }]) => [index, queue.save()]))
  }

  #violated(violation: Violation, report: DeviceBuilderOptions<N>['onViolation']): void {
    report?.(violation)
    // Whoever waits learns that it is over.
    this.notifyQueue(violation.queue)
  }
}
