/** How many operations and bytes per second devices may serve. */
import { hostTimers, type Timers } from '../timers.ts'
import { TokenBucket, type TokenBucketOptions } from './token-bucket.ts'

/** What is limited; what is absent is not. */
export interface RateLimits {
  /** Requests, or packets. */
  readonly operations?: TokenBucketOptions
  /** Bytes of their payloads. */
  readonly bytes?: TokenBucketOptions
}

export interface RateLimiterOptions extends RateLimits {
  /** Those of the host by default. */
  readonly timers?: Timers
}

/** Less than a timer can be asked for leads nowhere. */
const shortestWait = 1
const longestWait = 0x7fff_ffff

/**
 * A limit that one device has, or that several share. Devices ask before they serve a request; one that must wait keeps its requests, which are never more than its queues
 * have entries, and is called when it is its turn. Those who wait take turns, so that no small requests overtake a large one for ever.
 */
export class RateLimiter {
  readonly #timers: Timers
  #operations: TokenBucket | undefined
  #bytes: TokenBucket | undefined
  /** Who waits, in the order in which they have asked, with the bytes that they have asked for. */
  readonly #waiting = new Map<() => void, number>()
  /** Who is being called. */
  #turn: (() => void) | undefined
  #timer: unknown

  /** @throws RangeError for a rate or a burst that is not above 0 */
  constructor({ timers = hostTimers, ...limits }: RateLimiterOptions) {
    this.#timers = timers
    this.#limit(limits)
  }

  /**
   * Asks for one operation of so many bytes.
   *
   * @param onReady - called once, when it is worth asking again; the same function is noted only once
   * @returns false where it must wait
   */
  take(bytes: number, onReady: () => void): boolean {
    if (!this.#isLimited) return true
    const now = this.#timers.now()
    const [first = onReady] = this.#waiting.keys()
    const isNext = this.#turn === undefined ? first === onReady : this.#turn === onReady
    if (isNext && this.#readyAt(bytes) <= now) {
      this.#operations?.take(1, now)
      this.#bytes?.take(bytes, now)
      return true
    }
    this.#waiting.set(onReady, bytes)
    this.#wait(now)
    return false
  }

  /** Does not wait any more. */
  forget(onReady: () => void): void {
    if (this.#waiting.delete(onReady)) this.#wait(this.#timers.now())
  }

  /**
   * Sets other limits, from now on and with full buckets; none at all: nothing is limited any more.
   *
   * @throws RangeError as the constructor; then the old ones stay
   */
  limit(limits: RateLimits): void {
    this.#limit(limits)
    this.#serve()
  }

  /** Ends the timer, and the limits: what waits is let through. */
  dispose(): void {
    this.limit({})
  }

  #limit({ operations, bytes }: RateLimits): void {
    const now = this.#timers.now()
    const buckets = [operations, bytes].map((options) => options && new TokenBucket(options, now))
    this.#operations = buckets[0]
    this.#bytes = buckets[1]
  }

  get #isLimited(): boolean {
    return this.#operations !== undefined || this.#bytes !== undefined
  }

  #readyAt(bytes: number): number {
    return Math.max(this.#operations?.readyAt(1) ?? Number.NEGATIVE_INFINITY, this.#bytes?.readyAt(bytes) ?? Number.NEGATIVE_INFINITY)
  }

  /** One timer, for whoever is first. */
  #wait(now: number): void {
    const [first] = this.#waiting.values()
    // While somebody is called, what comes next is not known yet.
    if (this.#turn !== undefined) return
    if (first === undefined) this.#stop()
    else this.#timer ??= this.#timers.set(() => this.#serve(), clamp(Math.ceil(this.#readyAt(first) - now)))
  }

  #stop(): void {
    if (this.#timer !== undefined) this.#timers.clear(this.#timer)
    this.#timer = undefined
  }

  /** Calls who waits, as far as there is something for them. Each has one turn: who asks again meanwhile is behind the others. */
  #serve(): void {
    if (this.#turn !== undefined) return
    this.#stop()
    try {
      for (let turns = this.#waiting.size; turns > 0; turns--) {
        const [first] = this.#waiting
        if (first === undefined || this.#readyAt(first[1]) > this.#timers.now()) break
        const [onReady] = first
        this.#waiting.delete(onReady)
        this.#turn = onReady
        onReady()
      }
    } finally {
      this.#turn = undefined
      this.#wait(this.#timers.now())
    }
  }
}

function clamp(milliseconds: number): number {
  return Math.min(Math.max(milliseconds, shortestWait), longestWait)
}
