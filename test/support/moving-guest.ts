/**
 * A guest that is moved from one VMM to another while it works: what is saved goes through JSON, its memory is copied, and another device goes on. The driver hears of it
 * as little as any driver does: it looks at a queue when it is interrupted, and never otherwise.
 */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { VirtioBlkReqHeader } from 'virtgen/parts/blk'
import { createDeviceQueue, GuestMemory, type Outcome, PARKED, type Plain, type RegionOptions } from 'virtgen/runtime'
import { BlkDevice, type BlkReadRequest } from 'virtgen/skeleton/blk'
import { chain, type FakeDriver, fakeDriver, type OfferedChain, TestMemory, type UsedChain } from 'virtgen/testing'
import { VIRTIO_BLK_F_MQ, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN, virtio_blk_size } from 'virtgen/wire/blk'
import {
  ACKNOWLEDGE,
  DRIVER,
  DRIVER_OK,
  FEATURES_OK,
  SUSPEND,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_SUSPEND,
} from 'virtgen/wire/content'
import type { MakeSubject, Subject } from '../../fuzz/transport/subject.ts'

export const queueCount = 2
const regionSize = 0x3_0000
const words = [0, 1, 2, 3]
/** Rounds in which everything that is out must come to its end. */
const mostRounds = 100

/** What a read of a sector gives. */
const contentOf = (sector: number): number => (sector % 251) + 1

/** The sector decides how a request is answered, so that one which is delivered again is answered in the same way: at once, by a promise, or by a parked request. */
const isAtOnce = (sector: number): boolean => sector % 4 === 0
const isPromised = (sector: number): boolean => sector % 4 === 1

/** A disk whose answers come when the test says so. */
export class MovingDisk extends BlkDevice {
  /** Requests that are out: each ends it. */
  readonly open: (() => void)[] = []
  /** A reset, of the device or of a queue, takes until `rest`. */
  takesLong = false
  readonly #resting: (() => void)[] = []
  /** What the device remembers: requests that have come. */
  served = 0

  constructor(queueSize: number, onError: (error: unknown) => void, queues: number = queueCount) {
    super({ features: [VIRTIO_BLK_F_MQ], queueSize, config: { capacity: 1000, num_queues: queues }, onError })
  }

  protected override read(request: BlkReadRequest): Outcome {
    this.served++
    const { sector } = request.header
    const fill = (): void => {
      request.writable.fill(contentOf(sector))
    }
    if (isAtOnce(sector)) {
      fill()
      return
    }
    if (isPromised(sector)) return new Promise<void>((resolve) => this.open.push(resolve)).then(fill)
    this.open.push(() => {
      fill()
      request.complete()
    })
    return PARKED
  }
  protected override write(): Outcome {}
  protected override flush(): Outcome {}
  protected override getId(): Outcome {}

  protected override resetting(): void | Promise<void> {
    return this.#reset()
  }
  protected override queueResetting(): void | Promise<void> {
    return this.#reset()
  }
  #reset(): void | Promise<void> {
    if (this.takesLong) return new Promise((resolve) => this.#resting.push(resolve))
  }
  /** Resets that go on are over. */
  rest(): void {
    for (const resolve of this.#resting.splice(0)) resolve()
  }

  override saveState(): Plain {
    return this.served
  }
  override restoreState(state: Plain): void {
    this.served = state as number
  }
}

/** What a guest and its device have in common wherever they go. */
export interface Setting {
  readonly make: MakeSubject
  readonly ringFeatures: FeatureSet
  /** See `SubjectSettings`. */
  readonly variant: number
  readonly queueSize: number
  /** Default: `MovingDisk`. */
  readonly disk?: new (
    queueSize: number,
    onError: (error: unknown) => void,
  ) => MovingDisk
}

/** A device in its VMM. */
export interface Place {
  readonly disk: MovingDisk
  readonly subject: Subject
  readonly deferred: (() => void)[]
}

/** A device of that kind in a VMM that tells of what happens there. */
export function makePlace(setting: Setting, bytes: Uint8Array, onInterrupt: () => void, onTrouble: (trouble: unknown) => void): Place {
  const { make, queueSize, ringFeatures, variant, disk: Disk = MovingDisk } = setting
  const disk = new Disk(queueSize, onTrouble)
  const deferred: (() => void)[] = []
  const subject = make(disk, {
    memory: new GuestMemory(regionsOf(bytes)),
    ringFeatures,
    variant,
    createQueue: createDeviceQueue,
    interrupted: onInterrupt,
    onViolation: onTrouble,
    onError: onTrouble,
    defer: (callback) => deferred.push(callback),
  })
  return { disk, subject, deferred }
}

/** Two regions that touch. */
function regionsOf(bytes: Uint8Array): (RegionOptions & { source: Uint8Array })[] {
  return [0, 1].map((i) => ({ guestAddress: i * regionSize, size: regionSize, source: bytes.subarray(i * regionSize, (i + 1) * regionSize) }))
}

export class MovingGuest {
  readonly #setting: Setting
  /** As the driver sees it. */
  readonly #memory: TestMemory
  #bytes = new Uint8Array(2 * regionSize)
  #place: Place
  /** Places that were left: work goes on there, and nobody must see any of it. */
  readonly left: Place[] = []
  #features = FeatureSet.empty
  /** Undefined while there is no such queue. */
  #rings: (FakeDriver | undefined)[] = []
  /** By chain, the sector that was asked for. */
  readonly #out = new Map<OfferedChain, number>()
  readonly #waitsFor = new Set<'reset' | 'suspend' | number>()
  #isInterrupted = false
  #isArriving = false
  #nextSector = 0
  /** Violations and errors: there must be none. */
  readonly troubles: unknown[] = []
  answered = 0
  /** Requests that were in flight when the guest was moved. */
  inFlight = 0

