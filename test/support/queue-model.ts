/**
 * A virtqueue as plain arrays, and what two sides may do to it, for fast-check: what was added, what is visible, what was taken, what is answered and with which bytes, and
 * who must be told. It knows nothing of rings.
 */
import fc from 'fast-check'
import { expect } from 'vitest'
import type { DeviceSide, DriverSide, Request, Ring } from './queue-sides.ts'

/** A request on its way. */
interface Entry {
  readonly request: Request
  /** What the device has answered. */
  answer?: Uint8Array
}

export class QueueModel {
  /** The driver has added them; the device cannot see them. */
  added: Entry[] = []
  /** The device can take them. */
  available: Entry[] = []
  /** The device has them, oldest first; with VIRTIO_F_IN_ORDER also those that are answered and wait. */
  taken: Entry[] = []
  /** They are to be taken again. */
  again: Entry[] = []
  /** Answered, not visible to the driver. */
  held: Entry[] = []
  /** The driver can see them used. */
  used: Entry[] = []
  corks = 0
  /** A side has found nothing and wants to be told when there is something. */
  isDeviceAsleep = false
  isDriverAsleep = false
  deviceWants = true
  driverWants = true
  /** Requests so far. */
  count = 0
  readonly inOrder: boolean
  readonly eventIndex: boolean

  constructor({ setting }: Ring) {
    this.inOrder = setting.inOrder === true
    this.eventIndex = setting.eventIndex === true
  }

  /** Those that the device has in its hands. */
  get inHand(): Entry[] {
    return this.taken.filter((entry) => entry.answer === undefined && !this.again.includes(entry))
  }

  answered(entry: Entry, answer: Uint8Array): void {
    entry.answer = answer
    if (!this.inOrder) this.taken.splice(this.taken.indexOf(entry), 1)
    if (!this.inOrder) this.held.push(entry)
    else while (this.taken[0]?.answer !== undefined) this.held.push(this.taken.shift()!)
    if (this.corks === 0) this.show()
  }

  /** True where something became visible to the driver. */
  show(): boolean {
    const isNew = this.held.length > 0
    this.used.push(...this.held.splice(0))
    return isNew
  }
}

export interface Real {
  readonly ring: Ring
  readonly driver: DriverSide
  readonly device: DeviceSide
}

type Command = fc.Command<QueueModel, Real>

/** What a side that was made to see something new must have been told. */
function expectTold(count: number, isNew: boolean, isAsleep: boolean, isForbidden: boolean): void {
  if (isNew && isAsleep) expect(count, 'notifications to who sleeps').toBeGreaterThan(0)
  if (!isNew || isForbidden) expect(count, 'notifications that nobody wants').toBe(0)
}

/** Runs what may make requests visible to the device. */
function publishing(model: QueueModel, real: Real, action: () => void): void {
  real.ring.toDevice = 0
  action()
  const isNew = model.added.length > 0
  model.available.push(...model.added.splice(0))
  expectTold(real.ring.toDevice, isNew, model.isDeviceAsleep, !model.deviceWants && !model.eventIndex)
  if (isNew) model.isDeviceAsleep = false
}

/** Runs what may make answers visible to the driver. */
function showing(model: QueueModel, real: Real, action: () => void, change: () => void): void {
  const before = model.used.length
  real.ring.toDriver = 0
  action()
  change()
  const isNew = model.used.length > before
  expectTold(real.ring.toDriver, isNew, model.isDriverAsleep, !model.driverWants && !model.eventIndex)
  if (isNew) model.isDriverAsleep = false
}

class Add implements Command {
  readonly readable: readonly number[]
  readonly writable: readonly number[]
  constructor(readable: readonly number[], writable: readonly number[]) {
    this.readable = readable
    this.writable = writable
  }
  check(): boolean {
    return this.readable.length + this.writable.length > 0
  }
  run(model: QueueModel, { ring, driver }: Real): void {
    const count = this.readable.length + this.writable.length
    if (count > ring.setting.size) return
    const number = model.count++
    const readable = this.readable.map((length, i) => new Uint8Array(length).fill(number * 3 + i))
    const request = { number, readable, writable: this.writable }
    const { free } = driver
    if (driver.add(request)) model.added.push({ request })
    else expect(count, 'descriptors that there was room for').toBeGreaterThan(free)
  }
  toString = () => `add(${this.readable.join('+')} | ${this.writable.join('+')})`
}
class Publish implements Command {
  check = () => true
  run(model: QueueModel, real: Real): void {
    publishing(model, real, () => real.driver.publish())
  }
  toString = () => 'publish'
}

class Take implements Command {
  check = () => true
  run(model: QueueModel, { device }: Real): void {
    const found = device.take()
    const entry = model.again.shift() ?? model.available.shift()
    if (entry === undefined) {
      expect(found).toBeUndefined()
      model.isDeviceAsleep = model.deviceWants
      return
    }
    const { readable, writable } = entry.request
    const content = readable.flatMap((bytes) => [...bytes])
    const room = writable.reduce((sum, length) => sum + length, 0)
    expect({ content: [...(found?.content ?? [])], room: found?.room }).toEqual({ content, room })
    if (!model.taken.includes(entry)) model.taken.push(entry)
  }
  toString = () => 'take'
}

class Complete implements Command {
  readonly which: number
  readonly share: number
  constructor(which: number, share: number) {
    this.which = which
    this.share = share
  }
  check = (model: Readonly<QueueModel>) => model.inHand.length > 0
  run(model: QueueModel, real: Real): void {
    const { inHand } = model
    const index = real.device.isOrderFree ? this.which % inHand.length : 0
    const entry = inHand[index]!
    const room = entry.request.writable.reduce((sum, length) => sum + length, 0)
    const answer = new Uint8Array(Math.floor(room * this.share)).fill(entry.request.number * 5 + 1)
    showing(
      model,
      real,
      () => real.device.complete(index, answer),
      () => model.answered(entry, answer),
    )
  }
  toString = () => `complete(${this.which}, ${this.share})`
}

