/** The driver's side of vhost-user: a device in another process, as a transport of driver clients. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { vhost_user } from 'virtgen/protocol/vhost-user'
import {
  type Doorbell,
  DriverError,
  type DriverSharedMemory,
  type DriverTransport,
  driverEvents,
  driverRingFeatures,
  type QueueSetup,
} from 'virtgen/runtime'
import { DEVICE_NEEDS_RESET, DRIVER_OK, FEATURES_OK, VIRTIO_F_NOTIFICATION_DATA } from 'virtgen/wire/content'
import { DEVICE_ID as netId } from 'virtgen/wire/net'
import {
  VHOST_F_LOG_ALL,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VHOST_USER_PROTOCOL_F_BACKEND_REQ,
  VHOST_USER_PROTOCOL_F_CONFIG,
  VHOST_USER_PROTOCOL_F_RESET_DEVICE,
  VHOST_USER_PROTOCOL_F_STATUS,
} from 'virtgen/wire/vhost-user'
import { Poller, UnixSocket } from '../../system/index.ts'
import { BackendRequests } from './backend-requests.ts'
import { FrontEndChannel } from './channel.ts'
import { type ConfigShape, FrontEndConfig } from './config.ts'
import { type BackEndFacts, featureBits, knownProtocolFeatures, shakeHands } from './handshake.ts'
import { SharedMemory, type SharedRegion } from './memory.ts'
import { FrontEndRing } from './ring.ts'
import { SharedRegions } from './shared-regions.ts'

/** How to reach a back-end. */
export interface FrontendOptions {
  /** The configuration space, of which as much is fetched as the offered features say. Absent: none. */
  readonly config?: (offered: FeatureSet) => ConfigShape
  /** Device id: where it is that of a network device, the back-end counts its queues in pairs. */
  readonly deviceId?: number
  /** Memory that the back-end is to share; by default 64 MiB of its own, which goes with the connection. */
  readonly memory?: SharedMemory
  /** What waits for the back-end; by default the one of this thread. */
  readonly poller?: Poller
  /** Protocol features to use where the back-end offers them: bit numbers. By default all that there is a use for here. */
  readonly protocolFeatures?: readonly number[]
  /** Milliseconds in which each request must be answered; 10000 by default. */
  readonly timeout?: number
}

const defaultMemory = 64 * 2 ** 20
/** Milliseconds. */
export const defaultTimeout = 10_000
/** A back-end does not say how large a queue may be: the format's limit is the only one that is known. */
const largestQueue = 0x8000
/** Features of the connection, which drivers do not see. */
const connectionFeatures = FeatureSet.of(VHOST_USER_F_PROTOCOL_FEATURES, VHOST_F_LOG_ALL)

/**
 * A transport over vhost-user. All that a driver reads was fetched before, and what it writes needs no answer: so nothing here waits. Where a driver must wait, for
 * the end of a reset, it looks again (`status`, `isQueueResetting`).
 */
export class VhostUserFrontend implements DriverTransport {
  readonly legacy = false
  /** No word comes with a kick. */
  readonly features = driverRingFeatures.without(VIRTIO_F_NOTIFICATION_DATA)
  readonly queueAlign = undefined
  readonly fixedQueueSize = false
  readonly config: FrontEndConfig
  /** What the back-end shares. */
  readonly memory: SharedMemory
  /** What the back-end has said of itself. */
  readonly backEnd: BackEndFacts
  readonly #channel: FrontEndChannel
  readonly #poller: Poller
  readonly #options: FrontendOptions
  readonly #regions: SharedRegions
  readonly #rings = new Map<number, FrontEndRing>()
  readonly #backendRequests: BackendRequests | undefined
  readonly #stopping = new Set<number>()
  #accepted = FeatureSet.empty
  #status = 0
  #configChanged = false
  #failure: DriverError | undefined
  #onInterrupt: ((vector: number | undefined) => void) | undefined
  #missed = false
  #closed = false

