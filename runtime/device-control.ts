/** The life of a device as its driver directs it: what all transports share and what is not register layout. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import {
  DEVICE_NEEDS_RESET,
  DRIVER_OK,
  FAILED,
  FEATURES_OK,
  SUSPEND,
  VIRTIO_F_NOTIF_CONFIG_DATA,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_SUSPEND,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import { checkControlOptions, type DeviceControlOptions } from './control-options.ts'
import type { DeviceHost, VirtioDevice } from './device.ts'
import { createSplitDeviceQueue } from './device-queue.ts'
import type { GuestMemory } from './memory.ts'
import { notificationPosition, notificationQueue } from './notification.ts'
import type { DeviceQueue, QueueInspection, QueueState } from './queue.ts'
import { type QueueArea, type QueueRegisters, queueRegistersOf } from './queue-registers.ts'
import { QueueService } from './queue-service.ts'
import { checkOffered, defaultRingFeatures, ringFeaturesOf } from './ring-features.ts'
import { addedSteps } from './status.ts'
import type { Violation } from './violation.ts'

export type { DeviceControlOptions, DeviceControlSettings } from './control-options.ts'

/** @internal What a device that goes on from a saved state remembers of its life. */
export interface ResumedLife {
  readonly status: number
  readonly features: FeatureSet
  readonly legacy: boolean
  /** The device is to be activated. */
  readonly live: boolean
  readonly suspending: boolean
  readonly changePending: boolean
}

/**
 * One device between its driver and its author.
 *
 * Nothing that the driver does throws or is refused with a word: a wrong access changes nothing, a violation is reported and makes DEVICE_NEEDS_RESET. What
 * the device throws is reported likewise.
 */
export class DeviceControl {
  readonly device: VirtioDevice
  readonly memory: GuestMemory
  readonly #options: DeviceControlOptions
  readonly #ringFeatures: FeatureSet
  readonly #service: QueueService
  readonly #queues: readonly (QueueRegisters | undefined)[]
  #status = 0
  #driverFeatures = FeatureSet.empty
  /** Between `activate` and `reset`. */
  #host: DeviceHost | undefined
  /** Number of resets: what fails after the reset that ended it is reported and no more. */
  #life = 0
  #busy = false
  #resetting: Promise<void> | undefined
  /** The driver has asked to suspend, and chains that were taken are still to be used. */
  #suspending = false
  /** The transport lets the device take no buffers. */
  #held = false
  /** The configuration has changed while the device was suspended. */
  #changePending = false
  /** @internal The driver uses the legacy interface; see LegacyControl. */
  $legacy = false

