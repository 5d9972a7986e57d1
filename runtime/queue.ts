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

/** What the driver and the device agreed on about a ring (VIRTIO 1.4, Reserved Feature Bits). Absent: not negotiated. */
export interface RingFeatures {
  /** VIRTIO_F_RING_PACKED. */
  readonly packed?: boolean
  /** VIRTIO_F_EVENT_IDX. */
  readonly eventIndex?: boolean
  /** VIRTIO_F_INDIRECT_DESC. */
  readonly indirect?: boolean
  /** VIRTIO_F_IN_ORDER. */
  readonly inOrder?: boolean
}

/** A buffer of a saved chain: guest address, bytes, and 1 where the device writes. */
export type SavedBuffer = readonly [address: number, length: number, writable: 0 | 1]

/** A chain that was out when its queue was saved, where its head alone does not tell all. */
export interface SavedChain {
  /** Index of its first descriptor; packed: its buffer id. */
  readonly head: number
  /** Bytes written, where the chain is complete already and only waits for those before it (VIRTIO_F_IN_ORDER). */
  readonly written?: number
  /** Packed: the entries of the ring that it takes. */
  readonly slots?: number
  /** Packed: its buffers, since used descriptors may have been written over those that told of them. */
  readonly buffers?: readonly SavedBuffer[]
}

/** Position of a queue between two requests, for snapshots and migration: JSON-safe. */
export interface QueueState {
  /** Where the next available buffer is looked for (packed: with the wrap counter in bit 15). */
  readonly available: number
  /** Where the next used buffer goes (packed: with the wrap counter in bit 15). */
  readonly used: number
  /** Chains that were taken and are not used, in the order in which they were taken; delivered again after a restore. A number: the head of a chain. */
  readonly inFlight: readonly (number | SavedChain)[]
}

/** What a queue shows of itself, for debugging. */
export interface QueueInspection {
  readonly role: 'device' | 'driver'
  readonly format: 'split' | 'packed'
  readonly index: number
  readonly size: number
  readonly broken: Violation | undefined
  /** Device: where the next available buffer is looked for; driver: where the next one is put. Split: a free-running index; packed: a position with the wrap counter in bit 15. */
  readonly available: number
  /** Device: up to where buffers were seen; driver: up to where they are visible to the device. */
  readonly availableSeen: number
  /** Device: where the next used buffer goes; driver: where the next one is looked for. */
  readonly used: number
  /** Device: up to where used buffers are visible to the driver; driver: up to where they were seen. */
  readonly usedPublished: number
  /** Heads (packed: buffer ids) that the device has, in the order in which they were taken or added. */
  readonly inFlight: readonly number[]
  /** Whether this side wants notifications, as it has told the other one. */
  readonly wantsNotifications: boolean
  /** Objects and typed arrays made so far; the number stands still in the steady state. */
  readonly allocations: number
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
  /** `next` last gave nothing because the chains that are out take all the room there is; see `resume` of the options. */
  readonly starved: boolean
  /** The queue was reset: nothing comes any more. */
  readonly ended: boolean

  /** Takes the next available chain, or undefined where there is none (or the queue is broken). Its descriptors are read here and never again. */
  next(): Chain | undefined

  /**
   * Gives the chain that was taken last back to the queue, untouched: `next` delivers it again. For a device that finds out only then that it has no resources.
   *
   * @throws Error where another chain was taken later, or this one is complete
   */
  putBack(chain: Chain): void

  /**
   * Holds back used buffers and their notification until `uncork`; calls nest. Completions in between become visible together and the driver is notified at
   * most once, but for what `showBatch` shows before.
   *
   * @param publishes - used buffers become visible at once all the same, and only the notification waits: for a driver that polls. Where calls nest, all must say so
   */
  cork(publishes?: boolean): void
  uncork(): void
  /**
   * For a device that completes many chains in turn, after each, or after those that belong together: what is held back becomes visible where it is a batch, however deep
   * calls of `cork` are nested. Does nothing where the queue was made without the option `batch`.
   */
  showBatch(): void

