/** Looking for buffers before anybody tells of them: waking a process takes longer than most requests do. */
import { performance } from 'node:perf_hooks'
import type { DeviceControl, DeviceQueue } from 'virtgen/runtime'
import type { Ring } from './ring.ts'
import type { Rings } from './rings.ts'

/** Milliseconds for which nothing else in this thread gets its turn. */
const slice = 0.02
/** Milliseconds after which a ring that is never kicked is looked at again while nothing comes. */
const pollInterval = 1
const perMillisecond = 1000
/** Where nobody says how long: microseconds, and only behind so many buffers at once, as more are on their way then. */
const afterHeaps = { time: 20, least: 4 }

/**
 * Looks at the rings of a connection for some time after the last work (by default only where that was a heap of it), and asks for no notifications meanwhile. Everything else in the thread (sockets, timers, the ends
 * of asynchronous requests, other connections) gets its turn between two slices.
 *
 * Rings that the front-end wants to be polled are looked at now and then when nothing comes.
 */
export class Spinner {
  readonly #control: DeviceControl
  readonly #rings: Rings
  /** Milliseconds after the last work. */
  readonly #time: number
  /** Buffers of a service behind which it is worth it. */
  readonly #least: number
  /** Buffers taken of all rings when that was asked last. */
  #taken = 0
  #until = 0
  #spinning = false
  #timer: NodeJS.Timeout | undefined
  #ended = false

  /** @param microseconds - 0: never */
  constructor(control: DeviceControl, rings: Rings, microseconds: number | undefined) {
    this.#control = control
    this.#rings = rings
    this.#time = (microseconds ?? afterHeaps.time) / perMillisecond
    this.#least = microseconds === undefined ? afterHeaps.least : 0
  }

  /** Nobody needs to notify. */
  get isSpinning(): boolean {
    return this.#spinning
  }

  /** There was work, or a ring has started. */
  begin(): void {
    if (this.#ended || this.#spinning || !(this.#isWorthIt() || this.#isPolling)) return
    this.#spin()
  }

  #spin(): void {
    this.#spinning = true
    clearTimeout(this.#timer)
    this.#until = performance.now() + this.#time
    for (const { queue } of this.#rings.open) queue?.disableNotifications()
    setImmediate(this.#turn)
  }

  end(): void {
    this.#ended = true
    this.#spinning = false
    clearTimeout(this.#timer)
  }

  #isWorthIt(): boolean {
    if (this.#time === 0) return false
    if (this.#least === 0) return true
    return this.#count(this.#rings.open) >= this.#least
  }

  /** Buffers that were taken since this was asked last. */
  #count(rings: readonly Ring[]): number {
    let all = 0
    for (const { queue } of rings) all = (all + taken(queue)) | 0
    const count = (all - this.#taken) | 0
    this.#taken = all
    return count
  }

  get #isPolling(): boolean {
    return this.#rings.open.some(({ isPolled }) => isPolled)
  }

  readonly #turn = (): void => {
    if (this.#ended) return
    let now = performance.now()
    const end = now + slice
    const { open } = this.#rings
    this.#count(open)
    do {
      this.#rings.serving(this.#look, open)
      now = performance.now()
      if (this.#count(open) !== 0) this.#until = now + this.#time
    } while (now < end && now < this.#until)
    if (now < this.#until) setImmediate(this.#turn)
    else this.#rest()
  }

  readonly #look = (open: readonly Ring[]): void => {
    for (const ring of open) {
      this.#control.notifyAvailable(ring.index)
      ring.show()
    }
  }

  /** Asks for notifications again. What has come meanwhile nobody tells of. */
  #rest(): void {
    this.#spinning = false
    let more = false
    for (const { queue } of this.#rings.open) if (queue?.enableNotifications()) more = true
    if (more) this.#spin()
    else if (this.#isPolling) this.#timer = setTimeout(() => this.begin(), pollInterval)
  }
}

/** How many chains the device has taken so far. */
function taken(queue: DeviceQueue | undefined): number {
  return (queue as { readonly $tickets?: number } | undefined)?.$tickets ?? 0
}
