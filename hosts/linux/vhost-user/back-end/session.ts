/** What the requests of a front-end do: one method for each. vhost-user protocol, Front-end message types. */
import { checkInteger, FeatureSet, featuresFromWords, viewOf } from 'virtgen/codegen/v1/wire'
import { type Context, type vhost_user, vhost_user_backend } from 'virtgen/protocol/vhost-user'
import {
  DeviceControl,
  type DeviceQueue,
  type DeviceQueueOptions,
  type GuestMemory,
  type QueueSetup,
  queueLayout,
  type Violation,
  type VirtioDevice,
} from 'virtgen/runtime'
import { ACKNOWLEDGE, DEVICE_NEEDS_RESET, DRIVER, DRIVER_OK, deviceIds, FEATURES_OK, VIRTIO_F_RING_PACKED } from 'virtgen/wire/content'
import { split_ring_limits } from 'virtgen/wire/split-ring'
import {
  VHOST_F_LOG_ALL,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VHOST_USER_PROTOCOL_F_BACKEND_REQ,
  VHOST_USER_PROTOCOL_F_CONFIG,
  VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS,
  VHOST_USER_PROTOCOL_F_LOG_SHMFD,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  type VhostUserInflightValue,
  VhostUserVringBase,
  type VhostUserVringBaseValue,
  vhost_user_vring_flags,
} from 'virtgen/wire/vhost-user'
import { closeFd, isEventfd, type Poller } from '../../system/index.ts'
import { hasBit } from '../message-reader.ts'
import { encodeRequest, headerSize, type MessageOf, type RequestMessage } from '../messages.ts'
import { ProtocolError } from '../protocol-error.ts'
import { createVring } from '../vring.ts'
import { BackendChannel } from './backend-channel.ts'
import { InFlightArea } from './in-flight-area.ts'
import { guestAddress, MemoryTable, type TableRegion } from './memory-table.ts'
import { defaultMaxMemory, type Neighbours, offeredProtocolFeatures, type SessionOptions, vhostRingFeatures } from './options.ts'
import type { Ring } from './ring.ts'
import { Rings } from './rings.ts'
import { Spinner } from './spinner.ts'
import { WriteLog } from './write-log.ts'

export type Message = MessageOf<typeof vhost_user>
type MessageNamed<N extends Message['name']> = Extract<Message, { name: N }>

/** The members of a reply, and its descriptors, which are closed when it is sent. Undefined: nothing to say but that it is done, where somebody asks. */
export type Answer = { readonly value: object; readonly fds?: readonly number[] } | undefined

/** Regions that one front-end may have: as many as any that is known wants. */
const mostSlots = 512
/** Requests: the front-end takes these while the device serves more. */
const batch = 16
/** Microseconds: who spins for a second does so always. */
const mostSpin = 1_000_000
const largestQueue = split_ring_limits.split_ring_max_queue_size
/** What a front-end reads of the configuration space at a time: no device has as much. */
const mostConfig = 0x1000

/** One front-end's device: what it has negotiated, its memory, its rings. */
export class Session {
  readonly device: VirtioDevice
  readonly control: DeviceControl
  readonly table: MemoryTable
  readonly rings: Rings
  readonly #log: WriteLog
  readonly #spinner: Spinner
  #inFlight: InFlightArea | undefined
  readonly #poller: Poller
  readonly #options: SessionOptions
  readonly #neighbours: Neighbours
  #ended = false
  readonly #offeredProtocolFeatures: number
  #protocolFeatures = 0
  /** What the front-end has written last into the device status. */
  #status = 0
  #backend: BackendChannel | undefined
  /** Generation of the configuration that the front-end knows. */
  #knownConfig: number
  /** Descriptors of the message that is at work which are kept. */
  readonly #kept = new Set<number>()

