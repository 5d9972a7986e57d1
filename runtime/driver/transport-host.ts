/** A device behind a transport, initialised: what a driver client stands on. */
import { checkInteger, type FeatureSet } from 'virtgen/codegen/v1/wire'
import { DEVICE_NEEDS_RESET, FAILED, VIRTIO_F_RING_RESET } from 'virtgen/wire/content'
import type { DriverQueue } from '../queue.ts'
import type { QueueInfo } from '../request/message.ts'
import type { Violation } from '../violation.ts'
import { DriverError, type DriverHost } from './host.ts'
import type { DriverMemory } from './memory.ts'
import { type DriverSharedMemory, type DriverTransport, driverEvents, type Patience } from './transport.ts'
import type { TransportConfig } from './transport-config.ts'
import type { TransportQueue } from './transport-queue.ts'
import { resetDevice, setStatus } from './transport-status.ts'

/** Ids of shared memory regions have 8 bits (Basic Facilities of a Virtio Device / Shared Memory Regions). */
const largestRegionId = 0xff

export interface TransportHostOptions {
  /** Entries of a queue at most. */
  readonly queueSize: number
  readonly patience: Patience
}

export class TransportHost implements DriverHost {
  readonly features: FeatureSet
  readonly memory: DriverMemory
  readonly config: TransportConfig
  readonly #transport: DriverTransport
  readonly #options: TransportHostOptions
  readonly #queues: TransportQueue[] = []
  readonly #usedHandlers = new Map<number, () => void>()
  readonly #configHandlers: (() => void)[] = []
  readonly #failureHandlers: ((error: DriverError) => void)[] = []
  #failure: DriverError | undefined
  #isReset = false

  constructor(transport: DriverTransport, features: FeatureSet, memory: DriverMemory, config: TransportConfig, options: TransportHostOptions) {
    this.#transport = transport
    this.features = features
    this.memory = memory
    this.config = config
    this.#options = options
  }

  get queues(): readonly QueueInfo[] {
    return this.#queues.map((queue) => queue.info)
  }

  /** Before the client is made. */
  addQueue(queue: TransportQueue): void {
    this.#queues.push(queue)
  }

  queue(index: number): DriverQueue {
    const { queue } = this.#find(index)
    if (queue === undefined) throw new Error(`queue ${index} is reset`)
    return queue
  }

  async resetQueue(index: number): Promise<void> {
    const found = this.#find(index)
    this.#checkUsable()
    if (!this.features.has(VIRTIO_F_RING_RESET))
      throw new DriverError('feature', `queue ${index} cannot be reset alone: VIRTIO_F_RING_RESET is not negotiated`)
    try {
      await found.reset(this.#options.patience)
    } catch (error) {
      this.#abandon(error as DriverError)
      throw error
    }
  }

  enableQueue(index: number, size: number = this.#options.queueSize): DriverQueue {
    const found = this.#find(index)
    this.#checkUsable()
    return found.enable(size)
  }

  #find(index: number): TransportQueue {
    const found = this.#queues.find((queue) => queue.info.index === index)
    if (found === undefined)
      throw new RangeError(`there is no queue ${index}, only ${this.#queues.map((queue) => queue.info.index).join(', ') || 'none'}`)
    return found
  }

  #checkUsable(): void {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#isReset) throw new DriverError('closed', 'the device was reset')
  }

  onUsed(index: number, handler: () => void): void {
    this.#find(index)
    if (this.#usedHandlers.has(index)) throw new Error(`queue ${index} has a handler`)
    this.#usedHandlers.set(index, handler)
  }

  onConfigChange(handler: () => void): void {
    this.#configHandlers.push(handler)
  }

  onFailure(handler: (error: DriverError) => void): void {
    this.#failureHandlers.push(handler)
    if (this.#failure !== undefined) handler(this.#failure)
  }

  fail(violation: Violation): void {
    this.#abandon(new DriverError('violation', `the device broke the rules: ${violation.detail}`, violation))
  }

  #abandon(error: DriverError): void {
    if (this.#failure !== undefined || this.#isReset) return
    setStatus(this.#transport, FAILED)
    this.#giveUp(error)
  }

  /** The memory of the queues is given back where the device comes back; where it does not, the device may still use it. */
  async reset(): Promise<void> {
    if (this.#isReset) return
    this.#isReset = true
    await resetDevice(this.#transport, this.#options.patience)
    this.#transport.release?.()
    for (const queue of this.#queues) queue.free()
  }

  sharedMemory(id: number): DriverSharedMemory | undefined {
    this.#checkUsable()
    return this.#transport.sharedMemory(checkInteger(id, 0, largestRegionId, 'id'))
  }

  /** See `DriverConnection`. */
  interrupt(vector?: number): boolean {
    if (this.#isReset) return false
    const events = this.#transport.events(vector)
    if (events === 0) return false
    this.#handle(events, vector)
    if (this.#transport.acknowledge === undefined) return true
    // The text wants the acknowledgement behind the handling. What came in between has lost its bit by it, so look once more.
    this.#transport.acknowledge(events)
    this.#handle((events & driverEvents.config) !== 0 ? (events & driverEvents.used) | driverEvents.perhapsConfig : events, vector)
    return true
  }

  #handle(events: number, vector: number | undefined): void {
    if ((events & driverEvents.used) !== 0)
      for (const { info, queue } of this.#queues)
        if (queue && this.#isLive && this.#isServedBy(info.index, vector)) this.#usedHandlers.get(info.index)?.()
    if ((events & (driverEvents.config | driverEvents.perhapsConfig)) !== 0 && this.#isLive) this.#configChanged((events & driverEvents.config) !== 0)
  }

  get #isLive(): boolean {
    return this.#failure === undefined && !this.#isReset
  }

  #isServedBy(index: number, vector: number | undefined): boolean {
    return vector === undefined || this.#transport.isServedBy === undefined || this.#transport.isServedBy(index, vector)
  }

  /** The device also sends this notification when it needs a reset. */
  #configChanged(surely: boolean): void {
    if ((this.#transport.status & DEVICE_NEEDS_RESET) !== 0) {
      this.#giveUp(this.#transport.failure ?? new DriverError('needs-reset', 'the device says that it needs a reset'))
      return
    }
    if (this.config.changed() || surely) for (const handler of this.#configHandlers) handler()
  }

  #giveUp(error: DriverError): void {
    this.#failure = error
    for (const handler of this.#failureHandlers) handler(error)
  }
}
