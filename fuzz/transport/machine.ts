/** A device behind a transport with guest memory, and all that happens there written down and counted. */
import type { FeatureSet } from 'virtgen/codegen/v1/wire'
import { createDeviceQueue } from '../../runtime/device-queue.ts'
import { TestMemory } from '../../runtime/testing/memory.ts'
import type { Violation } from '../../runtime/violation.ts'
import { Failure, require } from '../failure.ts'
import { Random } from '../random.ts'
import { ringKinds } from '../typed.ts'
import { type FuzzedDevice, isExpected, type Kind } from './devices.ts'
import type { MakeSubject, Subject } from './subject.ts'
import { carelessly, Mischief, Temper } from './temper.ts'

/** What a machine is made of: two that are made of the same behave the same. */
export interface Setting {
  readonly make: MakeSubject
  readonly kind: Kind
  readonly variant: number
  readonly ringFeatures: FeatureSet
  readonly queueSize: number
  readonly maxChainLength: number | 'strict'
  /** The device does its duty and no more. */
  readonly isGood: boolean
}

/** Address 0 means no queue to some transports. */
const least = 16
const firstEnd = 0x1_8000
const secondEnd = 0x1_9000
/** Two that touch, and one that is as far above 4 GiB as another one is above 0. */
const regions = [
  { guestAddress: 0, size: firstEnd },
  { guestAddress: firstEnd, size: secondEnd - firstEnd },
  { guestAddress: 0x1_0000_0000, size: 0x1000 },
]

/** Guest memory whose places are given out in turn, so that two guests that ask for the same get the same; and which counts who looks something up there. */
export class FuzzMemory extends TestMemory {
  lookups = 0
  /** Begins with places that are in use where there is no other: for guests that may spoil their own memory. */
  mayWrap = true
  #next = least

  constructor() {
    super({ regions, guard: 256 })
  }

  /** Places are given out from the beginning again. */
  restart(): void {
    this.#next = least
  }
  /** What is aligned, as the parts of a ring are, lies in one region; buffers may cross into the next. */
  override allocate(length: number, alignment = 1): number {
    const end = alignment > 1 ? firstEnd : secondEnd
    const from = (at: number): number => Math.ceil(at / alignment) * alignment
    if (this.mayWrap && from(this.#next) + length > end) this.restart()
    const address = from(this.#next)
    if (address + length > end) throw new RangeError(`there is no place for ${length} bytes`)
    this.#next = address + length
    return address
  }
  override release(): void {}

  override resolve(address: number, length: number): Uint8Array | undefined {
    this.lookups++
    return super.resolve(address, length)
  }
  override regionOf(address: number, length: number) {
    this.lookups++
    return super.regionOf(address, length)
  }
  override indexOf(address: number, length: number): number {
    this.lookups++
    return super.indexOf(address, length)
  }
  override read(address: number, target: Uint8Array): boolean {
    this.lookups++
    return super.read(address, target)
  }
  override write(address: number, source: Uint8Array): boolean {
    this.lookups++
    return super.write(address, source)
  }
}

/** Kinds of violations beside those of rings. */
const otherKinds = ['request-size', 'event-size', 'device-failed', 'features']

export class Machine {
  readonly memory: FuzzMemory
  readonly device: FuzzedDevice
  readonly subject: Subject
  readonly temper: Temper
  /** What happened since the last `takeEvents`. */
  #events: string[] = []
  /** Calls of the device, its author and the VMM. */
  calls = 0
  requests = 0
  interrupts = 0
  readonly violations: Violation[] = []
  /** What the guest does when it is interrupted. */
  onInterrupt: () => void = () => {}
  #deferred: (() => void)[] = []
  /** What went wrong inside of a callback, where whoever called may have caught it. */
  #failure: unknown

  /** @param memory - of another machine, for a device that goes on from where the one there was */
  constructor(setting: Setting, seed: number, memory: FuzzMemory = new FuzzMemory()) {
    this.memory = memory
    const { ringFeatures, queueSize, maxChainLength, kind, variant } = setting
    this.temper = new Temper(
      new Random(seed),
      {
        reset: () => {
          this.note('reset by the device')
          this.subject.control.reset()
        },
        configChanged: () => this.device.config.update(() => {}),
        fail: () => {
          throw new Mischief('the device gives up')
        },
        requested: () => {
          this.requests++
        },
        called: (what) => {
          this.calls++
          this.note(what)
        },
      },
      setting.isGood,
    )
    this.memory.onWrite = (address, length) => {
      this.calls++
      this.note(`write ${address} ${length}`)
    }
    const onError = (error: unknown): void => this.#reported(error)
    this.device = kind.make(this.temper, { queueSize, onError })
    this.subject = setting.make(this.device, {
      memory: this.memory,
      ringFeatures,
      maxChainLength,
      variant,
      createQueue: createDeviceQueue,
      interrupted: (...what) => {
        this.calls++
        this.interrupts++
        this.note(`interrupt ${what}`)
        this.guarded(() => this.onInterrupt())
        this.temper.hear()
      },
      onViolation: (violation) => this.#violated(violation),
      onError,
      defer: (callback) => this.#deferred.push(callback),
    })
  }

  note(event: string): void {
    this.#events.push(event)
  }
  /** What happened since the last time. */
  takeEvents(): readonly string[] {
    const events = this.#events
    this.#events = []
    return events
  }

  /** What fails in there fails the execution, whoever catches it on its way. */
  guarded(action: () => void): void {
    try {
      action()
    } catch (error) {
      this.#failure ??= error
      throw error
    }
  }

  #reported(error: unknown): void {
    this.calls++
    this.note(`error ${error instanceof Error ? error.message : error}`)
    if (!isExpected(error)) this.#failure ??= error
  }

  #violated(violation: Violation): void {
    this.calls++
    const { kind, detail } = violation
    this.note(`violation ${kind} ${detail}`)
    this.violations.push(violation)
    if (!(Object.hasOwn(ringKinds, kind) || otherKinds.includes(kind)) || /undefined|NaN|\[object/.test(detail))
      this.#failure ??= new Failure(`a violation of kind ${kind}: ${detail}`)
  }

  /** Something failed, elsewhere. */
  fail(error: unknown): void {
    this.#failure ??= error
  }

  /** @throws what went wrong meanwhile */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure
  }
  /** @throws what went wrong meanwhile, also where a byte outside of the regions was written */
  checkMemory(): void {
    this.check()
    this.memory.checkGuards()
  }

  /** Callbacks that were put off and have not been called. */
  get deferred(): number {
    return this.#deferred.length
  }
  /** The VMM has time: what was put off takes place. */
  runDeferred(): void {
    for (const callback of this.#deferred.splice(0)) carelessly(callback)
  }

  /** All that is out comes to its end, and all that was put off takes place. */
  async settle(): Promise<void> {
    for (let round = 0; round < 64; round++) {
      this.runDeferred()
      this.temper.finishAll()
      await turn()
      if (this.deferred === 0 && this.temper.open === 0) return
    }
    require(false, 'the device does not come to rest')
  }
}

/** All promises that can be settled are. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