class Collect implements Command {
  check = () => true
  run(model: QueueModel, { driver }: Real): void {
    const found = driver.used()
    const entry = model.used.shift()
    if (entry === undefined) {
      expect(found).toBeUndefined()
      model.isDriverAsleep = model.driverWants
      return
    }
    const answer = entry.answer!
    expect(found).toEqual({ number: entry.request.number, written: answer.length, bytes: answer })
  }
  toString = () => 'collect'
}

class Cork implements Command {
  check = () => true
  run(model: QueueModel, { device }: Real): void {
    if (device.cork === undefined) return
    device.cork()
    model.corks++
  }
  toString = () => 'cork'
}

class Uncork implements Command {
  check = (model: Readonly<QueueModel>) => model.corks > 0
  run(model: QueueModel, real: Real): void {
    showing(
      model,
      real,
      () => real.device.uncork!(),
      () => {
        if (--model.corks === 0) model.show()
      },
    )
  }
  toString = () => 'uncork'
}

class Wish implements Command {
  readonly side: 'device' | 'driver'
  readonly isWanted: boolean
  constructor(side: 'device' | 'driver', isWanted: boolean) {
    this.side = side
    this.isWanted = isWanted
  }
  check = () => true
  run(model: QueueModel, real: Real): void {
    const isDevice = this.side === 'device'
    if (isDevice) model.deviceWants = this.isWanted
    else model.driverWants = this.isWanted
    if (!this.isWanted) {
      real[this.side].disable?.()
      if (isDevice) model.isDeviceAsleep = false
      else model.isDriverAsleep = false
      return
    }
    const more = real[this.side].enable!()
    const rest = isDevice ? [...model.again, ...model.available] : model.used
    // Those by hand do not look.
    if (real[this.side].restore !== undefined) expect(more, 'there is more').toBe(rest.length > 0)
    if (rest.length > 0) return
    if (isDevice) model.isDeviceAsleep = true
    else model.isDriverAsleep = true
  }
  toString = () => `${this.isWanted ? 'enable' : 'disable'}(${this.side})`
}

class PutBack implements Command {
  check = (model: Readonly<QueueModel>) => model.again.length === 0 && model.taken.at(-1) !== undefined && model.taken.at(-1)!.answer === undefined
  run(model: QueueModel, { device }: Real): void {
    if (device.putBack === undefined) return
    device.putBack()
    model.again.unshift(model.taken.at(-1)!)
    model.isDeviceAsleep = false
  }
  toString = () => 'putBack'
}

class RestoreDevice implements Command {
  check = () => true
  run(model: QueueModel, real: Real): void {
    const { device } = real
    if (device.restore === undefined) return
    // What is held back becomes visible when the queue is saved.
    showing(
      model,
      real,
      () => device.restore!(),
      () => {
        model.corks = 0
        model.show()
      },
    )
    model.again = model.taken.filter(({ answer }) => answer === undefined)
    model.deviceWants = true
    if (model.again.length > 0) model.isDeviceAsleep = false
  }
  toString = () => 'restore(device)'
}

class RestoreDriver implements Command {
  check = () => true
  run(model: QueueModel, real: Real): void {
    if (real.driver.restore === undefined) return
    publishing(model, real, () => real.driver.restore!())
    model.driverWants = true
  }
  toString = () => 'restore(driver)'
}

/** All that may happen: requests and answers more often than changes of mind. */
export function queueCommands(maxCommands: number): fc.Arbitrary<Iterable<Command>> {
  const length = fc.integer({ min: 1, max: 40 })
  const share = fc.constantFrom(0, 0.3, 1)
  const one = <T extends Command>(command: T): fc.Arbitrary<Command> => fc.constant(command)
  const add = fc
    .tuple(fc.array(length, { maxLength: 3 }), fc.array(length, { maxLength: 3 }))
    .map(([readable, writable]) => new Add(readable, writable))
  const complete = fc.tuple(fc.nat(7), share).map(([which, part]) => new Complete(which, part))
  const often: fc.Arbitrary<Command>[] = [
    add,
    add,
    one(new Publish()),
    one(new Take()),
    one(new Take()),
    complete,
    complete,
    one(new Collect()),
    one(new Collect()),
  ]
  const seldom: fc.Arbitrary<Command>[] = [
    one(new Cork()),
    one(new Uncork()),
    ...[true, false].flatMap((isWanted) => [one(new Wish('device', isWanted)), one(new Wish('driver', isWanted))]),
    one(new PutBack()),
    one(new RestoreDevice()),
    one(new RestoreDriver()),
  ]
  return fc.commands([...often, ...often, ...seldom], { maxCommands, size: 'max' })
}

/** In the end the device is reset: what was out does nothing any more, and the driver gets back everything that did not come back. */
export function finish(model: QueueModel, { ring, driver, device }: Real): void {
  if (device.reset !== undefined) {
    const workOn = device.reset()
    ring.memory.settle()
    workOn()
    expect(ring.memory.changes(), 'bytes that were written after the reset').toEqual([])
  }
  ring.memory.checkGuards()
  if (driver.detach === undefined) return
  const out = [...model.added, ...model.available, ...model.taken, ...model.held, ...model.used].map(({ request }) => request.number)
  expect(driver.detach().toSorted((a, b) => a - b)).toEqual(out.toSorted((a, b) => a - b))
}
