/** One execution against the driver side of a queue: a driver that does everything a driver may, a device by hand that keeps the rules now and then, and a model. */
import { PvirtqDesc } from 'virtgen/wire/packed-ring'
import { DriverMemory } from '../runtime/driver/memory.ts'
import type { DriverQueueOptions } from '../runtime/driver-queue-options.ts'
import type { GuestMemory } from '../runtime/memory.ts'
import type { DeviceAddress, DriverQueue, DriverQueueState, QueueSetup } from '../runtime/queue.ts'
import type { Violation } from '../runtime/violation.ts'
import type { Arena } from './arena.ts'
import { largestSize, type Places, packedParts, place, splitParts } from './arenas.ts'
import type { ChainReading } from './chain-reading.ts'
import { requireRefused } from './chain-use.ts'
import { Chances } from './chances.ts'
import { type DeviceHand, PackedDeviceHand, SplitDeviceHand } from './device-hand.ts'
import { type BufferOut, type DriverModel, type DriverOutcome, PackedDriverModel, SplitDriverModel } from './driver-model.ts'
import { Failure, require } from './failure.ts'
import { moved, readPackedChain, wrapBit } from './packed-reading.ts'
import type { Random } from './random.ts'
import type { Range, RingRules } from './ring-rules.ts'
import { availableHead } from './split-model.ts'
import { readSplitChain } from './split-reading.ts'
import { Trace } from './trace.ts'
import { requireTyped } from './typed.ts'

export type MakeDriverQueue = (memory: GuestMemory, setup: QueueSetup, options: DriverQueueOptions<number>) => DriverQueue<number>

/** A buffer that was added, as it must be found in the ring. */
interface Added {
  readonly buffer: BufferOut
  readonly readable: readonly DeviceAddress[]
  readonly writable: readonly DeviceAddress[]
}

/** Bytes for indirect tables: not enough for all buffers of a long queue. */
const tablesLength = 0x800

export class DriverExecution {
  readonly trace = new Trace()
  violation: Violation | undefined
  readonly #make: MakeDriverQueue
  readonly #random: Random
  readonly #arena: Arena
  readonly #chances: Chances
  readonly #rules: RingRules
  readonly #places: Places
  readonly #model: DriverModel
  readonly #hand: DeviceHand
  /** Nothing happens inside of calls: then the model knows exactly what must happen. Otherwise the device acts in every notification. */
  readonly #isCalm: boolean
  /** The device keeps all rules. */
  readonly #isPolite: boolean
  #queue!: DriverQueue<number>
  #tables!: DriverMemory
  #tokens = 0
  #notified = 0
  #depth = 0
  /** Added, and not yet published. */
  #added: Added[] = []
  /** The device has written into memory since the last `publish`: what was added need not be there any more. */
  #isTouched = false
  /** Up to where chains are available, and where the next one goes: free-running indices; packed: positions. */
  #position: number
  #next: number

