/**
 * Shared memory as the memory model of ECMA-262 (Memory Model) lets two agents see it, and no stronger: what no processor at hand does, but another one may.
 *
 * Every byte keeps the writes that may still be read. A plain load gets any of those that happens-before does not rule out (Coherent Reads, Tear Free Reads); a
 * sequentially consistent one obeys the order of all Atomics besides (Sequentially Consistent Atomics), which here is the order of execution. Happens-before is kept in
 * vector clocks. One freedom of the model is left out: a load never sees a store that is executed later.
 */

/** One of the two agents. */
export type Side = 0 | 1
type Clock = [number, number]

/** A load or a store. */
export interface Access {
  readonly side: Side
  readonly kind: 'load' | 'store'
  readonly at: number
  readonly size: number
  readonly atomic: boolean
}

/** Two accesses that nothing orders, one of them a store, and not both Atomics of the same bytes (Data Races). */
export interface Race {
  readonly first: Access
  readonly second: Access
}

interface Stamped extends Access {
  /** Its own place in the clock of its side. */
  readonly stamp: number
}

interface Write extends Stamped {
  readonly tearable: boolean
  readonly bytes: Uint8Array
  /** What happens-before it. */
  readonly clock: Clock
  readonly time: number
}

type Loads = [plain: Stamped | undefined, atomic: Stamped | undefined]

/** What was there before anybody wrote: happens-before everything. */
const initial = undefined
type Source = Write | typeof initial
const onlyInitial: Source[] = [initial]

export interface WeakMemoryOptions {
  /** A number from 0, below `count`; 0 stands for the newest write. */
  readonly choose: (count: number) => number
  /** Called before each access: the other side may run here. */
  readonly before: (access: Access) => void
  /** Makes a plain access of an atomic one, to see who notices. */
  readonly isDemoted?: (access: Access) => boolean
}

