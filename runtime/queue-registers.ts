/** What a driver says of one queue, and the queue that comes of it. VIRTIO 1.4, Virtio Transport Options / Virtio Over MMIO / MMIO Device Register Layout. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import { virtqueue_limits } from 'virtgen/wire/content'
import { split_ring_limits } from 'virtgen/wire/split-ring'
import type { DeviceQueue, QueueSetup } from './queue.ts'
import type { Violation } from './violation.ts'

/** The three parts of a virtqueue. */
export type QueueArea = 'descriptorArea' | 'driverArea' | 'deviceArea'

/** Number of the 32-bit word that holds the half. */
const offsets: Readonly<Record<QueueArea, number>> = { descriptorArea: 0, driverArea: 2, deviceArea: 4 }
const word = 0x1_0000_0000

/** Registers of one queue. All of them keep what the driver wrote, whatever it is; `problem` says what is wrong once the driver relies on it. */
export class QueueRegisters {
  readonly index: number
  /** Largest queue size. */
  readonly maximum: number
  /** What the driver wrote, 32 bits; at first the maximum. */
  size: number
  /** The device may use the queue. Stays true until a queue that is being stopped is at rest. */
  ready = false
  /** The queue at work: while `ready`, and nothing is wrong with it. */
  queue: DeviceQueue | undefined
  /** The driver has stopped or reset the queue, and it is not yet at rest. */
  stopping = false
  /** The driver has reset the queue, and it is not yet at rest. */
  resetting = false
  /** The transport lets the device take no buffers from this queue; see `holdQueue`. */
  held = false
  /** While `stopping`: resolves when the queue is at rest. */
  atRest: Promise<void> | undefined
  /** Where the driver puts its next buffer, as it said when it notified last; undefined where it did not. */
  announced: number | undefined
  /** The device is serving this queue right now. */
  serving = false
  /** A notification came meanwhile. */
  again = false
  /** A service is deferred and has not begun. */
  deferred = false
  /** The queue that was at work last, until it is at rest. */
  #last: DeviceQueue | undefined
  readonly #halves = new Uint32Array(6)

  constructor(index: number, maximum: number) {
    this.index = index
    this.maximum = maximum
    this.size = maximum
  }

  /** Low (0) or high (1) half of an address. */
  half(area: QueueArea, which: 0 | 1): number {
    return this.#halves[offsets[area] + which] as number
  }
  setHalf(area: QueueArea, which: 0 | 1, value: number): void {
    this.#halves[offsets[area] + which] = value
  }

  #address(area: QueueArea): number {
    return this.half(area, 0) + this.half(area, 1) * word
  }

  /** What forbids to make a queue of this, as far as only the registers tell; where it lies and whether the size is a power of two is the ring's business. */
  get problem(): Violation | undefined {
    if (this.size > 0 && this.size <= this.maximum) return undefined
    return { kind: 'queue-size', queue: this.index, detail: `queue ${this.index} can have 1 to ${this.maximum} entries, not ${this.size}` }
  }

  /** An address beyond 2^53 is not exact here, but stays beyond all memory. */
  setup(): QueueSetup {
    return {
      index: this.index,
      size: this.size,
      descriptorArea: this.#address('descriptorArea'),
      driverArea: this.#address('driverArea'),
      deviceArea: this.#address('deviceArea'),
    }
  }

  /** Takes the queue out of work. Resolves when it is at rest; undefined where it is so at once. */
  stop(): Promise<void> | undefined {
    this.#last = this.queue ?? this.#last
    this.queue = undefined
    this.again = false
    this.announced = undefined
    // Who is told of the last writes of a queue that ends may stop it once more: that waits for the same.
    return this.atRest ?? this.#last?.reset()
  }

  /** The queue is at rest. */
  stopped(): void {
    if (this.resetting) this.clear()
    else this.#rest()
  }

  #rest(): void {
    this.ready = false
    this.stopping = false
    this.atRest = undefined
    this.#last = undefined
  }

  /** Initial values. `serving` and `deferred` describe calls that go on, and stay; so does `held`, which is the transport's. */
  clear(): void {
    this.#rest()
    this.size = this.maximum
    this.resetting = false
    this.again = false
    this.#halves.fill(0)
  }
}

/**
 * Registers for the queues of a device, by index; undefined where it has no such queue.
 *
 * @throws RangeError for more queues than a device can have, and for sizes that no queue can have
 */
export function queueRegistersOf(sizes: readonly number[]): (QueueRegisters | undefined)[] {
  checkInteger(sizes.length, 0, virtqueue_limits.max_virtqueues, 'the number of queues')
  const largest = split_ring_limits.split_ring_max_queue_size
  return sizes.map((size, index) => {
    checkInteger(size, 0, largest, `the maximal size of queue ${index}`)
    return size === 0 ? undefined : new QueueRegisters(index, size)
  })
}
