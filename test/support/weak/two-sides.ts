/**
 * A driver and a device over a {@link WeakMemory}, in one thread and without chance: a seed decides which side does what next, where in the midst of it the other side
 * gets a turn, and which of the values that the memory model allows each load sees.
 */

import { VirtqAvail, VirtqUsed } from 'virtgen/wire/split-ring'
import type { Chain } from '../../../runtime/chain.ts'
import { createDeviceQueue } from '../../../runtime/device-queue.ts'
import { DriverMemory } from '../../../runtime/driver/memory.ts'
import { createDriverQueue } from '../../../runtime/driver-queue.ts'
import { GuestMemory } from '../../../runtime/memory.ts'
import type { DeviceQueue, DriverQueue, QueueSetup, RingFeatures } from '../../../runtime/queue.ts'
import type { Violation } from '../../../runtime/violation.ts'
import { type Access, type Race, type Side, WeakMemory } from './memory.ts'
import { WeakViews } from './views.ts'

export const driverSide: Side = 0
export const deviceSide: Side = 1

export const areas = { descriptorArea: 0x100, driverArea: 0x200, deviceArea: 0x300 } as const
/** Entries of the queue: few, so that it fills up and wraps. */
export const sizeOf = ({ packed }: RingFeatures): number => (packed ? 5 : 4)
const tables = { address: 0x400, length: 0x200 }
const slots = 0x600
const slotBytes = 16
const memoryBytes = 0x700

export interface Scenario {
  readonly features: RingFeatures
  readonly seed: number
  /** Chains to pass. */
  readonly chains?: number
  /** Makes plain accesses of some Atomics. */
  readonly isDemoted?: (access: Access) => boolean
}

export interface Outcome {
  /** What went wrong: a lost notification, a violation, a wrong byte. */
  readonly failure: string | undefined
  readonly races: readonly Race[]
  readonly atomics: readonly Access[]
  readonly sleeps: number
}

/** Runs both sides until all chains are back, or something fails. */
export function runTwoSides(scenario: Scenario): Outcome {
  return new TwoSides(scenario).run()
}

class Failure extends Error {}

/** One side: a step is what it does between two points at which it might do something else. */
interface Party {
  asleep: boolean
  /** It was notified since it looked at its queue. */
  notified: boolean
  step(): void
}

class TwoSides {
  readonly #random: () => number
  readonly #memory: WeakMemory
  readonly #views: WeakViews
  #parties!: [Party, Party]
  #isNested = false
  #sleeps = 0
  readonly #scenario: Required<Omit<Scenario, 'isDemoted'>>