export class WeakMemory {
  /** Accesses of a kind that raced, by what they are: at most one race for each pair of words. */
  readonly races = new Map<string, Race>()
  /** Atomics that were executed. */
  readonly atomics = new Map<string, Access>()
  readonly #options: WeakMemoryOptions
  readonly #clocks: [Clock, Clock] = [
    [0, 0],
    [0, 0],
  ]
  readonly #writes: Write[][]
  /** Loads of each byte that a store may still race with, by side: the last plain one and the last atomic one. */
  readonly #loads: [Loads, Loads][]
  #time = 0

  constructor(length: number, options: WeakMemoryOptions) {
    this.#options = options
    this.#writes = Array.from({ length }, () => [])
    this.#loads = Array.from({ length }, () => [
      [undefined, undefined],
      [undefined, undefined],
    ])
  }

  load(side: Side, at: number, size: number, atomic: boolean, tearable: boolean): Uint8Array {
    const access = this.#begin({ side, kind: 'load', at, size, atomic })
    const sources: Source[] = []
    for (let i = 0; i < size; i++) sources.push(this.#pick(access, at + i, tearable, sources))
    for (const source of new Set(sources)) {
      if (source !== undefined && access.atomic && source.atomic && hasEqualRange(source, access)) this.#join(side, source)
    }
    const load = { ...access, stamp: ++this.#clocks[side][side] }
    for (let i = at; i < at + size; i++) {
      this.#race(access, this.#writes[i]!)
      const loads = this.#loads[i]!
      loads[side][access.atomic ? 1 : 0] = load
    }
    return Uint8Array.from(sources, (source, i) => (source === undefined ? 0 : source.bytes[at + i - source.at]!))
  }

  store(side: Side, at: number, bytes: Uint8Array, atomic: boolean, tearable: boolean): void {
    const access = this.#begin({ side, kind: 'store', at, size: bytes.length, atomic })
    const clock: Clock = [...this.#clocks[side]]
    const stamp = ++this.#clocks[side][side]
    const write: Write = { ...access, tearable, bytes: bytes.slice(), stamp, clock, time: this.#time++ }
    for (let i = at; i < at + bytes.length; i++) {
      const writes = this.#writes[i]!
      this.#race(access, writes)
      this.#race(access, this.#loads[i]![1 - side]!)
      writes.push(write)
      if (writes.length > 4) this.#forget(writes)
    }
  }

  /** Everything so far happens-before everything that follows, as where a thread starts another one. */
  synchronize(): void {
    const [a, b] = this.#clocks
    a[0] = b[0] = Math.max(a[0], b[0])
    a[1] = b[1] = Math.max(a[1], b[1])
  }

  #begin(access: Access): Access {
    this.#options.before(access)
    if (!access.atomic) return access
    this.atomics.set(`${access.side} ${access.kind} ${access.at}`, access)
    return this.#options.isDemoted?.(access) ? { ...access, atomic: false } : access
  }

  /** Chooses what a load reads a byte from, beside what it reads the bytes before from. */
  #pick(access: Access, byte: number, tearable: boolean, chosen: readonly Source[]): Source {
    const before = chosen.at(-1)
    const whole = chosen.find((source) => source !== undefined && !source.tearable && hasEqualRange(source, access))
    const all = this.#candidates(access, byte)
    if (all.length === 1) return all[0]
    // Tear Free Reads: of the stores to just these bytes, one wins.
    const mayMix = (source: Source) => source === undefined || source === whole || source.tearable || !hasEqualRange(source, access)
    const candidates = tearable || whole === undefined ? all : all.filter(mayMix)
    if (whole !== undefined && candidates.includes(whole)) return whole
    // A store of several bytes is mostly seen as one.
    if (chosen.length > 0 && candidates.includes(before) && this.#options.choose(4) !== 0) return before
    return candidates[candidates.length === 1 ? 0 : this.#options.choose(candidates.length)]
  }

  /** The writes that a load may read a byte from, newest first. */
  #candidates(access: Access, byte: number): Source[] {
    const writes = this.#writes[byte]!
    const newest = writes.at(-1)
    if (newest === undefined) return onlyInitial
    // Mostly everything is ordered, and the last write is all there is to see.
    if (this.#isBefore(newest, access.side) && writes.every((w) => w === newest || isBefore(w, newest))) return [newest]
    const found = writes.filter((w) => this.#isReadable(access, w, writes)).reverse() as Source[]
    // What was there at first happens-before every write: rules 1 and 3 of the order of Atomics.
    if (!writes.some((v) => this.#isBefore(v, access.side) || (access.atomic && v.atomic && hasEqualRange(v, access)))) found.push(initial)
    return found
  }

  #isReadable(access: Access, w: Write, writes: readonly Write[]): boolean {
    const wBefore = this.#isBefore(w, access.side)
    return !writes.some((v) => {
      if (v === w) return false
      const vBefore = this.#isBefore(v, access.side)
      // Coherent Reads.
      if (vBefore && isBefore(w, v)) return true
      // Sequentially Consistent Atomics; the order of memory is that of execution.
      if (!v.atomic || v.time < w.time) return false
      const synchronizes = access.atomic && w.atomic && hasEqualRange(w, access)
      if (synchronizes && hasEqualRange(v, access)) return true
      if (wBefore && vBefore && w.atomic && hasEqualRange(w, v)) return true
      return (wBefore || synchronizes) && isBefore(w, v) && access.atomic && hasEqualRange(v, access)
    })
  }

  /** Whether a write happens-before what a side does now. */
  #isBefore(write: { side: Side; stamp: number }, side: Side): boolean {
    return this.#clocks[side][write.side] >= write.stamp
  }

  #join(side: Side, write: Write): void {
    const clock = this.#clocks[side]
    clock[0] = Math.max(clock[0], write.clock[0])
    clock[1] = Math.max(clock[1], write.clock[1])
    clock[write.side] = Math.max(clock[write.side], write.stamp)
  }

  #race(access: Access, others: readonly (Stamped | undefined)[]): void {
    for (const other of others) {
      if (other === undefined || other.side === access.side || this.#isBefore(other, access.side)) continue
      if (other.atomic && access.atomic && hasEqualRange(other, access)) continue
      this.races.set(`${other.side} ${other.kind} ${other.at} ${access.side} ${access.kind} ${access.at}`, { first: other, second: access })
    }
  }

  /** Drops writes that no side can read any more. */
  #forget(writes: Write[]): void {
    const known = writes.filter((v) => this.#isBefore(v, 0) && this.#isBefore(v, 1))
    const kept = writes.filter((w) => !known.some((v) => v !== w && isBefore(w, v)))
    writes.splice(0, writes.length, ...kept)
  }
}

function isBefore(w: Write, v: Write): boolean {
  return w.side === v.side ? w.stamp < v.stamp : v.clock[w.side] >= w.stamp
}

function hasEqualRange(a: Access, b: Access): boolean {
  return a.at === b.at && a.size === b.size
}
