/**
 * Executions in which another thread changes the rings while a queue works on them. Only what holds in any case can be checked: no exception, no access outside of the
 * regions, no chain twice, an end. The same seed gives the same memory, words and calls; what comes of them depends on the moment.
 */
import { DriverMemory } from '../runtime/driver/memory.ts'
import type { Violation } from '../runtime/violation.ts'
import type { Arena } from './arena.ts'
import { largestSize, type Places, packedParts, place, splitParts } from './arenas.ts'
import { ChainUse } from './chain-use.ts'
import { Chances } from './chances.ts'
import type { MakeDeviceQueue } from './device-execution.ts'
import { PackedDeviceHand, SplitDeviceHand } from './device-hand.ts'
import type { MakeDriverQueue } from './driver-execution.ts'
import type { BufferOut } from './driver-model.ts'
import { require } from './failure.ts'
import { PackedHand } from './packed-hand.ts'
import type { RacedWord, Racer } from './racer.ts'
import type { Random } from './random.ts'
import type { RingRules } from './ring-rules.ts'
import { SplitHand } from './split-hand.ts'
import { Trace } from './trace.ts'
import { requireTyped } from './typed.ts'

/** Queues that work on the same racing memory, one after the other. */
const rounds = 12

export class RaceExecution {
  violation: Violation | undefined
  readonly #random: Random
  readonly #arena: Arena
  readonly #rules: RingRules
  readonly #places: Places
  readonly #chances: Chances