  /** @throws RangeError for options that cannot be, or a device that offers what it cannot */
  constructor(device: VirtioDevice, poller: Poller, options: SessionOptions, neighbours: Neighbours) {
    this.device = device
    this.#poller = poller
    this.#options = options
    this.#neighbours = neighbours
    this.#offeredProtocolFeatures = offeredProtocolFeatures(device, options.protocolFeatures)
    const { maxMemory = defaultMaxMemory } = options
    this.table = new MemoryTable(options.sealedMemory !== true, checkInteger(maxMemory, 1, Number.MAX_SAFE_INTEGER, 'maxMemory'))
    this.#log = new WriteLog(this.table.memory, options.sealedMemory !== true)
    const { maxChainLength, onError, ringFeatures = vhostRingFeatures } = options
    this.control = new DeviceControl(device, {
      memory: this.table.memory,
      ringFeatures,
      ...(maxChainLength !== undefined && { maxChainLength }),
      ...(onError && { onError }),
      createQueue: (memory, setup, queueOptions) => this.#createQueue(memory, setup, queueOptions),
      notify: (queue) => this.#used(queue),
      configChanged: () => this.#configChanged(),
      onViolation: (violation) => this.#violated(violation),
    })
    this.#knownConfig = this.control.configGeneration
    this.rings = new Rings({
      control: this.control,
      table: this.table,
      call: (ring) => this.#call(ring),
      worked: () => this.#spinner.begin(),
      refused: (features) => this.#violated({ kind: 'features', queue: -1, detail: `the device does not work with the features ${features}` }),
      begun: () => {
        // Front-ends do not listen before.
        if (this.control.configGeneration !== this.#knownConfig) this.#configChanged()
      },
    })
    this.#spinner = new Spinner(this.control, () => this.rings.open, checkInteger(options.spin ?? 0, 0, mostSpin, 'spin'))
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
    switch (message.name) {
      case 'get_features':
        return { value: { features: bits64(this.#offered) } }
      case 'set_features':
        return this.#setFeatures(message.request.features)
      case 'get_protocol_features':
        return { value: { protocol_features: BigInt(this.#offeredProtocolFeatures) } }
      case 'set_protocol_features':
        return this.#setProtocolFeatures(Number(message.request.protocol_features))
      case 'set_owner':
        return undefined
      case 'reset_owner':
        return this.#resetOwner()
      case 'get_queue_num':
        return { value: { queue_num: BigInt(this.#queueNum) } }
      case 'get_status':
        return { value: { device_status: BigInt(this.#deviceStatus) } }
      case 'set_status':
        return this.#setStatus(Number(message.request.device_status & 0xffn))
      case 'reset_device':
        return this.#resetDevice()
      case 'set_mem_table':
        return this.#setMemTable(message)
      case 'get_max_mem_slots':
        return { value: { max_mem_slots: BigInt(mostSlots) } }
      case 'add_mem_reg':
        return this.#addMemReg(message)
      case 'rem_mem_reg':
        return this.#remMemReg(message)
      case 'set_vring_num':
        return this.#setVringNum(message)
      case 'set_vring_addr':
        return this.#setVringAddr(message)
      case 'set_vring_base':
        return this.#setVringBase(message)
      case 'get_vring_base':
        return this.#getVringBase(message)
      case 'set_vring_kick':
        return this.#setVringKick(message)
      case 'set_vring_call':
        return this.#setVringCall(message)
      case 'set_vring_err':
        return this.#setVringErr(message)
      case 'set_vring_enable':
        return this.#setVringEnable(message)
      case 'vring_kick':
        this.rings.kicked(this.#ring(message.request.state.index))
        return undefined
      case 'set_backend_req_fd':
        return this.#setBackendReqFd(message)
      case 'get_inflight_fd':
        return this.#getInflightFd(message)
      case 'set_inflight_fd':
        return this.#setInflightFd(message)
      case 'set_log_base':
        return this.#setLogBase(message)
      case 'set_log_fd':
        return this.#setLogFd(message)
      case 'get_config':
        return this.#getConfig(message)
      case 'set_config':
        return this.#setConfig(message)
      default:
        throw new ProtocolError('not-negotiated', 'nothing has offered that', message.entry.constant)
    }
  }

  // ---- Features and life

  #setFeatures(bits: bigint): Answer | Promise<Answer> {
    const all = fromBits64(bits)
    if (!all.isSubsetOf(this.#offered)) throw new ProtocolError('value', `features ${all.difference(this.#offered)} are not offered`)
    const features = all.without(VHOST_F_LOG_ALL, VHOST_USER_F_PROTOCOL_FEATURES)
    // The log goes on and off while rings work.
    if (!features.equals(this.rings.features) && this.rings.isOpen) throw new ProtocolError('unexpected', 'features change while a ring works')
    this.rings.features = features
    this.#log.use(all.has(VHOST_F_LOG_ALL))
    const resetting = this.rings.renegotiate()
    if (!all.has(VHOST_USER_F_PROTOCOL_FEATURES)) for (const ring of this.rings.all) if (ring) this.rings.enable(ring, true)
    return resetting?.then(() => undefined)
  }

  #setProtocolFeatures(bits: number): Answer {
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

  #setStatus(status: number): Answer | Promise<Answer> {
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
    this.#inFlight?.clear()
    return resetting?.then(() => undefined)
  }

  // ---- Memory

  #setMemTable({ request, fds }: MessageNamed<'set_mem_table'>): Promise<Answer> {
    const regions: TableRegion[] = []
    try {
      for (const [index, fd] of fds.entries()) regions.push(this.table.map(request.memory.regions(index), fd))
      this.table.check(regions)
    } catch (error) {
      this.table.unmap(regions)
      throw error
    }
    return this.#remap(regions)
  }

  #addMemReg({ request, fds }: MessageNamed<'add_mem_reg'>): Answer | Promise<Answer> {
    const { regions } = this.table
    if (regions.length >= mostSlots) throw new ProtocolError('memory', `there are ${mostSlots} regions already`)
    const region = this.table.map(request.mem_reg.region, fds[0]!)
    try {
      this.table.check([...regions, region])
    } catch (error) {
      this.table.unmap([region])
      throw error
    }
    // What works in the others is not disturbed.
    const others = this.#neighbours.atRest([region.file])
    return others === undefined ? this.#use([...regions, region]) : others.then(() => this.#use([...regions, region]))
  }

  #remMemReg({ request }: MessageNamed<'rem_mem_reg'>): Promise<Answer> {
    const region = this.table.find(request.mem_reg.region)
    if (region === undefined) throw new ProtocolError('memory', 'there is no such region')
    return this.#remap(this.table.regions.filter((each) => each !== region))
  }

  /** Nothing is at work in memory while it goes. */
  async #remap(regions: readonly TableRegion[]): Promise<Answer> {
    await this.#neighbours.atRest(regions.map(({ file }) => file))
    await this.rings.remap(regions, () => this.#take(regions))
    return undefined
  }

  #use(regions: readonly TableRegion[]): Answer {
    this.#take(regions)
    this.rings.start()
    return undefined
  }

  #take(regions: readonly TableRegion[]): void {
    // It may have ended while this was waited for: then everything is unmapped once nothing is at work in it.
    if (!this.#ended) this.table.use(regions)
  }

  // ---- Rings

  #ring(index: number): Ring {
    const ring = this.rings.all[index]
    if (ring === undefined) throw new ProtocolError('ring', `there is no queue ${index}`)
    return ring
  }

  /** What cannot change while the ring works. */
  #stopped(index: number): Ring {
    const ring = this.#ring(index)
    if (ring.open) throw new ProtocolError('unexpected', `queue ${index} works`)
    return ring
  }

  #setVringNum({ request: { state } }: MessageNamed<'set_vring_num'>): Answer {
    const ring = this.#ring(state.index)
    const most = this.control.queueMaximum(ring.index)
    if (state.num < 1 || state.num > most) throw new ProtocolError('ring', `queue ${ring.index} has 1 to ${most} entries, not ${state.num}`)
    if (ring.size !== state.num) this.#stopped(state.index).size = state.num
    return undefined
  }

  #setVringAddr({ request: { addr } }: MessageNamed<'set_vring_addr'>): Answer {
    const ring = this.#ring(addr.index)
    const { flags, descriptor, available, used, log } = addr
    // Front-ends tell of memory first, where they tell of it at all by now.
    for (const address of [descriptor, available, used])
      if (this.table.regions.length > 0 && guestAddress(this.table.regions, address) === undefined)
        throw new ProtocolError('ring', `address 0x${address.toString(16)} of queue ${ring.index} is in no region`)
    const before = ring.addresses
    const moves = before?.descriptor !== descriptor || before.available !== available || before.used !== used
    if (moves && ring.open) throw new ProtocolError('unexpected', `queue ${ring.index} moves while it works`)
    ring.addresses = { flags, descriptor, available, used, log }
    this.#logRing(ring)
    this.rings.start()
    return undefined
  }

  #setVringBase({ request, bytes }: MessageNamed<'set_vring_base'>): Answer {
    this.#stopped(request.base.index).base = viewOf(bytes).getUint32(baseAt, true)
    return undefined
  }

  async #getVringBase({ request: { state } }: MessageNamed<'get_vring_base'>): Promise<Answer> {
    const ring = this.#ring(state.index)
    await this.rings.stop(ring)
    return { value: { base: vringBaseValue(ring.index, this.rings.base(ring), this.rings.packed) } }
  }

  #setVringKick(message: MessageNamed<'set_vring_kick'>): Answer {
    const ring = this.#ring(message.request.ring.u64_index)
    const fd = this.#eventfd(message)
    ring.setKick(fd, this.#poller, () => this.rings.kicked(ring))
    // Nobody kicks a ring that is polled.
    if (fd === undefined) this.rings.kicked(ring)
    return undefined
  }

  #setVringCall(message: MessageNamed<'set_vring_call'>): Answer {
    const ring = this.#ring(message.request.ring.u64_index)
    ring.setCall(this.#eventfd(message))
    // What was signalled through the one before may have been lost.
    if (ring.open) this.#call(ring)
    return undefined
  }

  #setVringErr(message: MessageNamed<'set_vring_err'>): Answer {
    this.#ring(message.request.ring.u64_index).setError(this.#eventfd(message))
    return undefined
  }

  /** Takes the eventfd that came; anything else could hold this process up. */
  #eventfd({ fds }: Message): number | undefined {
    const fd = fds[0]
    if (fd === undefined) return undefined
    if (!isEventfd(fd)) throw new ProtocolError('descriptors', 'only eventfds notify')
    this.#kept.add(fd)
    return fd
  }

  #setVringEnable({ request: { state } }: MessageNamed<'set_vring_enable'>): Answer {
    if (state.num > 1) throw new ProtocolError('value', `a ring is enabled by 1 and disabled by 0, not by ${state.num}`)
    this.rings.enable(this.#ring(state.index), state.num === 1)
    return undefined
  }

  /** The queue of a ring that starts, from where it goes on. */
  #createQueue(memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions): DeviceQueue {
    const ring = this.#ring(setup.index)
    const inFlight = this.#inFlight?.region(ring.index)
    const start = { base: this.rings.base(ring), ...(inFlight && { inFlight }) }
    ring.queue = createVring(memory, setup, { ...options, quiet: () => this.#spinner.isSpinning, batch }, start)
    return ring.queue
  }

  /** The device has used buffers, and the driver wants to know. */
  #used(index: number): void {
    this.#log.tell()
    this.#call(this.rings.all[index])
  }

  #call(ring: Ring | undefined): void {
    if (ring === undefined || ring.call() || !this.uses(VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS)) return
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

  // ---- What survives the back-end, or tells of it

  #getInflightFd({ request: { inflight } }: MessageNamed<'get_inflight_fd'>): Answer {
    const { num_queues, queue_size } = this.#inFlightShape(inflight)
    const { value, fd } = InFlightArea.create({ num_queues, queue_size }, this.rings.packed)
    return { value: { inflight: value }, fds: [fd] }
  }

  #setInflightFd({ request: { inflight }, fds }: MessageNamed<'set_inflight_fd'>): Answer {
    if (this.rings.isOpen) throw new ProtocolError('unexpected', 'the inflight area changes while a ring works')
    const { mmap_size, mmap_offset } = inflight
    const value = { mmap_size, mmap_offset, ...this.#inFlightShape(inflight) }
    const area = InFlightArea.map(value, fds[0]!, { packed: this.rings.packed, unsealed: this.#options.sealedMemory !== true })
    this.#inFlight?.release()
    this.#inFlight = area
    return undefined
  }

  #inFlightShape({ num_queues, queue_size }: Readonly<VhostUserInflightValue>): Pick<VhostUserInflightValue, 'num_queues' | 'queue_size'> {
    const { queueCount } = this.control
    if (num_queues < 1 || num_queues > queueCount || queue_size < 1 || queue_size > largestQueue)
      throw new ProtocolError('value', `an inflight area has 1 to ${queueCount} queues of 1 to ${largestQueue}, not ${num_queues} of ${queue_size}`)
    return { num_queues, queue_size }
  }

  #setLogBase({ request: { log }, fds }: MessageNamed<'set_log_base'>): Answer {
    const [fd] = fds
    if (log === undefined || fd === undefined) throw new ProtocolError('not-negotiated', 'the log is memory that comes with a descriptor')
    this.#log.map(log, fd)
    return { value: { result: 0n } }
  }

  #setLogFd(message: MessageNamed<'set_log_fd'>): Answer {
    const fd = this.#eventfd(message)
    if (fd !== undefined) this.#log.setEventfd(fd)
    return undefined
  }

