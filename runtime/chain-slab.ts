/** Where the segments of all chains of a queue lie: flat columns in typed arrays, so that no chain allocates. */

/**
 * Columns of segments. A segment is a piece of guest memory inside one region. Each chain has a range of its own, of a power of two of segments, which it keeps
 * when it is completed and changes for a larger one when it needs more.
 */
export class SegmentSlab {
  /** Guest addresses. */
  address: Float64Array
  /** Bytes; never 0. */
  length: Uint32Array
  /** Bytes of the same part of the chain that stand before. */
  position: Float64Array
  /** Index of the region, times 2, plus 1 where the segment goes on with the descriptor of the one before; see {@link continues}. */
  place: Int32Array
  /** Segments that the slab may hold at most. */
  readonly bound: number
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
    this.address = new Float64Array(capacity)
    this.length = new Uint32Array(capacity)
    this.position = new Float64Array(capacity)
    this.place = new Int32Array(capacity)
  }

  /** Segments there is room for now. */
  get capacity(): number {
    return this.address.length
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
    this.address.copyWithin(to, from, from + count)
    this.length.copyWithin(to, from, from + count)
    this.position.copyWithin(to, from, from + count)
    this.place.copyWithin(to, from, from + count)
  }

  /** Forgets all ranges. Only when no chain has one. */
  clear(): void {
    this.#end = 0
    this.#free.length = 0
  }

  #double(): void {
    const capacity = Math.min(Math.max(this.capacity * 2, 1), this.bound)
    const { address, length, position, place } = this
    this.address = new Float64Array(capacity)
    this.length = new Uint32Array(capacity)
    this.position = new Float64Array(capacity)
    this.place = new Int32Array(capacity)
    this.address.set(address)
    this.length.set(length)
    this.position.set(position)
    this.place.set(place)
    this.allocations++
  }
}

/** `place` of a segment. */
export function placeOf(region: number, goesOn: boolean): number {
  return region * 2 + (goesOn ? 1 : 0)
}
/** Region of a `place`; -1 where the memory does not hold the segment any more. */
export function regionOf(place: number): number {
  return place >> 1
}
/** Says whether the segment goes on with the descriptor of the segment before it: a descriptor that crosses regions makes several. */
export function continues(place: number): boolean {
  return (place & 1) === 1
}