  constructor(random: Random, arenas: readonly Arena[], packed: boolean, poison: number) {
    this.#random = random
    const arena = random.pick(arenas)
    this.#arena = arena
    this.#chances = Chances.of(arena)
    // Never a guard's byte: that one may come out of nothing that is read.
    arena.clear(0, poison)
    const size = packed ? random.between(1, random.pick([4, largestSize])) : 2 ** random.below(7)
    this.#places = place(random, arena, size, packed ? packedParts(size) : splitParts(size))
    this.#rules = {
      arena,
      setup: this.#places.setup,
      packed,
      eventIndex: random.oneIn(2),
      indirect: !random.oneIn(4),
      inOrder: random.oneIn(4),
      maxChainLength: random.pick([1024, 'strict', 65536] as const),
    }
  }

  // ---- The device, raced by a driver

  runDevice(make: MakeDeviceQueue, racer: Racer): void {
    const random = this.#random
    const { setup, packed } = this.#rules
    const options = { ...this.#places, available: packed ? 0x8000 : 0 }
    const badness = random.pick([Number.POSITIVE_INFINITY, 20])
    const hand = packed ? new PackedHand(this.#rules, this.#chances, options) : new SplitHand(this.#rules, this.#chances, options)
    while (hand.offer(random, badness)) if (random.oneIn(8)) break
    const words = this.#wordsChangedBy(() => {
      const count = random.between(1, 40)
      for (let i = 0; i < count; i++) hand.mutate(random, options.available + random.below(setup.size))
    })
    racer.during(this.#arena, words, random.word(), () => {
      for (let round = 0; round < rounds; round++) this.#serve(make)
    })
    this.#check(words)
  }

  #serve(make: MakeDeviceQueue): void {
    const random = this.#random
    const { arena, setup, ...features } = this.#rules
    let violation: Violation | undefined
    const queue = make(arena.memory, setup, {
      ...features,
      notify: () => {},
      fail: (found) => {
        require(violation === undefined, 'a second violation')
        requireTyped(found, setup.index)
        violation = this.violation = found
      },
    })
    const use = new ChainUse(this.#rules, random, new Trace(), () => {})
    const out = new Map<number, NonNullable<ReturnType<typeof queue.next>>>()
    // The other side may make buffers available as often as it likes: so many are enough.
    for (let i = 0; i < 2 * setup.size + 8; i++) {
      const chain = queue.next()
      if (chain === undefined) break
      const { head } = chain
      require(!out.has(head), `the chain at ${head} was delivered twice`)
      require(out.size < setup.size, `${out.size} chains of ${setup.size} are out`)
      use.requireSound(chain)
      const reading = use.readingOf(chain)
      for (const { address, length } of reading.writable) this.#writable.push(address, address + length)
      use.requireNoGuard(chain)
      if (random.oneIn(2)) use.writeSome(chain)
      if (random.oneIn(3)) out.set(head, chain)
      else chain.complete(random.below(Math.min(chain.writable.length, 64) + 1))
      if (random.oneIn(8)) queue.enableNotifications()
      if (random.oneIn(8)) queue.disableNotifications()
      require(violation === undefined || queue.next() === undefined, 'a broken queue gave a chain')
    }
    for (const chain of out.values()) chain.complete(0)
    queue.reset()
  }

  /** Where chains let the device write: first address, and that behind the last byte. */
  readonly #writable: number[] = []

  // ---- The driver, raced by a device

  runDriver(make: MakeDriverQueue, racer: Racer): void {
    const random = this.#random
    const { arena, setup, packed, maxChainLength: _, ...features } = this.#rules
    const tables = new DriverMemory(arena.memory, Math.ceil(this.#places.tables / 16) * 16, 0x800)
    const queue = make(arena.memory, setup, {
      packed,
      ...features,
      indirectTables: tables,
      notify: () => {},
      fail: (found) => {
        require(this.violation === undefined, 'a second violation')
        requireTyped(found, setup.index)
        this.violation = found
      },
    })
    arena.remember()
    const hand = packed ? new PackedDeviceHand(this.#rules, this.#chances) : new SplitDeviceHand(this.#rules, this.#chances)
    // What the device would use, rightly and wrongly, before the driver has added anything: it comes and goes.
    const words = this.#wordsChangedBy(() => {
      const out: BufferOut[] = Array.from({ length: setup.size }, (_, head) => ({ token: head, writable: 16, head, slots: 1, isVisible: true }))
      const count = random.between(1, setup.size)
      for (let i = 0; i < count; i++) hand.use([out[i]!], random.below(17))
      for (let i = 0; i < 8; i++) random.oneIn(2) ? hand.mutate(random, out) : hand.wish(random, random.below(setup.size))
    })
    const writables = new Map<number, number>()
    racer.during(arena, words, random.word(), () => {
      for (let token = 1; token < 200 && this.violation === undefined; token++) {
        const length = random.between(1, 64)
        if (queue.add([], [{ address: this.#places.room, length }], token)) writables.set(token, length)
        queue.publish()
        for (let i = 0; i < 4; i++) {
          const used = queue.completed()
          if (used === undefined) break
          const writable = writables.get(used)
          require(writable !== undefined && writables.delete(used), `buffer ${used} was given twice`)
          require(queue.written <= writable, `${queue.written} bytes were written of ${writable}`)
        }
        if (random.oneIn(8)) queue.enableNotifications()
        require(queue.out === writables.size, `${queue.out} buffers are out, not ${writables.size}`)
      }
    })
    for (let token = queue.detach(); token !== undefined; token = queue.detach())
      require(writables.delete(token), `buffer ${token} was given back twice`)
    require(writables.size === 0 && queue.free === setup.size, `${writables.size} buffers are lost`)
    this.#writable.push(tables.start, tables.end)
    this.#check(words)
  }

  // ---- Both

  /** Words that an action changes, with both their values; memory is as before. */
  #wordsChangedBy(action: () => void): RacedWord[] {
    const { bytes } = this.#arena
    const before = bytes.slice()
    action()
    const words: RacedWord[] = []
    for (let place = 0; place < bytes.length / 2; place++) {
      const first = before[2 * place]! + before[2 * place + 1]! * 0x100
      const second = bytes[2 * place]! + bytes[2 * place + 1]! * 0x100
      if (first !== second) words.push({ place, first, second })
    }
    bytes.set(before)
    this.#arena.remember()
    return words
  }

  /** Nothing was written but the rings, the racing words, and what chains allowed to be written. */
  #check(words: readonly RacedWord[]): void {
    const arena = this.#arena
    const { setup, packed } = this.#rules
    const parts = packed ? packedParts(setup.size) : splitParts(setup.size)
    require(arena.guardsAreWhole(), 'a guard was written')
    for (const part of ['descriptorArea', 'driverArea', 'deviceArea'] as const) arena.accept(setup[part], setup[part] + parts[part], () => {})
    for (let i = 0; i < this.#writable.length; i += 2) arena.accept(this.#writable[i]!, this.#writable[i + 1]!, () => {})
    for (const { place } of words) arena.acceptWord(place)
    const changed = arena.changed()
    require(changed < 0, `a byte was written that is nobody's to write: ${arena.describe(changed)}`)
  }
}
