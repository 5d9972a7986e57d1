/** The device of a virtqueue by hand: it uses buffers as the rules want it, or writes anything anywhere. Shares no code with the runtime. */
import { PvirtqDesc, PvirtqEventSuppress, VIRTQ_DESC_F_AVAIL, VIRTQ_DESC_F_USED, VIRTQ_DESC_F_WRITE } from 'virtgen/wire/packed-ring'
import { split_ring_entry_size, split_ring_fixed_size, VirtqUsed, VirtqUsedElem } from 'virtgen/wire/split-ring'
import type { Chances } from './chances.ts'
import type { BufferOut } from './driver-model.ts'
import type { Random } from './random.ts'
import type { RingRules } from './ring-rules.ts'

export interface DeviceHand {
  /** Uses a buffer, as many bytes of it; where the device keeps the order: all up to it, with one entry. */
  use(buffers: readonly BufferOut[], written: number): void
  /** Asks for a notification, or for none. `available`: where the driver is. */
  wish(random: Random, available: number): void
  /** Breaks something. `out`: what the device has. */
  mutate(random: Random, out: readonly BufferOut[]): void
}

export class SplitDeviceHand implements DeviceHand {
  readonly #rules: RingRules
  readonly #chances: Chances
  #used = 0

  constructor(rules: RingRules, chances: Chances) {
    this.#rules = rules
    this.#chances = chances
  }

  use(buffers: readonly BufferOut[], written: number): void {
    this.#entry(this.#used, buffers.at(-1)!.head, written)
    this.#used = (this.#used + buffers.length) & 0xffff
    this.#rules.arena.set16(this.#rules.setup.deviceArea + VirtqUsed.offsetOf.idx, this.#used)
  }

  #entry(index: number, id: number, length: number): void {
    const { arena, setup } = this.#rules
    const at = setup.deviceArea + VirtqUsed.offsetOf.ring + (index % setup.size) * VirtqUsedElem.size
    arena.set32(at + VirtqUsedElem.offsetOf.id, id)
    arena.set32(at + VirtqUsedElem.offsetOf.len, length)
  }

  wish(random: Random, available: number): void {
    const { arena, setup } = this.#rules
    if (random.oneIn(2)) arena.set16(setup.deviceArea + VirtqUsed.offsetOf.flags, random.oneIn(8) ? random.word() : random.below(2))
    else arena.set16(setup.deviceArea + VirtqUsed.offsetOf.ring + setup.size * VirtqUsedElem.size, this.#chances.index(random, available, setup.size))
  }

  mutate(random: Random, out: readonly BufferOut[]): void {
    const { arena, setup } = this.#rules
    const what = random.below(6)
    if (what === 0) arena.set16(setup.deviceArea + VirtqUsed.offsetOf.idx, this.#chances.index(random, this.#used, setup.size))
    else if (what === 1) {
      const words = (split_ring_fixed_size.used_ring + setup.size * split_ring_entry_size.used_ring) / 2
      arena.set16(setup.deviceArea + 2 * random.below(words), random.word())
    } else if (what <= 3) {
      // An entry that the driver looks at next: of what is out, of what is not, or twice the same.
      const id = out.length > 0 && !random.oneIn(3) ? random.pick(out).head : random.pick([random.below(setup.size + 1), random.word()])
      this.#entry((this.#used - random.below(2)) & 0xffff, id, this.#chances.length(random))
      if (random.oneIn(2)) arena.set16(setup.deviceArea + VirtqUsed.offsetOf.idx, this.#used + 1)
    } else anywhere(random, this.#chances, this.#rules)
  }
}

export class PackedDeviceHand implements DeviceHand {
  readonly #rules: RingRules
  readonly #chances: Chances
  #at = 0
  #wrap = true

  constructor(rules: RingRules, chances: Chances) {
    this.#rules = rules
    this.#chances = chances
  }

  use(buffers: readonly BufferOut[], written: number): void {
    this.#entry(this.#at, this.#wrap, buffers.at(-1)!.head, written, written > 0)
    this.#at += buffers.reduce((sum, { slots }) => sum + slots, 0)
    if (this.#at < this.#rules.setup.size) return
    this.#at -= this.#rules.setup.size
    this.#wrap = !this.#wrap
  }

  #entry(at: number, wrap: boolean, id: number, length: number, isWritten: boolean): void {
    const { arena, setup } = this.#rules
    const address = setup.descriptorArea + at * PvirtqDesc.size
    arena.set32(address + PvirtqDesc.offsetOf.len, length)
    arena.set16(address + PvirtqDesc.offsetOf.id, id)
    arena.set16(address + PvirtqDesc.offsetOf.flags, (wrap ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0) | (isWritten ? VIRTQ_DESC_F_WRITE : 0))
  }

  wish(random: Random, available: number): void {
    const { arena, setup } = this.#rules
    arena.set16(setup.deviceArea + PvirtqEventSuppress.offsetOf.flags, random.oneIn(8) ? random.word() : random.below(4))
    const event = random.oneIn(8)
      ? random.word()
      : (((available & 0x7fff) + random.below(4)) % setup.size) | (random.oneIn(4) ? random.word() & 0x8000 : available & 0x8000)
    arena.set16(setup.deviceArea + PvirtqEventSuppress.offsetOf.desc, event)
  }

  mutate(random: Random, out: readonly BufferOut[]): void {
    const { arena, setup } = this.#rules
    const what = random.below(6)
    if (what <= 2) {
      const id = out.length > 0 && !random.oneIn(3) ? random.pick(out).head : random.pick([random.below(setup.size + 1), random.word()])
      this.#entry(this.#at, random.oneIn(6) ? !this.#wrap : this.#wrap, id, this.#chances.length(random), !random.oneIn(3))
    } else if (what === 3) arena.set16(setup.descriptorArea + this.#at * PvirtqDesc.size + PvirtqDesc.offsetOf.flags, random.word())
    else if (what === 4) arena.set16(setup.descriptorArea + 2 * random.below(setup.size * 8), random.word())
    else anywhere(random, this.#chances, this.#rules)
  }
}

/** A byte somewhere in memory: in a descriptor, in a table, in a buffer. */
function anywhere(random: Random, chances: Chances, { arena, setup }: RingRules): void {
  const address = random.oneIn(2) ? chances.inside(random) : setup.descriptorArea + random.below(setup.size * PvirtqDesc.size)
  arena.set8(address, random.word())
}
