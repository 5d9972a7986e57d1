/** Notifications of a driver, from wherever they come, to whom they concern. */
import type { BadNotification } from './device.ts'
import { DeviceError } from './device-error.ts'

/** Index of a queue, or a guest address that the driver wrote to. */
export type DriverNotification = number | { readonly address: number }

/** What is used of an `AbortSignal`. */
export interface StopSignal {
  readonly aborted: boolean
  readonly reason?: unknown
  addEventListener(type: 'abort', listener: () => void): void
  removeEventListener(type: 'abort', listener: () => void): void
}

export interface RunNotifyOptions {
  /** Ends the run: its promise rejects with the reason of the signal. */
  readonly signal?: StopSignal
  /** The source must not end: where it does, that is a `DeviceError` of kind `unexpected-end`. */
  readonly endless?: boolean
  /** A notification of the guest that leads nowhere. By default it is ignored. */
  readonly onBadNotification?: (problem: BadNotification) => void
}

/**
 * @internal Passes what comes to `pass`, which says what is wrong with it.
 *
 * @throws DeviceError `unexpected-message` for what is no notification at all
 */
export async function runNotify(
  source: AsyncIterable<DriverNotification>,
  pass: (notification: DriverNotification) => BadNotification | undefined,
  { signal, endless = false, onBadNotification }: RunNotifyOptions,
): Promise<void> {
  const iterator = source[Symbol.asyncIterator]()
  const stop = new Stop(signal)
  try {
    for (;;) {
      const result = await stop.orResult(() => iterator.next())
      if (result.done) break
      if (!isNotification(result.value))
        throw new DeviceError('unexpected-message', `a notification is a queue or an address, not ${show(result.value)}`)
      const problem = pass(result.value)
      if (problem !== undefined) onBadNotification?.(problem)
    }
  } catch (error) {
    // Not awaited: the source may be waiting for something that never comes.
    iterator.return?.()?.then(undefined, () => {})
    throw error
  } finally {
    stop.forget()
  }
  if (endless) throw new DeviceError('unexpected-end', 'the source of notifications has ended')
}

/** A signal that ends one wait after the other, with one listener for all of them. */
class Stop {
  readonly #signal: StopSignal | undefined
  #reject: ((reason: unknown) => void) | undefined
  readonly #stopped = (): void => this.#reject?.(this.#signal?.reason)

  constructor(signal: StopSignal | undefined) {
    this.#signal = signal
    signal?.addEventListener('abort', this.#stopped)
  }

  orResult<T>(begin: () => Promise<T>): Promise<T> {
    if (this.#signal === undefined) return begin()
    return new Promise((resolve, reject) => {
      if (this.#signal?.aborted) throw this.#signal.reason
      this.#reject = reject
      begin().then(resolve, reject)
    })
  }

  forget(): void {
    this.#signal?.removeEventListener('abort', this.#stopped)
  }
}

function isNotification(value: unknown): value is DriverNotification {
  return typeof value === 'number' || typeof (value as { address?: unknown } | null | undefined)?.address === 'number'
}

function show(value: unknown): string {
  return typeof value === 'object' ? `an object with ${Object.keys(value ?? {}).join(', ') || 'nothing'}` : String(value)
}
