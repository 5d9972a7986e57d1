/** Base of the generated driver clients: it owns the protocol of requests and events, the client's methods only name them. */
import { type FeatureSet, padTo, type Struct, viewOf } from 'virtgen/codegen/v1/wire'
import { VIRTIO_F_RING_RESET } from 'virtgen/wire/content'
import type { ConfigField } from '../config-space.ts'
import type { DriverQueue } from '../queue.ts'
import type { MessageInfo, QueueInfo, RequestContext, RequestInfo } from '../request/message.ts'
import type { Violation } from '../violation.ts'
import { BufferPool } from './buffer-pool.ts'
import { EventBuffers, type EventHandler } from './event-buffers.ts'
import { DriverError, type DriverHost } from './host.ts'
import type { DmaBuffer } from './memory.ts'
import { PendingRequest } from './pending-request.ts'
import { ServedQueue } from './served-queue.ts'

/** What a device reads: a `DmaBuffer` goes to it as it is, the bytes of a `Uint8Array` are copied. */
export type ReadablePayload = Uint8Array | DmaBuffer
/** Where a device writes: a `DmaBuffer` goes to it as it is, a `Uint8Array` gets a copy; a number: that many bytes, in a `Uint8Array` of their own. */
export type WritablePayload = Uint8Array | DmaBuffer | number

export interface DeviceDriverOptions {
  /** Values that only the program knows (`let NAME: caller` in the description). */
  readonly caller?: Readonly<Record<string, number>>
  /** Bytes of a buffer for events that have a payload; 4096 by default. */
  readonly eventBufferSize?: number
  /** A handler of an event or of a configuration change threw. By default the error becomes a rejection that nobody handles. */
  readonly onError?: (error: unknown) => void
}

const defaultEventBufferSize = 4096

/**
 * A driver client on an initialised device.
 *
 * What the device writes is copied out of shared memory once, checked, and only the copy is used. A device that breaks the rules is given up: all promises
 * reject with a `DriverError`, and so does every later request.
 */
export abstract class DeviceDriver {
  readonly host: DriverHost
  readonly #config: Struct | undefined
  readonly #options: DeviceDriverOptions
  readonly #pool: BufferPool
  readonly #queues = new Map<number, ServedQueue>()
  readonly #events = new Map<MessageInfo, EventBuffers>()
  readonly #turns = new Map<MessageInfo, number>()
  readonly #configHandlers: (() => void)[] = []
  /** Queues that are being reset. */
  readonly #resets = new Set<number>()
  #failure: DriverError | undefined
  #closed: Promise<void> | undefined

