/** What a front-end has negotiated, and what answers its requests. vhost-user protocol, Communication. */
import { checkInteger, FeatureSet, featuresFromWords } from 'virtgen/codegen/v1/wire'
import { type Context, vhost_user_backend } from 'virtgen/protocol/vhost-user'
import {
  DeviceControl,
  type DeviceQueue,
  type DeviceQueueOptions,
  type GuestMemory,
  type QueueSetup,
  type Violation,
  type VirtioDevice,
} from 'virtgen/runtime'
import { ACKNOWLEDGE, DEVICE_NEEDS_RESET, DRIVER, DRIVER_OK, deviceIds, FEATURES_OK } from 'virtgen/wire/content'
import {
  VHOST_F_LOG_ALL,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VHOST_USER_PROTOCOL_F_BACKEND_REQ,
  VHOST_USER_PROTOCOL_F_CONFIG,
  VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS,
  VHOST_USER_PROTOCOL_F_LOG_SHMFD,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
} from 'virtgen/wire/vhost-user'
import { closeFd, type Poller } from '../../system/index.ts'
import { hasBit } from '../message-reader.ts'
import { encodeRequest, type RequestMessage } from '../messages.ts'
import { ProtocolError } from '../protocol-error.ts'
import { createVring } from '../vring.ts'
import { AreaRequests } from './area-requests.ts'
import { BackendChannel } from './backend-channel.ts'
import { ConfigRequests } from './config-requests.ts'
import { MemoryRequests } from './memory-requests.ts'
import { MemoryTable } from './memory-table.ts'
import { defaultMaxMemory, type Neighbours, offeredProtocolFeatures, type SessionOptions, vhostRingFeatures } from './options.ts'
import type { Answer, Handlers, Keep, Message, MessageNamed } from './requests.ts'
import type { Ring } from './ring.ts'
import { RingRequests } from './ring-requests.ts'
import { Rings } from './rings.ts'
import { Spinner } from './spinner.ts'

/** Requests: the front-end takes these while the device serves more. */
const batch = 8
/** Microseconds: who spins for a second does so always. */
const mostSpin = 1_000_000
/** What has room in a status. */
const statusBits = 0xffn

/** One front-end's device: what it has negotiated, its memory, its rings. */
export class Session {
  readonly device: VirtioDevice
  readonly control: DeviceControl
  readonly table: MemoryTable
  readonly rings: Rings
  readonly #areas: AreaRequests
  readonly #config: ConfigRequests
  readonly #spinner: Spinner
  readonly #poller: Poller
  readonly #options: SessionOptions
  readonly #handlers: Handlers
  readonly #offeredProtocolFeatures: number
  #protocolFeatures = 0
  /** What the front-end has written last into the device status. */
  #status = 0
  #backend: BackendChannel | undefined
  /** Descriptors of the message that is at work which are kept. */
  readonly #kept = new Set<number>()

  /** @throws RangeError for options that cannot be, or a device that offers what it cannot */
  constructor(device: VirtioDevice, poller: Poller, options: SessionOptions, neighbours: Neighbours) {
    this.device = device
    this.#poller = poller
    this.#options = options
    this.#offeredProtocolFeatures = offeredProtocolFeatures(device, options.protocolFeatures)
    const { maxMemory = defaultMaxMemory, sealedMemory = false } = options
    const unsealed = !sealedMemory
    const table = new MemoryTable(unsealed, checkInteger(maxMemory, 1, Number.MAX_SAFE_INTEGER, 'maxMemory'))
    const control = this.#makeControl(table.memory)
    const call = (ring: Ring): void => this.#call(ring)
    const rings = new Rings({
      control,
      table,
      call,
      worked: () => this.#spinner.begin(),
      refused: (features) => this.#violated({ kind: 'features', queue: -1, detail: `the device does not work with the features ${features}` }),
      begun: () => {
        // Front-ends do not listen before.
        if (this.#config.isNews) this.#configChanged()
      },
    })
    const keep: Keep = (fd) => this.#kept.add(fd)
    const areas = new AreaRequests({ control, table, rings, keep, unsealed })
    const memory = new MemoryRequests(table, rings, neighbours)
    const vrings = new RingRequests({ control, table, rings, areas, poller, keep, call })
    this.table = table
    this.control = control
    this.rings = rings
    this.#areas = areas
    this.#config = new ConfigRequests(control)
    this.#spinner = new Spinner(control, rings, options.spin === undefined ? undefined : checkInteger(options.spin, 0, mostSpin, 'spin'))
    this.#handlers = { ...this.#ownHandlers(), ...memory.handlers, ...vrings.handlers, ...areas.handlers, ...this.#config.handlers }
  }

  #makeControl(memory: GuestMemory): DeviceControl {
    const { maxChainLength, onError, ringFeatures = vhostRingFeatures } = this.#options
    return new DeviceControl(this.device, {
      memory,
      ringFeatures,
      ...(maxChainLength !== undefined && { maxChainLength }),
      ...(onError && { onError }),
      createQueue: (memory, setup, queueOptions) => this.#createQueue(memory, setup, queueOptions),
      notify: (queue) => this.#used(queue),
      configChanged: () => this.#configChanged(),
      needsReset: () => this.rings.failed(),
      onViolation: (violation) => this.#violated(violation),
      defer: (serve) => setImmediate(() => this.rings.serving(serve)),
    })
  }

