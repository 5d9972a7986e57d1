/** Base of the generated skeletons: it owns the protocol of requests and events, a device author says what they do. */
import { checkInteger, FeatureSet, type Struct } from 'virtgen/codegen/v1/wire'
import { VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { split_ring_limits } from 'virtgen/wire/split-ring'
import type { Chain } from '../chain.ts'
import { chainOut } from '../chain-state.ts'
import type { ConfigSpace } from '../config-space.ts'
import { type DeviceHost, VirtioDevice } from '../device.ts'
import type { DeviceQueue } from '../queue.ts'
import type { ViolationKind } from '../violation.ts'
import type { DeviceRequest } from './device-request.ts'
import { type DeviceInfo, isSuccess, type MessageInfo, type QueueInfo, type RequestContext, type RequestInfo } from './message.ts'
import { type Outcome, PARKED, UNKNOWN } from './outcome.ts'
import { type RequestOwner, RequestSlot } from './request-slot.ts'
import { refusedBy, requestOf } from './select.ts'

export interface RequestDeviceOptions {
  /** Features of the device type to offer; none by default. A set, or bit numbers. */
  readonly features?: FeatureSet | readonly number[]
  /** Maximal size of each queue, 256 by default: a number for all of them, or one for each index. */
  readonly queueSize?: number | readonly number[]
  /** Most bytes of members that are copied per request where the driver chooses their length; 65536 by default. Payloads are not copied. */
  readonly copyLimit?: number
  /** Values that only the program knows (`let NAME: caller` in the description). */
  readonly caller?: Readonly<Record<string, number>>
  /** A handler threw, or its promise was rejected. By default the error is dropped: the driver gets the status for failures. */
  readonly onError?: (error: unknown, request: DeviceRequest | undefined) => void
}

type Handler = (request: DeviceRequest) => Outcome

/** A queue that the driver has set up. */
export interface ActiveQueue {
  readonly info: QueueInfo
  readonly queue: DeviceQueue
  readonly context: RequestContext
}

const { split_ring_max_queue_size } = split_ring_limits
const defaultQueueSize = 256
const defaultCopyLimit = 65_536

export abstract class RequestDevice<Config extends Struct = Struct> extends VirtioDevice {
  readonly id: number
  readonly offered: FeatureSet
  readonly queueSizes: readonly number[]
  override readonly config: ConfigSpace<Config>
  readonly #info: DeviceInfo
  readonly #copyLimit: number
  readonly #caller: Readonly<Record<string, number>>
  readonly #onError: (error: unknown, request: DeviceRequest | undefined) => void
  readonly #owner: RequestOwner = {
    finish: (slot, status) => this.#finish(slot, status),
    failed: (slot, error) => this.#failed(slot, error),
  }
  #host: DeviceHost | undefined
  /** The queues that there can be with what is negotiated, by index. */
  #infos: (QueueInfo | undefined)[] = []
  #queues: (ActiveQueue | undefined)[] = []
  /** The methods of requests, by their numbers, as far as they were called already. */
  readonly #handlers: (Handler | undefined)[] = []

  /** @throws TypeError when a feature is offered without what it requires, or whose requests have no method, RangeError for a queue size or limit that cannot be */
  constructor(info: DeviceInfo, options: RequestDeviceOptions, config: ConfigSpace<Config>) {
    super()
    const { features = [], queueSize = defaultQueueSize, copyLimit = defaultCopyLimit, caller = {}, onError = () => {} } = options
    this.#info = info
    this.id = info.id
    this.config = config
    this.offered = features instanceof FeatureSet ? features : FeatureSet.of(...features)
    this.#copyLimit = copyLimit
    this.#caller = caller
    this.#onError = onError
    checkInteger(copyLimit, 0, Number.MAX_SAFE_INTEGER, 'copyLimit')
    this.queueSizes = queueSizesOf(info.queues(this.offered, config.bytes), queueSize)
    this.#checkOffered()
    this.#checkMethods()
  }

  /** The driver has given buffers for events: what could not be sent before may be sent now. */
  protected eventBuffersAvailable(_queue: QueueInfo): void {}

  /** A buffer of a queue of which the description does not say what it carries. By default it is used with nothing written. */
  protected bufferAvailable(_queue: QueueInfo, chain: Chain): void {
    chain.complete(0)
  }

  /** The driver is ready; features are negotiated. */
  protected activated(): void {}

  /** The device is reset: stop what is going on. Requests that are out are cancelled; each that has taken views of guest memory must still be completed. */
  protected resetting(): void | Promise<void> {}

  /** The driver has stopped or reset a queue and may set it up again: stop what is going on there. For requests that are out, see `resetting`. */
  protected queueResetting(_queue: QueueInfo): void | Promise<void> {}

  /** What is negotiated; undefined before `activate` and after `reset`. */
  protected get host(): DeviceHost | undefined {
    return this.#host
  }

  /** The queues that the driver has set up; none before `activate` and after `reset`. */
  protected get queues(): QueueInfo[] {
    return this.#infos.filter((info) => info !== undefined && this.#host?.queue(info.index) !== undefined) as QueueInfo[]
  }

  override accepts(features: FeatureSet): boolean {
    return this.#info.checkFeatures(features).length === 0
  }

  override activate(host: DeviceHost): void {
    this.#host = host
    this.#infos = []
    this.#queues = []
    for (const info of this.#info.queues(host.features, this.config.bytes)) this.#infos[info.index] = info
    this.activated()
  }

  override queueReset(index: number): void | Promise<void> {
    const info = this.#infos[index]
    return info && this.queueResetting(info)
  }

  override reset(): void | Promise<void> {
    this.#host = undefined
    this.#infos = []
    this.#queues = []
    return this.resetting()
  }

  override queueNotified(index: number): void {
    const active = this.$active(index)
    if (active?.info.message?.kind === 'events') this.eventBuffersAvailable(active.info)
    else if (active !== undefined) this.#serve(active)
  }

  /** @internal A queue at work. The driver may set queues up at any time, also again after it has reset them: another object, perhaps with another size. */
  protected $active(index: number): ActiveQueue | undefined {
    const queue = this.#host?.queue(index)
    const info = this.#infos[index]
    if (this.#host === undefined || queue === undefined || info === undefined) return undefined
    const known = this.#queues[index]
    if (known?.queue === queue) return known
    const active = { info, queue, context: this.#context(this.#host.features, queue.size) }
    this.#queues[index] = active
    return active
  }

  /** Takes what is available, at most one round of the ring: a driver that never stops must not keep the VMM here. */
  #serve(active: ActiveQueue): void {
    const { queue } = active
    const { index } = queue
    queue.cork()
    queue.disableNotifications()
    let budget = queue.size
    do {
      for (let chain = queue.next(); chain !== undefined; chain = queue.next()) {
        this.#take(active, chain)
        queue.showBatch()
        // A handler may have given the device up, or reset it.
        if (this.#host?.queue(index) !== queue) budget = 0
        else if (--budget === 0) this.#host.serveLater(index)
        if (budget === 0) break
      }
    } while (budget > 0 && queue.enableNotifications())
    queue.uncork()
  }

  #take(active: ActiveQueue, chain: Chain): void {
    const { message } = active.info
    if (message === undefined) {
      this.bufferAvailable(active.info, chain)
      return
    }
    const slot = this.#slot(active, chain)
    slot.begin(active.info)
    this.#start(slot, message, active.context)
  }

  #slot(active: ActiveQueue, chain: Chain): RequestSlot {
    if (chain.attachment instanceof RequestSlot) return chain.attachment
    const slot = new RequestSlot(this.#owner, active.context, chain)
    chain.attachment = slot
    return slot
  }

  #start(slot: RequestSlot, message: MessageInfo, context: RequestContext): void {
    const frame = message.frame && slot.readFrame(message.frame)
    if (message.frame && frame === undefined) {
      this.#refuse(slot, message, undefined, 'too few for what every request begins with')
      return
    }
    const info = requestOf(message, frame, slot, context)
    if (info === undefined) {
      this.#unknown(slot, message, refusedBy(message, frame))
      return
    }
    slot.info = info
    const mistake = this.#prepare(slot, info, context)
    if (mistake !== undefined) {
      this.#refuse(slot, message, info, mistake)
      return
    }
    this.#echo(slot, message, info)
    this.#handle(slot, message)
  }

  /** Copies and checks; says what is wrong with the request. */
  #prepare(slot: RequestSlot, info: RequestInfo, context: RequestContext): string | undefined {
    if (!slot.readHeader(info, this.#copyLimit)) return `not the device-readable part of ${info.name}`
    if (!slot.prepareReply(info, this.#copyLimit)) return `not the device-writable part of ${info.name}`
    if (slot.header && info.check?.(slot.header, context) === false) return `a member of ${info.name} is out of range`
    const claimed = slot.header && info.readable?.claim?.get(slot.header)
    if (claimed !== undefined && claimed > slot.readable.length) return `${info.name} claims ${claimed} bytes, and has ${slot.readable.length}`
    if (!fits(info.readable, slot.readable.length, context) || !fits(info.writable, slot.writable.length, context))
      return `the payload of ${info.name} has another length`
    return undefined
  }

  /** Copies what the reply repeats of the request. */
  #echo({ reply, frame, header }: RequestSlot, message: MessageInfo, known: RequestInfo | undefined): void {
    const from = frame ?? header
    const echo = known?.echo ?? message.echo
    if (reply && from) echo?.(reply, from)
  }

  /** Answers a request that is not as the specification says. */
  #refuse(slot: RequestSlot, message: MessageInfo, known: RequestInfo | undefined, detail: string): void {
    const status = known?.status ?? message.status
    this.#answer(slot, message, known, status?.malformed ?? status?.failed, detail)
  }

  #handle(slot: RequestSlot, message: MessageInfo): void {
    const { id, method } = slot.info
    this.#handlers[id] ??= (this as unknown as Readonly<Record<string, Handler | undefined>>)[method]
    const handler = this.#handlers[id]
    let outcome: Outcome
    try {
      outcome = handler === undefined ? UNKNOWN : handler.call(this, slot)
    } catch (error) {
      // The driver has its answer: a mistake behind that is none of its concern.
      if (isOut(slot)) this.#failed(slot, error)
      else this.#report(error, slot)
      return
    }
    if (outcome === PARKED) return
    if (typeof outcome === 'object') this.#await(slot, outcome)
    else if (!isOut(slot)) this.#report(new Error(`${slot.info.name} was completed already, and its handler returned what completes it`), slot)
    else if (outcome === UNKNOWN) this.#unknown(slot, message, slot.info)
    else this.#finish(slot, outcome as number | undefined)
  }

  /** A handler that has completed its request already must not complete the one that its chain carries by then. */
  #await(slot: RequestSlot, outcome: PromiseLike<unknown>): void {
    const { chain, info } = slot
    const { generation } = chain
    const settle = (end: () => void): void => {
      try {
        if (chain.generation !== generation) throw new Error(`${info.name} was completed before its promise was settled`)
        end()
      } catch (error) {
        this.#report(error, slot)
      }
    }
    outcome.then(
      (status) => settle(() => this.#finish(slot, typeof status === 'number' ? status : undefined)),
      (error) => settle(() => this.#failed(slot, error)),
    )
  }

  /** Writes the reply and gives the buffer back. */
  #finish(slot: RequestSlot, status: number | undefined): void {
    const message = slot.queue.message
    const info = slot.info.status ?? message?.status
    if (slot.info.onlyFailures && (info === undefined || isSuccess(info, status ?? info.ok))) {
      slot.chain.complete(0)
      return
    }
    if (info && slot.reply) {
      const value = status ?? info.ok
      const refusal = slot.info.refusal ?? message?.reply
      if (info.shrinks && refusal && !isSuccess(info, value)) slot.shrink(refusal)
      try {
        info.set(slot.reply, value)
      } catch (error) {
        // A number that is no status: the driver must have an answer all the same.
        this.#failed(slot, error)
        return
      }
    }
    this.#complete(slot, slot.info.setLength ?? message?.setLength)
  }

  #complete(slot: RequestSlot, setLength: MessageInfo['setLength']): void {
    if (slot.reply) setLength?.(slot.reply, slot.writtenLength)
    slot.chain.complete(slot.writeReply())
  }

  #failed(slot: RequestSlot, error: unknown): void {
    this.#report(error, slot)
    const status = slot.info.status ?? slot.queue.message?.status
    if (status?.failed !== undefined || slot.cancelled) this.#finish(slot, status?.failed)
    else this.#giveUp(slot, 'device-failed', `the handler of ${slot.info.name} failed: ${error instanceof Error ? error.message : String(error)}`)
  }

  #report(error: unknown, slot: RequestSlot): void {
    try {
      this.#onError(error, slot)
    } catch {
      // The request must be answered whatever its reporter does.
    }
  }

  #unknown(slot: RequestSlot, message: MessageInfo, known: RequestInfo | undefined): void {
    const status = known?.status ?? message.status
    if (status === undefined || status.unknown === 'none') slot.chain.complete(0)
    else this.#answer(slot, message, known, status.unknown ?? status.failed, 'the request is not known')
  }

  /**
   * Answers with nothing but a status. Where there is none, or no room for it, the driver has broken the rules, unless a used length of 0 tells it of failures.
   */
  #answer(slot: RequestSlot, message: MessageInfo, known: RequestInfo | undefined, status: number | undefined, detail: string): void {
    if (known?.replyOptional && slot.writableLength === 0) {
      slot.chain.complete(0)
      return
    }
    const info = known?.status ?? message.status
    const layout = known?.refusal ?? message.reply ?? known?.reply
    if (info && status !== undefined && layout && slot.prepareRefusal(layout, info.end) && slot.reply) {
      this.#echo(slot, message, known)
      info.set(slot.reply, status)
      this.#complete(slot, known?.setLength ?? message.setLength)
    } else if (info?.unknown === 'none') slot.chain.complete(0)
    else this.#giveUp(slot, 'request-size', `${slot.readableLength} device-readable and ${slot.writableLength} device-writable bytes: ${detail}`)
  }

  /** The buffer stays with the device, which goes no further before it is reset. */
  #giveUp(slot: RequestSlot, kind: ViolationKind, detail: string): void {
    this.#host?.fail({ kind, queue: slot.queue.index, head: slot.chain.head, detail })
  }

  #context(features: FeatureSet, queueSize: number): RequestContext {
    return { features, config: this.config.fields, queueSize, caller: this.#caller }
  }

  /** Builds up what keeps all requirements without VIRTIO_F_VERSION_1. */
  override get legacyOffered(): FeatureSet {
    let kept = FeatureSet.empty
    for (let before: FeatureSet | undefined; !before?.equals(kept); ) {
      before = kept
      for (const bit of super.legacyOffered.bits) if (this.#info.checkFeatures(kept.with(bit), true).length === 0) kept = kept.with(bit)
    }
    return kept
  }

  #checkOffered(): void {
    // Every transport adds it.
    const [problem] = this.#info.checkFeatures(this.offered.with(VIRTIO_F_VERSION_1), true)
    if (problem) throw new TypeError(`a device that offers ${problem.feature} must offer ${problem.requires}, not ${this.offered} alone`)
  }

  #checkMethods(): void {
    const context = this.#context(this.offered, 0)
    for (const message of this.#info.messages) {
      if (message.kind === 'events') continue
      for (const { name, method, when } of message.requests)
        if (when?.(context) === true && !(method in this))
          throw new TypeError(`the request ${name} is possible with the features ${this.offered}: implement ${method}()`)
    }
  }
}

/** The handler has not completed it. */
function isOut({ chain }: RequestSlot): boolean {
  return (chain.$state & chainOut) !== 0
}

function fits(payload: RequestInfo['readable'], length: number, context: RequestContext): boolean {
  if (payload === undefined) return true
  const multiple = payload.multiple?.(context) ?? 1
  if (multiple > 1 && length % multiple !== 0) return false
  const count = payload.count?.(context)
  return count === undefined || (length >= count[0] && length <= count[1])
}

function queueSizesOf(queues: readonly QueueInfo[], queueSize: number | readonly number[]): number[] {
  const sizes = new Array<number>(queues.reduce((most, { index }) => Math.max(most, index + 1), 0)).fill(0)
  for (const { index } of queues) {
    const size = typeof queueSize === 'number' ? queueSize : (queueSize[index] ?? defaultQueueSize)
    sizes[index] = checkInteger(size, 1, split_ring_max_queue_size, `the size of queue ${index}`)
  }
  return sizes
}
