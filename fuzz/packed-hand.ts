/** The driver of a packed virtqueue by hand: it keeps the rules when it offers, and breaks them when it mutates. Shares no code with the runtime. */
import {
  PvirtqDesc,
  PvirtqEventSuppress,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
} from 'virtgen/wire/packed-ring'
import type { Chances } from './chances.ts'
import type { DriverHand, HandOptions } from './driver-hand.ts'
import { moved, wrapBit } from './packed-reading.ts'
import type { Random } from './random.ts'
import type { RingRules } from './ring-rules.ts'
import { tableEntries } from './split-hand.ts'

const { offsetOf, size: descriptorSize } = PvirtqDesc
const marks = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED

export class PackedHand implements DriverHand {
  readonly #rules: RingRules
  readonly #chances: Chances
  readonly #options: HandOptions
  /** Of the chain that is being offered. */
  #badness = Number.POSITIVE_INFINITY
  /** Where the next descriptor goes. */
  #position: number
  /** Descriptors that each buffer id takes; 0: it is free. */
  readonly #slots: Uint16Array
  #free: number

  constructor(rules: RingRules, chances: Chances, options: HandOptions) {
    this.#rules = rules
    this.#chances = chances
    this.#options = options
    this.#position = options.available
    this.#slots = new Uint16Array(rules.setup.size)
    this.#free = rules.setup.size
  }

