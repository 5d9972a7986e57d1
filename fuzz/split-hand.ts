/** The driver of a split virtqueue by hand: it keeps the rules when it offers, and breaks them when it mutates. Shares no code with the runtime. */
import {
  split_ring_entry_size,
  split_ring_fixed_size,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VirtqAvail,
  VirtqDesc,
} from 'virtgen/wire/split-ring'
import type { Chances } from './chances.ts'
import type { DriverHand, HandOptions } from './driver-hand.ts'
import type { Random } from './random.ts'
import type { RingRules } from './ring-rules.ts'

/** Entries of an indirect table at most; there is a table for each descriptor. */
export const tableEntries = 8

export class SplitHand implements DriverHand {
  readonly #rules: RingRules
  readonly #chances: Chances
  /** Guest address of the memory for indirect tables. */
  readonly #tables: number
  /** Which descriptors are with the device, by their chain's head; -1: none. */
  readonly #owner: Int32Array
  /** Of the chain that is being offered. */
  #badness = Number.POSITIVE_INFINITY
  /** Guest address of the memory for buffers. */
  readonly #room: number
  #available: number

  constructor(rules: RingRules, chances: Chances, { tables, room, available }: HandOptions) {
    this.#rules = rules
    this.#chances = chances
    this.#tables = tables
    this.#owner = new Int32Array(rules.setup.size).fill(-1)
    this.#room = room
    this.#available = available
  }

  age(): void {}

