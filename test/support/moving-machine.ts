/**
 * A guest that is moved from one VMM to another while it works: what is saved goes through JSON, its memory is copied, and another device goes on. The driver hears of it
 * as little as any driver does: it looks at its queues when it is interrupted, and never otherwise.
 */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { createDeviceQueue, GuestMemory, type RegionOptions, type VirtioDevice } from 'virtgen/runtime'
import { type FakeDriver, fakeDriver, TestMemory } from 'virtgen/testing'
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

const regionSize = 0x3_0000
/** Bytes of guest memory. */
export const memorySize = 2 * regionSize
const words = [0, 1, 2, 3]

/** What a guest and its device have in common wherever they go. */
export interface Setting {
  readonly make: MakeSubject
  readonly ringFeatures: FeatureSet
  /** See `SubjectSettings`. */
  readonly variant: number
  readonly queueSize: number
}

/** Makes the device; what it reports goes to `onError`. */
export type MakeDevice<Device> = (queueSize: number, onError: (error: unknown) => void) => Device

/** A device in its VMM. */
export interface Place<Device> {
  readonly device: Device
  readonly subject: Subject
  readonly deferred: (() => void)[]
}

/** What a VMM hears. */
export interface Ears {
  readonly onInterrupt: () => void
  readonly onTrouble: (trouble: unknown) => void
}

/** A device in a VMM, with this guest memory. */
export function makePlace<Device extends VirtioDevice>(
  { make, queueSize, ringFeatures, variant }: Setting,
  makeDevice: MakeDevice<Device>,
  bytes: Uint8Array,
  { onInterrupt, onTrouble }: Ears,
): Place<Device> {
  const device = makeDevice(queueSize, onTrouble)
  const deferred: (() => void)[] = []
  const subject = make(device, {
    memory: new GuestMemory(regionsOf(bytes)),
    ringFeatures,
    variant,
    createQueue: createDeviceQueue,
    interrupted: onInterrupt,
    onViolation: onTrouble,
    onError: onTrouble,
    defer: (callback) => deferred.push(callback),
  })
  return { device, subject, deferred }
}

/** Two regions that touch. */
function regionsOf(bytes: Uint8Array): (RegionOptions & { source: Uint8Array })[] {
  return [0, 1].map((i) => ({ guestAddress: i * regionSize, size: regionSize, source: bytes.subarray(i * regionSize, (i + 1) * regionSize) }))
}

export abstract class MovingMachine<Device extends VirtioDevice> {
  /** Places that were left: work may go on there, and nobody must see any of it. */
  readonly left: Place<Device>[] = []
  /** Violations and errors: there must be none. */
  readonly troubles: unknown[] = []
  /** Undefined while there is no such queue. */
  protected rings: (FakeDriver | undefined)[] = []
  readonly #setting: Setting
  readonly #makeDevice: MakeDevice<Device>
  /** As the driver sees it. */
  readonly #memory: TestMemory
  #bytes = new Uint8Array(memorySize)
  #place: Place<Device>
  #features = FeatureSet.empty
  readonly #waitsFor = new Set<'reset' | 'suspend' | number>()
  #isInterrupted = false
  #isArriving = false

  constructor(setting: Setting, makeDevice: MakeDevice<Device>) {
    this.#setting = setting
    this.#makeDevice = makeDevice
    this.#memory = new TestMemory({ regions: regionsOf(this.#bytes) })
    this.#place = this.#makePlace()
    this.#start()
  }

  #makePlace(): Place<Device> {
    const onInterrupt = (): void => {
      // What comes from places that were left goes nowhere.
      this.#isInterrupted ||= place === this.#place || this.#isArriving
    }
    const onTrouble = (trouble: unknown): void => {
      this.troubles.push(trouble)
    }
    const place: Place<Device> = makePlace(this.#setting, this.#makeDevice, this.#bytes, { onInterrupt, onTrouble })
    return place
  }

