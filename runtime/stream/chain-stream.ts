/** The chains of a queue, one after the other, for those who like to await them. */
import type { Chain } from '../chain.ts'
import { dispose } from '../dispose.ts'
import type { DeviceQueue } from '../queue.ts'
import type { Violation } from '../violation.ts'

export interface ChainStreamOptions {
  /**
   * Calls back later, outside of what is going on now (`setImmediate`). With it a loop that always finds another chain gives way once for every round of the ring; without
   * it a driver in another thread that never stops keeps the loop, and nothing else of this thread, running.
   */
  readonly defer?: (callback: () => void) => void
  /** The stream is over; called once, last. */
  readonly released?: () => void
}

type Result = IteratorResult<Chain, undefined>

/**
 * A result that carries one chain after the other: what the protocol wants of a result is read before the next one is asked for, except by someone who asks twice
 * before reading. That shows in `taken`.
 */
class Delivery implements IteratorYieldResult<Chain> {
  taken = true
  #chain: Chain | undefined

  get done(): false {
    return false
  }
  get value(): Chain {
    this.taken = true
    return this.#chain as Chain
  }
  put(chain: Chain): this {
    this.taken = false
    this.#chain = chain
    return this
  }
}

const over: Result = { done: true, value: undefined }

/**
 * The available chains of a queue as they come. Somebody must call `wake` for each available buffer notification, and as `resume` of the queue's options.
 *
 * The stream ends (it does not throw) when the queue is reset, or broken by what the driver did: see `violation`. Leaving a `for await` loop, by whatever way, releases
 * the stream and gives the queue back; the chains that were taken stay with whoever has them. Several loops may share a stream: each chain goes to one of them, and the
 * first that leaves ends it for all.
 *
 * Where chains are there, `next` allocates nothing: the promise and the result are the same ones each time, so the result must be read before `next` is called
 * again, as a loop does. (Who calls again before having read gets another result; none is lost.) The driver is asked for notifications only while `next` waits.
 *
 * @example
 * for await (const chain of stream) {
 *   chain.writable.copyFrom(await answerTo(chain))
 *   chain.complete()
 * }
 */
export class ChainStream implements AsyncIterableIterator<Chain, undefined, undefined> {
  readonly queue: DeviceQueue
  readonly #defer: ChainStreamOptions['defer']
  readonly #released: ChainStreamOptions['released']
  readonly #delivery = new Delivery()
  readonly #delivered: Promise<Result> = Promise.resolve(this.#delivery)
  /** Calls of `next` that wait, first come first served. While there are some and nothing is deferred, the driver knows that it is to notify. */
  readonly #waiting: ((result: Result) => void)[] = []
  #isReleased = false
  /** The queue is being looked through right now: it may run the guest, who may notify. */
  #polling = false
  /** A notification came meanwhile. */
  #again = false
  /** The driver was told not to notify. */
  #quiet = false
  /** Chains since `next` had to wait. */
  #streak = 0

  /** @param queue - nobody else takes chains from it */
  constructor(queue: DeviceQueue, options: ChainStreamOptions = {}) {
    this.queue = queue
    this.#defer = options.defer
    this.#released = options.released
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** The next chain as soon as there is one; done when the stream is over. */
  next(): Promise<Result> {
    if (this.#isReleased) return Promise.resolve(over)
    // Whoever waits already is first.
    if (this.#waiting.length > 0 || this.#polling) return this.#wait()
    if (this.#defer !== undefined && this.#streak >= this.queue.size) {
      this.#streak = 0
      this.#defer(() => this.wake())
      return this.#wait()
    }
    const chain = this.#poll()
    // Out of the guest somebody may have called `next`, too.
    if (this.#waiting.length > 0) this.wake()
    if (chain !== undefined) {
      const result = this.#resultOf(chain)
      return result === this.#delivery ? this.#delivered : Promise.resolve(result)
    }
    return this.#endsHere() ? Promise.resolve(over) : this.#wait()
  }

  /** Buffers may be available: those who wait get them. To be called for each available buffer notification; more often does no harm. */
  wake(): void {
    this.#again = true
    if (this.#polling) return
    while (this.#waiting.length > 0) {
      const chain = this.#poll()
      if (chain === undefined) {
        this.#endsHere()
        return
      }
      const waiting = this.#waiting.shift()
      if (waiting !== undefined) waiting(this.#resultOf(chain))
      else this.#refuse(chain)
    }
  }

  /** What the driver did, where that has ended the stream. */
  get violation(): Violation | undefined {
    return this.queue.broken
  }

  /** Whether the stream is over. */
  get isReleased(): boolean {
    return this.#isReleased
  }

  /** Gives the queue back: the stream is over, for those who wait as well. Chains that were taken stay out. */
  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    // As the queue was found.
    if (this.#quiet) this.queue.enableNotifications()
    for (const waiting of this.#waiting.splice(0)) waiting(over)
    this.#released?.()
  }

  /** A loop was left. */
  return(): Promise<Result> {
    this.release()
    return Promise.resolve(over)
  }

  /** The same as `release`, and rejects with the error. */
  throw(error?: unknown): Promise<Result> {
    this.release()
    return Promise.reject(error)
  }

  /** The same as `release`. */
  [dispose](): void {
    this.release()
  }

  /**
   * Takes a chain. Before it gives none the driver has been asked to notify, and the queue was looked at once more: a buffer that the driver made available before it
   * could see the wish comes without a notification. Nothing happens between that and the caller's waiting, except what the guest does out of the queue's writes,
   * and that sets `again`.
   */
  #poll(): Chain | undefined {
    const { queue } = this
    this.#polling = true
    try {
      do {
        this.#again = false
        let chain = queue.next()
        if (chain === undefined) {
          this.#quiet = false
          if (queue.enableNotifications()) chain = queue.next()
        }
        if (chain === undefined) continue
        this.#streak++
        if (!this.#quiet && !this.#isReleased) {
          this.#quiet = true
          queue.disableNotifications()
        }
        return chain
      } while (this.#again)
    } finally {
      this.#polling = false
    }
    this.#streak = 0
    return undefined
  }

  /** Out of the guest somebody has released the stream while the chain was taken. */
  #refuse(chain: Chain): void {
    if (chain.cancelled) chain.complete(0)
    else this.queue.putBack(chain)
  }

  #wait(): Promise<Result> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
    })
  }

  #resultOf(chain: Chain): Result {
    return this.#delivery.taken ? this.#delivery.put(chain) : { done: false, value: chain }
  }

  /** The queue gives nothing any more. */
  #endsHere(): boolean {
    if (this.queue.broken !== undefined || this.queue.ended) this.release()
    return this.#isReleased
  }
}