  /** Makes a chain available as the rules want it, though not always with buffers that are in memory. */
  offer(random: Random, badness: number): boolean {
    this.#badness = badness
    const { setup, indirect } = this.#rules
    const free = this.#free(random)
    if (free.length === 0) return false
    const head = free[0]!
    const usesTable = indirect && random.oneIn(3)
    const direct = usesTable ? random.below(Math.min(free.length, 3)) : random.between(1, Math.min(free.length, 6))
    const table = usesTable ? random.between(1, tableEntries) : 0
    let writable = random.between(0, direct + table)
    for (let i = 0; i < direct; i++) {
      const isLast = i === direct - 1 && !usesTable
      this.#buffer(random, setup.descriptorArea, free[i]!, writable-- <= 0, isLast ? -1 : free[i + 1]!)
    }
    if (usesTable) {
      const at = free[direct]!
      const address = this.#tables + at * tableEntries * VirtqDesc.size
      this.#descriptor(
        setup.descriptorArea,
        at,
        this.#chances.halves(address),
        table * VirtqDesc.size,
        VIRTQ_DESC_F_INDIRECT | (random.oneIn(4) ? VIRTQ_DESC_F_WRITE : 0),
        0,
      )
      for (let i = 0; i < table; i++) this.#buffer(random, address, i, writable-- <= 0, i === table - 1 ? -1 : i + 1)
    }
    for (let i = 0; i < direct + (usesTable ? 1 : 0); i++) this.#owner[free[i]!] = head
    this.#put(head)
    return true
  }

  /** Indices of free descriptors, from a random one on. */
  #free(random: Random): number[] {
    const size = this.#owner.length
    const start = random.below(size)
    const step = random.oneIn(2) ? 1 : size - 1
    const free: number[] = []
    for (let i = 0; i < size && free.length < 8; i++) {
      const at = (start + i * step) % size
      if (this.#owner[at] === -1) free.push(at)
    }
    return free
  }

  #buffer(random: Random, table: number, index: number, isWritable: boolean, next: number): void {
    const [address, length] = this.#chances.buffer(random, this.#badness, this.#room)
    this.#descriptor(table, index, address, length, (isWritable ? VIRTQ_DESC_F_WRITE : 0) | (next < 0 ? 0 : VIRTQ_DESC_F_NEXT), Math.max(next, 0))
  }

  #descriptor(table: number, index: number, [low, high]: readonly [number, number], length: number, flags: number, next: number): void {
    const { arena } = this.#rules
    const at = table + index * VirtqDesc.size
    arena.set32(at + VirtqDesc.offsetOf.addr, low)
    arena.set32(at + VirtqDesc.offsetOf.addr + 4, high)
    arena.set32(at + VirtqDesc.offsetOf.len, length)
    arena.set16(at + VirtqDesc.offsetOf.flags, flags)
    arena.set16(at + VirtqDesc.offsetOf.next, next)
  }

  #put(head: number): void {
    const { arena, setup } = this.#rules
    arena.set16(this.#ringEntry(this.#available), head)
    this.#available = (this.#available + 1) & 0xffff
    arena.set16(setup.driverArea + VirtqAvail.offsetOf.idx, this.#available)
  }

  #ringEntry(index: number): number {
    const { driverArea, size } = this.#rules.setup
    return driverArea + VirtqAvail.offsetOf.ring + (index % size) * split_ring_entry_size.available_ring
  }

  /** The device has used the chain. */
  returned(head: number): void {
    for (let i = 0; i < this.#owner.length; i++) if (this.#owner[i] === head) this.#owner[i] = -1
  }

  /** Asks for a notification, or for none. */
  wish(random: Random, used: number): void {
    const { arena, setup } = this.#rules
    if (random.oneIn(2)) arena.set16(setup.driverArea + VirtqAvail.offsetOf.flags, random.oneIn(8) ? random.word() : random.below(2))
    else arena.set16(setup.driverArea + VirtqAvail.offsetOf.ring + setup.size * 2, this.#chances.index(random, used, setup.size))
  }

  mutate(random: Random, available: number): boolean {
    const { arena, setup } = this.#rules
    const what = random.below(8)
    if (what === 0) arena.set16(setup.driverArea + VirtqAvail.offsetOf.idx, this.#chances.index(random, available, setup.size))
    else if (what === 1) {
      const at = this.#ringEntry(random.oneIn(2) ? available : random.below(setup.size))
      arena.set16(at, random.oneIn(8) ? random.word() : random.below(setup.size + 1))
    } else if (what === 2) {
      const words = (split_ring_fixed_size.used_ring + setup.size * split_ring_entry_size.used_ring) / 2
      arena.set16(setup.deviceArea + 2 * random.below(words), random.word())
    } else if (what === 3)
      this.mutateDescriptor(random, this.#tables + random.below(setup.size) * tableEntries * VirtqDesc.size, random.below(tableEntries))
    else if (what === 4) this.wish(random, available)
    else this.mutateDescriptor(random, setup.descriptorArea, random.below(setup.size))
    return what === 2
  }

  /** Changes one member of a descriptor, or all of them. */
  mutateDescriptor(random: Random, table: number, index: number): void {
    const { arena, setup } = this.#rules
    const { offsetOf, size } = VirtqDesc
    const at = table + index * size
    const [low, high] = this.#chances.address(random)
    const what = random.below(6)
    if (what === 0 || what === 5) {
      arena.set32(at + offsetOf.addr, low)
      arena.set32(at + offsetOf.addr + 4, high)
    }
    if (what === 1 || what === 5) arena.set32(at + offsetOf.len, this.#chances.length(random))
    if (what === 2 || what === 5) arena.set16(at + offsetOf.flags, random.oneIn(8) ? random.word() : random.below(8))
    if (what === 3 || what === 5) arena.set16(at + offsetOf.next, random.oneIn(8) ? random.word() : random.below(setup.size + 1))
    // An indirect table in itself, in the descriptor table, or in another table.
    if (what === 4) {
      arena.set32(at + offsetOf.addr, random.pick([table, setup.descriptorArea, this.#tables]) % 0x1_0000_0000)
      arena.set32(at + offsetOf.len, random.between(1, setup.size + 1) * size)
      arena.set16(at + offsetOf.flags, VIRTQ_DESC_F_INDIRECT | random.below(4))
    }
  }

  /** Fills the rings with what is not random enough to be refused at once. */
  garble(random: Random, available: number): void {
    const { arena, setup } = this.#rules
    for (let i = 0; i < setup.size; i++) {
      for (let k = 0; k < 3; k++) this.mutateDescriptor(random, setup.descriptorArea, i)
      arena.set16(this.#ringEntry(i), random.oneIn(16) ? random.word() : random.below(setup.size))
    }
    for (let i = 0; i < tableEntries; i++) this.mutateDescriptor(random, this.#tables, i)
    this.#available = (available + random.below(setup.size + 1)) & 0xffff
    arena.set16(setup.driverArea + VirtqAvail.offsetOf.idx, this.#available)
  }
}
