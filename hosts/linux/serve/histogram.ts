/** How long things took: counts in buckets, each twice as wide as the one before. */

/** Upper ends in seconds: 1, 2, 4 … microseconds, up to 16.8 s. What takes longer is in one more bucket. */
export const bucketEnds: readonly number[] = Array.from({ length: 25 }, (_, power) => 2 ** power / 1e6)

const longest = 2 ** (bucketEnds.length - 1)

/** Plain data. */
export interface HistogramValue {
  /** One for each bucket, not cumulative, and the one beyond. */
  readonly counts: readonly number[]
  /** Seconds, of all together. */
  readonly sum: number
}

/** Recording allocates nothing. */
export class Histogram {
  readonly #counts = new Float64Array(bucketEnds.length + 1)
  #sum = 0

  /** @param milliseconds - what `performance.now` makes of two moments */
  record(milliseconds: number): void {
    const microseconds = milliseconds * 1000
    // The number of bits of what is one less: 1 is in the first bucket, 2 in the second, 3 and 4 in the third.
    const bucket = microseconds <= 1 ? 0 : microseconds > longest ? bucketEnds.length : 32 - Math.clz32(Math.ceil(microseconds) - 1)
    this.#counts[bucket]!++
    this.#sum += milliseconds
  }

  get value(): HistogramValue {
    return { counts: [...this.#counts], sum: this.#sum / 1000 }
  }
}

export function countOf({ counts }: HistogramValue): number {
  return counts.reduce((sum, count) => sum + count, 0)
}

/**
 * The end of the bucket, in seconds, that so much of everything lies in or before; Infinity beyond the last, undefined where nothing was recorded.
 *
 * @param part - above 0, up to 1
 */
export function quantile(value: HistogramValue, part: number): number | undefined {
  let rest = Math.ceil(countOf(value) * part)
  if (rest === 0) return undefined
  for (const [bucket, count] of value.counts.entries()) {
    rest -= count
    if (rest <= 0) return bucketEnds[bucket] ?? Number.POSITIVE_INFINITY
  }
  return Number.POSITIVE_INFINITY
}
