/** A device behind MMIO registers, initialised: what a driver client stands on. */
import type { FeatureSet } from 'virtgen/codegen/v1/wire'
import { DEVICE_NEEDS_RESET, FAILED, VIRTIO_F_RING_RESET } from 'virtgen/wire/content'
import { mmio_interrupt, virtio_mmio } from 'virtgen/wire/transport-mmio'
import { DriverError, type DriverHost } from '../driver/host.ts'
import type { DriverMemory } from '../driver/memory.ts'
import type { DriverQueue } from '../queue.ts'
import type { QueueInfo } from '../request/message.ts'
import type { Violation } from '../violation.ts'
import type { MmioConfig } from './driver-config.ts'
import type { MmioQueue } from './driver-queue.ts'
import type { MmioRegisters, Patience } from './registers.ts'

const knownEvents = mmio_interrupt.used_buffer | mmio_interrupt.config_change

export interface MmioHostOptions {
  /** Entries of a queue at most. */
  readonly queueSize: number
  readonly patience: Patience
}

export class MmioHost implements DriverHost {
  readonly features: FeatureSet
  readonly memory: DriverMemory
  readonly config: MmioConfig
  readonly #registers: MmioRegisters
  readonly #options: MmioHostOptions
  readonly #queues: MmioQueue[] = []
  readonly #usedHandlers = new Map<number, () => void>()
  readonly #configHandlers: (() => void)[] = []
  readonly #failureHandlers: ((error: DriverError) => void)[] = []
  /** Generation of the configuration when the handlers were called last. */
  #generation = 0
  #failure: DriverError | undefined
  #isReset = false

  constructor(registers: MmioRegisters, features: FeatureSet, memory: DriverMemory, config: MmioConfig, options: MmioHostOptions) {
    this.#registers = registers
    this.features = features
    this.memory = memory
    this.config = config
    this.#options = options
  }

  get queues(): readonly QueueInfo[] {
    return this.#queues.map((queue) => queue.info)
  }

  /** Before the client is made. */
  addQueue(queue: MmioQueue): void {
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

  #find(index: number): MmioQueue {
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
    this.#registers.setStatus(FAILED)
    this.#giveUp(error)
  }

  /** The memory of the queues is given back where the device comes back; where it does not, the device may still use it. */
  async reset(): Promise<void> {
    if (this.#isReset) return
    this.#isReset = true
    await this.#registers.reset(this.#options.patience)
    for (const queue of this.#queues) queue.free()
  }

  /** See `MmioConnection`. */
  interrupt(): boolean {
    if (this.#isReset) return false
    // The driver MUST ignore undefined bits, and must not acknowledge them.
    const events = this.#registers.read(virtio_mmio.InterruptStatus) & knownEvents
    if (events === 0) return false
    this.#handle(events, false)
    // The text wants the acknowledgement behind the handling. What came in between has lost its bit by it, so look once more.
    this.#registers.write(virtio_mmio.InterruptACK, events)
    this.#handle(events, true)
    return true
  }

  #handle(events: number, again: boolean): void {
    if ((events & mmio_interrupt.used_buffer) !== 0)
      for (const { info, queue } of this.#queues) if (queue && this.#failure === undefined && !this.#isReset) this.#usedHandlers.get(info.index)?.()
    if ((events & mmio_interrupt.config_change) !== 0 && this.#failure === undefined && !this.#isReset) this.#configChanged(again)
  }

  /** The device also sends this notification when it needs a reset. */
  #configChanged(again: boolean): void {
    if ((this.#registers.status & DEVICE_NEEDS_RESET) !== 0) {
      this.#giveUp(new DriverError('needs-reset', 'the device says that it needs a reset'))
      return
    }
    const generation = this.config.generation
    if (again && generation === this.#generation) return
    this.#generation = generation
    for (const handler of this.#configHandlers) handler()
  }

  #giveUp(error: DriverError): void {
    this.#failure = error
    for (const handler of this.#failureHandlers) handler(error)
  }
}
