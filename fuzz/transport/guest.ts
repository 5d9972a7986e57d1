/** A guest at the registers of a device: its driver does as it should, nearly so, or anything at all. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import {
  ACKNOWLEDGE,
  DRIVER,
  DRIVER_OK,
  FAILED,
  FEATURES_OK,
  SUSPEND,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_PACKED,
} from 'virtgen/wire/content'
import { type FakeDriver, RuleBroken } from '../../runtime/testing/fake-driver.ts'
import { fakeDriver } from '../../runtime/testing/fakes.ts'
import { require } from '../failure.ts'
import type { Random } from '../random.ts'
import type { Kind } from './devices.ts'
import type { Machine } from './machine.ts'
import type { Subject, Window } from './subject.ts'
import { carelessly } from './temper.ts'

const words = [0, 1, 2, 3]
const steps = [ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK]
const widths = [4, 4, 4, 4, 4, 2, 2, 1, 1]
const oddWidths = [0, 3, 8, -4, 1.5, Number.NaN, 16, 2 ** 32]
const oddOffsets = [-1, -4, 0.5, 4.25, Number.NaN, Number.POSITIVE_INFINITY, -1e300, 2 ** 31, 2 ** 32, 2 ** 32 + 4, 2 ** 53]
const oddValues = [-1, 2 ** 32, 2 ** 32 + 1, 2 ** 53, 0.5, Number.NaN, Number.NEGATIVE_INFINITY]
const values = [0, 0, 1, 1, 2, 3, 4, 7, 8, 11, 15, 16, 64, 128, 255, 0xffff, 0x1000, 0x1400, 0x2000, 0x8000, 0xffff_ffff, 0x8000_0000, 0x7fff_ffff]
/** The largest number of that many bytes. */
const largest = new Map([
  [1, 0xff],
  [2, 0xffff],
  [4, 0xffff_ffff],
])
/** Accesses that an interrupt may make, within one of the guest's own. */
const mostNested = 24
/** Interrupts inside of each other that the guest still reacts to. */
const mostDepth = 3
/** See `QueueService`. */
const rounds = 16

export class Guest {
  #machine: Machine
  readonly #kind: Kind
  readonly #random: Random
  /** Keeps all rules, as its memory does. */
  readonly #isPolite: boolean
  /** Reacts to interrupts. */
  readonly #isRestless: boolean
  #features = FeatureSet.empty
  #rings: FakeDriver[] = []
  #nested = 0
  #depth = 0
  /** Accesses so far. */
  accesses = 0
  /** How often the device was live. */
  starts = 0

  constructor(machine: Machine, kind: Kind, random: Random, { isPolite, isRestless }: { isPolite: boolean; isRestless: boolean }) {
    this.#machine = machine
    this.#kind = kind
    this.#random = random
    this.#isPolite = isPolite
    this.#isRestless = isRestless
    machine.memory.mayWrap = !isPolite
    this.moveTo(machine)
  }

  /** The same guest memory, and another device that goes on from where the last one was: nothing of it is seen here. */
  moveTo(machine: Machine): void {
    this.#machine = machine
    machine.onInterrupt = () => this.#interrupted()
  }

