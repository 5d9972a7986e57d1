/** Where places in guest memory are taken from and given back to. */

/** Begin, and end behind the last byte. */
type Span = readonly [begin: number, end: number]

/** Free places by first fit. A place never crosses a span: two regions that touch are two spans. */
export class PlacePool {
  /** Ascending. */
  #free: Span[]
  readonly #spans: readonly Span[]
  readonly #taken = new Map<number, Span>()

  constructor(spans: readonly Span[]) {
    this.#spans = spans.filter(([begin, end]) => begin < end)
    this.#free = [...this.#spans]
  }

  /**
   * @param gap - bytes that are left free on both sides
   * @throws RangeError where there is no such place
   */
  take(length: number, alignment: number, gap: number): number {
    for (let i = 0; i < this.#free.length; i++) {
      const [begin, end] = this.#free[i]!
      const address = Math.ceil((begin + gap) / alignment) * alignment
      const last = address + length + gap
      if (last > end) continue
      this.#free.splice(i, 1, ...(last < end ? [[last, end] as const] : []))
      this.#taken.set(address, [begin, last])
      return address
    }
    throw new RangeError(`there is no place for ${length} bytes any more`)
  }

  /** @throws RangeError for what was not taken */
  give(address: number): void {
    const span = this.#taken.get(address)
    if (span === undefined) throw new RangeError(`0x${address.toString(16)} is no place that was given out`)
    this.#taken.delete(address)
    let [begin, end] = span
    const apart = this.#free.filter((free) => {
      const touches = this.#isJoined(free, span)
      if (touches) {
        begin = Math.min(begin, free[0])
        end = Math.max(end, free[1])
      }
      return !touches
    })
    this.#free = [...apart, [begin, end] as const].sort((a, b) => a[0] - b[0])
  }

  #isJoined(a: Span, b: Span): boolean {
    const within = (span: Span, at: number): boolean => span[0] < at && at < span[1]
    const meeting = a[1] === b[0] ? b[0] : b[1] === a[0] ? a[0] : undefined
    return meeting !== undefined && this.#spans.some((span) => within(span, meeting))
  }
}
