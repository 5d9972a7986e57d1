/** A request in work, as a handler of a skeleton gets it. */
import type { Struct } from 'virtgen/codegen/v1/wire'
import type { ReadableBytes, WritableBytes } from '../chain.ts'
import type { QueueInfo, RequestInfo } from './message.ts'

/**
 * One request. Objects are reused: a request is valid until it is complete, and not to be kept beyond.
 *
 * What a handler finds besides depends on the request: `header` (the device-readable members, copied from the guest once), `readable` (the device-readable payload, in place),
 * `writable` (the device-writable payload, in place) and `reply` (the device-writable members, written when the request is complete).
 */
export interface DeviceRequest {
  readonly info: RequestInfo
  readonly queue: QueueInfo
  /** The queue or device was reset while the request was out: nothing that is written arrives any more, and completing it only says that its memory is free. */
  readonly cancelled: boolean
  /**
   * How many bytes of the reply are written where its length varies, the payload and what stands behind it not counted; at first as many as there is room for,
   * up to a limit.
   */
  replyLength: number
  /**
   * Completes a parked request.
   *
   * @param status - by default success; ignored where the request has no status
   * @throws Error when it is complete already
   */
  complete(status?: number): void
  /** Completes a parked request as failed: with the status for failures or, where the request has none, by giving the device up. `onError` gets the error. */
  fail(error: unknown): void
}

/** What every request really has; the generated types show of it what there is. */
export interface RequestParts extends DeviceRequest {
  readonly header: Struct | undefined
  readonly reply: Struct | undefined
  readonly readable: ReadableBytes
  readonly writable: WritableBytes
}