  private constructor(channel: FrontEndChannel, backEnd: BackEndFacts, config: FrontEndConfig, poller: Poller, options: FrontendOptions) {
    this.#channel = channel
    this.backEnd = backEnd
    this.config = config
    this.#poller = poller
    this.#options = options
    this.#regions = new SharedRegions(channel, backEnd.regions)
    this.memory = options.memory ?? new SharedMemory(defaultMemory)
    channel.onFailure = (error) => this.#fail(error)
    if (channel.has(VHOST_USER_PROTOCOL_F_BACKEND_REQ))
      this.#backendRequests = new BackendRequests(poller, channel, {
        onConfigChange: () => this.#fetchConfig(),
        onError: (cause) => channel.broken(cause),
      })
  }

  /**
   * Connects to a back-end that listens, and asks for all that a driver will want to know.
   *
   * @throws SystemError (as a rejection) where nobody listens
   * @throws DriverError `gone` (as a rejection) where the back-end does not answer as it must
   */
  static connect(path: string, options: FrontendOptions = {}): Promise<VhostUserFrontend> {
    return VhostUserFrontend.#open((poller) => UnixSocket.connect(poller, path), options)
  }

  /**
   * The same over a connected socket, which belongs to the front-end from now on.
   *
   * @param fd - a descriptor of a stream socket
   */
  static adopt(fd: number, options: FrontendOptions = {}): Promise<VhostUserFrontend> {
    return VhostUserFrontend.#open((poller) => new UnixSocket(poller, fd), options)
  }

  static async #open(makeSocket: (poller: Poller) => UnixSocket, options: FrontendOptions): Promise<VhostUserFrontend> {
    const poller = options.poller ?? Poller.shared
    let channel: FrontEndChannel | undefined
    try {
      channel = new FrontEndChannel(makeSocket(poller), options.timeout ?? defaultTimeout)
      const backEnd = await shakeHands(channel, options.protocolFeatures ?? knownProtocolFeatures)
      const config = new FrontEndConfig(channel, options.config?.(backEnd.features) ?? { length: 0 })
      if (channel.has(VHOST_USER_PROTOCOL_F_CONFIG)) await config.fetch()
      else await channel.settled()
      return new VhostUserFrontend(channel, backEnd, config, poller, options)
    } catch (error) {
      channel?.close()
      throw error
    }
  }

  /** Called when the device has something to say: with the index of a queue, or undefined for all that may have happened. At once where that was before. */
  set onInterrupt(handler: (vector: number | undefined) => void) {
    this.#onInterrupt = handler
    if (this.#missed) this.#interrupt(undefined)
  }

  get failure(): DriverError | undefined {
    return this.#failure
  }

  get configGeneration(): number {
    return this.config.generation
  }

  /** What is written takes effect in the order of writing. A reset has ended when 0 is read. */
  get status(): number {
    return this.#failure !== undefined && this.#status !== 0 ? this.#status | DEVICE_NEEDS_RESET : this.#status
  }

  set status(value: number) {
    if (value === 0) {
      this.#reset()
      return
    }
    const added = value & ~this.#status
    this.#status = value & ~DEVICE_NEEDS_RESET
    if ((added & FEATURES_OK) !== 0) this.#useFeatures()
    if ((added & DRIVER_OK) !== 0) for (const ring of this.#rings.values()) this.#enable(ring)
    this.#tellStatus()
    if ((added & FEATURES_OK) !== 0) this.#checkStatus()
  }

  readFeatures(word: number): number {
    return this.backEnd.features.difference(connectionFeatures).word(word)
  }

  writeFeatures(word: number, value: number): void {
    this.#accepted = this.#accepted.withWord(word, value)
  }

  findQueue(index: number): number | 'in-use' {
    const { queues } = this.backEnd
    // A network device has a control queue behind its pairs.
    const count = this.#options.deviceId === netId ? 2 * queues + 1 : queues
    if (index >= count) return 0
    return this.#rings.get(index)?.isSetUp === true ? 'in-use' : largestQueue
  }

  doorbell(index: number): Doorbell {
    const ring = this.#ring(index)
    return { value: index, ring: () => ring.kick() }
  }

  enableQueue(setup: QueueSetup): void {
    const ring = this.#ring(setup.index)
    ring.setUp(this.#channel, setup, this.#regions.shared)
    if ((this.#status & DRIVER_OK) !== 0) this.#enable(ring)
  }

  resetQueue(index: number): void {
    this.#stopping.add(index)
    this.#stop(this.#ring(index)).then(
      () => this.#stopping.delete(index),
      () => {},
    )
  }

  isQueueResetting(index: number): boolean {
    return this.#stopping.has(index)
  }

  events(vector: number | undefined): number {
    if (vector !== undefined) return driverEvents.used
    const changed = this.#configChanged
    this.#configChanged = false
    return changed ? driverEvents.used | driverEvents.config : driverEvents.used
  }

  isServedBy(index: number, vector: number): boolean {
    return index === vector
  }

  /** No request of vhost-user tells of shared memory regions. */
  sharedMemory(): DriverSharedMemory | undefined {
    return undefined
  }

  /**
   * Adds a region to what the back-end shares.
   *
   * @param size - bytes
   * @throws RangeError, SystemError, DriverError `memory`, `gone` (as a rejection)
   */
  async addMemory(size: number): Promise<SharedRegion> {
    const region = this.memory.add(size)
    try {
      this.#regions.share(this.memory.regions)
    } catch (error) {
      this.memory.remove(region)
      throw error
    }
    await this.#channel.settled()
    return region
  }

  /**
   * Takes a region away, in which nothing is allocated.
   *
   * @throws RangeError where there is no such region, Error where it is in use, DriverError `gone` (as a rejection)
   */
  async removeMemory(region: SharedRegion): Promise<void> {
    this.memory.requireFree(region)
    this.#regions.share(this.memory.regions.filter((each) => each !== region))
    await this.#channel.settled()
    this.memory.remove(region)
  }

  /**
   * Waits until the back-end has done all that it was told.
   *
   * @throws DriverError why it cannot be used (as a rejection)
   */
  async settled(): Promise<void> {
    await this.#channel.settled()
    if (this.#failure !== undefined) throw this.#failure
  }

  /** Ends the connection. The memory stays, for buffers that somebody still looks at: see `close`. */
  release(): void {
    if (this.#closed) return
    this.#closed = true
    this.#status = 0
    this.#channel.close()
    this.#backendRequests?.close()
    for (const ring of this.#rings.values()) ring.close()
    this.#rings.clear()
  }

  /** Ends the connection and gives its own memory back: views of it have no bytes any more. Rings must be reset before. */
  close(): void {
    this.release()
    if (this.#options.memory === undefined) this.memory.close()
  }

  #ring(index: number): FrontEndRing {
    let ring = this.#rings.get(index)
    if (ring === undefined) {
      ring = new FrontEndRing(index, this.#poller, {
        onCall: (vector) => this.#interrupt(vector),
        onError: () => this.#fail(new DriverError('needs-reset', `the back-end says that something is wrong with queue ${index}`)),
      })
      this.#rings.set(index, ring)
    }
    return ring
  }

  /** Without VHOST_USER_F_PROTOCOL_FEATURES rings are enabled from the start. */
  #enable(ring: FrontEndRing, on = true): void {
    if (this.backEnd.features.has(VHOST_USER_F_PROTOCOL_FEATURES) && ring.isSetUp) ring.enable(this.#channel, on)
  }

  async #stop(ring: FrontEndRing): Promise<void> {
    this.#enable(ring, false)
    await ring.stop(this.#channel)
  }

  #useFeatures(): void {
    const channel = this.#channel
    const features = this.#accepted.union(this.backEnd.features.intersection(FeatureSet.of(VHOST_USER_F_PROTOCOL_FEATURES)))
    channel.tell(vhost_user.set_features, { features: featureBits(features) })
    channel.context = { ...channel.context, features }
    this.#regions.share(this.memory.regions)
  }

  #tellStatus(): void {
    if (this.#channel.has(VHOST_USER_PROTOCOL_F_STATUS)) this.#channel.tell(vhost_user.set_status, { device_status: BigInt(this.#status) })
  }

  /** What the device makes of the status is known only later. */
  #checkStatus(): void {
    if (!this.#channel.has(VHOST_USER_PROTOCOL_F_STATUS)) return
    this.#channel.ask(vhost_user.get_status, {}).then(
      ({ reply }) => {
        const status = Number(reply.device_status)
        if ((status & FEATURES_OK) === 0)
          this.#fail(new DriverError('features-refused', `the device does not work with the features ${this.#accepted}`))
        if ((status & DEVICE_NEEDS_RESET) !== 0) this.#fail(new DriverError('needs-reset', 'the device says that it needs a reset'))
      },
      () => {},
    )
  }

  /** All rings end; then the device forgets what it knew. */
  #reset(): void {
    if (this.#status === 0) return
    if (this.#failure !== undefined) {
      this.#status = 0
      return
    }
    const stopped = [...this.#rings.values()].filter(({ isSetUp }) => isSetUp).map((ring) => this.#stop(ring))
    if (this.#channel.has(VHOST_USER_PROTOCOL_F_RESET_DEVICE)) this.#channel.tell(vhost_user.reset_device, {})
    if (this.#channel.has(VHOST_USER_PROTOCOL_F_STATUS)) this.#channel.tell(vhost_user.set_status, { device_status: 0n })
    const ended = (): void => {
      this.#status = 0
    }
    // A back-end that has gone uses nothing any more.
    Promise.all([...stopped, this.#channel.settled()]).then(ended, ended)
  }

  #fetchConfig(): void {
    this.config.fetch().then(
      (changed) => {
        if (changed) this.#notifyConfig()
        this.#checkStatus()
      },
      () => {},
    )
  }

  #notifyConfig(): void {
    this.#configChanged = true
    this.#interrupt(undefined)
  }

  #interrupt(vector: number | undefined): void {
    this.#missed = this.#onInterrupt === undefined
    this.#onInterrupt?.(vector)
  }

  #fail(error: DriverError): void {
    if (this.#failure !== undefined || this.#closed) return
    this.#failure = error
    this.#notifyConfig()
  }
}