  constructor(make: MakeDriverQueue, random: Random, arenas: readonly Arena[], packed: boolean, poison: number) {
    this.#make = make
    this.#random = random
    const arena = random.pick(arenas)
    this.#arena = arena
    this.#chances = Chances.of(arena)
    // The queue has to clear what is its own.
    arena.clear(random.oneIn(2) ? 0 : random.below(256), poison)
    const size = packed ? random.between(1, random.pick([4, largestSize])) : 2 ** random.below(7)
    this.#places = place(random, arena, size, packed ? packedParts(size) : splitParts(size))
    this.#isCalm = !random.oneIn(4)
    this.#isPolite = random.oneIn(3)
    this.#rules = {
      arena,
      setup: this.#places.setup,
      packed,
      eventIndex: random.oneIn(2),
      indirect: random.oneIn(2),
      inOrder: random.oneIn(3),
      maxChainLength: 'strict',
    }
    this.#model = packed ? new PackedDriverModel(this.#rules) : new SplitDriverModel(this.#rules)
    this.#hand = packed ? new PackedDeviceHand(this.#rules, this.#chances) : new SplitDeviceHand(this.#rules, this.#chances)
    this.#position = this.#next = packed ? wrapBit : 0
  }

  /** What lies in memory belongs to what can be seen. */
  traceMemory(): void {
    this.trace.memory(this.#arena)
  }

  run(): void {
    this.#tables = new DriverMemory(this.#arena.memory, Math.ceil(this.#places.tables / 16) * 16, tablesLength)
    this.#open(undefined)
    this.#check()
    const steps = this.#random.between(6, 60)
    for (let step = 0; step < steps && this.#queue.broken === undefined; step++) {
      this.#step()
      this.#check()
    }
    this.#end()
    this.#check()
    require(this.#arena.guardsAreWhole(), 'a guard was written')
  }

  #open(state: DriverQueueState | undefined): void {
    const { arena, setup, maxChainLength: _, ...features } = this.#rules
    this.#queue = this.#make(arena.memory, setup, {
      ...features,
      indirectTables: this.#tables,
      notify: () => {
        this.#notified++
        this.#interrupt()
      },
      fail: (violation) => {
        require(this.violation === undefined, `a second violation: ${violation.kind}`)
        requireTyped(violation, setup.index)
        this.violation = violation
        this.trace.text(violation.kind + violation.detail)
      },
      ...(state !== undefined && { state, tokens: this.#model.out.map(({ token }) => token) }),
    })
  }

  #step(): void {
    const random = this.#random
    const what = random.below(24)
    if (what < 6) this.#add()
    else if (what < 10) this.#publish()
    else if (what < 14) this.#use()
    else if (what < 18) this.#completeSome()
    else if (what < 20) this.#mutate()
    else if (what === 20) this.#hand.wish(random, this.#position)
    else if (what === 21) random.oneIn(2) ? this.#queue.disableNotifications() : this.#enable()
    else if (what === 22) random.oneIn(3) ? this.#restore() : this.#misuse()
    else if (random.oneIn(4)) this.#arena.move()
  }

  // ---- The driver

  #add(): void {
    const random = this.#random
    const { size } = this.#rules.setup
    const count = random.between(1, Math.min(size, random.pick([2, 6, size])))
    const pieces = Array.from({ length: count }, () => this.#piece())
    const split = random.between(0, count)
    const [readable, writable] = [pieces.slice(0, split), pieces.slice(split)]
    const { free } = this.#queue
    const token = ++this.#tokens
    const isAdded = random.oneIn(2) ? this.#queue.add(readable, writable, token) : this.#append(readable, writable, token)
    if (!isAdded) {
      require(count > free, `there was no room for ${count} pieces, ${free} descriptors are free`)
      require(this.#queue.free === free, 'a buffer that was not added takes descriptors')
      return
    }
    const bytes = writable.reduce((sum, { length }) => sum + length, 0)
    const slots = free - this.#queue.free
    require(slots === count || (this.#rules.indirect && slots === 1), `${count} pieces took ${slots} descriptors`)
    const buffer = { token, writable: bytes, head: this.#headOf(slots), slots, isVisible: false }
    this.#model.out.push(buffer)
    this.#added.push({ buffer, readable, writable })
  }

  /** By which head, or id, the device will know the buffer that was just added. */
  #headOf(slots: number): number {
    const { packed, setup } = this.#rules
    const at = this.#next
    this.#next = packed ? moved(at, slots, setup.size) : (at + 1) & 0xffff
    return packed ? lastId(this.#rules, at, slots) : availableHead(this.#rules, at)
  }

  #append(readable: readonly DeviceAddress[], writable: readonly DeviceAddress[], token: number): boolean {
    const queue = this.#queue
    if (this.#random.oneIn(6)) {
      if (queue.append(this.#places.room, 1, true)) queue.rewind()
    }
    for (const part of [readable, writable])
      for (const { address, length } of part) {
        if (queue.append(address, length, part === writable)) continue
        queue.rewind()
        return false
      }
    queue.commit(token)
    return true
  }

  #piece(): DeviceAddress {
    const [[low, high], length] = this.#chances.buffer(this.#random, Number.POSITIVE_INFINITY, this.#places.room)
    return { address: high * 0x1_0000_0000 + low, length: length || 1 }
  }

  #publish(): void {
    const queue = this.#queue
    const added = this.#added
    const from = this.#position
    const isTouched = this.#isTouched
    this.#added = []
    this.#isTouched = false
    for (const { buffer } of added) buffer.isVisible = true
    this.#notified = 0
    const isPublishing = added.length > 0 && queue.broken === undefined
    this.#position = this.#next
    queue.publish()
    if (!isPublishing || !this.#isCalm) return
    require(queue.published === this.#position, `the queue says that it has published up to ${queue.published}, not ${this.#position}`)
    const count = this.#rules.packed ? added.reduce((sum, { buffer }) => sum + buffer.slots, 0) : added.length
    const isDue = this.#model.wantsNotification(from, count)
    require(this.#notified > 0 === isDue, isDue ? 'the device is not told of a buffer' : 'the device is told of a buffer against its will')
    if (!isTouched) this.#requireThere(from, added)
  }

  /** The device must find in memory what was added. */
  #requireThere(from: number, added: readonly Added[]): void {
    const { rules } = this.#model
    let position = from
    for (const { buffer, readable, writable } of added) {
      const found = rules.packed
        ? readPackedChain(rules, position, rules.setup.size)
        : { id: buffer.head, reading: readSplitChain(rules, buffer.head) }
      require(found !== undefined, `nothing is available at ${position}`)
      require(found.reading.problems.size === 0, `a chain has problems: ${[...found.reading.problems]}`)
      requireSame(found.reading, readable, writable)
      require(found.id === buffer.head && found.reading.slots === buffer.slots, `the chain at ${position} is not what was added`)
      position = rules.packed ? moved(position, buffer.slots, rules.setup.size) : position + 1
    }
  }

  #completeSome(): void {
    const count = this.#random.between(1, 6)
    for (let i = 0; i < count; i++) if (!this.#complete()) return
  }

  #complete(): boolean {
    const queue = this.#queue
    const model = this.#model
    const wasBroken = queue.broken !== undefined
    const seen = this.#rules.packed ? 0 : queue.inspect().usedPublished
    const expected: DriverOutcome = wasBroken ? { kind: 'none' } : model.next(seen)
    const token = queue.completed()
    if (token === undefined) {
      this.#requireNothing(expected, wasBroken)
      return false
    }
    if (expected.kind !== 'used') throw new Failure(`buffer ${token} is used, expected was ${describe(expected)}`)
    require(token === expected.buffer.token, `buffer ${token} is used, expected was ${expected.buffer.token}`)
    require(queue.written === expected.written, `${queue.written} bytes are written, expected were ${expected.written}`)
    require(queue.written <= expected.buffer.writable, 'more bytes are written than there are')
    model.completed(expected.buffer, seen)
    this.trace.number(token)
    this.trace.number(queue.written)
    return true
  }

  #requireNothing(expected: DriverOutcome, wasBroken: boolean): void {
    const { broken } = this.#queue
    if (expected.kind === 'violation') {
      require(broken !== undefined &&
        expected.kinds.has(broken.kind), `there was ${broken?.kind ?? 'no violation'}, expected was ${describe(expected)}`)
    } else
      require(expected.kind === 'none' &&
        (wasBroken || broken === undefined), `there was ${broken?.detail ?? 'nothing'}, expected was ${describe(expected)}`)
  }

  #enable(): void {
    const isBroken = this.#queue.broken !== undefined
    const { used, usedPublished } = this.#queue.inspect()
    const more = this.#queue.enableNotifications()
    // What is used wrongly is more as well; it will be found when it is taken. A device that takes back what it has said may be believed either way.
    const expected = [usedPublished, used].map((seen) => !isBroken && this.#model.next(this.#rules.packed ? 0 : seen).kind !== 'none')
    require(expected.includes(more), `enableNotifications gave ${more}`)
  }

  #restore(): void {
    if (!this.#isCalm) return
    this.#publish()
    const state = JSON.parse(JSON.stringify(this.#queue.save())) as DriverQueueState
    require(state.out.length === this.#model.out.length, `${state.out.length} buffers are out, not ${this.#model.out.length}`)
    if (this.#queue.broken !== undefined) return
    // The tables of buffers that are out stay where they are; the rest is for new ones.
    if (this.#tables.available < 0x100) return
    this.#open(state)
  }

  #misuse(): void {
    const queue = this.#queue
    const { room } = this.#places
    requireRefused(() => queue.add([], [], 0))
    requireRefused(() => queue.add([{ address: room, length: 0 }], [], 0))
    requireRefused(() => queue.append(2 ** 53, 1, true))
    requireRefused(() => queue.append(room, -1, true))
    requireRefused(() => queue.commit(0))
  }

  /** The device is reset: the driver takes everything back. */
  #end(): void {
    const queue = this.#queue
    const left = new Set(this.#model.out.map(({ token }) => token))
    if (this.#random.oneIn(2)) queue.close()
    for (let token = queue.detach(); token !== undefined; token = queue.detach()) require(left.delete(token), `buffer ${token} was given back twice`)
    require(left.size === 0, `${left.size} buffers were not given back`)
    require(queue.free === this.#rules.setup.size && queue.out === 0, `${queue.free} descriptors are free in the end, ${queue.out} buffers are out`)
    require(queue.completed() === undefined && !queue.add([{ address: this.#places.room, length: 1 }], [], 0), 'a queue that is over goes on')
    this.#model.out.length = 0
    this.#added = []
  }

  // ---- The device

  #use(): void {
    const visible = this.#model.out.filter(({ isVisible }) => isVisible)
    const free = this.#rules.inOrder ? visible.slice(this.#usedUp()) : visible.filter(({ token }) => !this.#isUsed.has(token))
    if (free.length === 0) return
    const random = this.#random
    const used = this.#rules.inOrder ? free.slice(0, random.between(1, Math.min(free.length, 3))) : [random.pick(free)]
    for (const { token } of used) this.#isUsed.add(token)
    const { writable } = used.at(-1)!
    this.#hand.use(used, writable === 0 ? 0 : random.below(writable + 1))
    this.#isTouched ||= this.#rules.packed
  }

  /** Buffers that the device has used, by the rules. */
  readonly #isUsed = new Set<number>()
  #usedUp(): number {
    return this.#model.out.filter(({ token }) => this.#isUsed.has(token)).length
  }

  #mutate(): void {
    if (this.#isPolite) return
    this.#isTouched = true
    const count = this.#random.between(1, 3)
    for (let i = 0; i < count; i++)
      this.#hand.mutate(
        this.#random,
        this.#model.out.filter(({ isVisible }) => isVisible),
      )
  }

  /** A notification: where the device may run, and the driver be called again. */
  #interrupt(): void {
    if (this.#isCalm || this.#depth >= 2) return
    this.#depth++
    const what = this.#random.below(8)
    if (what < 3) this.#use()
    else if (what < 4) this.#mutate()
    else if (what < 6) this.#completeSome()
    else if (what < 7) this.#add()
    else this.#publish()
    this.#depth--
  }

  // ---- What must hold after every step

  #check(): void {
    const { free, out } = this.#queue
    const { packed, setup } = this.#rules
    const slots = this.#model.out.reduce((sum, buffer) => sum + buffer.slots, 0)
    require(free === setup.size - slots, `${free} descriptors are free, ${slots} of ${setup.size} are taken`)
    require(out === this.#model.out.length, `${out} buffers are out, not ${this.#model.out.length}`)
    if (this.#isPolite) require(this.#queue.broken === undefined, `a device that keeps the rules is told: ${this.#queue.broken?.detail}`)
    const parts = packed ? packedParts(setup.size) : splitParts(setup.size)
    const owned: Range[] = [
      { start: setup.descriptorArea, end: setup.descriptorArea + parts.descriptorArea },
      { start: setup.driverArea, end: setup.driverArea + parts.driverArea },
      { start: this.#tables.start, end: this.#tables.end },
    ]
    if (this.#isNew) owned.push({ start: setup.deviceArea, end: setup.deviceArea + parts.deviceArea })
    this.#isNew = false
    for (const { start, end } of owned) this.#arena.accept(start, end, () => {})
    const changed = this.#arena.changed()
    require(changed < 0, `a byte was written that is not the driver's to write: ${this.#arena.describe(changed)}`)
  }
  /** Only at its beginning may the driver clear what belongs to the device. */
  #isNew = true
}

/** The id in the last descriptor of a list. */
function lastId({ arena, setup }: RingRules, position: number, slots: number): number {
  const last = moved(position, slots - 1, setup.size) & ~wrapBit
  return arena.get16(setup.descriptorArea + last * PvirtqDesc.size + PvirtqDesc.offsetOf.id)
}

function requireSame(found: ChainReading, readable: readonly DeviceAddress[], writable: readonly DeviceAddress[]): void {
  const text = (pieces: readonly DeviceAddress[]): string => pieces.map(({ address, length }) => `${length} at ${address}`).join()
  require(text(found.readable) === text(readable), `the device finds ${text(found.readable)} to read, added were ${text(readable)}`)
  require(text(found.writable) === text(writable), `the device finds ${text(found.writable)} to write, added were ${text(writable)}`)
}

function describe(outcome: DriverOutcome): string {
  if (outcome.kind === 'none') return 'nothing'
  return outcome.kind === 'used' ? `buffer ${outcome.buffer.token}` : [...outcome.kinds].join(' or ')
}