  /** Tells the driver that no available buffer notifications are needed for now. Advisory: one may come nevertheless. */
  disableNotifications(): void
  /** Asks for them again. True when buffers have become available in the meantime: the driver will not notify for those. */
  enableNotifications(): boolean

  /**
   * Ends the queue: chains that are out are cancelled, completing them does nothing. Resolves when no asynchronous work can write into guest memory through a view
   * that a cancelled chain has handed out, that is when each such chain is completed; undefined where that is so at once. Whoever calls again, also out of `onWrite`
   * while the queue ends, gets the same.
   */
  reset(): Promise<void> | undefined

  /** `next` gives nothing until `unpause`; chains that are out can be completed. For transports: a device cannot undo what one has paused. */
  pause(): void
  unpause(): void
  /**
   * Resolves when every chain that is out is complete and visible to the driver, or nothing can come of it any more; undefined where that is so at once. Of a queue
   * that is not paused it may never be so.
   */
  drained(): Promise<void> | undefined

  /** Publishes what was held back by `cork`, so that the state is that of the ring in memory. To be called before `reset`, which gives up the chains that are out. */
  save(): QueueState
  inspect(): QueueInspection
}

/** A piece of memory that the device can reach. */
export interface DeviceAddress {
  /** Guest address. */
  readonly address: number
  /** Bytes. */
  readonly length: number
}

/** A buffer that was out when the queue of a driver was saved. */
export interface SavedDriverBuffer {
  /** Index of its first descriptor; packed: its buffer id. */
  readonly head: number
  /** Descriptors of the ring that it takes: their indices in the order of the chain; packed: how many, their places follow from the position. */
  readonly descriptors: number | readonly number[]
  /** Device-writable bytes. */
  readonly writable: number
}

/** Position of a driver's queue: JSON-safe. Tokens are not in it; who restores gives them anew. */
export interface DriverQueueState {
  /** Where the next buffer goes (packed: with the wrap counter in bit 15). */
  readonly available: number
  /** Where the next used buffer is looked for (packed: with the wrap counter in bit 15). */
  readonly used: number
  /** In the order in which they were added. */
  readonly out: readonly SavedDriverBuffer[]
  /** Split with VIRTIO_F_IN_ORDER: the descriptor with which the next buffer begins. */
  readonly descriptor?: number
  /** VIRTIO_F_IN_ORDER: the rest of a batch of which `completed` has given a part. The bytes written belong to its last buffer. */
  readonly batch?: { readonly buffers: number; readonly written: number }
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
  /** Buffers that the device has, or will have with the next `publish`. */
  readonly out: number
  /** What broke the queue: the device used what it does not have. */
  readonly broken: Violation | undefined
  /**
   * Up to where buffers are visible to the device: the available index (packed: position with the wrap counter in bit 15). What a notification with
   * VIRTIO_F_NOTIFICATION_DATA tells.
   */
  readonly published: number

  /**
   * Puts a buffer into the ring, not yet visible to the device. The same as `append` for each piece and `commit`.
   *
   * @returns false where there is no room; nothing has changed then
   * @throws RangeError for a buffer without any piece, or with more than the ring can hold at all
   */
  add(readable: readonly DeviceAddress[], writable: readonly DeviceAddress[], token: T): boolean

  /**
   * Puts one piece of a buffer into the ring, behind those appended since the last `commit`. Allocates nothing. All device-readable pieces come first.
   *
   * @returns false where there is no room; what was appended stays until `rewind`
   * @throws RangeError for an empty piece, a readable one behind a writable one, more pieces than the ring can hold, or more than 2^32 bytes
   */
  append(address: number, length: number, writable: boolean): boolean
  /**
   * Ends the buffer whose pieces were appended; not yet visible to the device.
   *
   * @throws Error where nothing was appended
   */
  commit(token: T): void
  /** Takes the pieces back that were appended since the last `commit`. */
  rewind(): void

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

  /** Takes back all buffers the device has not used, in any order; only when the device, or the queue, is reset. */
  detach(): T | undefined
  /** Ends the queue and gives the memory of its indirect tables back; only when the device, or the queue, is reset. `detach` works still. */
  close(): void

  save(): DriverQueueState
  inspect(): QueueInspection
}
