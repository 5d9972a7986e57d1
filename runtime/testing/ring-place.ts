/** A place in a packed ring. VIRTIO 1.4, Packed Virtqueues / Driver and Device Ring Wrap Counters. */

const wrapBit = 15
const indexMask = (1 << wrapBit) - 1

/** An entry of the ring, with the wrap counter there. */
export class RingPlace {
  index: number
  wrap: 0 | 1
  readonly #size: number

  /** @param word - index, with the wrap counter in bit 15 */
  constructor(size: number, word: number) {
    this.#size = size
    this.index = word & indexMask
    this.wrap = (word >> wrapBit) as 0 | 1
  }

  get word(): number {
    return this.index | (this.wrap << wrapBit)
  }

  /** Goes on by entries, or back. */
  move(entries: number): void {
    const to = this.index + entries
    const rounds = Math.floor(to / this.#size)
    this.index = to - rounds * this.#size
    if (rounds % 2 !== 0) this.wrap = this.wrap === 1 ? 0 : 1
  }

  /** Whether an entry is among those from here up to `end`, that one left out. */
  passes({ index, wrap }: { readonly index: number; readonly wrap: 0 | 1 }, end: number): boolean {
    const place = new RingPlace(this.#size, this.word)
    for (let left = 2 * this.#size; place.word !== end && left > 0; left--, place.move(1))
      if (place.index === index && place.wrap === wrap) return true
    return false
  }
}
