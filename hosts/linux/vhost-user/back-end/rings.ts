/** The rings of a connection over the queues of its device: when each of them works, and when nothing does. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { cancelQueue, closeQueue, type DeviceControl, holdQueue, openQueue, type QueueSetup, queueDrained } from 'virtgen/runtime'
import { ACKNOWLEDGE, DEVICE_NEEDS_RESET, DRIVER, DRIVER_OK, FEATURES_OK, VIRTIO_F_RING_PACKED } from 'virtgen/wire/content'
import { vringBase } from '../vring.ts'
import { guestAddress, type MemoryTable, type TableRegion } from './memory-table.ts'
import { Ring } from './ring.ts'

/** What they need of their connection. */
export interface RingsHost {
  readonly control: DeviceControl
  readonly table: MemoryTable
  /** Interrupts the guest. */
  call(ring: Ring): void
  /** The features that the front-end has set cannot be worked with. */
  refused(features: FeatureSet): void
  /** The device works, for the first time or again: its first ring does. */
  begun(): void
  /** A ring has started, or its buffers were announced. */
  worked(): void
}

/** An address that no memory has: what the front-end means is in none of its regions. */
const nowhere = 2 ** 53
const firstPacked = 0x8000_8000
const ready = ACKNOWLEDGE | DRIVER | FEATURES_OK

/**
 * A ring works while it is started (its first kick has come, and nobody has asked for its base since) and enabled, and the device has its features. What is neither a
 * start nor a stop (memory comes and goes, a ring is disabled) is done to rings that are held: nothing of theirs is at work then, and they go on afterwards.
 */
export class Rings {
  /** By index; undefined where the device has no such queue. */
  readonly all: readonly (Ring | undefined)[]
  /** What the front-end has set, without what is between the two ends alone. */
  features = FeatureSet.empty
  /** The front-end directs the device status, up to DRIVER_OK; otherwise it follows the rings. */
  directed = false
  readonly #host: RingsHost
  /** Features that the device cannot work with. */
  #unfit: FeatureSet | undefined
  /** Something goes on during which no ring may start. */
  #changes = 0
  #changing: Promise<void> | undefined
  #ended = false

  constructor(host: RingsHost) {
    this.#host = host
    const { control } = host
    this.all = Array.from({ length: control.queueCount }, (_, index) => (control.queueMaximum(index) > 0 ? new Ring(index) : undefined))
  }

  /** Those whose queues are at work. */
  get open(): readonly Ring[] {
    return this.all.filter((ring) => ring?.open) as Ring[]
  }

  get isOpen(): boolean {
    return this.open.length > 0
  }

  get packed(): boolean {
    return this.features.has(VIRTIO_F_RING_PACKED)
  }

  /** Where a ring goes on, as messages have it: in a packed ring both wrap counters are 1 at first. */
  base({ base }: Ring): number {
    return base ?? (this.packed ? firstPacked : 0)
  }

  /** A reset that a start has begun, and that is not over: what the front-end says next waits for it. */
  get changing(): Promise<void> | undefined {
    return this.#changing
  }

  // ---- Starting

