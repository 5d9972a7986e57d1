/** Time as devices see it: that of the host, or of whoever gives them another one. */

/** A clock and its timers. Timers may fire late, and a little early; the clock never goes back. */
export interface Timers {
  /** Milliseconds since whenever. */
  now(): number
  /** Calls back once, after as many milliseconds: 0 to 2^31 - 1. */
  set(callback: () => void, milliseconds: number): unknown
  /** Takes a timer back that `set` gave. One that has fired is no mistake. */
  clear(timer: unknown): void
}

/** What browsers and Node offer beside ECMAScript. */
interface Host {
  readonly performance: { now(): number }
  readonly setTimeout: (callback: () => void, milliseconds: number) => unknown
  readonly clearTimeout: (timer: unknown) => void
}

const host = globalThis as unknown as Host
const longest = 0x7fff_ffff

/** Those of the browser, or of Node. */
export const hostTimers: Timers = {
  now: () => host.performance.now(),
  set: (callback, milliseconds) => host.setTimeout(callback, Math.min(milliseconds, longest)),
  clear: (timer) => host.clearTimeout(timer),
}
