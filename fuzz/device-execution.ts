/** One execution against the device side of a queue: a driver that keeps the rules now and then, a device that does everything a device may, and a model beside it. */
import { PvirtqEventSuppress } from 'virtgen/wire/packed-ring'
import { Chain } from '../runtime/chain.ts'
import type { DeviceQueueOptions } from '../runtime/device-queue-options.ts'
import type { GuestMemory } from '../runtime/memory.ts'
import type { DeviceQueue, QueueSetup, QueueState } from '../runtime/queue.ts'
import type { Violation } from '../runtime/violation.ts'
import type { Arena } from './arena.ts'
import { largestSize, misplace, type Places, place, splitParts } from './arenas.ts'
import { addressesOf, type Piece } from './chain-reading.ts'
import { Chances } from './chances.ts'
import type { DeviceModel, Outcome, TakenChain } from './device-model.ts'
import type { DriverHand } from './driver-hand.ts'
import { Failure, require } from './failure.ts'
import type { Random } from './random.ts'
import type { RingRules } from './ring-rules.ts'
import { SplitHand } from './split-hand.ts'
import { SplitDeviceModel } from './split-model.ts'
import { Trace } from './trace.ts'
import { requireTyped } from './typed.ts'

export type MakeDeviceQueue = (memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions) => DeviceQueue

/** Bytes of a chain that are really copied. */
const mostCopied = 2048
const scratch = new Uint8Array(mostCopied)
const pattern = Uint8Array.from({ length: mostCopied }, (_, i) => (i * 7 + 1) & 0xff)

/** Chains that were out when their queue was reset: whatever is done with them must do nothing. */
interface Ghost {
  readonly chain: Chain
  readonly generation: number
}

export class DeviceExecution {
  readonly trace = new Trace()
  violation: Violation | undefined
  readonly #make: MakeDeviceQueue
  readonly #random: Random
  readonly #arena: Arena
  readonly #chances: Chances
  readonly #rules: RingRules
  readonly #places: Places
  /** Nothing happens inside of calls: then the model knows exactly what must happen. Otherwise the driver acts in every callback. */
  readonly #isCalm: boolean
  readonly #isMisplaced: boolean
  /** The driver keeps all rules. */
  readonly #isPolite: boolean
  #queue!: DeviceQueue
  #model!: DeviceModel
  #hand!: DriverHand
  #notified = 0
  #corks = 0
  #isEnded = false
  /** The queue may not know what the driver had asked for. */
  #isFresh = false
  #ghosts: Ghost[] = []
  #depth = 0
  /** The rings may have been written over with what a chain was to hold. */
  #isOverwritten = false
  /** Ranges of the buffer that `onWrite` told of. */
  readonly #told: number[] = []
  /** Bytes of the ring that were written, and that `onWrite` has not told of. */
  readonly #untold = new Set<number>()

