/** Where the requests of a device wait until there is room for them at work, and until a limiter lets them through. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import type { DeviceRequest } from 'virtgen/runtime'
import type { RateLimiter } from './rate-limiter/rate-limiter.ts'

/** What work on a request comes to: nothing or a status, at once or later. */
// biome-ignore lint/suspicious/noConfusingVoidType: a function without a return statement is the common one
export type Result = void | number | Promise<void | number>
type Answer = Awaited<Result>

export interface GateOptions {
  /** Requests at work at the same time, at most; the others wait in the order in which they came. 64 by default. */
  readonly atOnce?: number
  readonly limiter?: RateLimiter
}

interface Entry {
  readonly request: DeviceRequest
  readonly bytes: number
  readonly work: () => Result
  readonly outlasts: boolean
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}

const defaultAtOnce = 64

/** Requests wait here without any copy of theirs, and there are never more than the queues have entries. */
export class Gate {
  readonly #atOnce: number
  readonly #limiter: RateLimiter | undefined
  #waiting: Entry[] = []
  #atWork = 0
  /** Of each queue: requests at work that a reset waits for. */
  readonly #outlasting: number[] = []
  #idle: { readonly queue: number | undefined; readonly resolve: () => void }[] = []

  /** @throws RangeError for an `atOnce` below 1 */
  constructor({ atOnce = defaultAtOnce, limiter }: GateOptions) {
    this.#atOnce = checkInteger(atOnce, 1, Number.MAX_SAFE_INTEGER, 'atOnce')
    this.#limiter = limiter
  }

  /** Lets in a request whose work is done at once, and so needs no more of a gate. False: it must `enter`. */
  admits(bytes: number): boolean {
    return this.#waiting.length === 0 && this.#admits(bytes)
  }

  /**
   * Lets a request in, for its handler to return what this gives.
   *
   * @param bytes - what it counts for the limiter
   * @param work - called at once or later, and not at all where `cancel` comes before
   * @param outlasts - the work changes something beyond the request: a reset is not over before it is done
   */
  enter(request: DeviceRequest, bytes: number, work: () => Result, outlasts: boolean): Result {
    if (this.admits(bytes)) {
      const result = work()
      return typeof result === 'object' ? this.#follow(result, request.queue.index, outlasts) : result
    }
    return new Promise((resolve, reject) => this.#waiting.push({ request, bytes, work, outlasts, resolve, reject }))
  }

  /** Forgets who waits, on one queue or on all: their requests are cancelled. */
  cancel(queue?: number): void {
    this.#waiting = queue === undefined ? [] : this.#waiting.filter(({ request }) => request.queue.index !== queue)
    if (this.#waiting.length === 0) this.#limiter?.forget(this.#pump)
  }

  /** Resolves when no work is going on that outlasts its request, of one queue or of all; undefined where that is so already. */
  idle(queue?: number): Promise<void> | undefined {
    if (this.#isIdle(queue)) return undefined
    return new Promise((resolve) => this.#idle.push({ queue, resolve }))
  }

  #isIdle(queue: number | undefined): boolean {
    return queue === undefined ? this.#outlasting.every((count) => count === 0) : (this.#outlasting[queue] ?? 0) === 0
  }

  #admits(bytes: number): boolean {
    return this.#atWork < this.#atOnce && (this.#limiter?.take(bytes, this.#pump) ?? true)
  }

  /** Lets in who waits, as far as there is room. */
  readonly #pump = (): void => {
    for (let entry = this.#waiting[0]; entry !== undefined && this.#admits(entry.bytes); entry = this.#waiting[0]) {
      this.#waiting.shift()
      this.#begin(entry)
    }
  }

  #begin({ request, work, outlasts, resolve, reject }: Entry): void {
    try {
      const result = work()
      resolve(typeof result === 'object' ? this.#follow(result, request.queue.index, outlasts) : result)
    } catch (error) {
      reject(error)
    }
  }

  async #follow(result: Promise<Answer>, queue: number, outlasts: boolean): Promise<Answer> {
    this.#atWork++
    const outlasting = outlasts ? 1 : 0
    this.#outlasting[queue] = (this.#outlasting[queue] ?? 0) + outlasting
    try {
      return await result
    } finally {
      this.#atWork--
      this.#outlasting[queue]! -= outlasting
      this.#tellIdle()
      this.#pump()
    }
  }

  #tellIdle(): void {
    const told = this.#idle.filter(({ queue }) => this.#isIdle(queue))
    this.#idle = this.#idle.filter((one) => !told.includes(one))
    for (const { resolve } of told) resolve()
  }
}
