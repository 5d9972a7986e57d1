/** Looking for buffers before anybody tells of them: waking a process takes longer than most requests do. */
import { performance } from 'node:perf_hooks'
import type { DeviceControl, DeviceQueue } from 'virtgen/runtime'
import { serve } from './rings.ts'

/** A ring as it is looked at. */
export interface SpunRing {
  readonly index: number
  readonly isPolled: boolean
  readonly queue: DeviceQueue | undefined
  serving: boolean
}

/** Milliseconds for which nothing else in this thread gets its turn. */
const slice = 0.02
/** Milliseconds after which a ring that is never kicked is looked at again while nothing comes. */
const pollInterval = 1
const perMillisecond = 1000

/**
 * Looks at the rings of a connection for some time after the last work, and asks for no notifications meanwhile. Everything else in the thread (sockets, timers, the ends
 * of asynchronous requests, other connections) gets its turn between two slices.
 *
 * Rings that the front-end wants to be polled are looked at now and then when nothing comes.
 */
export class Spinner {
  readonly #control: DeviceControl
  readonly #rings: () => readonly SpunRing[]
  /** Milliseconds after the last work. */
  readonly #time: number
  #until = 0
  #spinning = false
  #timer: NodeJS.Timeout | undefined
  #ended = false

  constructor(control: DeviceControl, rings: () => readonly SpunRing[], microseconds: number) {
    this.#control = control
    this.#rings = rings
    this.#time = microseconds / perMillisecond
  }

  /** Nobody needs to notify. */
  get isSpinning(): boolean {
    return this.#spinning
  }

  /** There was work, or a ring has started. */
  begin(): void {
    if (this.#ended || this.#spinning || (this.#time === 0 && !this.#isPolling)) return
    this.#spinning = true
    clearTimeout(this.#timer)
    this.#until = performance.now() + this.#time
    for (const { queue } of this.#rings()) queue?.disableNotifications()
    setImmediate(this.#turn)
  }

  end(): void {
    this.#ended = true
    this.#spinning = false
    clearTimeout(this.#timer)
  }

  get #isPolling(): boolean {
    return this.#rings().some(({ isPolled }) => isPolled)
  }

  readonly #turn = (): void => {
    if (this.#ended) return
    let now = performance.now()
    const end = now + slice
    const rings = this.#rings()
    do {
      const worked = this.#look(rings)
      now = performance.now()
      if (worked) this.#until = now + this.#time
    } while (now < end && now < this.#until)
    if (now < this.#until) setImmediate(this.#turn)
    else this.#rest()
  }

  /** Serves all rings. Whether there was anything. */
  #look(rings: readonly SpunRing[]): boolean {
    let worked = false
    for (const ring of rings) {
      const { queue } = ring
      const before = taken(queue)
      serve(this.#control, ring)
      worked ||= taken(queue) !== before
    }
    return worked
  }

  /** Asks for notifications again. What has come meanwhile nobody tells of. */
  #rest(): void {
    this.#spinning = false
    let more = false
    for (const { queue } of this.#rings()) if (queue?.enableNotifications()) more = true
    if (more) this.begin()
    else if (this.#isPolling) this.#timer = setTimeout(() => this.begin(), pollInterval)
  }
}

/** How many chains the device has taken so far. */
function taken(queue: DeviceQueue | undefined): number {
  return (queue as { readonly $tickets?: number } | undefined)?.$tickets ?? 0
}
