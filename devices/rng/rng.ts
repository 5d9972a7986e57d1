/** `Rng`: an entropy device. VIRTIO 1.4, Device Types / Entropy Device. */

import type { QueueInfo } from 'virtgen/codegen/v1/device'
import { checkInteger } from 'virtgen/codegen/v1/wire'
import { EntropyDevice, type EntropyDeviceOptions, type EntropyReadRequest } from 'virtgen/skeleton/entropy'
import { Gate, type GateOptions, type Result } from '../gate.ts'
import { hostTimers, type Timers } from '../timers.ts'

/**
 * Where random bytes come from: fills an array of ours, or its beginning, and says how many bytes that are; nothing for all of it. At once or later. 0 is for "none now".
 */
// biome-ignore lint/suspicious/noConfusingVoidType: a function without a return statement is the common one
export type EntropySource = (into: Uint8Array) => void | number | Promise<void | number>

export interface RngOptions extends GateOptions, Pick<EntropyDeviceOptions, 'onError'> {
  /** `crypto.getRandomValues` by default, which browsers and Node have. */
  readonly source?: EntropySource
  /** Entries of the queue at most, 8 by default. */
  readonly queueSize?: number
  /** Most bytes that one request gets, 64 KiB by default: the driver asks again for more. */
  readonly most?: number
  /** Milliseconds after which a source that had nothing, or failed, is asked again; 100 by default. */
  readonly retryAfter?: number
  /** What that is measured with. Those of the host by default. */
  readonly timers?: Timers
}

/** The most that `getRandomValues` gives at a time. Web Cryptography API, getRandomValues: QuotaExceededError. */
const chunkSize = 65_536
const defaultQueueSize = 8
const defaultRetry = 100

interface Host {
  readonly crypto: { getRandomValues(into: Uint8Array): unknown }
}

function hostEntropy(into: Uint8Array): void {
  const { crypto } = globalThis as unknown as Host
  crypto.getRandomValues(into)
}

/**
 * Random bytes. What the source gives goes through an array of ours, since sources refuse shared memory, and so that nobody sees it come; the array is wiped.
 *
 * An answer has one byte or more, always: there is no status that could tell of a failure. Where the source has nothing, or fails (`onError`), it is asked again later.
 *
 * @example
 * new MmioDevice(new Rng(), { memory, interrupt })
 */
export class Rng extends EntropyDevice {
  readonly #gate: Gate
  readonly #source: EntropySource
  readonly #most: number
  readonly #retryAfter: number
  readonly #timers: Timers
  readonly #onError: RngOptions['onError']
  /** What the source fills, as long as no request that waits for it has it. */
  #spare: Uint8Array | undefined
  /** Ends the waits that go on. */
  readonly #waits = new Set<{ readonly queue: number; end(): void }>()

  /** @throws RangeError for an option that cannot be */
  constructor(options: RngOptions = {}) {
    const { source = hostEntropy, queueSize = defaultQueueSize, most = chunkSize, retryAfter = defaultRetry, timers = hostTimers, onError } = options
    super({ queueSize, ...(onError && { onError }) })
    this.#gate = new Gate(options)
    this.#source = source
    this.#most = checkInteger(most, 1, Number.MAX_SAFE_INTEGER, 'most')
    this.#retryAfter = checkInteger(retryAfter, 1, 0x7fff_ffff, 'retryAfter')
    this.#timers = timers
    this.#onError = onError
  }

  protected override read(request: EntropyReadRequest): Result {
    const length = Math.min(request.writable.length, this.#most)
    return this.#gate.enter(request, length, () => this.#fill(request, length), false)
  }

  protected override resetting(): void {
    this.#cancel()
  }

  protected override queueResetting({ index }: QueueInfo): void {
    this.#cancel(index)
  }

  #cancel(queue?: number): void {
    this.#gate.cancel(queue)
    for (const wait of this.#waits) if (queue === undefined || wait.queue === queue) wait.end()
  }

  /** As long as the source gives at once. */
  #fill(request: EntropyReadRequest, length: number): Result {
    const { writable } = request
    const bytes = this.#spare ?? new Uint8Array(Math.min(this.#most, chunkSize))
    this.#spare = undefined
    while (writable.position < length) {
      const part = bytes.subarray(0, Math.min(length - writable.position, bytes.length))
      const given = this.#ask(part, request)
      if (typeof given !== 'number' || (given === 0 && writable.position === 0)) return this.#fillLater(request, length, bytes, part, given)
      this.#answer(request, part, given)
      if (given < part.length) break
    }
    this.#spare = bytes
  }

  /** @param first - what the source gives of `part` */
  async #fillLater(request: EntropyReadRequest, length: number, bytes: Uint8Array, part: Uint8Array, first: number | Promise<number>): Promise<void> {
    const { writable, queue } = request
    for (let piece = part, given = await first; !request.cancelled; given = await this.#ask(piece, request)) {
      if (given === 0 && writable.position === 0) {
        await this.#pause(queue.index)
        if (request.cancelled) break
        continue
      }
      this.#answer(request, piece, given)
      if (given < piece.length || writable.position === length) break
      piece = bytes.subarray(0, Math.min(length - writable.position, bytes.length))
    }
    bytes.fill(0)
    this.#spare = bytes
  }

  #answer({ writable }: EntropyReadRequest, part: Uint8Array, given: number): void {
    writable.copyFrom(part, 0, given)
    part.fill(0)
  }

  /** A source that fails has nothing now. */
  #ask(part: Uint8Array, request: EntropyReadRequest): number | Promise<number> {
    const failed = (error: unknown): number => {
      try {
        this.#onError?.(error, request)
      } catch {
        // The request goes on whatever its reporter does.
      }
      return 0
    }
    const counted = (given: Awaited<Result>): number => checkInteger(given ?? part.length, 0, part.length, 'what the source gives')
    try {
      const given = this.#source(part)
      return typeof given === 'object' ? given.then(counted).catch(failed) : counted(given)
    } catch (error) {
      return failed(error)
    }
  }

  #pause(queue: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        this.#timers.clear(timer)
        this.#waits.delete(wait)
        resolve()
      }
      const wait = { queue, end }
      const timer = this.#timers.set(end, this.#retryAfter)
      this.#waits.add(wait)
    })
  }
}