  /** The guest says that there are buffers: the first time, this starts the ring. */
  kicked(ring: Ring): void {
    ring.started = true
    if (ring.open) this.serving(() => this.#host.control.notifyAvailable(ring.index))
    else this.start()
    if (ring.open) this.#host.worked()
  }

  /**
   * Has the device take what is available: see `Ring.cork`.
   *
   * @param open - the rings whose queues are at work, where they are known
   */
  serving(serve: (open: readonly Ring[]) => void, open: readonly Ring[] = this.open): void {
    for (const ring of open) ring.cork()
    try {
      serve(open)
    } finally {
      for (const ring of open) ring.uncork()
    }
  }

  /** Starts each ring that can start now. */
  start(): void {
    if (this.#changes > 0) return
    const rings = this.all.filter((ring) => ring?.started && ring.enabled && !ring.open && ring.addresses !== undefined) as Ring[]
    if (rings.length === 0 || !this.#negotiated()) return
    const isFirst = !this.isOpen
    for (const ring of rings) this.#openRing(ring)
    // Not all front-ends say so themselves: QEMU does not for entropy, vsock and other devices that it knows nothing of.
    if ((this.#host.control.status & DRIVER_OK) === 0) this.advance(ready | DRIVER_OK)
    if (isFirst) this.#host.begun()
    this.#host.worked()
  }

  /** The device status goes on: as the front-end says, or by itself. */
  advance(status: number): void {
    const { control } = this.#host
    // They are frozen with FEATURES_OK.
    for (const word of [0, 1, 2, 3]) control.setDriverFeatures(word, this.features.word(word))
    control.writeStatus(status)
    const isRefused = (status & FEATURES_OK) !== 0 && (control.status & FEATURES_OK) === 0
    this.#unfit = isRefused ? this.features : undefined
    if (isRefused) this.#host.refused(this.features)
  }

  /** The device has the features of now. Where it has others, or has failed, it is reset before its first ring starts. */
  #negotiated(): boolean {
    const { control } = this.#host
    if (this.directed && (control.status & FEATURES_OK) !== 0) return true
    // That was said once.
    if (this.#unfit?.equals(this.features)) return false
    const isOther = control.status !== 0 && !(control.features.equals(this.features) && (control.status & DEVICE_NEEDS_RESET) === 0)
    if (isOther && !this.isOpen) {
      const resetting = this.reset()
      if (resetting !== undefined) return false
    }
    if (control.status === 0) this.advance(ready)
    return (control.status & FEATURES_OK) !== 0
  }

  #openRing(ring: Ring): void {
    const { control } = this.#host
    ring.open = true
    holdQueue(control, ring.index, false)
    openQueue(control, this.#setup(ring))
    ring.failed = ring.queue?.broken !== undefined
    // Another back-end may have used buffers, and died before it told of them.
    this.#host.call(ring)
  }

  #setup({ index, size, addresses }: Ring, regions = this.#host.table.regions): QueueSetup {
    const place = (address = nowhere): number => guestAddress(regions, address) ?? nowhere
    return {
      index,
      size,
      descriptorArea: place(addresses?.descriptor),
      driverArea: place(addresses?.available),
      deviceArea: place(addresses?.used),
    }
  }

  // ---- Stopping

  enable(ring: Ring, enabled: boolean): void {
    ring.enabled = enabled
    if (ring.open && this.#changes === 0) holdQueue(this.#host.control, ring.index, !enabled)
    else this.start()
  }

  /** Stops a ring; resolves when nothing of it is at work, and its base is known. */
  async stop(ring: Ring): Promise<void> {
    // The eventfd goes with it: the front-end may use it by itself now.
    ring.dropKick()
    ring.started = false
    if (!ring.open) return
    await this.#change(async () => {
      await this.#drain([ring])
      await this.#close(ring)
    })
    this.start()
  }

  async #drain(rings: readonly Ring[]): Promise<void> {
    const { control } = this.#host
    for (const { index } of rings) holdQueue(control, index, true)
    // A reset that the program has begun goes on where no queue is any more; this joins it.
    if (control.isResetting) await control.reset()
    await Promise.all(rings.map(({ index }) => queueDrained(control, index)))
  }

  /** The device needs a reset: what it has taken it may never use, and nobody waits for that. */
  failed(): void {
    if (this.#changes > 0) for (const { index } of this.open) cancelQueue(this.#host.control, index)
  }

  async #close(ring: Ring): Promise<void> {
    const { state, atRest } = closeQueue(this.#host.control, ring.index)
    if (ring.callDue) this.#host.call(ring)
    if (state !== undefined && !ring.failed) ring.base = vringBase(state, this.packed)
    await atRest
    ring.open = false
  }

  /** Everything is held and drained while memory changes; then the rings go on, where their addresses are in these regions. */
  async remap(regions: readonly TableRegion[], change: () => void): Promise<void> {
    await this.#change(async () => {
      const rings = this.open
      await this.#drain(rings)
      // A connection that ends waits for nothing here, and gives its memory back by itself once nothing is at work in it.
      if (this.#ended) return
      // What stays where it is need not be closed; what goes must be, while it is still there.
      for (const ring of rings) if (!isSame(this.#setup(ring), this.#setup(ring, regions))) await this.#close(ring)
      if (!this.#ended) change()
    })
    // The connection may be about to end.
    if (this.#changes > 0) return
    for (const ring of this.open) holdQueue(this.#host.control, ring.index, !ring.enabled)
    this.start()
  }

  /** Resolves when nothing that the rings have is at work. They take nothing any more. */
  drain(): Promise<void> {
    this.#changes++
    return this.#drain(this.open)
  }

  /** The front-end has set other features after it has said that they are final: the device begins anew. */
  renegotiate(): Promise<void> | undefined {
    const { control } = this.#host
    const isFinal = this.directed && (control.status & FEATURES_OK) !== 0
    return isFinal && !control.features.equals(this.features) ? this.reset() : undefined
  }

  /** Resets the device for good. */
  end(): Promise<void> | undefined {
    this.#ended = true
    this.#changes++
    for (const ring of this.open) ring.open = false
    // What is being closed, or reset, by itself is waited for as well.
    return this.#host.control.reset()
  }

  /** The front-end resets the device: each ring needs a new eventfd and another kick. */
  stopAll(): Promise<void> | undefined {
    for (const ring of this.all) {
      ring?.dropKick()
      if (ring) ring.started = false
    }
    this.directed = false
    return this.reset()
  }

  /** Resets the device; its rings start anew where they still may. Undefined where that is over at once. */
  reset(): Promise<void> | undefined {
    const atRest = this.#host.control.reset()
    for (const ring of this.open) ring.open = false
    if (atRest === undefined) return undefined
    const resetting = this.#change(() => atRest)
    this.#changing = resetting
    return resetting.then(() => {
      this.#changing = undefined
      this.start()
    })
  }

  async #change(change: () => Promise<void>): Promise<void> {
    this.#changes++
    try {
      await change()
    } finally {
      this.#changes--
    }
  }
}

function isSame(one: QueueSetup, other: QueueSetup): boolean {
  return one.descriptorArea === other.descriptorArea && one.driverArea === other.driverArea && one.deviceArea === other.deviceArea
}
