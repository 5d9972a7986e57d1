/** `Net`: a network card for guests. VIRTIO 1.4, Device Types / Network Device. */
import type { QueueInfo } from 'virtgen/codegen/v1/device'
import { checkInteger, type FeatureSet } from 'virtgen/codegen/v1/wire'
import { type Outcome, type Plain, StateError } from 'virtgen/runtime'
import {
  type NetAddVlanRequest,
  type NetDeleteVlanRequest,
  NetDevice,
  type NetSetAllmultiRequest,
  type NetSetAlluniRequest,
  type NetSetMacAddrRequest,
  type NetSetMacTableRequest,
  type NetSetNobcastRequest,
  type NetSetNomultiRequest,
  type NetSetNouniRequest,
  type NetSetOffloadsRequest,
  type NetSetPromiscRequest,
  type NetSetVqPairsRequest,
  type NetTransmitRequest,
} from 'virtgen/skeleton/net'
import {
  VIRTIO_NET_ERR,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_VLAN,
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_GUEST_ANNOUNCE,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_ECN,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_GUEST_TSO6,
  VIRTIO_NET_F_HOST_ECN,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_HOST_TSO6,
  VIRTIO_NET_F_MQ,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_NET_F_MTU,
  VIRTIO_NET_S_ANNOUNCE,
  VIRTIO_NET_S_LINK_UP,
  VirtioNetHdr,
  virtio_net_ctrl_rx_mode,
  virtio_net_frame,
  virtio_net_offloads,
} from 'virtgen/wire/net'
import { Gate } from '../gate.ts'
import type { NetBackend, NetCard, Offload, OffloadSupport } from './backend.ts'
import { ethernetHeader, macBytes, tagBytes } from './ethernet.ts'
import { isCardAddress, macKey, macText } from './mac.ts'
import { type NetOptions, skeletonOptions } from './net-options.ts'
import { finish, offloadMembers, readOffload, refused } from './offload.ts'
import { ReceiveFilter, type ReceiveMode, vlanCount } from './receive-filter.ts'
import { Receiver } from './receiver.ts'
import { type Counters, type NetStatistics, newCounters } from './statistics.ts'

const defaultBacklog = 256
/** Also with two tags of VLANs. */
const longestFrame = virtio_net_frame.max_gso_frame + 2 * tagBytes
const nothing: OffloadSupport = {}
const plain = {}
const offloadBits: readonly (readonly [feature: number, bit: number])[] = [
  [VIRTIO_NET_F_GUEST_CSUM, virtio_net_offloads.VIRTIO_NET_F_GUEST_CSUM],
  [VIRTIO_NET_F_GUEST_TSO4, virtio_net_offloads.VIRTIO_NET_F_GUEST_TSO4],
  [VIRTIO_NET_F_GUEST_TSO6, virtio_net_offloads.VIRTIO_NET_F_GUEST_TSO6],
  [VIRTIO_NET_F_GUEST_ECN, virtio_net_offloads.VIRTIO_NET_F_GUEST_ECN],
]

/**
 * A network card between a guest and a backend.
 *
 * @example
 * const net = new Net(new Gateway())
 * new MmioDevice(net, { memory, interrupt })
 */
export class Net extends NetDevice implements NetCard {
  readonly backend: NetBackend
  readonly #options: NetOptions
  readonly #counters: Counters = newCounters()
  readonly #filter = new ReceiveFilter()
  readonly #receiver: Receiver
  readonly #gate: Gate | undefined
  /** The address that the card has after a reset. */
  readonly #permanentMac: Uint8Array
  #plugged = true
  #carrier = true
  /** What the driver may leave to do in frames that it sends. */
  #mayLeave: OffloadSupport = nothing
  /** Offloads of frames to the guest that are on, as bits of the control command. Undefined: all that are negotiated. */
  #offloads: number | undefined
  /** What that comes to. */
  #guestTakes: OffloadSupport = nothing
  /** The driver has to be told of the status when the device goes on: it is not that of the snapshot. */
  #isStatusNew = false
  /** Where frames of the guest are copied to; undefined while one is there. */
  #scratch: Uint8Array | undefined = new Uint8Array(longestFrame)
  /** The beginning of it that the last frame took. */
  #frame: Uint8Array = new Uint8Array(0)