  // ---- What is negotiated

  /** What messages look like now. */
  get context(): Context {
    return { features: this.rings.features, caller: { protocol_features: this.#protocolFeatures, postcopy: 0 } }
  }

  /** Whether a protocol feature is in use. */
  uses(feature: number): boolean {
    return hasBit(this.#protocolFeatures, feature)
  }

  /** Whether a request is to be answered though it has no answer of its own. */
  acknowledges(message: RequestMessage): boolean {
    return message.needReply && this.uses(VHOST_USER_PROTOCOL_F_REPLY_ACK)
  }

  get #offered(): FeatureSet {
    const logs = hasBit(this.#offeredProtocolFeatures, VHOST_USER_PROTOCOL_F_LOG_SHMFD)
    return this.control.offered.union(FeatureSet.of(VHOST_USER_F_PROTOCOL_FEATURES, ...(logs ? [VHOST_F_LOG_ALL] : [])))
  }

  // ---- Requests

  /**
   * Does what a message asks. Its descriptors are closed, or kept here.
   *
   * @throws ProtocolError for what cannot be; nothing has changed then
   */
  handle(message: Message): Answer | Promise<Answer> {
    this.#kept.clear()
    try {
      return this.#handle(message)
    } finally {
      for (const fd of message.fds) if (!this.#kept.has(fd)) closeFd(fd)
    }
  }

  #handle(message: Message): Answer | Promise<Answer> {
    const handler = this.#handlers[message.name] as ((message: Message) => Answer | Promise<Answer>) | undefined
    if (handler === undefined) throw new ProtocolError('not-negotiated', 'nothing has offered that', message.entry.constant)
    return handler(message)
  }

  /** What is neither memory nor rings. */
  #ownHandlers(): Handlers {
    return {
      get_features: () => ({ value: { features: bits64(this.#offered) } }),
      set_features: (message) => this.#setFeatures(message),
      get_protocol_features: () => ({ value: { protocol_features: BigInt(this.#offeredProtocolFeatures) } }),
      set_protocol_features: (message) => this.#setProtocolFeatures(message),
      set_owner: () => undefined,
      reset_owner: () => this.#resetOwner(),
      get_queue_num: () => ({ value: { queue_num: BigInt(this.#queueNum) } }),
      get_status: () => ({ value: { device_status: BigInt(this.#deviceStatus) } }),
      set_status: (message) => this.#setStatus(message),
      reset_device: () => this.#resetDevice(),
      set_backend_req_fd: (message) => this.#setBackendReqFd(message),
    }
  }

  // ---- Features and life

  #setFeatures({ request }: MessageNamed<'set_features'>): Answer | Promise<Answer> {
    const all = fromBits64(request.features)
    if (!all.isSubsetOf(this.#offered)) throw new ProtocolError('value', `features ${all.difference(this.#offered)} are not offered`)
    const features = all.without(VHOST_F_LOG_ALL, VHOST_USER_F_PROTOCOL_FEATURES)
    // The log goes on and off while rings work.
    if (!features.equals(this.rings.features) && this.rings.isOpen) throw new ProtocolError('unexpected', 'features change while a ring works')
    this.rings.features = features
    this.#areas.useLog(all.has(VHOST_F_LOG_ALL))
    const resetting = this.rings.renegotiate()
    if (!all.has(VHOST_USER_F_PROTOCOL_FEATURES)) for (const ring of this.rings.all) if (ring) this.rings.enable(ring, true)
    return resetting?.then(() => undefined)
  }

  #setProtocolFeatures({ request }: MessageNamed<'set_protocol_features'>): Answer {
    const bits = Number(request.protocol_features)
    const unknown = [...Array(64).keys()].filter((bit) => hasBit(bits, bit) && !hasBit(this.#offeredProtocolFeatures, bit))
    if (unknown.length > 0) throw new ProtocolError('value', `protocol features ${unknown} are not offered`)
    const needed = [VHOST_USER_PROTOCOL_F_BACKEND_REQ, VHOST_USER_PROTOCOL_F_REPLY_ACK]
    if (hasBit(bits, VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS) && !needed.every((bit) => hasBit(bits, bit)))
      throw new ProtocolError('value', 'INBAND_NOTIFICATIONS needs BACKEND_REQ and REPLY_ACK')
    this.#protocolFeatures = bits
    return undefined
  }

  /** "No longer used": nothing is lost where it disables the rings. */
  #resetOwner(): Answer {
    for (const ring of this.rings.all) if (ring) this.rings.enable(ring, false)
    return undefined
  }

  /** Front-ends count the queues of a network device in pairs, without that for control. */
  get #queueNum(): number {
    const { queueCount } = this.control
    return this.device.id === deviceIds.net ? queueCount >> 1 : queueCount
  }

  /** What the front-end has written, as far as the device agrees. */
  get #deviceStatus(): number {
    const { status } = this.control
    const refused = (status & FEATURES_OK) === 0 ? FEATURES_OK | DRIVER_OK : 0
    return (this.#status & ~refused) | (status & DEVICE_NEEDS_RESET)
  }

  #setStatus({ request }: MessageNamed<'set_status'>): Answer | Promise<Answer> {
    const status = Number(request.device_status & statusBits)
    this.#status = status & ~DEVICE_NEEDS_RESET
    if (status === 0) return this.#resetDevice()
    this.rings.directed = true
    // Front-ends tell of the steps that they care for.
    const before = (status & DRIVER_OK) !== 0 ? ACKNOWLEDGE | DRIVER | FEATURES_OK : (status & FEATURES_OK) !== 0 ? ACKNOWLEDGE | DRIVER : 0
    this.rings.advance(status | before)
    this.rings.start()
    return undefined
  }

  #resetDevice(): Answer | Promise<Answer> {
    this.#status = 0
    const resetting = this.rings.stopAll()
    this.#areas.nothingInFlight()
    return resetting?.then(() => undefined)
  }

  // ---- Rings

  /** The queue of a ring that starts, from where it goes on. */
  #createQueue(memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions): DeviceQueue {
    const ring = this.rings.all[setup.index] as Ring
    const inFlight = this.#areas.inFlight(ring.index)
    const start = { base: this.rings.base(ring), ...(inFlight && { inFlight }) }
    ring.queue = createVring(memory, setup, { ...options, quiet: () => this.#spinner.isSpinning, batch }, start)
    return ring.queue
  }

  /** The device has used buffers, and the driver wants to know. */
  #used(index: number): void {
    this.#areas.tell()
    const ring = this.rings.all[index] as Ring
    if (ring.serving) this.#call(ring)
    else if (!ring.callDue) {
      // What was asynchronous ends in swarms: one interrupt for all that end in this turn of the loop.
      ring.callDue = true
      setImmediate(() => {
        if (ring.callDue) this.#call(ring)
      })
    }
  }

  #call(ring: Ring): void {
    ring.callDue = false
    if (ring.call() || !this.uses(VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS)) return
    this.#send(encodeRequest(vhost_user_backend.backend_vring_call, { state: { index: ring.index, num: 0 } }, this.context))
  }

  #violated(violation: Violation): void {
    const rings = violation.queue < 0 ? this.rings.all : [this.rings.all[violation.queue]]
    for (const ring of rings) {
      if (ring === undefined || ring.fail() || !ring.started || !this.uses(VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS)) continue
      this.#send(encodeRequest(vhost_user_backend.backend_vring_err, { state: { index: ring.index, num: 0 } }, this.context))
    }
    this.#options.onViolation?.(violation)
  }

  #configChanged(): void {
    if (!this.uses(VHOST_USER_PROTOCOL_F_CONFIG)) return
    this.#send(encodeRequest(vhost_user_backend.backend_config_change_msg, {}, this.context))
  }

  // ---- Requests of its own

  #setBackendReqFd(message: MessageNamed<'set_backend_req_fd'>): Answer {
    this.#backend?.close()
    this.#backend = BackendChannel.open(this.#poller, message.fds[0]!)
    this.#kept.add(message.fds[0]!)
    return undefined
  }

  #send(request: Uint8Array): void {
    this.#backend?.send(request)
  }

  // ---- End

  /** Resolves when nothing of the rings is at work. They take nothing any more. */
  drain(): Promise<void> {
    return this.rings.drain()
  }

  /** Resets the device, and gives everything back once nothing can write into the memory any more. */
  async end(): Promise<void> {
    this.#spinner.end()
    await this.rings.end()
    for (const ring of this.rings.all) {
      // What was used last the driver must hear of: nobody else will tell.
      if (ring?.callDue) this.#call(ring)
      ring?.release()
    }
    this.#backend?.close()
    this.#areas.release()
    this.table.release()
  }
}

const low32 = 0xffff_ffffn

function bits64(features: FeatureSet): bigint {
  return BigInt(features.word(0)) | (BigInt(features.word(1)) << 32n)
}

function fromBits64(bits: bigint): FeatureSet {
  return featuresFromWords([Number(bits & low32), Number(bits >> 32n)])
}
