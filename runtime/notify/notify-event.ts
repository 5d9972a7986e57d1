/** Both notifications of a device as one event, as an interrupt with a status behind it has them. */
import type { DriverNotify } from './driver-notify.ts'

/** What a {@link NotifyEvent} was signalled for since it was taken last. */
export interface NotifySignals {
  /** Buffers of some queue were used. */
  readonly queue: boolean
  /** The configuration has changed. */
  readonly config: boolean
}

/**
 * An event between a device and its VMM: the device signals it, and the VMM finds out with `take` what for. Signals that were not taken yet are one.
 */
export class NotifyEvent implements DriverNotify {
  readonly #signalled: () => void
  #queue = false
  #config = false

  /** @param signalled - the event was signalled for something that it was not signalled for before; called last, may call `take` at once */
  constructor(signalled: () => void) {
    this.#signalled = signalled
  }

  /** Whichever queue it is. */
  notify(_queue: number): void {
    this.signalQueue()
  }

  /** A used buffer notification. */
  signalQueue(): void {
    if (this.#queue) return
    this.#queue = true
    this.#signalled()
  }

  /** A configuration change notification. */
  signalConfig(): void {
    if (this.#config) return
    this.#config = true
    this.#signalled()
  }

  /** What the event was signalled for; it is not any more. */
  take(): NotifySignals {
    const signals = { queue: this.#queue, config: this.#config }
    this.#queue = false
    this.#config = false
    return signals
  }
}