  /**
   * @param config - accessor of the configuration space; put over the last consistent copy and moved when the configuration changes
   * @throws DriverError `config` when the configuration space cannot be read consistently
   */
  constructor(host: DriverHost, config?: Struct, options: DeviceDriverOptions = {}) {
    const { eventBufferSize = defaultEventBufferSize } = options
    if (!Number.isInteger(eventBufferSize) || eventBufferSize < 1)
      throw new RangeError(`eventBufferSize must be a positive integer, not ${eventBufferSize}`)
    this.host = host
    this.#config = config
    this.#options = options
    this.#pool = new BufferPool(host.memory)
    this.#readConfig()
    host.onConfigChange(() => this.#configChanged())
    host.onFailure((error) => this.#fail(error))
  }

  /** The negotiated features. */
  get features(): FeatureSet {
    return this.host.features
  }

  /** The configuration space as it was read last; undefined for a device type without one. Its place changes with the configuration: do not keep members that are views. */
  get config(): Struct | undefined {
    return this.#config
  }

  /** Why the device cannot be used any more. */
  get failure(): DriverError | undefined {
    return this.#failure
  }

  /** Calls the handler after each change of the configuration; `config` is the new one by then. */
  onConfigChange(handler: () => void): void {
    this.#configHandlers.push(handler)
  }

  /**
   * Resets one queue and sets it up again (VIRTIO_F_RING_RESET); others go on. What is out or waits there rejects with DriverError `queue-reset`, buffers for events are
   * provided anew. Where the queue cannot be set up, all that is sent there rejects with the reason; another reset may help.
   *
   * @param size - entries at most; by default as at first
   * @throws RangeError (as a rejection) for a queue that there is not, or a wrong size
   * @throws DriverError (as a rejection) `feature` where that is not negotiated, with no harm done; `queue` or `memory` when it cannot be set up again; `reset` when it
   * does not come back, which gives the device up
   */
  async resetQueue(index: number, size?: number): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    if (size !== undefined && !(Number.isSafeInteger(size) && size > 0))
      throw new RangeError(`a queue must have a positive number of entries, not ${size}`)
    if (this.#resets.has(index)) throw new Error(`queue ${index} is being reset`)
    if (!this.features.has(VIRTIO_F_RING_RESET))
      throw new DriverError('feature', `queue ${index} cannot be reset alone: VIRTIO_F_RING_RESET is not negotiated`)
    const info = this.host.queues.find((queue) => queue.index === index)
    if (info === undefined) throw new RangeError(`there is no queue ${index}`)
    this.#resets.add(index)
    try {
      const served = this.#serve(info)
      served.reject(new DriverError('queue-reset', `queue ${index} was reset`))
      await this.host.resetQueue(index)
      served.detach()
      this.#restart(served, size)
    } finally {
      this.#resets.delete(index)
    }
  }

  #restart(served: ServedQueue, size: number | undefined): void {
    const { index, message } = served.info
    try {
      const queue = this.host.enableQueue(index, size)
      served.restart(queue, this.#context(queue))
    } catch (error) {
      served.reject(error as DriverError)
      throw error
    }
    const events = message && this.#events.get(message)
    events?.forget(served)
    events?.post(served)
  }

  /**
   * Resets the device and gives the driver's memory back. What is out rejects with DriverError `closed`. A `DmaBuffer` that was given to the device may be freed
   * afterwards. Further calls give the same promise.
   *
   * @throws DriverError `reset` when the device does not come back; its memory is not given back then
   */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  /**
   * Sends a request and resolves when the device has used its buffer: to the members of the reply without the status, and the bytes of the payload that were
   * really written under the payload's name; to undefined where a reply has neither. When the ring is full, requests wait in order. Payloads are not to be
   * changed before that.
   *
   * @param queue - index of the virtqueue; by default the queues that carry the message take turns
   * @param fields - members of the header besides those that select the request
   * @param writable - for a request without such a payload: bytes for a reply whose length is open
   * @throws TypeError or RangeError (as a rejection) for a value, length or queue that does not fit the request
   * @throws RequestError (as a rejection) for another status than success
   * @throws DriverError (as a rejection) when the device cannot be used any more
   */
  protected request(
    message: MessageInfo,
    info: RequestInfo,
    queue: number | undefined,
    fields: object | undefined,
    readable: ReadablePayload | undefined,
    writable: WritablePayload | undefined,
  ): Promise<unknown> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    try {
      const served = this.#serve(this.#choose(message, queue))
      const pending = new PendingRequest(message, info, served.context, { fields, readable, writable })
      served.send(pending)
      return pending.promise
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * Calls the handler for each event of that kind. The first handler of a message posts buffers on all its queues.
   *
   * @throws RangeError when no queue carries the message
   * @throws DriverError `memory` when there is no memory for a single buffer
   */
  protected listen<E>(message: MessageInfo, info: RequestInfo, handler: (event: E) => void): void {
    if (this.#failure !== undefined) throw this.#failure
    const known = this.#events.get(message)
    const events = known ?? new EventBuffers(message, this.#options.eventBufferSize ?? defaultEventBufferSize, (run) => this.#guard(run))
    events.add(info, handler as EventHandler)
    if (known !== undefined) return
    this.#events.set(message, events)
    for (const queue of this.#queuesOf(message)) events.post(this.#serve(queue))
  }

  /** Writes a field of the configuration space and reads the space again. */
  protected writeField(fields: readonly ConfigField[], name: string, value: number | bigint | Uint8Array): void {
    if (this.#failure !== undefined) throw this.#failure
    const field = fields.find((each) => each.name === name)
    if (field === undefined || (field.access !== 'w' && field.access !== 'rw') || field.writable?.(this.features) === false)
      throw new RangeError(`${name} may not be written with the features ${this.features}`)
    const { offset, width } = field
    const bytes = value instanceof Uint8Array ? value : littleEndian(value, width)
    if (bytes?.length !== width)
      throw new RangeError(`${name} has ${width} bytes, ${value instanceof Uint8Array ? `not ${value.length}` : `${value} does not fit`}`)
    if (value instanceof Uint8Array) for (let at = 0; at < width; at++) this.host.config.write(offset + at, bytes.subarray(at, at + 1))
    else this.host.config.write(offset, bytes)
    this.#readConfig()
  }

  #queuesOf(message: MessageInfo): QueueInfo[] {
    const queues = this.host.queues.filter((queue) => queue.message === message)
    if (queues.length === 0) throw new RangeError(`no queue carries ${message.name} with the features ${this.features}`)
    return queues
  }

  #choose(message: MessageInfo, index: number | undefined): QueueInfo {
    const queues = this.#queuesOf(message)
    if (index === undefined) {
      const turn = this.#turns.get(message) ?? 0
      this.#turns.set(message, (turn + 1) % queues.length)
      return queues[turn % queues.length] as QueueInfo
    }
    const chosen = queues.find((queue) => queue.index === index)
    if (chosen === undefined)
      throw new RangeError(`${message.name} is carried by queue ${queues.map((queue) => queue.index).join(', ')}, not by ${index}`)
    return chosen
  }

  #serve(info: QueueInfo): ServedQueue {
    const known = this.#queues.get(info.index)
    if (known !== undefined) return known
    const queue = this.host.queue(info.index)
    const served = new ServedQueue(info, queue, this.#context(queue), this.#pool, (violation) => this.#giveUp(violation))
    this.#queues.set(info.index, served)
    this.host.onUsed(info.index, () => served.used())
    return served
  }

  #context({ size }: DriverQueue): RequestContext {
    return { features: this.features, config: this.#config, queueSize: size, caller: this.#options.caller ?? {} }
  }

  #readConfig(): void {
    this.#config?.at(viewOf(padTo(this.host.config.read(), this.#config.$minimum)))
  }

  #configChanged(): void {
    if (this.#failure !== undefined) return
    try {
      this.#readConfig()
    } catch (error) {
      // The device never stops to change it: that is no error of our user's, who need not listen.
      this.#fail(error instanceof DriverError ? error : new DriverError('config', String(error)))
      return
    }
    for (const handler of this.#configHandlers) this.#guard(handler)
  }

  /** Runs code of our user: what it throws must not stop the queues. */
  #guard(run: () => void): void {
    try {
      run()
    } catch (error) {
      if (this.#options.onError === undefined) void Promise.reject(error)
      else this.#options.onError(error)
    }
  }

  #giveUp(violation: Violation): void {
    this.host.fail(violation)
    // The host has told its failure handlers, this one among them, unless the device was given up before.
    this.#fail(new DriverError('violation', violation.detail, violation))
  }

  #fail(error: DriverError): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    for (const queue of this.#queues.values()) queue.reject(error)
  }

  async #close(): Promise<void> {
    this.#fail(new DriverError('closed', 'the driver was closed'))
    await this.host.reset()
    for (const queue of this.#queues.values()) queue.detach()
    this.#pool.free()
  }
}

/** The bytes of a number; undefined where it does not fit. */
function littleEndian(value: number | bigint, width: number): Uint8Array | undefined {
  if (width > 8 || (typeof value === 'number' && !Number.isSafeInteger(value))) return undefined
  const number = BigInt(value)
  if (BigInt.asUintN(8 * width, number) !== number) return undefined
  return Uint8Array.from({ length: width }, (_, at) => Number((number >> BigInt(8 * at)) & 0xffn))
}