  /** @throws RangeError or TypeError for an option that cannot be */
  constructor(backend: NetBackend, options: NetOptions = {}) {
    const { onError } = options
    if (typeof backend?.attach !== 'function') throw new TypeError('a card needs a network: new Net(new Gateway()), or another backend')
    super({ ...skeletonOptions(options), ...(onError && { onError }) })
    const { pairs = 1, backlog = defaultBacklog, transmitLimiter } = options
    this.backend = backend
    this.#options = options
    this.#permanentMac = this.mac.slice()
    this.#filter.mac = macKey(this.#permanentMac)
    if (transmitLimiter) this.#gate = new Gate({ atOnce: Number.MAX_SAFE_INTEGER, limiter: transmitLimiter })
    this.#receiver = new Receiver({
      pairs,
      backlog: checkInteger(backlog, 1, Number.MAX_SAFE_INTEGER, 'backlog'),
      limiter: options.receiveLimiter,
      counters: this.#counters,
      put: (queue, frame, offload) => this.sendPacket(queue, offload === undefined ? plain : { hdr: offloadMembers(offload) }, frame),
      resume: () => this.backend.resume?.(),
    })
    backend.attach(this)
  }

  // ---- For the host

  /** The address that the guest uses now: 6 bytes, a copy. */
  get mac(): Uint8Array {
    return (this.config.fields?.mac ?? new Uint8Array(macBytes)).slice()
  }
  /** The same as text. */
  get macText(): string {
    return macText(this.mac)
  }

  get statistics(): NetStatistics {
    return { ...this.#counters }
  }

  /** Frames that wait for the guest. */
  get waiting(): number {
    return this.#receiver.waiting
  }

  /** What the guest sees of the link: the cable is plugged in, and there is a network at its end. */
  get linkUp(): boolean {
    return this.#plugged && this.#carrier
  }

  /** Pulls the cable, or plugs it in again. The guest is told, if it can be; either way, no frame passes meanwhile. */
  setLink(up: boolean): void {
    this.#plugged = up
    this.#tellStatus()
  }

  setCarrier(up: boolean): void {
    this.#carrier = up
    this.#tellStatus()
  }

  /** Asks the guest to tell its neighbours where it is, as after a migration; false where it has no ear for that. */
  announce(): boolean {
    if (this.host?.features.has(VIRTIO_NET_F_GUEST_ANNOUNCE) !== true) return false
    this.config.update((fields) => {
      fields.status |= VIRTIO_NET_S_ANNOUNCE
    })
    return true
  }

  /** A frame for the guest, from the backend or from whoever has one. See `NetCard`. */
  receive(frame: Uint8Array, offload?: Offload): boolean {
    const { length } = frame
    if (this.host === undefined || !this.linkUp || length < ethernetHeader || length > longestFrame) this.#counters.receiveDropped++
    else if (!this.#filter.passes(frame)) this.#counters.filtered++
    // Most frames: nothing is made for one.
    else if (offload === undefined) this.#receiver.receive(frame, undefined)
    else if (!finish(frame, offload, this.#guestTakes, false, (bytes, left) => this.#receiver.receive(bytes, left))) this.#counters.receiveDropped++
    return !this.#receiver.isFull
  }

  /** @returns whether there is anything to tell */
  #tellStatus(): boolean {
    const up = this.linkUp ? VIRTIO_NET_S_LINK_UP : 0
    const { status = 0 } = this.config.fields ?? {}
    if ((status & VIRTIO_NET_S_LINK_UP) === up) return false
    this.config.update((fields) => {
      fields.status = (status & ~VIRTIO_NET_S_LINK_UP) | up
    })
    return true
  }

  // ---- From the guest

  protected override transmit(request: NetTransmitRequest): Outcome {
    if (this.#gate === undefined) return this.#transmit(request)
    return this.#gate.enter(request, request.readable.length, () => this.#transmit(request), false)
  }

  #transmit({ header, readable, queue }: NetTransmitRequest): void | Promise<void> {
    const { length } = readable
    const offload = readOffload(header.hdr, length, this.#mayLeave)
    if (!this.linkUp || length < ethernetHeader || length > longestFrame || offload === refused) {
      this.#counters.transmitDropped++
      return
    }
    // Who is told of the frame may make the guest run, and send the next one.
    const scratch = this.#scratch
    this.#scratch = undefined
    try {
      const frame = scratch === undefined ? new Uint8Array(length) : this.#frameIn(scratch, length)
      readable.copyTo(frame)
      this.#receiver.steering.learn(frame, queue.index >> 1)
      return offload === undefined ? this.#sendPlain(frame) : this.#send(frame, offload)
    } finally {
      if (scratch !== undefined) this.#scratch = scratch
    }
  }

  /** The same object for frames of one length: what is copied into it often is copied faster. */
  #frameIn(scratch: Uint8Array, length: number): Uint8Array {
    if (this.#frame.length !== length) this.#frame = scratch.subarray(0, length)
    return this.#frame
  }

  #count(isSent: boolean, length: number): void {
    if (isSent) {
      this.#counters.transmittedFrames++
      this.#counters.transmittedBytes += length
    } else this.#counters.transmitDropped++
  }

  #failed(error: unknown): void {
    this.#counters.transmitDropped++
    this.#options.onError?.(error)
  }

  /** A frame with which nothing is left to do: most are, and nothing is made for one. */
  #sendPlain(frame: Uint8Array): void | Promise<void> {
    const { length } = frame
    try {
      const sent = this.backend.send(frame, undefined)
      if (sent !== undefined)
        return sent.then(
          () => this.#count(true, length),
          (error) => this.#failed(error),
        )
      this.#count(true, length)
    } catch (error) {
      this.#failed(error)
    }
  }

  #send(frame: Uint8Array, offload: Offload): void | Promise<void> {
    const { length } = frame
    const pending: Promise<void>[] = []
    try {
      const isFrame = finish(frame, offload, this.backend.takes ?? nothing, true, (bytes, left) => {
        const sent = this.backend.send(bytes, left)
        if (sent !== undefined) pending.push(sent)
      })
      if (pending.length === 0) this.#count(isFrame, length)
    } catch (error) {
      this.#failed(error)
    }
    if (pending.length > 0)
      return Promise.all(pending).then(
        () => this.#count(true, length),
        (error) => this.#failed(error),
      )
  }

  protected override eventBuffersAvailable({ index }: QueueInfo): void {
    this.#receiver.flush(index >> 1)
  }

  // ---- Commands

  protected override setPromisc({ header }: NetSetPromiscRequest): Outcome {
    return this.#setMode('promisc', header.mode)
  }
  protected override setAllmulti({ header }: NetSetAllmultiRequest): Outcome {
    return this.#setMode('allmulti', header.mode)
  }
  protected override setAlluni({ header }: NetSetAlluniRequest): Outcome {
    return this.#setMode('alluni', header.mode)
  }
  protected override setNomulti({ header }: NetSetNomultiRequest): Outcome {
    return this.#setMode('nomulti', header.mode)
  }
  protected override setNouni({ header }: NetSetNouniRequest): Outcome {
    return this.#setMode('nouni', header.mode)
  }
  protected override setNobcast({ header }: NetSetNobcastRequest): Outcome {
    return this.#setMode('nobcast', header.mode)
  }

  #setMode(mode: ReceiveMode, value: number): Outcome {
    if (value !== virtio_net_ctrl_rx_mode.mode_on && value !== virtio_net_ctrl_rx_mode.mode_off) return VIRTIO_NET_ERR
    this.#filter.setMode(mode, value === virtio_net_ctrl_rx_mode.mode_on)
  }

  protected override setMacTable({ header: { unicast, multicast } }: NetSetMacTableRequest): Outcome {
    const addresses: number[] = []
    for (const table of [unicast, multicast]) for (let i = 0; i < table.macs_length; i++) addresses.push(macKey(table.macs(i)))
    this.#filter.setTable(addresses)
  }

  protected override setMacAddr({ header }: NetSetMacAddrRequest): Outcome {
    if (!isCardAddress(header.mac)) return VIRTIO_NET_ERR
    if (this.config.fields) this.config.fields.mac = header.mac
    this.#filter.mac = macKey(header.mac)
  }

  protected override addVlan({ header }: NetAddVlanRequest): Outcome {
    return this.#setVlan(header.vlan_id, true)
  }
  protected override deleteVlan({ header }: NetDeleteVlanRequest): Outcome {
    return this.#setVlan(header.vlan_id, false)
  }

  #setVlan(id: number, on: boolean): Outcome {
    if (id >= vlanCount) return VIRTIO_NET_ERR
    this.#filter.setVlan(id, on)
  }

  protected override ackAnnounce(): Outcome {
    if (this.config.fields) this.config.fields.status &= ~VIRTIO_NET_S_ANNOUNCE
  }

  protected override setVqPairs({ header }: NetSetVqPairsRequest): Outcome {
    this.#receiver.usePairs(header.virtqueue_pairs)
  }

  protected override setOffloads({ header }: NetSetOffloadsRequest): Outcome {
    const bits = Number(header.offloads)
    if (!this.#canTake(bits)) return VIRTIO_NET_ERR
    this.#offloads = bits
    this.#negotiateOffloads()
    this.#receiver.renew((frame, offload, give) => finish(frame, offload, this.#guestTakes, true, give))
  }

  /** Nothing but offloads that are negotiated. */
  #canTake(bits: number): boolean {
    return offloadBits.reduce((rest, [feature, bit]) => rest - (this.host?.features.has(feature) ? bits & (1 << bit) : 0), bits) === 0
  }

  override configWritten(field: string): void {
    if (field === 'mac') this.#filter.mac = macKey(this.mac)
  }

  // ---- Life

  /** A front-end that has the control queue itself negotiates what rests on it without it. */
  override accepts(features: FeatureSet): boolean {
    return super.accepts(this.#options.control === 'front-end' ? features.with(VIRTIO_NET_F_CTRL_VQ) : features)
  }

  protected override activated(): void {
    const { host } = this
    if (host === undefined) return
    const { features } = host
    this.#filter.byAddress = features.has(VIRTIO_NET_F_CTRL_RX)
    this.#filter.byVlan = features.has(VIRTIO_NET_F_CTRL_VLAN)
    this.#mayLeave = {
      checksum: features.has(VIRTIO_NET_F_CSUM),
      tcp4: features.has(VIRTIO_NET_F_HOST_TSO4),
      tcp6: features.has(VIRTIO_NET_F_HOST_TSO6),
      ecn: features.has(VIRTIO_NET_F_HOST_ECN),
    }
    this.#negotiateOffloads()
    // How many pairs the driver uses is told to the front-end alone.
    if (this.#options.control === 'front-end' && features.has(VIRTIO_NET_F_MQ)) this.#receiver.steering.follow(this.#options.pairs ?? 1)
    this.#receiver.begin({
      host,
      mergeable: features.has(VIRTIO_NET_F_MRG_RXBUF),
      headerSize: VirtioNetHdr.layout({ features }).$size,
      mtu: features.has(VIRTIO_NET_F_MTU) ? this.#options.mtu : undefined,
    })
    if (this.#isStatusNew) host.configChanged()
    this.#isStatusNew = false
  }

  #negotiateOffloads(): void {
    const features = this.host?.features
    const isOn = (feature: number, bit: number): boolean =>
      features?.has(feature) === true && (this.#offloads === undefined || (this.#offloads & (1 << bit)) !== 0)
    const [checksum, tcp4, tcp6, ecn] = offloadBits.map(([feature, bit]) => isOn(feature, bit)) as [boolean, boolean, boolean, boolean]
    this.#guestTakes = { checksum, tcp4, tcp6, ecn }
  }

  protected override resetting(): void {
    this.#gate?.cancel()
    this.#filter.reset()
    this.#filter.mac = macKey(this.#permanentMac)
    this.#offloads = undefined
    const { fields } = this.config
    const isAnnouncing = fields !== undefined && (fields.status & VIRTIO_NET_S_ANNOUNCE) !== 0
    if (isAnnouncing || (fields !== undefined && macKey(fields.mac) !== this.#filter.mac))
      this.config.update((config) => {
        config.status &= ~VIRTIO_NET_S_ANNOUNCE
        config.mac = this.#permanentMac
      })
    this.#receiver.end()
  }

  protected override queueResetting({ index, message }: QueueInfo): void {
    this.#gate?.cancel(index)
    if (message?.kind === 'events') this.#receiver.queueGone(index >> 1)
  }

  /** Frames that wait are not saved: a network may lose some. */
  override saveState(): Plain {
    return { pairs: this.#receiver.steering.pairs, offloads: this.#offloads ?? null, filter: this.#filter.save() }
  }

  /** @throws StateError for what is no state of such a device */
  override restoreState(state: Plain): void {
    const { pairs, offloads, filter } = (state ?? {}) as { readonly [name: string]: Plain }
    const { pairs: most = 1 } = this.#options
    if (!(Number.isInteger(pairs) && (pairs as number) >= 1 && (pairs as number) <= most))
      throw new StateError('device.state.pairs', `pairs must be an integer from 1 to ${most}`)
    const isOffloads =
      offloads === null || (Number.isInteger(offloads) && offloadBits.reduce((rest, [, bit]) => rest & ~(1 << bit), offloads as number) === 0)
    if (!isOffloads) throw new StateError('device.state.offloads', 'offloads must be null or bits of offloads that there are')
    this.#filter.restore(filter ?? null)
    this.#filter.mac = macKey(this.mac)
    this.#receiver.steering.use(pairs as number)
    this.#offloads = (offloads as number | null) ?? undefined
    this.#isStatusNew = this.#tellStatus()
  }
}
