/** One execution against the device side of a queue: a driver that keeps the rules now and then, a device that does everything a device may, and a model beside them. */
import type { Chain } from '../runtime/chain.ts'
import type { DeviceQueueOptions } from '../runtime/device-queue-options.ts'
import type { GuestMemory } from '../runtime/memory.ts'
import type { DeviceQueue, QueueSetup, QueueState } from '../runtime/queue.ts'
import type { Violation } from '../runtime/violation.ts'
import type { Arena } from './arena.ts'
import { homeOf, isInCrumbs, largestSize, misplace, type Places, packedParts, place, splitParts } from './arenas.ts'
import { addressesOf, type Piece } from './chain-reading.ts'
import { ChainUse, requireRefused } from './chain-use.ts'
import { Chances } from './chances.ts'
import type { DeviceModel, Outcome, Reading, TakenChain } from './device-model.ts'
import type { DriverHand } from './driver-hand.ts'
import { Failure, require } from './failure.ts'
import { PackedHand } from './packed-hand.ts'
import { PackedDeviceModel } from './packed-model.ts'
import { wrapBit } from './packed-reading.ts'
import type { Random } from './random.ts'
import type { RingRules } from './ring-rules.ts'
import { SplitHand } from './split-hand.ts'
import { SplitDeviceModel } from './split-model.ts'
import { Trace } from './trace.ts'
import { requireTyped } from './typed.ts'

export type MakeDeviceQueue = (memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions) => DeviceQueue

/** A chain in the hands of the device. */
type Held = TakenChain & { readonly chain: Chain }

/** Positions of split rings near which something wraps. */
const nearWraps = [1, 0x7fff, 0x8000, 0xfff0, 0xfffa, 0xffff]

export class DeviceExecution {
  readonly trace = new Trace()
  violation: Violation | undefined
  readonly #make: MakeDeviceQueue
  readonly #random: Random
  readonly #arena: Arena
  readonly #chances: Chances
  readonly #rules: RingRules
  readonly #places: Places
  readonly #use: ChainUse
  /** Nothing happens inside of calls: then the model knows exactly what must happen. Otherwise the driver acts in every callback. */
  readonly #isCalm: boolean
  readonly #isMisplaced: boolean
  /** The driver keeps all rules. */
  readonly #isPolite: boolean
  /** The device keeps what it has, and that is as much as it can be: there may be no room for more. */
  readonly #isGreedy: boolean
  /** One buffer in so many is a wrong one. */
  #badness = Number.POSITIVE_INFINITY
  #queue: DeviceQueue | undefined
  #model!: DeviceModel
  #hand!: DriverHand
  #notified = 0
  #corks = 0
  #isEnded = false
  /** The queue may not know what the driver had asked for. */
  #isFresh = false
  readonly #cancelled: Chain[] = []
  /** All chains that there were. */
  readonly #readings: Reading[] = []
  /** Callbacks inside of each other. */
  #depth = 0
  /** Somebody else has written where the queue writes. */
  #isOverwritten = false
  /** Ranges of the buffer that `onWrite` told of. */
  readonly #told: number[] = []
  /** Bytes of the ring that were written, and that `onWrite` has not told of. */
  readonly #untold = new Set<number>()

  constructor(make: MakeDeviceQueue, random: Random, arenas: readonly Arena[], packed: boolean, poison: number) {
    this.#make = make
    this.#random = random
    this.#isGreedy = random.oneIn(12)
    const arena = random.pick(this.#isGreedy ? arenas.filter(isInCrumbs) : arenas)
    this.#arena = arena
    this.#chances = Chances.of(arena)
    arena.clear(random.oneIn(2) ? 0 : random.below(256), poison)
    this.#isMisplaced = random.oneIn(24)
    this.#isCalm = this.#isMisplaced || !random.oneIn(4)
    this.#isPolite = !this.#isMisplaced && random.oneIn(3)
    const size = this.#isGreedy ? largestSize : packed ? random.between(1, random.pick([4, largestSize])) : 2 ** random.below(7)
    const right = place(random, arena, size, packed ? packedParts(size) : splitParts(size))
    this.#places = this.#isMisplaced ? misplace(random, arena, right) : right
    this.#rules = {
      arena,
      setup: this.#places.setup,
      packed,
      eventIndex: random.oneIn(2),
      indirect: !random.oneIn(4),
      inOrder: random.oneIn(4),
      maxChainLength: this.#isPolite
        ? random.pick([1024, 10])
        : random.pick([1024, 1024, 1024, 'strict', 5, 65536, random.oneIn(4) ? 1 : 2] as const),
    }
    this.#use = new ChainUse(this.#rules, random, this.trace, (pieces) => this.#overwritten(pieces))
    arena.memory.onWrite = random.oneIn(2) ? (address, length) => this.#written(address, length) : undefined
  }