  constructor(make: MakeDeviceQueue, random: Random, arenas: readonly Arena[], isPacked: boolean, poison: number) {
    this.#make = make
    this.#random = random
    const arena = random.pick(arenas)
    this.#arena = arena
    this.#chances = chancesOf(arena)
    arena.clear(random.oneIn(2) ? 0 : random.below(256), poison)
    this.#isMisplaced = random.oneIn(24)
    this.#isCalm = this.#isMisplaced || !random.oneIn(4)
    this.#isPolite = !this.#isMisplaced && random.oneIn(3)
    const size = isPacked ? random.between(1, largestSize) : 2 ** random.below(7)
    const right = place(random, arena, size, splitParts(size))
    this.#places = this.#isMisplaced ? misplace(random, arena, right) : right
    this.#rules = {
      arena,
      setup: this.#places.setup,
      packed: isPacked,
      eventIndex: random.oneIn(2),
      indirect: !random.oneIn(4),
      inOrder: false,
      maxChainLength: this.#isPolite ? 1024 : random.pick([1024, 1024, 1024, 'strict', 5, 65536, random.oneIn(4) ? 1 : 2] as const),
    }
    arena.memory.onWrite = random.oneIn(2) ? (address, length) => this.#written(address, length) : undefined
  }

  run(): void {
    try {
      if (this.#isMisplaced) this.#runMisplaced()
      else this.#runRing()
    } finally {
      this.#arena.memory.onWrite = undefined
    }
    this.trace.memory(this.#arena)
  }

  // ---- A queue where none can be

  #runMisplaced(): void {
    const random = this.#random
    this.#open(undefined)
    if (this.#queue.broken !== undefined) require(this.#queue.next() === undefined, 'a queue that is nowhere gave a chain')
    else {
      // A strange place, but a possible one: parts may lie over each other.
      this.#model = this.#newModel(0, 0)
      for (let i = 0; i < 8; i++) {
        for (let k = 0; k < 64; k++) this.#arena.set8(this.#chances.inside(random), random.below(8))
        for (let n = 0; n < 2 * largestSize; n++) {
          const chain = this.#queue.next()
          if (chain === undefined) break
          this.#requireSound(chain)
          chain.complete(0)
        }
      }
    }
    this.#queue.enableNotifications()
    this.#queue.disableNotifications()
    this.#queue.reset()
    require(this.#arena.guardsAreWhole(), 'a guard was written')
  }

  // ---- A queue

  #runRing(): void {
    const random = this.#random
    const start = random.oneIn(3) ? random.pick([0, 1, 0x7fff, 0x8000, 0xfff0, 0xfffa, 0xffff]) : 0
    this.#begin(start, start === 0 ? 0 : random.pick([start, 0xfffd, 0]))
    if (!this.#isPolite && random.oneIn(6)) this.#act(() => this.#hand.garble(random, this.#model.available))
    const steps = random.between(6, 40)
    for (let step = 0; step < steps && !(this.#queue.broken !== undefined && this.#model.out.length === 0); step++) this.#step()
    this.#check()
    require(this.#arena.guardsAreWhole(), 'a guard was written')
  }

  /** A queue from scratch, or at a position as if it had been restored. */
  #begin(available: number, used: number): void {
    this.#model = this.#newModel(available, used)
    const badness = this.#isPolite ? Number.POSITIVE_INFINITY : this.#random.pick([20, 100])
    this.#hand = new SplitHand(this.#rules, this.#chances, { ...this.#places, badness, available })
    const { setup, packed } = this.#rules
    const { driverArea, descriptorArea, deviceArea } = splitParts(setup.size)
    for (const [at, length] of [
      [setup.descriptorArea, descriptorArea],
      [setup.driverArea, driverArea],
      [setup.deviceArea, deviceArea],
    ] as const)
      for (let i = 0; i < length; i += 2) this.#arena.set16(at + i, 0)
    if (!packed) {
      this.#arena.set16(setup.driverArea + 2, available)
      this.#arena.set16(setup.deviceArea + 2, used)
    }
    this.#open(available === 0 && used === 0 ? undefined : { available, used, inFlight: [] })
  }

  #newModel(available: number, used: number): DeviceModel {
    return new SplitDeviceModel(this.#rules, available, used)
  }

  #open(state: QueueState | undefined): void {
    const { eventIndex, indirect, inOrder, packed, maxChainLength, setup } = this.#rules
    let queue: DeviceQueue | undefined
    const current = (): boolean => queue === undefined || queue === this.#queue
    this.#corks = 0
    this.#isEnded = false
    this.#isFresh = state !== undefined
    queue = this.#make(this.#arena.memory, setup, {
      packed,
      eventIndex,
      indirect,
      inOrder,
      maxChainLength,
      notify: () => {
        require(current(), 'a queue that is over notifies')
        this.#notified++
        this.#interrupt()
      },
      fail: (violation) => {
        require(current(), 'a queue that is over reports a violation')
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
  }

  #step(): void {
    const random = this.#random
    const what = random.below(24)
    if (what < 5) this.#act(() => this.#offer())
    else if (what < 8) this.#act(() => this.#mutate())
    else if (what < 13) this.#takeSome()
    else if (what < 18) this.#completeOne()
    else if (what === 18) this.#cork()
    else if (what === 19) this.#wish()
    else if (what === 20) this.#putBack()
    else if (what === 21) random.oneIn(3) ? this.#restore() : this.#useGhost()
    else if (what === 22) random.oneIn(6) ? this.#reset() : this.#changeWish()
    else random.oneIn(4) ? this.#arena.move() : this.#misuse()
    this.#check()
  }

  // ---- The driver

  #act(action: () => void): void {
    action()
    this.#model.look()
  }

  #offer(): void {
    const count = this.#random.between(1, 4)
    for (let i = 0; i < count; i++) if (!this.#hand.offer(this.#random)) return
  }

  #mutate(): void {
    if (this.#isPolite) return
    const count = this.#random.between(1, 3)
    for (let i = 0; i < count; i++) if (this.#hand.mutate(this.#random, this.#model.available) && this.#model.due > 0) this.#isOverwritten = true
  }

  #wish(): void {
    this.#hand.wish(this.#random, this.#model.used)
  }

  /** A callback: where the driver may run, and the device be called again. */
  #interrupt(): void {
    if (this.#isCalm || this.#depth >= 2 || this.#queue === undefined || this.#model === undefined) return
    this.#depth++
    this.#model.look()
    const random = this.#random
    switch (random.below(8)) {
      case 0:
      case 1:
        this.#act(() => this.#mutate())
        break
      case 2:
        this.#act(() => this.#offer())
        break
      case 3:
        this.#takeSome()
        break
      case 4:
        this.#completeOne()
        break
      case 5:
        if (random.oneIn(4)) this.#reset()
        break
      case 6:
        if (random.oneIn(4)) this.#arena.move()
        break
      default:
    }
    this.#depth--
  }

  /** `onWrite` tells of bytes that the device wrote. */
  #written(address: number, length: number): void {
    const start = this.#arena.offsetOf(address)
    require(length > 0 &&
      length <= this.#arena.leftAt(address), `onWrite tells of ${length} bytes at 0x${address.toString(16)}, which are in no region`)
    this.#told.push(start, start + length)
    this.#interrupt()
  }

  // ---- The device

  #takeSome(): void {
    const count = this.#random.between(1, 6)
    for (let i = 0; i < count; i++) if (!this.#take()) return
  }

  #take(): boolean {
    const queue = this.#queue
    const model = this.#model
    const wasBroken = queue.broken !== undefined || this.#isEnded
    const expected: Outcome = wasBroken ? { kind: 'none' } : model.next(queue.inspect().availableSeen)
    const chain = queue.next()
    if (chain === undefined) {
      if (this.#isCalm) this.#requireNothing(expected, wasBroken)
      return false
    }
    const { head, generation } = chain
    require(!model.out.some((taken) => taken.head === head && taken.written === undefined), `the chain at ${head} was delivered twice`)
    require(!model.out.some((taken) => taken.chain === chain && taken.generation === generation), 'a chain object was delivered twice')
    this.#requireSound(chain)
    this.trace.number(head)
    if (this.#isCalm) {
      if (expected.kind !== 'chain' || expected.head !== head) throw new Failure(`there was a chain at ${head}, expected was ${describe(expected)}`)
      this.#requireAsRead(chain, expected.reading)
      model.taken({ head, reading: expected.reading, chain, generation })
    } else {
      model.taken({ head, reading: this.#readingOf(chain), chain, generation })
      model.available = queue.inspect().available
    }
    return true
  }

  /** What a chain says of itself, where nobody can know what it was made of. */
  #readingOf({ readable, writable }: Chain): TakenChain['reading'] {
    const piecesOf = (part: typeof readable | typeof writable): Piece[] =>
      Array.from({ length: Math.min(part.segments, 64) }, (_, i) => {
        const view = part.bytes(i)
        this.#arena.requireInside(view)
        return { address: this.#arena.addressOf(view.byteOffset), length: view.length }
      })
    return { readable: piecesOf(readable), writable: piecesOf(writable), readableLength: readable.length, writableLength: writable.length }
  }

  #requireNothing(expected: Outcome, wasBroken: boolean): void {
    const { broken, starved } = this.#queue
    if (starved && expected.kind === 'chain') require(this.#model.out.length > 0, 'the queue is starved though nothing is out')
    else if (expected.kind === 'violation') {
      require(broken !== undefined, `there was no violation, expected was ${describe(expected)}`)
      require(expected.kinds.has(broken.kind), `the violation is ${broken.kind}, expected was ${describe(expected)}`)
      require(broken.head === expected.head, `the violation has head ${broken.head} and not ${expected.head}`)
    } else {
      require(expected.kind ===
        'none', `there was no chain, expected was ${describe(expected)}${broken === undefined ? '' : `, the queue is broken: ${broken.kind}`}`)
      require(wasBroken || broken === undefined, `there was a violation: ${broken?.kind} ${broken?.detail}`)
    }
  }

  /** What holds for every chain, whatever it was made of. */
  #requireSound(chain: Chain): void {
    const { readable, writable } = chain
    const { maxChainLength, setup } = this.#rules
    require(chain instanceof Chain && Number.isInteger(chain.head) && chain.head >= 0, `the head is ${chain.head}`)
    const most = (maxChainLength === 'strict' ? setup.size : maxChainLength) * this.#arena.regions.length
    require(readable.segments + writable.segments <= most, `a chain has ${readable.segments} + ${writable.segments} pieces`)
    require(readable.length + writable.length <= 2 ** 32, `a chain has ${readable.length} + ${writable.length} bytes`)
    require(readable.position === 0 && writable.position === 0 && writable.written === 0, 'a new chain is not at its start')
    this.trace.number(readable.length)
    this.trace.number(writable.length)
  }

  #requireAsRead(chain: Chain, { readableLength, writableLength }: TakenChain['reading']): void {
    require(chain.readable.length === readableLength, `${chain.readable.length} readable bytes, expected were ${readableLength}`)
    require(chain.writable.length === writableLength, `${chain.writable.length} writable bytes, expected were ${writableLength}`)
  }

  #completeOne(): void {
    const out = this.#model.out.filter((taken) => taken.written === undefined)
    if (out.length === 0) return
    const random = this.#random
    const taken = random.pick(out)
    if (random.oneIn(2)) this.#read(taken)
    let written = 0
    if (random.oneIn(2)) written = this.#write(taken)
    this.#complete(taken, written)
  }

  #complete(taken: TakenChain, written: number): void {
    const random = this.#random
    const { chain, generation } = taken
    if (this.#isGone(taken)) return
    const model = this.#model
    model.completed(taken, written)
    // More bytes than were written, or fewer, is the device's own business as long as the buffer has them.
    const told = random.oneIn(8) ? random.below(Math.min(taken.reading.writableLength, 0xffff_ffff) + 1) : written
    taken.written = Math.min(told, 0xffff_ffff)
    if (told === chain.writable.written) chain.complete()
    else chain.complete(told)
    if (chain.generation === generation) this.#requireMisuse(() => chain.complete(0))
  }

  /** A callback may have ended everything. */
  #isGone({ chain, generation }: TakenChain): boolean {
    return chain.generation !== generation || chain.cancelled || this.#isEnded
  }

  #read({ chain, reading }: TakenChain): void {
    if (chain.cancelled) return
    const { readable } = chain
    readable.rewind()
    const count = readable.copyTo(scratch)
    require(count === Math.min(mostCopied, reading.readableLength), `${count} bytes were copied of ${reading.readableLength}`)
    let i = 0
    for (const address of addressesOf(reading.readable, count)) {
      require(scratch[i] ===
        this.#arena.get8(address), `byte ${i} of the chain at ${chain.head} is ${scratch[i]}, in memory it is ${this.#arena.get8(address)}`)
      this.trace.number(scratch[i]!)
      i++
    }
    readable.rewind()
    for (let piece = 0; piece < Math.min(readable.segments, 8); piece++) this.#arena.requireInside(readable.bytes(piece))
    if (readable.remaining >= PvirtqEventSuppress.size && this.#random.oneIn(2)) this.#keep(chain, reading)
  }

  /** A struct is a copy: what the driver does to the original later changes nothing. */
  #keep(chain: Chain, reading: TakenChain['reading']): void {
    const struct = chain.readable.struct(new PvirtqEventSuppress())
    const before = struct.desc
    const address = addressesOf(reading.readable, 1).next().value!
    this.#arena.set8(address, this.#arena.get8(address) ^ 0xff)
    require(struct.desc === before, 'a struct changed after it was copied')
    this.#overwritten(reading.readable)
  }

  #write({ chain, reading }: TakenChain): number {
    if (chain.cancelled) return 0
    const random = this.#random
    const { writable } = chain
    writable.rewind()
    const count = Math.min(reading.writableLength, random.pick([1, 16, mostCopied]))
    const way = random.below(3)
    if (way === 0) {
      require(writable.copyFrom(pattern, 0, count) === count, 'copyFrom wrote less than there was room for')
      this.#expect(reading, count, (i) => pattern[i]!)
    } else if (way === 1) {
      const value = random.below(256)
      require(writable.fill(value, count) === count, 'fill wrote less than there was room for')
      this.#expect(reading, count, () => value)
    } else return this.#writeInPlace(chain, reading)
    return count
  }

  #writeInPlace(chain: Chain, reading: TakenChain['reading']): number {
    const { writable } = chain
    let done = 0
    const value = this.#random.below(256)
    const pieces = Math.min(writable.segments, 4)
    for (let i = 0; i < pieces; i++) {
      const view = writable.bytes(i)
      this.#arena.requireInside(view)
      view.fill(value)
      done += view.length
    }
    this.#expect(reading, done, () => value)
    return done
  }

  /** The first bytes of the writable part must be these; nothing else may change. */
  #expect(reading: TakenChain['reading'], count: number, byteAt: (i: number) => number): void {
    let i = 0
    for (const address of addressesOf(reading.writable, count)) this.#arena.expect8(address, byteAt(i++))
    this.#overwritten(reading.writable)
  }

  /** From the moment on that somebody writes what the device alone may write, nobody knows what is there. */
  #overwritten(pieces: readonly Piece[]): void {
    for (const { start, end } of this.#model.owned())
      if (pieces.some(({ address, length }) => address < end && address + length > start)) this.#isOverwritten = true
  }

  #cork(): void {
    if (this.#corks > 0 && !this.#random.oneIn(3)) {
      this.#corks--
      this.#queue.uncork()
    } else {
      this.#corks++
      this.#queue.cork()
    }
  }

  #changeWish(): void {
    if (this.#random.oneIn(3)) this.#queue.disableNotifications()
    else this.#enable()
  }

  #enable(): void {
    const { available } = this.#model
    const more = this.#queue.enableNotifications()
    if (!this.#isCalm || this.#queue.broken !== undefined || this.#isEnded) return
    const expected = this.#model.restored.length > 0 || this.#queue.inspect().availableSeen !== available
    require(more === (expected && !this.#queue.starved), `enableNotifications gave ${more}`)
  }

  #putBack(): void {
    const last = this.#model.out.at(-1)
    if (last === undefined || last.written !== undefined || this.#isGone(last) || this.#queue.broken !== undefined || !this.#isCalm) return
    if (!('putBack' in this.#queue) || this.#model.restored.length > 0) return
    this.#queue.putBack(last.chain)
    this.#model.putBack(last)
  }

  /** Another queue goes on from where this one was. */
  #restore(): void {
    if (this.#isEnded || this.#queue.broken !== undefined || !this.#isCalm || this.#depth > 0) return
    const state = JSON.parse(JSON.stringify(this.#queue.save())) as QueueState
    // Saving publishes.
    this.#corks = 0
    this.#check()
    const model = this.#newModel(state.available, state.used)
    require(state.available === this.#model.available && state.used === this.#model.used, 'the state is not that of the ring')
    const heads = state.inFlight.map((each) => (typeof each === 'number' ? each : each.head))
    require(`${heads}` === `${[...this.#model.out.map(({ head }) => head), ...this.#model.restored]}`, `in flight are ${heads}`)
    ;(model.restored as number[]).push(...heads)
    this.#queue = undefined!
    this.#model = model
    this.#open(state)
  }

  #reset(): void {
    if (this.#isEnded) return
    this.#ghosts.push(...this.#model.out.filter((taken) => taken.written === undefined).map(({ chain, generation }) => ({ chain, generation })))
    this.#isEnded = true
    this.#queue.reset()
    for (const { chain } of this.#ghosts) require(chain.cancelled, 'a chain is not cancelled after a reset')
    require(this.#queue.next() === undefined, 'a queue gave a chain after a reset')
    if (this.#depth > 0) return
    // The driver makes the queue anew.
    this.violation = undefined
    this.#check()
    this.#untold.clear()
    this.#begin(0, 0)
  }

  #useGhost(): void {
    const ghost = this.#ghosts.pop()
    if (ghost === undefined) return
    const { chain } = ghost
    require(chain.generation === ghost.generation, 'a cancelled chain was used again before it was completed')
    require(chain.readable.rewind().copyTo(scratch) === 0, 'a cancelled chain was read')
    require(chain.writable.rewind().copyFrom(pattern) === 0, 'a cancelled chain was written')
    require(chain.writable.fill(1) === 0, 'a cancelled chain was filled')
    chain.complete(0)
  }

  /** What our own user does wrong is an exception, and changes nothing. */
  #misuse(): void {
    const taken = this.#model.out.find(({ written }) => written === undefined)
    if (taken === undefined || this.#isGone(taken)) return
    const { chain, reading } = taken
    this.#requireMisuse(() => chain.complete(reading.writableLength + 1))
    this.#requireMisuse(() => chain.complete(-1))
    this.#requireMisuse(() => chain.readable.rewind().skip(reading.readableLength + 1))
    this.#requireMisuse(() => chain.writable.window(0, reading.writableLength + 1))
    this.#requireMisuse(() => chain.writable.bytes(1_000_000))
  }

  #requireMisuse(call: () => void): void {
    try {
      call()
    } catch (error) {
      if (error instanceof Failure) throw error
      return
    }
    throw new Failure(`a wrong call was accepted: ${call}`)
  }

  // ---- What must hold after every step

  #check(): void {
    this.#model.look()
    if (!this.#isEnded) this.#checkUsed()
    if (this.#isPolite) require(this.#queue.broken === undefined, `a driver that keeps the rules is told: ${this.#queue.broken?.detail}`)
    this.trace.number(this.#notified)
    this.#notified = 0
    for (const { start, end } of this.#model.owned()) this.#arena.accept(start, end, (offset) => this.#untold.add(offset))
    this.#requireTold()
    const changed = this.#arena.changed()
    require(changed < 0, `a byte was written that is not the device's to write: ${this.#arena.describe(changed)}`)
  }

  #checkUsed(): void {
    const model = this.#model
    if (model.due === 0 || this.#corks > 0) {
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
    const told = this.#told
    for (let i = 0; i < told.length; i += 2)
      for (const offset of this.#untold) if (offset >= told[i]! && offset < told[i + 1]!) this.#untold.delete(offset)
    told.length = 0
    if (this.#arena.memory.onWrite === undefined) this.#untold.clear()
    if (this.#corks > 0 || this.#isEnded) return
    for (const offset of this.#untold) throw new Failure(`onWrite was not told of a byte of the ring: ${this.#arena.describe(offset)}`)
  }
}

function describe(outcome: Outcome): string {
  if (outcome.kind === 'none') return 'nothing'
  return outcome.kind === 'chain' ? `a chain at ${outcome.head}` : [...outcome.kinds].join(' or ')
}

const known = new WeakMap<Arena, Chances>()
function chancesOf(arena: Arena): Chances {
  const chances = known.get(arena) ?? new Chances(arena)
  known.set(arena, chances)
  return chances
}
