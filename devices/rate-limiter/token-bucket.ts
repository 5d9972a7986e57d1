/** So many of something per second, and a burst of it after a pause. */

/** How much there may be of something. */
export interface TokenBucketOptions {
  /** Above 0. */
  readonly perSecond: number
  /** Most that a pause saves up, and what there is at first. Default: what comes in one second. */
  readonly burst?: number
}

/**
 * A bucket that tokens flow into all the time, up to its brim. What takes more than there ever can be waits for a full bucket and leaves a debt.
 *
 * It remembers what was taken since it was last full, and when that was. Nothing is added up over time: neither timers that fire late nor rounding make the rate drift.
 */
export class TokenBucket {
  readonly #perMillisecond: number
  readonly #burst: number
  /** When the bucket was full, and what was taken since. */
  #full: number
  #taken = 0

  /** @throws RangeError for a rate or a burst that is not above 0 */
  constructor({ perSecond, burst = perSecond }: TokenBucketOptions, now: number) {
    this.#perMillisecond = positive(perSecond, 'perSecond') / 1000
    this.#burst = positive(burst, 'burst')
    this.#full = now
  }

  /** When so many can be taken. */
  readyAt(count: number): number {
    return this.#full + (this.#taken + Math.min(count, this.#burst) - this.#burst) / this.#perMillisecond
  }

  /** Takes so many; to be called when they are ready. */
  take(count: number, now: number): void {
    if (this.#full + this.#taken / this.#perMillisecond <= now) {
      this.#full = now
      this.#taken = 0
    }
    this.#taken += count
  }
}

function positive(value: number, name: string): number {
  if (!(Number.isFinite(value) && value > 0)) throw new RangeError(`${name} must be a number above 0, not ${value}`)
  return value
}