  constructor(setting: Setting) {
    this.#setting = setting
    this.#memory = new TestMemory({ regions: regionsOf(this.#bytes) })
    this.#place = this.#makePlace()
    this.#start()
  }

  #makePlace(): Place {
    const onInterrupt = (): void => {
      // What comes from places that were left goes nowhere.
      this.#isInterrupted ||= place === this.#place || this.#isArriving
    }
    const place: Place = makePlace(this.#setting, this.#bytes, onInterrupt, (trouble) => this.troubles.push(trouble))
    return place
  }

  get disk(): MovingDisk {
    return this.#place.disk
  }
  get subject(): Subject {
    return this.#place.subject
  }
  get isSuspended(): boolean {
    return (this.subject.status & SUSPEND) !== 0
  }

  // ---- The driver

  #setStatus(bit: number): void {
    this.subject.status = this.subject.status | bit
  }

  #start(): void {
    const { subject } = this
    subject.prepare?.()
    this.#setStatus(ACKNOWLEDGE)
    this.#setStatus(DRIVER)
    this.#features = FeatureSet.empty
    for (const word of words) {
      const offered = subject.offered(word)
      subject.accept(word, offered)
      this.#features = this.#features.withWord(word, offered)
    }
    this.#setStatus(FEATURES_OK)
    for (let index = 0; index < queueCount; index++) this.#setUp(index, this.#setting.queueSize)
    this.#setStatus(DRIVER_OK)
  }

  #setUp(index: number, wanted: number): void {
    const { subject } = this
    const has = (feature: number): boolean => this.#features.has(feature)
    const packed = has(VIRTIO_F_RING_PACKED)
    const size = subject.sizeOf?.(index) ?? (packed ? wanted : 2 ** Math.floor(Math.log2(wanted)))
    const areas = subject.place?.(this.#memory, size)
    const ring = fakeDriver(this.#memory, {
      packed,
      size,
      index,
      eventIndex: has(VIRTIO_F_EVENT_IDX),
      indirect: has(VIRTIO_F_INDIRECT_DESC),
      inOrder: has(VIRTIO_F_IN_ORDER),
      notify: () => this.subject.notify(index, has(VIRTIO_F_NOTIFICATION_DATA) ? index + ring.position.available * 0x1_0000 : index),
      ...(areas && { areas }),
    })
    this.#rings[index] = ring
    subject.setUpQueue(ring.setup)
  }

  /** Asks for sectors, as many as there is room for. */
  offer(index: number, count: number, indirect: boolean): void {
    const ring = this.#rings[index]
    if (ring === undefined || this.#waitsFor.has('suspend') || this.isSuspended) return
    for (let i = 0; i < count && ring.free >= 4; i++) {
      const sector = this.#nextSector++
      const spec = chain()
      if (indirect && ring.features.indirect) spec.indirect()
      spec.readable(VirtioBlkReqHeader.encode({ type: VIRTIO_BLK_T_IN, sector })).writable(100)
      spec.writable(virtio_blk_size.sector_bytes - 100).writable(1)
      this.#out.set(ring.put(spec), sector)
    }
    ring.publish()
  }

  /** The driver's interrupt handler, where there was an interrupt. */
  serve(): void {
    while (this.#isInterrupted) {
      this.#isInterrupted = false
      // A line is shared: who finds nothing there thinks that it was somebody else.
      if (!this.subject.acknowledge()) continue
      for (const ring of this.#rings) for (const used of ring?.drain() ?? []) this.#check(used)
    }
  }

  #check({ chain, writable, written }: UsedChain): void {
    const sector = this.#out.get(chain)
    if (sector === undefined) throw new Error('a request was answered that nobody waits for')
    this.#out.delete(chain)
    this.answered++
    const right = new Uint8Array(virtio_blk_size.sector_bytes + 1).fill(contentOf(sector))
    right[virtio_blk_size.sector_bytes] = VIRTIO_BLK_S_OK
    if (written !== right.length || !right.every((byte, i) => byte === writable[i]))
      throw new Error(`the answer to the request for sector ${sector} is ${written} bytes: ${writable.join(' ')}`)
  }

  reset(): void {
    this.subject.status = 0
    this.#rings = []
    this.#out.clear()
    this.#waitsFor.clear()
    this.#waitsFor.add('reset')
  }

  resetQueue(index: number): void {
    if (!this.#features.has(VIRTIO_F_RING_RESET) || this.#waitsFor.size > 0 || this.isSuspended) return
    this.subject.resetQueue(index)
    for (const chain of this.#rings[index]?.out ?? []) this.#out.delete(chain)
    this.#rings[index] = undefined
    this.#waitsFor.add(index)
  }

  suspend(): void {
    if (!this.#features.has(VIRTIO_F_SUSPEND) || this.#waitsFor.size > 0 || this.isSuspended) return
    this.#setStatus(SUSPEND)
    this.#waitsFor.add('suspend')
  }
  resume(): void {
    if (this.isSuspended && this.#waitsFor.size === 0) this.#setStatus(DRIVER_OK)
  }

  /** The driver looks whether what it waits for has come, and goes on then. */
  look(): void {
    const { subject } = this
    for (const wait of this.#waitsFor) {
      if (wait === 'reset' ? subject.status !== 0 : wait === 'suspend' ? !this.isSuspended : subject.control.queueResetting(wait)) continue
      this.#waitsFor.delete(wait)
      if (wait === 'reset') this.#start()
      else if (typeof wait === 'number') this.#setUp(wait, Math.max(1, this.#setting.queueSize - 3))
    }
  }

  // ---- The VMM

  /** One of the requests that are out is answered. */
  finish(which: number): void {
    const { open } = this.disk
    if (open.length > 0) open.splice(which % open.length, 1)[0]?.()
  }

  /** What was put off takes place. */
  runDeferred(): void {
    for (const callback of this.#place.deferred.splice(0)) callback()
  }

  /** Another VMM takes over. */
  move(): void {
    const state: unknown = JSON.parse(JSON.stringify(this.subject.save()))
    const { served } = this.disk
    this.inFlight += this.disk.open.length
    this.left.push(this.#place)
    this.#bytes = this.#bytes.slice()
    this.#memory.replace(regionsOf(this.#bytes))
    this.#isArriving = true
    const place = this.#makePlace()
    place.disk.takesLong = this.disk.takesLong
    place.subject.restore(state)
    this.#place = place
    this.#isArriving = false
    if (place.disk.served < served) throw new Error(`the device has forgotten requests: ${place.disk.served} and not ${served}`)
  }

  /** Work goes on where the guest was before. */
  haunt(which: number): void {
    const place = this.left[which % Math.max(this.left.length, 1)]
    if (place === undefined) return
    for (const finish of place.disk.open.splice(0)) finish()
    place.disk.rest()
    for (const callback of place.deferred.splice(0)) callback()
  }

  /** Everything comes to its end. @returns sectors that were asked for and of which nothing was heard, and what else the driver waits for */
  async end(): Promise<readonly (number | string)[]> {
    for (let round = 0; round < mostRounds; round++) {
      this.disk.takesLong = false
      this.disk.rest()
      for (const finish of this.disk.open.splice(0)) finish()
      this.runDeferred()
      await new Promise((resolve) => setImmediate(resolve))
      this.look()
      this.resume()
      this.serve()
      if (this.#out.size === 0 && this.#waitsFor.size === 0 && !this.isSuspended) return []
    }
    return [
      ...this.#out.values(),
      ...[...this.#waitsFor].map((wait) => `the end of ${typeof wait === 'number' ? `the reset of queue ${wait}` : wait}`),
    ]
  }
}