  /** Its device area is noted where the front-end wants to find it. */
  #logRing({ index, size, addresses }: Ring): void {
    const address = addresses && guestAddress(this.table.regions, addresses.used)
    const isLogged = addresses !== undefined && (addresses.flags & (1 << vhost_user_vring_flags.VHOST_VRING_F_LOG)) !== 0
    const length = deviceAreaSize(size, this.rings.packed)
    this.#log.setRing(index, isLogged && address !== undefined ? { address, length, log: addresses.log } : undefined)
  }

  // ---- Configuration

  #getConfig({ request: { config } }: MessageNamed<'get_config'>): Answer {
    const { offset, size, flags } = config
    // An answer without anything says that it cannot be.
    if (size > mostConfig || offset > this.device.config.length) return { value: {} }
    this.#knownConfig = this.control.configGeneration
    const payload = Uint8Array.from({ length: size }, (_, at) => this.control.readConfig(offset + at, 1))
    return { value: { config: { offset, size, flags, payload } } }
  }

  #setConfig({ request: { config } }: MessageNamed<'set_config'>): Answer {
    const { offset, size, payload } = config
    const { length } = this.device.config
    if (offset + size > length)
      throw new ProtocolError('value', `the configuration space has ${length} bytes, not those from ${offset} to ${offset + size}`)
    const view = viewOf(payload)
    for (let at = 0; at < size; ) {
      const width = [4, 2, 1].find((width) => (offset + at) % width === 0 && at + width <= size)!
      const value = width === 4 ? view.getUint32(at, true) : width === 2 ? view.getUint16(at, true) : view.getUint8(at)
      this.control.writeConfig(offset + at, width, value)
      at += width
    }
    return undefined
  }

  #configChanged(): void {
    if (!this.uses(VHOST_USER_PROTOCOL_F_CONFIG)) return
    this.#send(encodeRequest(vhost_user_backend.backend_config_change_msg, {}, this.context))
  }

  // ---- Requests of our own

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
    this.#ended = true
    this.#spinner.end()
    await this.rings.end()
    for (const ring of this.rings.all) ring?.release()
    this.#backend?.close()
    this.#log.release()
    this.#inFlight?.release()
    this.table.release()
  }
}

/** The number in a position lies behind header and index. */
const baseAt = headerSize + 4

function deviceAreaSize(size: number, packed: boolean): number {
  // A size that cannot be says so when the ring starts.
  return size > 0 && (packed || Number.isInteger(Math.log2(size))) ? queueLayout({ size, packed }).deviceArea.size : 0
}

function vringBaseValue(index: number, base: number, packed: boolean): VhostUserVringBaseValue {
  const bytes = new Uint8Array(8)
  const view = viewOf(bytes)
  view.setUint32(0, index, true)
  view.setUint32(4, base, true)
  return VhostUserVringBase.decode(bytes, { features: packed ? FeatureSet.of(VIRTIO_F_RING_PACKED) : FeatureSet.empty })
}

const low32 = 0xffff_ffffn

function bits64(features: FeatureSet): bigint {
  return BigInt(features.word(0)) | (BigInt(features.word(1)) << 32n)
}

function fromBits64(bits: bigint): FeatureSet {
  return featuresFromWords([Number(bits & low32), Number(bits >> 32n)])
}
