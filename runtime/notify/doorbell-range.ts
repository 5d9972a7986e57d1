/** Doorbells: guest addresses that a driver writes to instead of a register, one for each queue. */
import { virtqueue_limits } from 'virtgen/wire/content'
import { hex } from '../hex.ts'

/** What {@link DoorbellRange} covers. */
export interface DoorbellRangeOptions {
  /** Guest address of the doorbell of queue 0: a multiple of `multiplier`. */
  readonly base: number
  /** Bytes: a multiple of `multiplier`, not 0. */
  readonly length: number
  /** Bytes from one doorbell to the next: a power of 2 from 2 to 2^31, by default 4. PCI: `notify_off_multiplier`. */
  readonly multiplier?: number
}

/** An address that is no doorbell: what the guest did, to be ignored or told of. */
export interface BadDoorbell {
  readonly kind: 'doorbell-outside' | 'doorbell-misaligned'
  readonly address: number
  /** What was found and what is allowed. */
  readonly detail: string
}

const defaultMultiplier = 4
const largestMultiplier = 2 ** 31

/** Decodes which queue a doorbell belongs to. VIRTIO 1.4, Virtio Transport Options / Virtio Over PCI Bus / Notification structure layout. */
export class DoorbellRange {
  readonly base: number
  readonly length: number
  readonly multiplier: number

  /** @throws RangeError for a range that no doorbells can have */
  constructor({ base, length, multiplier = defaultMultiplier }: DoorbellRangeOptions) {
    if (!(Number.isInteger(Math.log2(multiplier)) && multiplier >= 2 && multiplier <= largestMultiplier))
      throw new RangeError(`multiplier must be a power of 2 from 2 to 2^31, not ${multiplier}`)
    if (!(Number.isSafeInteger(base) && base >= 0 && base % multiplier === 0))
      throw new RangeError(`base must be a multiple of ${multiplier} from 0, not ${base}`)
    const most = virtqueue_limits.max_virtqueues * multiplier
    if (!(Number.isSafeInteger(length) && length > 0 && length <= most && length % multiplier === 0))
      throw new RangeError(`length must be a multiple of ${multiplier} from ${multiplier} to ${most}, not ${length}`)
    if (!Number.isSafeInteger(base + length)) throw new RangeError(`doorbells must end below 2^53, not ${length} bytes behind ${base}`)
    this.base = base
    this.length = length
    this.multiplier = multiplier
  }

  /** Number of doorbells. */
  get count(): number {
    return this.length / this.multiplier
  }

  /** Whether the address lies in the range, doorbell or not. */
  holds(address: number): boolean {
    return address >= this.base && address < this.base + this.length
  }

  /** The queue whose doorbell is at the address. The device may have no such queue. */
  queueForAddress(address: number): number | BadDoorbell {
    const { base, length, multiplier } = this
    if (!this.holds(address))
      return {
        kind: 'doorbell-outside',
        address,
        detail: `doorbells lie from ${hex(base)} to ${hex(base + length - multiplier)}, not at ${hex(address)}`,
      }
    const queue = (address - base) / multiplier
    if (Number.isInteger(queue)) return queue
    return { kind: 'doorbell-misaligned', address, detail: `doorbells from ${hex(base)} on are ${multiplier} bytes apart, ${hex(address)} is none` }
  }

  /**
   * Where the doorbell of a queue is.
   *
   * @throws RangeError for a queue that has none
   */
  addressForQueue(queue: number): number {
    if (!(Number.isInteger(queue) && queue >= 0 && queue < this.count))
      throw new RangeError(`there are doorbells for queues 0 to ${this.count - 1}, not ${queue}`)
    return this.base + queue * this.multiplier
  }
}