  constructor({ features, seed, chains = 12, isDemoted }: Scenario) {
    this.#scenario = { features, seed, chains }
    this.#random = randomOf(seed)
    this.#memory = new WeakMemory(memoryBytes, {
      choose: (count) => this.#below(count),
      before: (access) => this.#interrupt(access),
      ...(isDemoted === undefined ? {} : { isDemoted }),
    })
    this.#views = new WeakViews(memoryBytes, this.#memory)
  }

  run(): Outcome {
    let failure: string | undefined
    try {
      this.#views.install(() => this.#play())
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      failure = error.message
    }
    return { failure, races: [...this.#memory.races.values()], atomics: [...this.#memory.atomics.values()], sleeps: this.#sleeps }
  }

  #play(): void {
    const { chains } = this.#scenario
    // Nobody else is there while the driver initialises the ring; the device comes when it is told of it.
    this.#isNested = true
    const driver = this.#views.as(driverSide, () => this.#makeDriver())
    this.#memory.synchronize()
    const device = this.#views.as(deviceSide, () => this.#makeDevice())
    this.#isNested = false
    this.#parties = [driver, device]
    for (let steps = 0; driver.completed < chains; steps++) {
      if (driver.asleep && !driver.notified && device.asleep && !device.notified)
        throw new Failure(`both sides sleep, and ${driver.completed} of ${chains} chains are back`)
      if (steps > 200 * chains) throw new Failure('the sides come to no end')
      this.#turn(this.#below(2) as Side)
    }
  }

  /** Before each access of one side, the other one may get a turn. */
  #interrupt(access: Access): void {
    if (this.#isNested || this.#below(3) !== 0) return
    this.#isNested = true
    for (let turns = 1 + this.#below(3); turns > 0; turns--) this.#turn((1 - access.side) as Side)
    this.#isNested = false
  }

  #turn(side: Side): void {
    const party = this.#parties[side]!
    if (party.asleep && !party.notified) return
    party.asleep = false
    this.#views.as(side, () => party.step())
  }

  #fell(party: Party): void {
    party.asleep = true
    this.#sleeps++
  }

  #makeDriver(): Party & { completed: number } {
    const { features, chains } = this.#scenario
    const memory = this.#guestMemory()
    const start = this.#start
    if (start !== 0) {
      memory.write(areas.driverArea + VirtqAvail.offsetOf.idx, Uint8Array.of(start & 0xff, start >>> 8))
      memory.write(areas.deviceArea + VirtqUsed.offsetOf.idx, Uint8Array.of(start & 0xff, start >>> 8))
    }
    const size = sizeOf(features)
    const queue: DriverQueue<number> = createDriverQueue<number>(memory, this.#setup, {
      ...features,
      ...(start === 0 ? {} : { state: { available: start, used: start, out: [] }, tokens: [] }),
      ...(features.indirect ? { indirectTables: new DriverMemory(memory, tables.address, tables.length) } : {}),
      notify: () => {
        this.#parties[deviceSide].notified = true
      },
      fail: (violation) => fail('driver', violation),
    })
    const free = Array.from({ length: size }, (_, i) => i)
    const numbers: number[] = []
    let added = 0
    let polling = false
    const add = (): boolean => {
      const slot = free.at(-1)!
      const address = slots + slot * slotBytes
      memory.write(address, Uint8Array.of(added, added ^ 0x55, added ^ 0xaa, 0, 0xee, 0xee))
      const fits = queue.append(address, 1, false) && queue.append(address + 1, 2, false) && queue.append(address + 4, 2, true)
      if (!fits) {
        queue.rewind()
        return false
      }
      queue.commit(slot)
      free.pop()
      numbers[slot] = added++
      return true
    }
    const reap = (): boolean => {
      const slot = queue.completed()
      if (slot === undefined) return false
      const answer = memory.resolve(slots + slot * slotBytes + 4, 2)!
      const number = numbers[slot]!
      const due = writtenOf(number) === 1 ? [number ^ 0x0f, 0xee] : [number ^ 0x0f, number ^ 0xf0]
      if (answer[0] !== due[0] || answer[1] !== due[1]) throw new Failure(`answer ${number} is ${answer[0]}, ${answer[1]}, not ${due}`)
      if (queue.written !== writtenOf(number)) throw new Failure(`answer ${number} has ${queue.written} bytes, not ${writtenOf(number)}`)
      free.push(slot)
      party.completed++
      return true
    }
    const party = {
      asleep: false,
      notified: false,
      completed: 0,
      step: () => {
        if (party.notified && polling !== (this.#below(2) === 0)) {
          polling = !polling
          if (polling) queue.disableNotifications()
          else queue.enableNotifications()
        }
        party.notified = false
        const mayAdd = added < chains && free.length > 0
        if (mayAdd && this.#below(2) === 0) {
          let count = 1 + this.#below(2)
          while (count-- > 0 && added < chains && free.length > 0 && add());
          queue.publish()
          return
        }
        if (reap() || queue.out === 0) return
        if (polling && queue.enableNotifications()) return
        polling = false
        this.#fell(party)
      },
    }
    return party
  }

  #makeDevice(): Party {
    const queue: DeviceQueue = createDeviceQueue(this.#guestMemory(), this.#setup, {
      ...this.#scenario.features,
      ...(this.#start === 0 ? {} : { state: { available: this.#start, used: this.#start, inFlight: [] } }),
      notify: () => {
        this.#parties[driverSide].notified = true
      },
      fail: (violation) => fail('device', violation),
    })
    const request = new Uint8Array(8)
    const parked: Chain[] = []
    let taken = 0
    let polling = false
    const complete = (): void => parked.splice(this.#below(parked.length), 1)[0]!.complete()
    /** Takes up to `count` chains; false where there were fewer. */
    const serve = (count: number): boolean => {
      for (; count > 0; count--) {
        const chain = queue.next()
        if (chain === undefined) return false
        const length = chain.readable.copyTo(request)
        if (length !== 3 || request[0] !== taken || request[1] !== (taken ^ 0x55) || request[2] !== (taken ^ 0xaa))
          throw new Failure(`request ${taken} is ${request.subarray(0, length)}`)
        chain.writable.copyFrom(Uint8Array.of(taken ^ 0x0f, taken ^ 0xf0), 0, writtenOf(taken))
        taken++
        parked.push(chain)
        if (this.#below(3) !== 0) complete()
      }
      return true
    }
    const party = {
      asleep: false,
      notified: false,
      step: () => {
        if (party.notified && polling !== (this.#below(2) === 0)) {
          polling = !polling
          if (polling) queue.disableNotifications()
          else queue.enableNotifications()
        }
        party.notified = false
        const corked = this.#below(2) === 0
        if (corked) queue.cork()
        const went = serve(corked ? 1 + this.#below(3) : 1)
        if (corked) queue.uncork()
        if (went) return
        if (parked.length > 0) {
          while (parked.length > 0) complete()
          return
        }
        // What came in the meantime, or is still there after the chains that were just completed, is served by the next step.
        if (polling && queue.enableNotifications()) return
        polling = false
        this.#fell(party)
      },
    }
    return party
  }

  /** Of bytes that stay where they are, or of a buffer that may be another one at any time: the queues then look for it before each access. */
  #guestMemory(): GuestMemory {
    const { bytes, buffer } = this.#views
    return new GuestMemory([{ guestAddress: 0, size: memoryBytes, source: (this.#scenario.seed & 2) === 0 ? bytes : { buffer } }])
  }

  get #setup(): QueueSetup {
    return { index: 0, size: sizeOf(this.#scenario.features), ...areas }
  }

  /** Every other split ring starts shortly before its indices wrap. */
  get #start(): number {
    const { features, seed } = this.#scenario
    return !features.packed && seed % 2 === 1 ? 0x1_0000 - 6 : 0
  }

  #below(count: number): number {
    return this.#random() % count
  }
}

/** Bytes of the answer to a request: one, or both of the room. */
function writtenOf(number: number): number {
  return 1 + (number % 3 === 0 ? 0 : 1)
}

function fail(side: string, violation: Violation): never {
  throw new Failure(`the ${side} sees a violation: ${violation.kind}, ${violation.detail}`)
}

/** xorshift32. */
function randomOf(seed: number): () => number {
  let x = Math.imul(seed + 1, 0x9e3779b1) ^ 0x85ebca6b || 1
  return () => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return x >>> 0
  }
}