  /** What lies in memory belongs to what can be seen. */
  traceMemory(): void {
    this.trace.memory(this.#arena)
  }

  run(): void {
    try {
      if (this.#isMisplaced) this.#runMisplaced()
      else this.#runRing()
    } finally {
      this.#arena.memory.onWrite = undefined
    }
    require(this.#arena.guardsAreWhole(), 'a guard was written')
  }

  /** A queue where none can be, or one whose parts lie over each other. */
  #runMisplaced(): void {
    const random = this.#random
    const queue = this.#open(undefined)
    for (let i = 0; i < 8; i++) {
      for (let k = 0; k < 64; k++) this.#arena.set8(this.#chances.inside(random), random.below(8))
      for (let n = 0; n < 2 * largestSize; n++) {
        const chain = queue.next()
        if (chain === undefined) break
        require(queue.broken === undefined, 'a broken queue gave a chain')
        this.#use.requireSound(chain)
        this.#readings.push(this.#use.readingOf(chain))
        chain.complete(0)
      }
    }
    queue.enableNotifications()
    queue.disableNotifications()
    queue.reset()
  }

  #runRing(): void {
    const random = this.#random
    if (this.#rules.packed) {
      const start = random.oneIn(3) ? random.below(this.#rules.setup.size) | (random.below(2) * wrapBit) : wrapBit
      this.#begin(start, start)
    } else {
      const start = random.oneIn(3) ? random.pick(nearWraps) : 0
      this.#begin(start, start)
    }
    if (random.oneIn(2)) this.#warm()
    if (!this.#isPolite) this.#badness = random.pick([20, 100])
    if (!this.#isPolite && random.oneIn(6)) this.#act(() => this.#hand.garble(random, this.#model.available))
    const steps = this.#isGreedy ? 80 : random.between(6, 40)
    for (let step = 0; step < steps && !(this.#queue!.broken !== undefined && this.#model.out.length === 0); step++) this.#step()
    this.#check()
  }

  /** Some requests as they should be: a queue that was used takes usual chains another way than a new one. */
  #warm(): void {
    const rounds = this.#random.between(1, 6)
    for (let i = 0; i < rounds && this.#queue!.broken === undefined; i++) {
      this.#act(() => this.#offer())
      this.#takeSome()
      while (this.#inHand().length > this.#random.below(3)) this.#completeOne()
      this.#check()
    }
  }

  /** A queue from scratch, or at a position as if it had been restored. */
  #begin(available: number, used: number): void {
    const { setup, packed } = this.#rules
    this.#model = this.#newModel(available, used)
    const options = { ...this.#places, available }
    this.#hand = packed ? new PackedHand(this.#rules, this.#chances, options) : new SplitHand(this.#rules, this.#chances, options)
    const parts = packed ? packedParts(setup.size) : splitParts(setup.size)
    for (const part of ['descriptorArea', 'driverArea', 'deviceArea'] as const)
      for (let i = 0; i < parts[part]; i += 2) this.#arena.set16(setup[part] + i, 0)
    if (!packed) {
      this.#arena.set16(setup.driverArea + 2, available)
      this.#arena.set16(setup.deviceArea + 2, used)
    }
    // Zeros are available where the counter is 0: a ring that has gone round holds what was used there.
    if (packed) this.#hand.age()
    const isNew = packed ? available === wrapBit : available === 0 && used === 0
    this.#open(isNew ? undefined : { available, used, inFlight: [] })
  }

  #newModel(available: number, used: number): DeviceModel {
    return this.#rules.packed ? new PackedDeviceModel(this.#rules, available, used) : new SplitDeviceModel(this.#rules, available, used)
  }

  #open(state: QueueState | undefined): DeviceQueue {
    const { arena, setup, ...features } = this.#rules
    let queue: DeviceQueue | undefined
    const requireCurrent = (): void => require(queue === undefined || queue === this.#queue, 'a queue that is over calls')
    this.#queue = undefined
    this.#corks = 0
    this.#isEnded = false
    this.#isFresh = state !== undefined
    queue = this.#make(arena.memory, setup, {
      ...features,
      notify: () => {
        requireCurrent()
        this.#notified++
        this.#interrupt()
      },
      fail: (violation) => {
        requireCurrent()
        require(this.violation === undefined, `a second violation: ${violation.kind}`)
        requireTyped(violation, setup.index)
        this.violation = violation
        this.trace.text(violation.kind + violation.detail)
        this.#interrupt()
      },
      resume: () => this.#interrupt(),
      ...(state !== undefined && { state }),
    })
    this.#queue = queue
    return queue
  }

  #step(): void {
    const random = this.#random
    const what = random.below(24)
    if (what < 5) this.#act(() => this.#offer())
    else if (what < 8) this.#act(() => this.#mutate())
    else if (what < 13) this.#takeSome()
    else if (what < 18) this.#isGreedy && !random.oneIn(8) ? this.#takeSome() : this.#completeOne()
    else if (what === 18) this.#cork()
    else if (what === 19) this.#hand.wish(random, this.#model.used)
    else if (what === 20) this.#putBack()
    else if (what === 21) random.oneIn(3) ? this.#restore() : this.#useCancelled()
    else if (what === 22) random.oneIn(6) ? this.#reset() : this.#changeWish()
    else random.oneIn(4) ? this.#remap() : this.#misuse()
    this.#check()
  }

  /** The VMM gives the guest other memory. */
  #remap(): void {
    const arena = this.#arena
    const region = this.#random.below(arena.regions.length)
    if (this.#isPolite || this.#random.oneIn(2)) arena.move()
    else if (!arena.isWhole) arena.plug()
    else if (region !== homeOf(arena)) arena.unplug(region)
  }

  // ---- The driver

  #act(action: () => void): void {
    action()
    this.#model.look()
  }

  #offer(): void {
    // Who has broken the rules before may write over what is used and not yet visible.
    if (this.#rules.packed && !this.#isPolite && this.#model.due.length > 0) this.#isOverwritten = true
    const count = this.#random.between(1, 4)
    for (let i = 0; i < count; i++) if (!this.#hand.offer(this.#random, this.#badness)) return
  }

  #mutate(): void {
    if (this.#isPolite) return
    const count = this.#random.between(1, 3)
    for (let i = 0; i < count; i++)
      if (this.#hand.mutate(this.#random, this.#model.available) && this.#model.due.length > 0) this.#isOverwritten = true
  }

  /** A callback: where the driver may run, and the device be called again. */
  #interrupt(): void {
    if (this.#isCalm || this.#depth >= 2 || this.#queue === undefined) return
    this.#depth++
    this.#model.look()
    const random = this.#random
    const what = random.below(16)
    if (what < 4) this.#act(() => this.#mutate())
    else if (what < 6) this.#act(() => this.#offer())
    else if (what < 8) this.#takeSome()
    else if (what < 10) this.#completeOne()
    else if (what < 11 && random.oneIn(2)) this.#reset()
    else if (what < 12) this.#remap()
    this.#depth--
  }

  /** `onWrite` tells of bytes that the device wrote. */
  #written(address: number, length: number): void {
    const start = this.#arena.offsetOf(address)
    const range = `${length} bytes at 0x${address.toString(16)}`
    require(length > 0 && length <= this.#arena.leftAt(address), `onWrite tells of ${range}, which are in no region`)
    require(this.#mayWrite(address, length), `onWrite tells of ${range}, which nobody may write`)
    this.#told.push(start, start + length)
    this.#interrupt()
  }

  #mayWrite(address: number, length: number): boolean {
    const covers = (start: number, end: number): boolean => address >= start && address + length <= end
    return (
      this.#everything().some(({ start, end }) => covers(start, end)) ||
      this.#readings.some(({ writable }) => writable.some((piece) => covers(piece.address, piece.address + piece.length)))
    )
  }

  // ---- The device

  #takeSome(): void {
    const count = this.#random.between(1, 6)
    for (let i = 0; i < count; i++) if (!this.#take()) return
  }

  #take(): boolean {
    const queue = this.#queue!
    const model = this.#model
    const wasBroken = queue.broken !== undefined || this.#isEnded
    const expected: Outcome = wasBroken ? { kind: 'none' } : model.next(queue.inspect().availableSeen)
    const chain = queue.next()
    if (chain === undefined) {
      if (this.#isCalm) this.#requireNothing(expected, wasBroken)
      return false
    }
    const { head, generation } = chain
    require(!model.inHand.some((taken) => taken.head === head), `the chain at ${head} was delivered twice`)
    require(!model.inHand.some((taken) => taken.chain === chain && taken.generation === generation), 'a chain object was delivered twice')
    require(model.inHand.length < this.#rules.setup.size, `the queue has delivered more than ${this.#rules.setup.size} chains`)
    this.#use.requireSound(chain)
    const reading = this.#isCalm && expected.kind === 'chain' ? expected.reading : this.#use.readingOf(chain)
    this.#readings.push(reading)
    if (this.#isCalm) {
      if (expected.kind !== 'chain' || expected.head !== head) throw new Failure(`there was a chain at ${head}, expected was ${describe(expected)}`)
      this.#use.requireAsRead(chain, reading)
      model.taken(head, reading, chain)
    } else {
      model.taken(head, reading, chain)
      model.available = queue.inspect().available
    }
    return true
  }

  #requireNothing(expected: Outcome, wasBroken: boolean): void {
    const { broken, starved } = this.#queue!
    // What is wrong with a chain may stand where there was no room to read it.
    if (starved && broken === undefined && expected.kind !== 'none') require(this.#model.out.length > 0, 'the queue is starved though nothing is out')
    else if (expected.kind === 'violation') {
      if (broken === undefined) throw new Failure(`there was no violation, expected was ${describe(expected)}`)
      require(expected.kinds.has(broken.kind), `the violation is ${broken.kind}, expected was ${describe(expected)}`)
      require(expected.head === undefined || broken.head === expected.head, `the violation has head ${broken.head} and not ${expected.head}`)
    } else {
      const found = broken === undefined ? 'nothing' : `${broken.kind}: ${broken.detail}`
      require(expected.kind === 'none' && (wasBroken || broken === undefined), `there was ${found}, expected was ${describe(expected)}`)
    }
  }

  #completeOne(): void {
    const held = this.#inHand()
    if (held.length === 0) return
    const random = this.#random
    const taken = random.pick(held)
    const { chain, reading } = taken
    if (random.oneIn(2)) this.#use.read(chain, reading)
    const written = random.oneIn(2) ? this.#use.write(chain, reading) : 0
    const done = [...addressesOf(reading.writable, Math.min(written, 64))]
    this.#complete(taken, written)
    if (!this.#isCalm || this.#arena.memory.onWrite === undefined) return
    for (const address of done)
      require(this.#arena.offsetOf(address) < 0 ||
        this.#isTold(this.#arena.offsetOf(address)), `onWrite was not told of a byte of a buffer, at 0x${address.toString(16)}`)
  }

  #isTold(offset: number): boolean {
    const told = this.#told
    for (let i = 0; i < told.length; i += 2) if (offset >= told[i]! && offset < told[i + 1]!) return true
    return false
  }

  /** The chains that the device has; none after a reset, which a callback may have made. */
  #inHand(): Held[] {
    return this.#isEnded ? [] : (this.#model.inHand as Held[])
  }

  #complete(taken: Held, written: number): void {
    const { chain, generation, reading } = taken
    const random = this.#random
    // To tell of more bytes than were written, or of fewer, is the device's own business as long as the buffer has them.
    const told = random.oneIn(8) ? random.below(Math.min(reading.writableLength, 0xffff_ffff) + 1) : written
    this.#model.completed(taken, told)
    if (told === chain.writable.written) chain.complete()
    else chain.complete(told)
    if (chain.generation === generation) requireRefused(() => chain.complete(0))
  }

  /** From the moment on that somebody writes what the device alone may write, nobody knows what is there. */
  #overwritten(pieces: readonly Piece[]): void {
    const { setup } = this.#rules
    const { deviceArea, descriptorArea } = this.#rules.packed ? packedParts(setup.size) : splitParts(setup.size)
    const touches = (start: number, bytes: number): boolean =>
      pieces.some(({ address, length }) => address < start + bytes && address + length > start)
    if (touches(setup.deviceArea, deviceArea) || (this.#rules.packed && touches(setup.descriptorArea, descriptorArea))) this.#isOverwritten = true
  }

  #cork(): void {
    if (this.#corks > 0 && !this.#random.oneIn(3)) {
      this.#corks--
      this.#queue!.uncork()
    } else {
      this.#corks++
      this.#queue!.cork()
    }
  }

  #changeWish(): void {
    const queue = this.#queue!
    if (this.#random.oneIn(3)) {
      queue.disableNotifications()
      return
    }
    const more = queue.enableNotifications()
    if (!this.#isCalm || queue.broken !== undefined || this.#isEnded) return
    const expected = this.#model.hasMore(queue.inspect().availableSeen)
    require(more === (expected && !queue.starved), `enableNotifications gave ${more}`)
  }

  #putBack(): void {
    const last = this.#model.out.at(-1)
    if (last?.chain === undefined || last.written !== undefined || this.#isEnded || !this.#isCalm || this.#model.restored.length > 0) return
    this.#queue!.putBack(last.chain)
    this.#model.putBack(last)
  }

  /** Another queue goes on from where this one was. */
  #restore(): void {
    if (this.#isEnded || this.#queue!.broken !== undefined || !this.#isCalm) return
    const state = JSON.parse(JSON.stringify(this.#queue!.save())) as QueueState
    // Saving publishes.
    this.#corks = 0
    this.#check()
    const before = this.#model
    require(state.available === before.available && state.used === before.used, 'the state is not that of the ring')
    const heads = state.inFlight.map((each) => (typeof each === 'number' ? each : each.head))
    require(`${heads}` === `${before.out.map(({ head }) => head)}`, `in flight are ${heads}`)
    this.#model = this.#newModel(state.available, state.used)
    before.restoreTo(this.#model)
    this.#open(state)
  }

  #reset(): void {
    if (this.#isEnded) return
    const chains = this.#inHand().map(({ chain }) => chain)
    this.#isEnded = true
    this.#queue!.reset()
    for (const chain of chains) require(chain.cancelled, 'a chain is not cancelled after a reset')
    require(this.#queue!.next() === undefined, 'a queue gave a chain after a reset')
    this.#cancelled.push(...chains)
    if (this.#depth > 0) return
    // The driver makes the queue anew.
    this.violation = undefined
    this.#check()
    this.#untold.clear()
    const start = this.#rules.packed ? wrapBit : 0
    this.#begin(start, start)
  }

  #useCancelled(): void {
    const chain = this.#cancelled.pop()
    if (chain !== undefined) this.#use.useCancelled(chain)
  }

  #misuse(): void {
    const taken = this.#inHand()[0]
    if (taken !== undefined) this.#use.misuse(taken.chain, taken.reading)
  }

  // ---- What must hold after every step

  #check(): void {
    this.#model.look()
    if (this.#isPolite) require(this.#queue!.broken === undefined, `a driver that keeps the rules is told: ${this.#queue!.broken?.detail}`)
    const owned = this.#model.owned()
    if (!this.#isEnded) this.#checkUsed()
    this.trace.number(this.#notified)
    this.#notified = 0
    for (const { start, end } of this.#isCalm ? owned : this.#everything()) this.#arena.accept(start, end, (offset) => this.#untold.add(offset))
    this.#requireTold()
    const changed = this.#arena.changed()
    require(changed < 0, `a byte was written that is not the device's to write: ${this.#arena.describe(changed)}`)
  }

  /** Where the queue may ever write. */
  #everything(): readonly { start: number; end: number }[] {
    const { setup, packed } = this.#rules
    const parts = packed ? packedParts(setup.size) : splitParts(setup.size)
    const ring = packed ? [{ start: setup.descriptorArea, end: setup.descriptorArea + parts.descriptorArea }] : []
    return [{ start: setup.deviceArea, end: setup.deviceArea + parts.deviceArea }, ...ring]
  }

  #checkUsed(): void {
    const model = this.#model
    if (model.due.length === 0 || this.#corks > 0) {
      require(!this.#isCalm || this.#notified === 0, 'the driver is told of a used buffer, and there is none')
      return
    }
    const isKnown = this.#isCalm && !this.#isOverwritten
    const { heads, isDue } = model.published(isKnown)
    for (const head of heads) this.#hand.returned(head)
    if (!isKnown) return
    if (isDue) require(this.#notified > 0, 'the driver is not told of a used buffer')
    else require(this.#notified === 0 || this.#isFresh, 'the driver is told of a used buffer against its will')
    this.#isFresh = false
  }

  /** The hook must be told of every byte that the device writes into the ring, before the driver can see it. */
  #requireTold(): void {
    for (const offset of this.#untold) if (this.#isTold(offset)) this.#untold.delete(offset)
    this.#told.length = 0
    if (this.#arena.memory.onWrite === undefined) this.#untold.clear()
    if (this.#corks > 0 || this.#isEnded) return
    for (const offset of this.#untold) throw new Failure(`onWrite was not told of a byte of the ring: ${this.#arena.describe(offset)}`)
  }
}

function describe(outcome: Outcome): string {
  if (outcome.kind === 'none') return 'nothing'
  return outcome.kind === 'chain' ? `a chain at ${outcome.head}` : [...outcome.kinds].join(' or ')
}