  /** Every descriptor is one that was used in its last round, which for those before the position is this one. */
  age(): void {
    const { arena, setup } = this.#rules
    const wrap = (this.#position & wrapBit) !== 0
    const isNew = this.#position === wrapBit
    for (let i = 0; i < setup.size && !isNew; i++) {
      const isThisRound = i < (this.#position & ~wrapBit)
      arena.set16(setup.descriptorArea + i * descriptorSize + offsetOf.flags, isThisRound === wrap ? marks : 0)
    }
  }

  offer(random: Random, badness: number): boolean {
    this.#badness = badness
    const { setup, indirect } = this.#rules
    const id = this.#freeId(random)
    if (this.#free === 0 || id < 0) return false
    const first = this.#position
    const count = indirect && random.oneIn(3) ? 1 : random.between(1, Math.min(this.#free, 5))
    const usesTable = indirect && count === 1 && random.oneIn(2)
    let writable = random.between(0, count)
    // The first one last: what comes before it is not seen.
    let held = 0
    for (let i = 0; i < count; i++) {
      const isLast = i === count - 1
      const flags = usesTable
        ? VIRTQ_DESC_F_INDIRECT | (random.oneIn(4) ? VIRTQ_DESC_F_WRITE : 0)
        : (writable-- <= 0 ? VIRTQ_DESC_F_WRITE : 0) | (isLast ? 0 : VIRTQ_DESC_F_NEXT)
      const [address, length] = usesTable ? this.#table(random, id) : this.#chances.buffer(random, this.#badness, this.#options.room)
      const marked = flags | ((this.#position & wrapBit) === 0 ? VIRTQ_DESC_F_USED : VIRTQ_DESC_F_AVAIL)
      const at = setup.descriptorArea + (this.#position & ~wrapBit) * descriptorSize
      this.#write(at, address, length, isLast ? id : random.below(setup.size), i === 0 ? undefined : marked)
      if (i === 0) held = marked
      this.#position = moved(this.#position, 1, setup.size)
    }
    this.#rules.arena.set16(setup.descriptorArea + (first & ~wrapBit) * descriptorSize + offsetOf.flags, held)
    this.#slots[id] = count
    this.#free -= count
    return true
  }

  #freeId(random: Random): number {
    const size = this.#slots.length
    const start = random.below(size)
    for (let i = 0; i < size; i++) if (this.#slots[(start + i) % size] === 0) return (start + i) % size
    return -1
  }

  #table(random: Random, id: number): readonly [address: readonly [low: number, high: number], length: number] {
    const count = random.between(1, tableEntries)
    const address = this.#tableOf(id)
    let writable = random.between(0, count)
    for (let i = 0; i < count; i++) {
      const [at, length] = this.#chances.buffer(random, this.#badness, this.#options.room)
      // Only one flag means something here.
      const others = random.oneIn(6) ? random.word() & ~VIRTQ_DESC_F_WRITE & 0xffff : 0
      this.#write(address + i * descriptorSize, at, length, random.word(), others | (writable-- <= 0 ? VIRTQ_DESC_F_WRITE : 0))
    }
    return [this.#chances.halves(address), count * descriptorSize]
  }

  #tableOf(id: number): number {
    return this.#options.tables + id * tableEntries * descriptorSize
  }

  /** @param flags - undefined: they stay as they are */
  #write(at: number, [low, high]: readonly [number, number], length: number, id: number, flags: number | undefined): void {
    const { arena } = this.#rules
    arena.set32(at + offsetOf.addr, low)
    arena.set32(at + offsetOf.addr + 4, high)
    arena.set32(at + offsetOf.len, length)
    arena.set16(at + offsetOf.id, id)
    if (flags !== undefined) arena.set16(at + offsetOf.flags, flags)
  }

  returned(id: number): void {
    if (id >= this.#slots.length) return
    this.#free += this.#slots[id]!
    this.#slots[id] = 0
  }

  wish(random: Random, used: number): void {
    const { arena, setup } = this.#rules
    arena.set16(setup.driverArea + PvirtqEventSuppress.offsetOf.flags, random.oneIn(8) ? random.word() : random.below(4))
    const near = moved(used, random.below(Math.min(setup.size, 4)), setup.size)
    const event = random.oneIn(8) ? random.word() : random.oneIn(4) ? near ^ wrapBit : near
    arena.set16(setup.driverArea + PvirtqEventSuppress.offsetOf.desc, event)
  }

  mutate(random: Random, available: number): boolean {
    const { arena, setup } = this.#rules
    const what = random.below(8)
    if (what === 0) this.wish(random, available)
    else if (what === 1) {
      arena.set16(setup.deviceArea + 2 * random.below(2), random.word())
      return true
    } else if (what === 2) this.#mutateDescriptor(random, this.#tableOf(random.below(setup.size)) + random.below(tableEntries) * descriptorSize, 0)
    else {
      // Where the device looks next, mostly.
      const place = random.oneIn(3)
        ? random.below(setup.size) | (available & wrapBit)
        : moved(available, random.below(Math.min(setup.size, 3)), setup.size)
      this.#mutateDescriptor(random, setup.descriptorArea + (place & ~wrapBit) * descriptorSize, place)
      return true
    }
    return false
  }

  #mutateDescriptor(random: Random, at: number, place: number): void {
    const { arena, setup } = this.#rules
    const what = random.below(7)
    const [low, high] = this.#chances.address(random)
    if (what === 0 || what === 6) {
      arena.set32(at + offsetOf.addr, low)
      arena.set32(at + offsetOf.addr + 4, high)
    }
    if (what === 1 || what === 6) arena.set32(at + offsetOf.len, this.#chances.length(random))
    if (what === 2 || what === 6) arena.set16(at + offsetOf.id, random.oneIn(8) ? random.word() : random.below(setup.size + 1))
    if (what === 3 || what === 4 || what === 6) {
      const right = (place & wrapBit) === 0 ? VIRTQ_DESC_F_USED : VIRTQ_DESC_F_AVAIL
      const mark = random.oneIn(4) ? random.word() & marks : right
      arena.set16(at + offsetOf.flags, random.oneIn(12) ? random.word() : mark | random.below(8))
    }
    if (what === 5) {
      arena.set32(at + offsetOf.addr, random.pick([setup.descriptorArea, this.#options.tables]) % 0x1_0000_0000)
      arena.set32(at + offsetOf.len, random.between(1, setup.size + 1) * descriptorSize)
      arena.set16(at + offsetOf.flags, arena.get16(at + offsetOf.flags) | VIRTQ_DESC_F_INDIRECT)
    }
  }

  garble(random: Random, available: number): void {
    const { setup } = this.#rules
    for (let i = 0, place = available; i < setup.size; i++, place = moved(place, 1, setup.size))
      for (let k = 0; k < 4; k++) this.#mutateDescriptor(random, setup.descriptorArea + (place & ~wrapBit) * descriptorSize, place)
    for (let i = 0; i < tableEntries; i++) this.#mutateDescriptor(random, this.#options.tables + i * descriptorSize, 0)
  }
}
