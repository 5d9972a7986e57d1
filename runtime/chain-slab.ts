/** Where the segments of all chains of a queue lie: flat columns in typed arrays, so that no chain allocates. */

/** A segment as 32-bit words. */
export const segmentLayout = {
  rowWords: 4,
  /** Guest address. */
  rowLow: 0,
  rowHigh: 1,
  /** Bytes; never 0. */
  rowLength: 2,
  /** Bytes of the same part of the chain that stand before: fewer than 2^32, as the segment is not among them. */
  rowPosition: 3,
  /** Of the number of a segment. Where the engine knows how large a number is, it does not check sums for overflow. */
  segmentMask: 2 ** 20 - 1,
} as const

const { rowWords, rowLow, rowHigh, rowLength, rowPosition } = segmentLayout
const highUnit = 0x1_0000_0000

/**
 * Rows of segments. A segment is a piece of guest memory inside one region. Each chain has a range of its own, of a power of two of segments, which it keeps
 * when it is completed and changes for a larger one when it needs more.
 */
export class SegmentSlab {
  /** All segments, see {@link segmentLayout}: one array, as each array costs checks of its own. */
  declare words: Uint32Array
  /** Segments that the slab may hold at most. */
  readonly bound: number = 0
  /** How often typed arrays were allocated. */
  allocations = 1
  /** Segments behind this one belong to no range yet. */
  #end = 0
  /** First segments of free ranges, by the logarithm of their capacity. */
  readonly #free: number[][] = []

  /**
   * @param capacity - segments to begin with
   * @param bound - segments at most; a power of two
   */
  constructor(capacity: number, bound: number) {
    this.bound = bound
    this.words = new Uint32Array(capacity * rowWords)
  }

  /** Segments there is room for now. */
  get capacity(): number {
    return this.words.length / rowWords
  }

  address(segment: number): number {
    const at = segment * rowWords
    return this.words[at + rowLow]! + this.words[at + rowHigh]! * highUnit
  }
  length(segment: number): number {
    return this.words[segment * rowWords + rowLength]!
  }
  position(segment: number): number {
    return this.words[segment * rowWords + rowPosition]!
  }

  put(segment: number, address: number, length: number, position: number): void {
    const at = segment * rowWords
    this.words[at + rowLow] = address
    this.words[at + rowHigh] = address / highUnit
    this.words[at + rowLength] = length
    this.words[at + rowPosition] = position
  }

  /**
   * A free range.
   *
   * @param capacity - segments; a power of two
   * @returns its first segment, or -1 where the bound is reached
   */
  take(capacity: number): number {
    const first = this.#free[Math.log2(capacity)]?.pop()
    if (first !== undefined) return first
    const end = this.#end + capacity
    if (end > this.bound) return -1
    while (end > this.capacity) this.#double()
    this.#end = end
    return end - capacity
  }

  /** Gives a range back. */
  give(first: number, capacity: number): void {
    const size = Math.log2(capacity)
    const list = this.#free[size]
    if (list === undefined) this.#free[size] = [first]
    else list.push(first)
  }

  /** Copies `count` segments to another range. */
  move(from: number, to: number, count: number): void {
    this.words.copyWithin(to * rowWords, from * rowWords, (from + count) * rowWords)
  }

  /** Forgets all ranges. Only when no chain has one. */
  clear(): void {
    this.#end = 0
    this.#free.length = 0
  }

  #double(): void {
    const capacity = Math.min(Math.max(this.capacity * 2, 1), this.bound)
    const { words } = this
    this.words = new Uint32Array(capacity * rowWords)
    this.words.set(words)
    this.allocations++
  }
}
