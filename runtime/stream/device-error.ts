/** Why a device could not be put together, or does not hear of its driver any more: the doing of the VMM, not of the guest. */

export type DeviceErrorKind =
  /** A queue that the device does not have, or has been configured already. */
  | 'invalid-queue'
  /** A configuration that no queue can have. */
  | 'bad-queue-config'
  /** A message that has no meaning here. */
  | 'unexpected-message'
  /** The messages ended before everything was said. */
  | 'unexpected-end'

export class DeviceError extends Error {
  override readonly name = 'DeviceError'
  readonly kind: DeviceErrorKind
  /** Index of the queue that it is about. */
  readonly queue: number | undefined

  constructor(kind: DeviceErrorKind, message: string, options: { queue?: number; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.kind = kind
    this.queue = options.queue
  }
}
