/** Values that are likely to be taken wrongly. */
import type { Arena } from './arena.ts'
import { isHeld } from './chain-reading.ts'
import type { Random } from './random.ts'

const lengths = [
  0, 1, 2, 4, 8, 15, 16, 17, 32, 64, 0x100, 0x1000, 0x7fff_ffff, 0x8000_0000, 0xffff_0000, 0xffff_fff0, 0xffff_ffff, 0x10_0000, 0x10_0010,
]
const halves = [0, 0, 0, 0, 0, 1, 0x1f_ffff, 0x20_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]

/** Ends of regions, and the places beside them. */
function edges(arena: Arena): number[] {
  return arena.regions.flatMap(({ guestAddress, size }) => {
    const end = guestAddress + size
    return [guestAddress, guestAddress + 1, guestAddress - 1, guestAddress - 16, end, end - 1, end - 4, end - 16, end - 17, end + 1].filter(
      (x) => x >= 0,
    )
  })
}

export class Chances {
  readonly arena: Arena
  readonly #edges: readonly number[]
  readonly #isInCrumbs: boolean
  /** What lengths of buffers are below. */
  readonly #lengths: readonly number[]

  /** One for each memory. */
  static of(arena: Arena): Chances {
    const chances = known.get(arena) ?? new Chances(arena)
    known.set(arena, chances)
    return chances
  }

  private constructor(arena: Arena) {
    this.arena = arena
    this.#edges = edges(arena)
    this.#isInCrumbs = arena.regions.length > 50
    this.#lengths = this.#isInCrumbs ? [2, 16, 600, 1000] : [2, 16, 64, 300]
  }

  /** A 64-bit address in halves, mostly inside memory. */
  address(random: Random): readonly [low: number, high: number] {
    if (random.oneIn(8)) return [random.word(), random.pick(halves)]
    const [low, high] = this.halves(random.oneIn(4) ? random.pick(this.#edges) : this.inside(random))
    // The lower half alone, or the upper one, would be inside.
    return random.oneIn(6) ? [low, (high + random.pick([1, -1, 0x20_0000, 0x8000_0000])) >>> 0] : [low, high]
  }

  halves(address: number): readonly [low: number, high: number] {
    return [address % 0x1_0000_0000, Math.floor(address / 0x1_0000_0000)]
  }

  /** A buffer that is in memory, and nowhere in the rings, which lie before `room`; one in `badness` is anything. */
  buffer(random: Random, badness: number, room: number): readonly [address: readonly [low: number, high: number], length: number] {
    if (badness < Number.POSITIVE_INFINITY && random.oneIn(badness))
      return random.oneIn(3) ? this.#atEdge(random) : [this.address(random), this.length(random)]
    // Where there are crumbs, mostly at their beginning: so that a buffer crosses many.
    const { guestAddress, size } = this.#isInCrumbs && !random.oneIn(4) ? this.arena.regions[random.below(8)]! : random.pick(this.arena.regions)
    const isHome = room > guestAddress && room < guestAddress + size
    const start = isHome ? room + random.below(size - (room - guestAddress)) : guestAddress + random.below(size)
    const length = random.below(random.pick(this.#lengths))
    // What goes on where another region touches is as good, behind the rings.
    return [this.halves(start), start < room ? Math.min(length, guestAddress + size - start) : this.#heldFrom(start, length)]
  }

  /** So many bytes, or fewer where memory ends. */
  #heldFrom(start: number, length: number): number {
    let held = length
    while (!isHeld(this.arena, start, held)) held >>= 1
    return held
  }

  /** A buffer that reaches to an end of a region, one byte less or one byte more. */
  #atEdge(random: Random): readonly [address: readonly [low: number, high: number], length: number] {
    const { guestAddress, size } = random.pick(this.arena.regions)
    const length = random.between(1, Math.min(size, 64))
    const step = random.between(-1, 1)
    if (random.oneIn(2)) return [this.halves(Math.max(guestAddress + step, 0)), length]
    // Here it is the length that is one more or less: the first byte is inside.
    return [this.halves(guestAddress + (size - length)), Math.max(length + step, 1)]
  }

  /** An address in a region. */
  inside(random: Random): number {
    const { guestAddress, size } = random.pick(this.arena.regions)
    return guestAddress + random.below(size)
  }

  length(random: Random): number {
    if (random.oneIn(3)) return random.pick(lengths)
    return random.oneIn(16) ? random.word() : random.below(random.pick([4, 64, 1024]))
  }

  /** A 16-bit number near this one, or anywhere. */
  index(random: Random, near: number, size: number): number {
    const step = random.pick([0, 0, 1, 1, 1, 2, size - 1, size, size + 1, -1, 0x7fff, 0x8000])
    return (random.oneIn(12) ? random.word() : near + step) & 0xffff
  }
}

const known = new WeakMap<Arena, Chances>()