  /**
   * @param device - in no other control
   * @throws RangeError for features that cannot be offered, without VERSION_1, for queue sizes that no queue can have, and for a wrong `maxChainLength` or
   * `notifConfigData`
   */
  constructor(device: VirtioDevice, options: DeviceControlOptions) {
    this.device = device
    this.memory = options.memory
    this.#options = options
    this.#ringFeatures = options.ringFeatures ?? defaultRingFeatures
    this.#queues = queueRegistersOf(device.queueSizes)
    this.#service = new QueueService(this.#queues, (queue) => this.#serve(queue), options.defer)
    checkOffered(this.offered, options)
    checkControlOptions(options, this.#queues.length)
    device.config.onChange = () => this.#configChanged()
  }

  // ---- Status

  /** Device status. While a reset goes on, that of before it. */
  get status(): number {
    return this.#status
  }

  /**
   * The driver writes the device status: 0 resets the device, anything else can only add steps of the initialization in their order (see `addedSteps`),
   * FAILED, or SUSPEND once the device is live. While a reset goes on nothing but another reset, which joins it, is heard.
   */
  writeStatus(value: number): void {
    if (value === 0) this.reset()
    else if (!this.#busy && !this.$legacy) this.#advance(value)
  }

  #advance(value: number): void {
    const steps = addedSteps(this.#status, value)
    if ((value & FAILED) !== 0) this.#status |= FAILED
    if ((value & SUSPEND) !== 0 && (this.#status & (DRIVER_OK | FAILED)) === DRIVER_OK) this.#suspend()
    const life = this.#life
    for (const step of steps) {
      // Who is asked for the features may reset the device.
      if (step === FEATURES_OK && (!this.#acceptsFeatures() || life !== this.#life)) return
      this.#status |= step
      if (step === DRIVER_OK) this.#goLive()
    }
  }

  // ---- Suspension. VIRTIO 1.4, General Initialization And Device Operation / Device Suspend

  /** The device takes no more buffers; those that it has taken are used before the status says that it is suspended. */
  #suspend(): void {
    if (this.#suspending || (this.#status & DEVICE_NEEDS_RESET) !== 0 || !this.features.has(VIRTIO_F_SUSPEND)) return
    this.#suspending = true
    this.$pauseQueues()
    const waits = this.#queues.map((queue) => queue?.queue?.drained()).filter((wait) => wait !== undefined)
    const life = this.#life
    if (waits.length === 0) this.#suspended()
    else
      void Promise.all(waits).then(() => {
        if (life === this.#life) this.#suspended()
      })
  }

  #suspended(): void {
    this.#suspending = false
    // Where the device has failed meanwhile, that is the answer.
    if ((this.#status & DEVICE_NEEDS_RESET) === 0) this.#status = (this.#status & ~DRIVER_OK) | SUSPEND
  }

  /** DRIVER_OK: the device is live for the first time, or again. */
  #goLive(): void {
    if ((this.#status & SUSPEND) === 0) {
      this.#start()
      return
    }
    this.#status &= ~SUSPEND
    const changed = this.#changePending
    this.#changePending = false
    this.$pauseQueues()
    // Last, as it may call back in, or throw: the driver may have suspended or reset the device again by now.
    if (changed) this.#configChanged()
  }

  /**
   * The transport says that the device must take no buffers for now, or may again: as while a PCI device is no bus master. Notifications that come meanwhile are made up
   * for; buffers that the device has taken before it can use.
   */
  hold(held: boolean): void {
    if (this.#held === held) return
    this.#held = held
    this.$pauseQueues()
  }

  #paused(): boolean {
    return this.#held || this.#suspending || (this.#status & SUSPEND) !== 0
  }

  /** @internal Pauses the queues, or lets them go on where nothing pauses them any more. */
  $pauseQueues(): void {
    for (const queue of this.#queues) {
      if (this.#paused() || queue?.held) queue?.queue?.pause()
      else queue?.queue?.unpause()
    }
    for (let index = 0; index < this.#queues.length && !this.#paused(); index++) this.#service.now(index)
  }

  /** Resetting. Status, and with it every register, reads as before until the returned promise resolves; undefined where the reset is over at once. */
  reset(): Promise<void> | undefined {
    // A reset that comes from inside the first one's callbacks, or while it goes on, joins it.
    if (this.#busy) return this.#resetting
    this.#busy = true
    this.#suspending = false
    this.#changePending = false
    this.#life++
    // A driver that resets a device that is as new reads 0 at once, and waits for nothing: neither may the device.
    const isAsNew = this.#status === 0 && this.#host === undefined
    this.#host = undefined
    const waits: Promise<unknown>[] = []
    for (const queue of this.#queues) {
      const atRest = queue?.stop()
      if (atRest) waits.push(atRest)
    }
    const deviceAtRest = isAsNew ? undefined : this.#resetDevice()
    if (deviceAtRest) waits.push(deviceAtRest)
    if (waits.length === 0) this.#clear()
    else this.#resetting = Promise.all(waits).then(() => this.#clear())
    const { reset } = this.#options
    const resetting = this.#resetting
    reset?.()
    return resetting
  }

  /** Never rejects: a device that cannot say when it is at rest is taken to be so. */
  #resetDevice(): Promise<void> | undefined {
    try {
      return this.device.reset()?.then(undefined, (error) => this.#report(error))
    } catch (error) {
      this.#report(error)
      return undefined
    }
  }

  #clear(): void {
    this.#status = 0
    this.#driverFeatures = FeatureSet.empty
    this.$legacy = false
    this.device.config.reset()
    for (const queue of this.#queues) queue?.clear()
    this.#resetting = undefined
    this.#busy = false
  }

  // ---- Features

  /** What the driver may choose from. */
  get offered(): FeatureSet {
    return this.device.offered.union(this.#ringFeatures)
  }

  /** What is negotiated; nothing before FEATURES_OK. */
  get features(): FeatureSet {
    return (this.#status & FEATURES_OK) === 0 && !this.$legacy ? FeatureSet.empty : this.#driverFeatures
  }

  /** What the driver has written so far. */
  get driverFeatures(): FeatureSet {
    return this.#driverFeatures
  }

  /** The driver writes 32 of its feature bits. After FEATURES_OK they are frozen; words beyond bit 127 do not exist. */
  setDriverFeatures(word: number, value: number): void {
    if (this.#busy || this.$legacy || (this.#status & FEATURES_OK) !== 0) return
    this.#driverFeatures = this.#driverFeatures.withWord(word, value)
  }

  #acceptsFeatures(): boolean {
    const chosen = this.#driverFeatures
    return chosen.isSubsetOf(this.offered) && chosen.has(VIRTIO_F_VERSION_1) && this.#deviceAccepts(chosen)
  }

  #deviceAccepts(chosen: FeatureSet): boolean {
    try {
      return this.device.accepts(chosen)
    } catch (error) {
      this.#report(error)
      return false
    }
  }

  // ---- Queues

  /** Number of queues, including those of size 0. */
  get queueCount(): number {
    return this.#queues.length
  }

  /** Largest size of a queue; 0: there is no such queue. */
  queueMaximum(index: number): number {
    return this.#queues[index]?.maximum ?? 0
  }

  /** What the driver wrote, at first the maximum; 0 where there is no such queue. */
  queueSize(index: number): number {
    return this.#queues[index]?.size ?? 0
  }

  /** The driver writes the queue size. Frozen while the queue is ready, as are the addresses. */
  setQueueSize(index: number, value: number): void {
    const queue = this.#unlocked(index)
    if (queue) queue.size = value
  }

  /** Low (0) or high (1) 32 bits of an address of a queue. */
  queueAddress(index: number, area: QueueArea, half: 0 | 1): number {
    return this.#queues[index]?.half(area, half) ?? 0
  }

  /** The driver writes that half of an address. */
  setQueueAddress(index: number, area: QueueArea, half: 0 | 1, value: number): void {
    this.#unlocked(index)?.setHalf(area, half, value)
  }

  #unlocked(index: number): QueueRegisters | undefined {
    const queue = this.#queues[index]
    return this.#busy || queue?.ready ? undefined : queue
  }

  /**
   * Whether the device may use a queue. A queue that the driver stops or resets stays ready while asynchronous work may still write into its buffers: the device
   * MUST NOT access a queue's contents when this reads 0.
   */
  queueReady(index: number): boolean {
    return this.#queues[index]?.ready ?? false
  }

  /** The driver hands a queue over or stops it. Before FEATURES_OK, and once the device needs a reset, no queue is taken. */
  setQueueReady(index: number, ready: boolean): void {
    const queue = this.#queues[index]
    if (this.#busy || queue === undefined || queue.ready === ready) return
    if (ready) this.#open(queue)
    else this.#close(queue)
  }

  #open(registers: QueueRegisters): void {
    const negotiated = this.$legacy ? 0 : FEATURES_OK
    if ((this.#status & (FEATURES_OK | DEVICE_NEEDS_RESET | FAILED)) !== negotiated) return
    registers.ready = true
    this.#build(registers, undefined)
    // Buffers may have been announced before the queue was ready.
    this.#service.now(registers.index)
  }

  #build(registers: QueueRegisters, state: QueueState | undefined): void {
    const violation = registers.problem
    if (violation === undefined) registers.queue = this.#ring(registers, state)
    const found = violation ?? registers.queue?.broken
    if (found) this.#violated(found)
  }

  #ring(registers: QueueRegisters, state: QueueState | undefined): DeviceQueue {
    const { maxChainLength, createQueue = createSplitDeviceQueue } = this.#options
    // What the constructor finds is in `broken`; what a queue says after its end concerns nobody.
    let ring: DeviceQueue | undefined
    const current = (): boolean => ring !== undefined && registers.queue === ring
    ring = createQueue(this.memory, registers.setup(), {
      ...ringFeaturesOf(this.#driverFeatures),
      ...(maxChainLength !== undefined && { maxChainLength }),
      notify: () => {
        // The device MUST NOT send used buffer notifications before DRIVER_OK.
        if (current() && this.#host !== undefined) this.#options.notify(registers.index)
      },
      fail: (violation) => {
        if (current()) this.#violated(violation)
      },
      resume: () => {
        if (current()) this.#service.later(registers.index)
      },
      ...(state !== undefined && { state }),
    })
    if (this.#paused() || registers.held) ring.pause()
    return ring
  }

  /**
   * The driver resets a queue: it is no longer executed nor notified of, and all of its registers get their first values. Needs VIRTIO_F_RING_RESET. The driver may set
   * the queue up again, otherwise than before.
   */
  resetQueue(index: number): void {
    const queue = this.#queues[index]
    if (this.#busy || queue === undefined || !this.features.has(VIRTIO_F_RING_RESET)) return
    queue.resetting = true
    this.#close(queue)
  }

  /** The driver has reset the queue, and that is not over: asynchronous work may still write into its buffers. */
  queueResetting(index: number): boolean {
    return this.#queues[index]?.resetting ?? false
  }

  /** The state of a queue, for debugging; undefined where none is at work. */
  inspectQueue(index: number): QueueInspection | undefined {
    return this.#queues[index]?.queue?.inspect()
  }

  #close(registers: QueueRegisters): void {
    // A reset of a queue that is being stopped joins that.
    if (registers.stopping) return
    registers.stopping = true
    const life = this.#life
    const isAtWork = registers.queue !== undefined
    const waits = [registers.stop(), isAtWork ? this.#tellReset(registers.index) : undefined].filter((wait) => wait !== undefined)
    const stopped = (): void => {
      if (life === this.#life) registers.stopped()
    }
    // A reset of the device, also one out of these calls, waits for the queue by itself, and what is set up behind it is another one.
    if (waits.length === 0) stopped()
    else if (life === this.#life) registers.atRest = Promise.all(waits).then(stopped)
  }

  /** Never rejects; see `#resetDevice`. */
  #tellReset(index: number): Promise<void> | undefined {
    if (this.#host === undefined) return undefined
    const life = this.#life
    try {
      return this.device.queueReset(index)?.then(undefined, (error) => this.#failed(error, life))
    } catch (error) {
      this.#failed(error, life)
      return undefined
    }
  }

  // ---- Service

  /**
   * An available buffer notification as the driver wrote it: names a queue, which may not exist, and with VIRTIO_F_NOTIFICATION_DATA a position. Before DRIVER_OK, or for
   * a queue that is not ready, it is made up for when that changes.
   */
  notified(value: number): void {
    const { features } = this
    const hasPosition = features.has(VIRTIO_F_NOTIFICATION_DATA)
    const name = hasPosition ? notificationQueue(value) : value
    const index = features.has(VIRTIO_F_NOTIF_CONFIG_DATA) ? (this.#options.notifConfigData?.indexOf(name) ?? -1) : name
    const queue = this.#queues[index]
    if (hasPosition && queue?.queue) queue.announced = notificationPosition(value)
    this.#service.now(index)
  }

  /** An available buffer notification of a queue. */
  notifyAvailable(index: number): void {
    this.#service.now(index)
  }

  /**
   * Where the driver puts its next buffer, as its last notification said (VIRTIO_F_NOTIFICATION_DATA): an available index; packed: a position with the wrap counter in
   * bit 15. A debugging aid, to be held against `inspectQueue`: the device believes the ring alone.
   */
  announcedAvailable(index: number): number | undefined {
    return this.#queues[index]?.announced
  }

  #serve({ index, queue }: QueueRegisters): void {
    if (this.#host === undefined || this.#paused() || (this.#status & DEVICE_NEEDS_RESET) !== 0 || queue === undefined || queue.broken !== undefined)
      return
    const life = this.#life
    try {
      this.device.queueNotified(index)
    } catch (error) {
      this.#failed(error, life)
    }
  }

  /** DRIVER_OK: the device is live. */
  #start(): void {
    if ((this.#status & DEVICE_NEEDS_RESET) !== 0) {
      // Told now, as the notification that belongs to DEVICE_NEEDS_RESET was not due before.
      this.#options.configChanged()
      return
    }
    const life = this.#life
    const host = this.#makeHost()
    this.#host = host
    try {
      this.device.activate(host)
    } catch (error) {
      this.#failed(error, life)
    }
    // Buffers may have been made available before: a notification for those has been lost, or never comes.
    for (let index = 0; index < this.#queues.length; index++) this.#service.now(index)
  }

  /** A host of its own for each activation: one that a device has kept does nothing after the reset. */
  #makeHost(): DeviceHost {
    const alive = (): boolean => this.#host === host
    const host: DeviceHost = {
      memory: this.memory,
      features: this.#driverFeatures,
      queue: (index) => (alive() && (this.#status & DEVICE_NEEDS_RESET) === 0 ? this.#queues[index]?.queue : undefined),
      configChanged: () => {
        if (alive()) this.#configChanged()
      },
      fail: (violation) => {
        if (alive()) this.#violated(violation)
      },
      serveLater: (index) => {
        if (alive()) this.#service.later(index)
      },
    }
    return host
  }

  // ---- Failure

  #violated(violation: Violation): void {
    this.#needsReset(() => {
      try {
        this.#options.onViolation?.(violation)
      } catch (error) {
        this.#report(error)
      }
    })
  }

  #failed(error: unknown, life: number): void {
    if (this.#busy || life !== this.#life) this.#report(error)
    else this.#needsReset(() => this.#report(error))
  }

  #report(error: unknown): void {
    try {
      this.#options.onError?.(error)
    } catch {
      // The device must come to rest whatever its reporter does.
    }
  }

  #needsReset(report: () => void): void {
    const first = (this.#status & DEVICE_NEEDS_RESET) === 0
    this.#status |= DEVICE_NEEDS_RESET
    if (first) this.#options.needsReset?.()
    report()
    if (!first) return
    try {
      // If DRIVER_OK is set, after it sets DEVICE_NEEDS_RESET, the device MUST send a configuration change notification.
      this.#configChanged()
    } catch (error) {
      // What failed may be the interrupt itself, and nobody stands behind a handler's promise.
      this.#report(error)
    }
  }

  // ---- Configuration

  /** See `ConfigSpace.generation`. */
  get configGeneration(): number {
    return this.device.config.generation
  }

  /** The driver reads the configuration space; see `ConfigSpace.read`. */
  readConfig(offset: number, width: number): number {
    return this.device.config.read(offset, width)
  }

  /** The driver writes it, at any time, also before FEATURES_OK; the device is told for each field. A field that only a feature makes writable needs that negotiated. */
  writeConfig(offset: number, width: number, value: number): void {
    if (this.#busy || (this.#status & SUSPEND) !== 0) return
    const life = this.#life
    // What only a legacy driver may write, no other may before its features are known either.
    const features = this.$legacy ? this.#driverFeatures : this.features.with(VIRTIO_F_VERSION_1)
    for (const field of this.device.config.write(offset, width, value, features)) {
      try {
        this.device.configWritten(field)
      } catch (error) {
        this.#failed(error, life)
      }
    }
  }

  #configChanged(): void {
    if (this.#busy) return
    if ((this.#status & DRIVER_OK) !== 0) this.#options.configChanged()
    else this.#changePending = (this.#status & SUSPEND) !== 0
  }

  // ---- What LegacyControl does

  /** @internal Features of a legacy driver; nothing in FEATURES_OK says that they are final. */
  set $legacyFeatures(features: FeatureSet) {
    this.#driverFeatures = features
  }

  /** @internal */
  $addStatus(bits: number): void {
    this.#status |= bits
  }

  /** @internal The device is activated, and not reset since. */
  get $isLive(): boolean {
    return this.#host !== undefined
  }

  /** @internal A legacy driver uses the device, with or without DRIVER_OK. */
  $startLegacy(): void {
    if (this.#busy || this.#host !== undefined || (this.#status & (DEVICE_NEEDS_RESET | FAILED)) !== 0) return
    const life = this.#life
    const accepted = this.#deviceAccepts(this.#driverFeatures)
    // Who is asked for the features may reset the device.
    if (life !== this.#life) return
    if (accepted) this.#start()
    else this.#violated({ kind: 'features', queue: -1, detail: `the device does not work with the features ${this.#driverFeatures}` })
  }

  // ---- Snapshots, see saveDevice

  /** @internal The queues, by index. */
  get $queues(): readonly (QueueRegisters | undefined)[] {
    return this.#queues
  }

  /** A reset of the device goes on: a transport hears nothing but another reset, also of its own registers, as what it heard would outlive the reset. */
  get isResetting(): boolean {
    return this.#busy
  }

  /** @internal A reset goes on, of the device or of a queue. */
  get $isBusy(): boolean {
    return this.#busy || this.#queues.some((queue) => queue?.stopping)
  }

  /** @internal The driver waits for the device to be suspended. */
  get $isSuspending(): boolean {
    return this.#suspending
  }

  /** @internal A suspended device has to tell of a change when it goes on. */
  get $isChangePending(): boolean {
    return this.#changePending
  }

  /** @internal Goes on as a device that has this status and these features; the registers of the queues are there already, and `states` has those at work. */
  $resume(life: ResumedLife, states: readonly (QueueState | undefined)[]): void {
    const { status } = life
    this.#driverFeatures = life.features
    this.$legacy = life.legacy
    this.#changePending = life.changePending
    // DRIVER_OK last: before it nothing is sent and no queue is served.
    this.#status = status & ~DRIVER_OK
    states.forEach((state, index) => {
      const registers = this.#queues[index]
      if (registers && state) this.#build(registers, state)
    })
    this.#status |= status & DRIVER_OK
    if (life.live) this.#start()
    if (life.suspending) this.#suspend()
  }
}
