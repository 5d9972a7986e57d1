/** The two sides of a virtqueue, whatever its format. The ring formats implement these; devices, drivers and transports know nothing else of a ring. */
import type { Chain } from './chain.ts'
import type { Violation } from './violation.ts'

/** Where a queue lies in guest memory and how it works: what a transport learns from the driver. */
export interface QueueSetup {
  /** Index of the queue. */
  readonly index: number
  /** Queue Size: entries of the ring. */
  readonly size: number
  /** Guest address of the descriptor table (packed: the descriptor ring). */
  readonly descriptorArea: number
  /** Guest address of the available ring (packed: the driver event suppression structure). */
  readonly driverArea: number
  /** Guest address of the used ring (packed: the device event suppression structure). */
  readonly deviceArea: number
}

/** Position of a queue between two requests, for snapshots and migration: JSON-safe. */
export interface QueueState {
  /** Where the next available buffer is looked for (packed: with the wrap counter in bit 15). */
  readonly available: number
  /** Where the next used buffer goes (packed: with the wrap counter in bit 15). */
  readonly used: number
  /** Chains that were taken and not completed, by their heads, in the order in which they were taken; delivered again after a restore. */
  readonly inFlight: readonly number[]
}

/**
 * Device side of a virtqueue.
 *
 * Nothing here throws because of what the driver wrote: a violation breaks the queue, is reported once, and `next` gives nothing any more.
 */
export interface DeviceQueue {
  readonly index: number
  readonly size: number
  /** What broke the queue. */
  readonly broken: Violation | undefined

  /** Takes the next available chain, or undefined where there is none (or the queue is broken). Its descriptors are read here and never again. */
  next(): Chain | undefined

  /**
   * Holds back used buffers and their notification until `uncork`; calls nest. Completions in between become visible together and the driver is notified at
   * most once.
   */
  cork(): void
  uncork(): void

  /** Tells the driver that no available buffer notifications are needed for now. Advisory: one may come nevertheless. */
  disableNotifications(): void
  /** Asks for them again. True when buffers have become available in the meantime: the driver will not notify for those. */
  enableNotifications(): boolean

  /**
   * Ends the queue: chains that are out are cancelled, completing them does nothing. Resolves when no asynchronous work can write into guest memory through a view
   * that a cancelled chain has handed out, that is when each such chain is completed; undefined where that is so at once.
   */
  reset(): Promise<void> | undefined

  save(): QueueState
}

/** A piece of memory that the device can reach. */
export interface DeviceAddress {
  /** Guest address. */
  readonly address: number
  /** Bytes. */
  readonly length: number
}

/**
 * Driver side of a virtqueue. Everything about a buffer is remembered here; nothing that lies in shared memory is trusted.
 *
 * @typeParam T - what the caller wants back with a used buffer
 */
export interface DriverQueue<T = unknown> {
  readonly index: number
  readonly size: number
  /** Descriptors that are free. */
  readonly free: number
  /** What broke the queue: the device used what it does not have. */
  readonly broken: Violation | undefined

  /**
   * Puts a buffer into the ring, not yet visible to the device.
   *
   * @returns false where there is no room
   * @throws RangeError for a buffer without any piece, or with more than the ring can hold at all
   */
  add(readable: readonly DeviceAddress[], writable: readonly DeviceAddress[], token: T): boolean
  /** Makes the added buffers visible and notifies the device if it wants that. */
  publish(): void

  /** The next used buffer's token, or undefined where there is none (or the queue is broken). */
  completed(): T | undefined
  /** Bytes that the device says it wrote, of the last `completed`; never more than the writable pieces have. */
  readonly written: number

  /** Asks the device not to notify for now. Advisory. */
  disableNotifications(): void
  /** Asks it to notify again. True when buffers have been used in the meantime. */
  enableNotifications(): boolean

  /** Takes back all buffers the device has not used, in any order; only when the device is reset. */
  detach(): T | undefined
}
