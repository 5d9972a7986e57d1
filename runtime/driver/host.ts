/** What a driver client stands on: an initialised device, behind whatever transport. */
import type { FeatureProblem, FeatureSet, Struct } from 'virtgen/codegen/v1/wire'
import type { ConfigField } from '../config-space.ts'
import type { DriverQueue } from '../queue.ts'
import type { QueueInfo } from '../request/message.ts'
import type { Violation } from '../violation.ts'
import type { DriverMemory } from './memory.ts'
import type { DriverSharedMemory } from './transport.ts'

/** A driver client's class, as a transport sees it: what the device must be, and which queues to set up. */
export interface DriverType<T> {
  /** Device id, VIRTIO 1.4, Device Types. */
  readonly deviceId: number
  /** Features of the device type that the client knows; accepted where the device offers them. */
  readonly features: FeatureSet
  /** Length of the configuration space in bytes, as far as the client looks at it. */
  readonly configLength: number
  /** Length of one that varies, by its first `configLength` bytes. Absent: `configLength`. */
  configSize?(start: Uint8Array): number
  /** Fields of the configuration space, so that each is read by its own width. Absent: it is read in words of 32 bits. */
  readonly configFields?: readonly ConfigField[]
  /** The requirements among the features that a set breaks. Absent: there are none. */
  checkFeatures?(features: FeatureSet): readonly FeatureProblem[]
  /** The queues that exist with these features and this configuration. */
  queues(features: FeatureSet, config: Uint8Array): QueueInfo[]
  new (host: DriverHost): T
}

/** The configuration space, read through the transport. */
export interface DriverConfig {
  /** Reads all of it, consistently: again while its generation changes. Throws DriverError where it never settles. */
  read(): Uint8Array
  /** Writes a field of 1, 2, 4 or 8 bytes. */
  write(offset: number, bytes: Uint8Array): void
}

/** An initialised device, as its client uses it. */
export interface DriverHost {
  /** The negotiated features. */
  readonly features: FeatureSet
  readonly memory: DriverMemory
  readonly config: DriverConfig
  /** The queues that were set up. */
  readonly queues: readonly QueueInfo[]
  /** The queue of that index, another one after `enableQueue`. Throws RangeError where there is none, Error where it is reset. */
  queue(index: number): DriverQueue
  /**
   * Resets one queue; afterwards the device uses nothing of it any more. The queue of before is closed: `detach` gives what was out.
   *
   * @throws RangeError (as a rejection) where there is no such queue
   * @throws DriverError (as a rejection) `feature` without VIRTIO_F_RING_RESET, `reset` when the queue does not come back, which gives the device up
   */
  resetQueue(index: number): Promise<void>
  /**
   * Sets a queue up that was reset.
   *
   * @param size - entries at most; by default as at first
   * @throws RangeError for a wrong size, or where there is no such queue; Error where it is not reset
   * @throws DriverError `queue` when the device has it no more, or still uses it; `memory`
   */
  enableQueue(index: number, size?: number): DriverQueue
  /** Called when buffers of a queue may have been used. One handler per queue. */
  onUsed(index: number, handler: () => void): void
  /** Called when the configuration has changed. */
  onConfigChange(handler: () => void): void
  /** Called once, when the device needs a reset or breaks the rules. */
  onFailure(handler: (error: DriverError) => void): void
  /**
   * The region of memory that the device shares under that id (VIRTIO 1.4, Shared Memory Regions); undefined where there is none.
   *
   * @throws RangeError for an id of more than 8 bits
   * @throws DriverError `layout` for a region that cannot be addressed
   */
  sharedMemory(id: number): DriverSharedMemory | undefined
  /** Reports that the device broke the rules: the device is given up (FAILED). */
  fail(violation: Violation): void
  /** Resets the device; afterwards it uses no memory of the driver's any more. */
  reset(): Promise<void>
}

/** Why a driver cannot use a device, or has to give it up. */
export type DriverErrorKind =
  /** There is no virtio device at this place. */
  | 'not-virtio'
  /** The transport speaks a version this driver does not. */
  | 'version'
  /** A structure of the device is missing, too short, misaligned or out of reach. */
  | 'layout'
  /** The device does not map its events to the interrupt vectors. */
  | 'vectors'
  /** There is no device here (device id 0), or another one than expected. */
  | 'device-id'
  /** The device, or one of its queues, does not come back from a reset. */
  | 'reset'
  /** A feature that the driver cannot do without is not offered. */
  | 'feature'
  /** The device refused the features (FEATURES_OK). */
  | 'features-refused'
  /** A queue that the device must have is missing, too small, or in use. */
  | 'queue'
  /** There is not enough memory for the queues or buffers. */
  | 'memory'
  /** The configuration changes faster than it can be read. */
  | 'config'
  /** The device says that it needs a reset. */
  | 'needs-reset'
  /** The device broke the rules; see `violation`. */
  | 'violation'
  /** The queue was reset while the request was out. */
  | 'queue-reset'
  /** The driver was closed while the request was out. */
  | 'closed'
  /** The device is in another process, which has ended, does not answer, refuses what it must take or breaks the protocol; `cause` says which. */
  | 'gone'

/** A device that cannot be used (any more). */
export class DriverError extends Error {
  override readonly name = 'DriverError'
  readonly kind: DriverErrorKind
  readonly violation: Violation | undefined
  constructor(kind: DriverErrorKind, message: string, violation?: Violation, options?: ErrorOptions) {
    super(message, options)
    this.kind = kind
    this.violation = violation
  }
}

/** A request that the device answered with another status than success. */
export class RequestError extends Error {
  override readonly name = 'RequestError'
  /** The request's name in the description. */
  readonly request: string
  readonly status: number
  /** The whole reply. */
  readonly reply: Struct | undefined
  constructor(request: string, status: number, statusName: string | undefined, reply: Struct | undefined) {
    super(`${request}: the device answered ${statusName === undefined ? `status ${status}` : `${statusName} (${status})`}`)
    this.request = request
    this.status = status
    this.reply = reply
  }
}
