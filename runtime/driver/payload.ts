/** Payloads of requests, on their way between our user and driver memory. */
import type { PayloadInfo, RequestContext } from '../request/message.ts'
import type { BufferPool } from './buffer-pool.ts'
import { DmaBuffer } from './memory.ts'

/**
 * Says what is wrong with the length of a payload; undefined where nothing is.
 */
export function payloadMistake(info: PayloadInfo, length: number, context: RequestContext): string | undefined {
  const multiple = info.multiple?.(context) ?? 1
  if (multiple > 1 && length % multiple !== 0) return `${info.name} must have a multiple of ${multiple} bytes, not ${length}`
  const count = info.count?.(context)
  if (count !== undefined && !(length >= count[0] && length <= count[1]))
    return `${info.name} must have ${count[0]} to ${count[1]} bytes, not ${length}`
  return undefined
}

/** One payload. In driver memory from `place` on: that of our user's own buffer, or a copy. */
export class Payload {
  readonly length: number
  readonly #source: Uint8Array | DmaBuffer | number
  #copy: DmaBuffer | undefined

  /** @throws TypeError or RangeError for what is no payload */
  constructor(source: Uint8Array | DmaBuffer | number, name: string) {
    if (typeof source === 'number') {
      if (!(Number.isSafeInteger(source) && source >= 0)) throw new RangeError(`the length of ${name} must be an integer from 0, not ${source}`)
      this.length = source
    } else if (source instanceof Uint8Array || source instanceof DmaBuffer) this.length = source.length
    else throw new TypeError(`${name} must be a Uint8Array, a DmaBuffer or a length`)
    this.#source = source
  }

  /**
   * Makes sure that it lies in driver memory.
   *
   * @param copies - its bytes are for the device
   * @returns undefined for a payload without bytes
   * @throws DriverError `memory`
   */
  place(pool: BufferPool, copies: boolean): { address: number; length: number } | undefined {
    if (this.length === 0) return undefined
    if (this.#source instanceof DmaBuffer) return this.#source
    this.#copy ??= pool.take(this.length)
    if (copies && this.#source instanceof Uint8Array) this.#copy.bytes.set(this.#source)
    return { address: this.#copy.address, length: this.length }
  }

  /** The first bytes, as our user wants them. */
  result(length: number): Uint8Array {
    if (this.#source instanceof DmaBuffer) return this.#source.bytes.subarray(0, length)
    const bytes = this.#copy?.bytes.subarray(0, length) ?? new Uint8Array(0)
    if (typeof this.#source === 'number') return bytes.slice()
    this.#source.set(bytes)
    return this.#source.subarray(0, length)
  }

  /** Gives the memory of a copy back. */
  release(pool: BufferPool): void {
    if (this.#copy !== undefined) pool.give(this.#copy)
    this.#copy = undefined
  }
}