  get #subject(): Subject {
    return this.#machine.subject
  }

  /** One thing that a guest may do. */
  step(): void {
    const random = this.#random
    const what = random.below(this.#isPolite ? 20 : 32)
    if (what < 3) this.bringUp()
    else if (what < 12) this.#use()
    else if (what < 14) this.#take()
    else if (what === 14) this.#access(() => this.#subject.acknowledge())
    else if (what === 15) this.#restartQueue()
    else if (what === 16 && random.oneIn(3)) this.reset()
    else if (what === 17) this.#suspend()
    else if (what < 20) this.#wish()
    else if (what < 29) this.#wild()
    else if (what === 29) this.#poke()
    else if (what === 30)
      this.#access(() => {
        this.#subject.status = random.oneIn(3) ? random.below(256) : this.#subject.status | random.pick([...steps, FAILED, SUSPEND, SUSPEND])
      })
    else this.#access(() => this.#setUp(random.below(6)))
  }

  // ---- As it should be, or nearly

  reset(): void {
    this.#access(() => {
      this.#subject.status = 0
    })
  }

  /** The initialization, out of which a guest that is not polite leaves something, or does something else in between. */
  bringUp(): void {
    const random = this.#random
    const subject = this.#subject
    // A suspended device goes on.
    if ((subject.status & SUSPEND) !== 0 && random.oneIn(2)) {
      this.#access(() => {
        subject.status = subject.status | DRIVER_OK
      })
      return
    }
    const skips = (): boolean => {
      if (!this.#isPolite && random.oneIn(12)) this.#wild()
      return !this.#isPolite && random.oneIn(24)
    }
    if (!skips() && (this.#isPolite || random.oneIn(4))) this.reset()
    if (this.#isPolite) {
      // The reset goes on: a driver waits for its end.
      if (subject.status !== 0) return
      this.#rings = []
      this.#machine.memory.restart()
    }
    if (!skips()) this.#access(() => this.#subject.prepare?.())
    for (const step of steps) {
      if (step === FEATURES_OK && !skips()) this.#negotiate()
      if (step === DRIVER_OK)
        for (const [index, size] of this.#machine.device.queueSizes.entries()) if (size > 0 && !skips()) this.#access(() => this.#setUp(index))
      if (!skips())
        this.#access(() => {
          subject.status = subject.status | step
        })
    }
    if ((subject.status & DRIVER_OK) !== 0) this.starts++
  }

  #negotiate(): void {
    const random = this.#random
    const { control } = this.#subject
    const wanted = this.#isPolite ? control.offered : control.offered.bits.filter(() => !random.oneIn(8))
    this.#features = wanted instanceof FeatureSet ? wanted : FeatureSet.of(...wanted, ...(random.oneIn(40) ? [random.below(128)] : []))
    for (const word of words) {
      this.#access(() => {
        const offered = this.#subject.offered(word)
        this.#subject.accept(word, this.#isPolite ? offered : this.#features.word(word))
        if (this.#isPolite) this.#features = this.#features.withWord(word, offered)
      })
    }
  }

  #setUp(index: number): void {
    const random = this.#random
    const most = this.#machine.device.queueSizes[index] ?? 0
    const packed = this.#features.has(VIRTIO_F_RING_PACKED)
    let size = Math.max(most, 1)
    if (random.oneIn(3)) size = random.between(1, size)
    if (!packed) size = 2 ** Math.floor(Math.log2(size))
    size = this.#subject.sizeOf?.(index) ?? size
    if (size === 0) return
    const { memory } = this.#machine
    const areas = this.#subject.place?.(memory, size)
    const ring = fakeDriver(memory, {
      packed,
      size,
      ...(areas !== undefined && { areas }),
      index,
      eventIndex: this.#features.has(VIRTIO_F_EVENT_IDX),
      indirect: this.#features.has(VIRTIO_F_INDIRECT_DESC),
      inOrder: this.#features.has(VIRTIO_F_IN_ORDER),
      notify: () => this.#notify(index),
    })
    this.#rings[index] = ring
    const { setup } = ring
    if (this.#isPolite || !random.oneIn(12)) this.#subject.setUpQueue(setup)
    else this.#subject.setUpQueue({ ...setup, [random.pick(['size', 'descriptorArea', 'driverArea', 'deviceArea'] as const)]: random.pick(values) })
  }

  #suspend(): void {
    this.#access(() => {
      this.#subject.status = this.#subject.status | SUSPEND
    })
  }

  #notify(index: number): void {
    const ring = this.#rings[index]
    const hasData = this.#features.has(VIRTIO_F_NOTIFICATION_DATA) && ring !== undefined
    this.#access(() => this.#subject.notify(index, hasData ? index + ring.position.available * 0x1_0000 : index))
  }

  /** Makes buffers available, or takes care that the device looks. */
  #use(): void {
    const random = this.#random
    const index = random.pick([...this.#rings.keys()])
    const ring = index === undefined ? undefined : this.#rings[index]
    if (ring === undefined) return
    this.#quietly(() => {
      const count = random.between(1, 4)
      for (let i = 0; i < count; i++) {
        const spec = this.#kind.request(random, ring.setup.index)
        if (ring.features.indirect && spec.elements.length > 1 && random.oneIn(4)) Object.assign(spec, { table: { from: 0 } })
        ring.put(spec)
      }
    })
    this.#quietly(() => ring.publish())
    if (random.oneIn(3)) this.#notify(ring.setup.index)
  }

  #take(): void {
    for (const ring of this.#rings) if (ring !== undefined) this.#quietly(() => ring.drain())
  }

  #wish(): void {
    const random = this.#random
    const ring = random.pick(this.#rings)
    if (ring !== undefined) this.#quietly(() => ring.ask(ring.features.eventIndex ? random.below(4) : random.pick(['always', 'never'] as const)))
  }

  #restartQueue(): void {
    const random = this.#random
    const index = random.below(Math.max(this.#rings.length, 1))
    if (this.#isPolite) return
    if (random.oneIn(2)) this.#access(() => this.#subject.resetQueue(index))
    else this.#access(() => this.#subject.stopQueue(index))
    if (random.oneIn(2)) this.#access(() => this.#setUp(index))
  }

  /** The fake driver has no room, or finds what the guest itself has spoilt. */
  #quietly(action: () => void): void {
    try {
      action()
    } catch (error) {
      if (error instanceof RuleBroken && !this.#isPolite) return
      if (error instanceof RangeError) return
      throw error
    }
  }

  // ---- Anything

  #wild(): void {
    const random = this.#random
    const window = random.pick(this.#subject.windows)
    const count = random.between(1, 4)
    for (let i = 0; i < count; i++) {
      const offset = this.#offset(window)
      const width = random.oneIn(16) ? random.pick(oddWidths) : random.pick(widths)
      if (random.oneIn(2)) this.#access(() => this.#read(window, offset, width))
      else {
        const value = random.oneIn(16) ? random.pick(oddValues) : random.oneIn(4) ? random.word() : random.pick(values)
        this.#access(() => window.write(offset, width, value))
      }
    }
  }

  #offset({ offsets, size }: Window): number {
    const random = this.#random
    const what = random.below(32)
    if (what < 22) return random.pick(offsets)
    if (what < 25) return random.pick(offsets) + random.between(-3, 5)
    return what === 31 ? random.pick(oddOffsets) : random.below(size + 8)
  }

  #read(window: Window, offset: number, width: number): void {
    const value = window.read(offset, width)
    require(Number.isInteger(value) &&
      value >= 0 &&
      value <= (largest.get(width) ?? 0) &&
      !Object.is(value, -0), `${window.name} reads ${value} at ${offset} with a width of ${width}`)
    this.#machine.note(`read ${value}`)
  }

  /** Bytes of memory become others, mostly where a ring is. */
  #poke(): void {
    const random = this.#random
    const { memory } = this.#machine
    const ring = random.pick(this.#rings)
    const area = ring === undefined ? 0 : ring.setup[random.pick(['descriptorArea', 'driverArea', 'deviceArea'] as const)]
    const at = ring === undefined ? random.below(0x1_8ff0) : area + random.below(64)
    if (memory.holds(at, 2)) memory.poke(at, Uint8Array.of(random.pick([0, 1, 2, 4, 0x80, 0xff]), random.below(4)))
  }

  // ---- Interrupts, and what an access may cost

  #interrupted(): void {
    const random = this.#random
    if (!this.#isRestless || this.#depth >= mostDepth || this.#nested >= mostNested) return
    this.#depth++
    try {
      if (random.oneIn(2)) this.#nest(() => this.#subject.acknowledge())
      const count = random.below(4)
      for (let i = 0; i < count; i++) this.#nest(() => (random.oneIn(2) ? this.#use() : this.step()))
    } finally {
      this.#depth--
    }
  }

  #nest(action: () => void): void {
    this.#nested++
    carelessly(action)
  }

  /** An access, or a few that belong together: whatever they do, it is bounded. */
  #access(action: () => void): void {
    this.accesses++
    const machine = this.#machine
    if (this.#depth > 0) {
      this.#nested++
      carelessly(action)
      return
    }
    this.#nested = 0
    const calls = machine.calls
    const lookups = machine.memory.lookups
    carelessly(action)
    const entries = machine.device.queueSizes.reduce((sum, size) => sum + size, 0)
    const work = machine.calls - calls
    const most = (1 + this.#nested) * (rounds * (8 * entries + 8))
    require(work <= most, `one access made ${work} calls, and ${most} are the most`)
    const looked = machine.memory.lookups - lookups
    require(looked <= 1100 * most, `one access looked up memory ${looked} times`)
    machine.check()
  }
}
