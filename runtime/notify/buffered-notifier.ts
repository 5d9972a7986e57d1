/** Notifications that wait until someone says when. */
import { dispose } from '../dispose.ts'
import type { DriverNotify } from './driver-notify.ts'

/**
 * Keeps used buffer notifications back until `flush`, and then sends one for each queue that is due. For devices that complete many chains one by one: a driver is
 * disturbed once for all of them.
 *
 * @typeParam N - what sends them in the end
 *
 * @example
 * using buffered = new BufferedNotifier(interrupt) // flushed at the end of the block
 */
export class BufferedNotifier<N extends DriverNotify = DriverNotify> implements DriverNotify {
  readonly target: N
  /** Queues that are due, in the order in which they became so, and the same by queue. */
  #due: number[] = []
  readonly #isDue: boolean[] = []
  /** The other list, to note in while the first one is sent: none is made anew. */
  #spare: number[] = []

  constructor(target: N) {
    this.target = target
  }

  /** Only notes that a notification is due. */
  notify(queue: number): void {
    if (this.#isDue[queue]) return
    this.#isDue[queue] = true
    this.#due.push(queue)
  }

  /** Whether `flush` has something to send. */
  get isDue(): boolean {
    return this.#due.length > 0
  }

  /** Sends what is due. The driver may run at once; what becomes due by that waits for the next time. */
  flush(): void {
    const due = this.#due
    if (due.length === 0) return
    this.#due = this.#spare
    for (const queue of due) this.#isDue[queue] = false
    // A flush out of one of the notifications finds a list of its own.
    this.#spare = []
    for (const queue of due) this.target.notify(queue)
    due.length = 0
    this.#spare = due
  }

  /** The same as `flush`. */
  [dispose](): void {
    this.flush()
  }
}