  get device(): Device {
    return this.#place.device
  }
  get subject(): Subject {
    return this.#place.subject
  }
  get isSuspended(): boolean {
    return (this.subject.status & SUSPEND) !== 0
  }
  /** The driver may make buffers available. */
  protected get mayOffer(): boolean {
    return !this.#waitsFor.has('suspend') && !this.isSuspended
  }
  /** What the driver waits for, in words. */
  protected get waits(): string[] {
    const suspended = this.isSuspended ? ['the end of a suspension'] : []
    return [...suspended, ...[...this.#waitsFor].map((wait) => (typeof wait === 'number' ? `the reset of queue ${wait}` : `the end of a ${wait}`))]
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
    for (let index = 0; index < this.device.queueSizes.length; index++) this.#setUp(index, this.#setting.queueSize)
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
    this.rings[index] = ring
    subject.setUpQueue(ring.setup)
  }

  /** The device says that it is suspended. */
  protected suspended(): void {}

  /** What was used of a queue. */
  protected abstract look(ring: FakeDriver): void

  /** The driver's interrupt handler, where there was an interrupt. */
  serve(): void {
    while (this.#isInterrupted) {
      this.#isInterrupted = false
      // A line is shared: who finds nothing there thinks that it was somebody else.
      if (!this.subject.acknowledge()) continue
      for (const ring of this.rings) if (ring !== undefined) this.look(ring)
    }
  }

  reset(): void {
    this.subject.status = 0
    this.rings = []
    this.#waitsFor.clear()
    this.#waitsFor.add('reset')
  }

  /** @returns whether it may be reset now */
  resetQueue(index: number): boolean {
    if (!this.#features.has(VIRTIO_F_RING_RESET) || this.#waitsFor.size > 0 || this.isSuspended) return false
    this.subject.resetQueue(index)
    this.rings[index] = undefined
    this.#waitsFor.add(index)
    return true
  }

  suspend(): void {
    if (!this.#features.has(VIRTIO_F_SUSPEND) || this.#waitsFor.size > 0 || this.isSuspended) return
    this.#setStatus(SUSPEND)
    this.#waitsFor.add('suspend')
  }
  resume(): void {
    if (this.isSuspended && this.#waitsFor.size === 0) this.#setStatus(DRIVER_OK)
  }

  /** The driver asks whether what it waits for has come, and goes on then. */
  ask(): void {
    const { subject } = this
    for (const wait of this.#waitsFor) {
      if (wait === 'reset' ? subject.status !== 0 : wait === 'suspend' ? !this.isSuspended : subject.control.queueResetting(wait)) continue
      this.#waitsFor.delete(wait)
      if (wait === 'suspend') this.suspended()
      if (wait === 'reset') this.#start()
      else if (typeof wait === 'number') this.#setUp(wait, Math.max(1, this.#setting.queueSize - 3))
    }
  }

  // ---- The VMM

  /** What was put off takes place, and promises that can be settled are. */
  async turn(): Promise<void> {
    for (const callback of this.#place.deferred.splice(0)) callback()
    await new Promise((resolve) => setImmediate(resolve))
  }

  /** Another VMM takes over. */
  move(): void {
    const state: unknown = JSON.parse(JSON.stringify(this.subject.save()))
    this.left.push(this.#place)
    this.#bytes = this.#bytes.slice()
    this.#memory.replace(regionsOf(this.#bytes))
    this.#isArriving = true
    const place = this.#makePlace()
    place.subject.restore(state)
    this.#place = place
    this.#isArriving = false
  }

  /** Device work that is going on, wherever. */
  protected abstract hurry(device: Device): void

  /** Work goes on where the guest was before. */
  haunt(which: number): void {
    const place = this.left[which % Math.max(this.left.length, 1)]
    if (place === undefined) return
    this.hurry(place.device)
    for (const callback of place.deferred.splice(0)) callback()
  }
}
