/** A clock that stands still until it is told to go on. */
import type { Timers } from 'virtgen/devices/rate-limiter'

interface Timer {
  readonly at: number
  readonly callback: () => void
}

export class FakeTimers implements Timers {
  /** Milliseconds by which timers fire late. */
  late = 0
  readonly #timers = new Set<Timer>()
  #now: number

  constructor(now = 1000) {
    this.#now = now
  }

  get pending(): number {
    return this.#timers.size
  }
  now(): number {
    return this.#now
  }
  set(callback: () => void, milliseconds: number): Timer {
    if (!(milliseconds >= 0 && milliseconds <= 0x7fff_ffff)) throw new RangeError(`no timer takes ${milliseconds} ms`)
    const timer = { at: this.#now + milliseconds + this.late, callback }
    this.#timers.add(timer)
    return timer
  }
  clear(timer: unknown): void {
    this.#timers.delete(timer as Timer)
  }

  /** Goes on, and calls back in order. */
  advance(milliseconds: number): void {
    const until = this.#now + milliseconds
    for (;;) {
      const next = [...this.#timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0]
      if (next === undefined) break
      this.#timers.delete(next)
      this.#now = Math.max(this.#now, next.at)
      next.callback()
    }
    this.#now = until
  }
}
