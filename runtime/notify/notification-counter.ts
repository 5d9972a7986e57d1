/** Notifications that are only counted: what a test of a device looks at. */
import type { DriverNotify } from './driver-notify.ts'

export class NotificationCounter implements DriverNotify {
  readonly #counts = new Map<number, number>()

  notify(queue: number): void {
    this.#counts.set(queue, this.get(queue) + 1)
  }

  /** Notifications of a queue, or of all of them together. */
  get(queue?: number): number {
    if (queue !== undefined) return this.#counts.get(queue) ?? 0
    let sum = 0
    for (const count of this.#counts.values()) sum += count
    return sum
  }

  /** Sets the count of a queue, or of each queue that has one. */
  set(count: number, queue?: number): void {
    if (queue !== undefined) this.#counts.set(queue, count)
    else for (const known of this.#counts.keys()) this.#counts.set(known, count)
  }
}
