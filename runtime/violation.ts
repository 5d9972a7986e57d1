/** What the other side did that the specification forbids: a value, never an exception. */

/**
 * Kinds of violations. Those of rings (VIRTIO 1.4, Basic Facilities of a Virtio Device / Split Virtqueues) are found on either side, those of requests by the
 * device, those of used buffers by the driver.
 */
export type ViolationKind =
  /** A queue size of zero, above the maximum, or not a power of two where the ring needs one. */
  | 'queue-size'
  /** A part of a ring outside guest memory, or misaligned. */
  | 'queue-address'
  /** The driver made more buffers available than the queue has. */
  | 'available-index'
  /** A descriptor index that the table does not have. */
  | 'descriptor-index'
  /** Packed: a descriptor in a list that is not marked available. */
  | 'descriptor-flags'
  /** A chain that does not end. */
  | 'descriptor-loop'
  /** More descriptors than the bound. */
  | 'chain-length'
  /** More than 2^32 bytes in a chain. */
  | 'chain-bytes'
  /** A buffer outside guest memory. */
  | 'descriptor-address'
  /** A device-readable descriptor behind a device-writable one. */
  | 'descriptor-order'
  /** An indirect table inside an indirect table. */
  | 'indirect-nested'
  /** An indirect descriptor that goes on. */
  | 'indirect-next'
  /** An indirect table that is empty, not whole descriptors, or outside guest memory. */
  | 'indirect-table'
  /** An indirect descriptor although VIRTIO_F_INDIRECT_DESC is not negotiated. */
  | 'indirect-not-negotiated'
  /** A chain in which there is no place for the answer, or too little where no answer is foreseen. */
  | 'request-size'
  /** A buffer that the device fills is too small for what it has to say. */
  | 'event-size'
  /** The device used more buffers than it was given. */
  | 'used-index'
  /** The device used a buffer that it does not have. */
  | 'used-id'
  /** The device claims more bytes than the buffer has, or fewer than its answer needs. */
  | 'used-length'
  /** Features that the device cannot work with, on the legacy interface, which has no way to refuse them. */
  | 'features'
  /** What is kept of the chains in flight, in memory that the driver's side can write, cannot be: see `createLoggedDeviceQueue`. */
  | 'in-flight'
  /** Not the other side's doing: the device failed, and the request has no status to say so. */
  | 'device-failed'

export interface Violation {
  readonly kind: ViolationKind
  /** Index of the queue; -1 where it is about the device as a whole. */
  readonly queue: number
  /** Index of the descriptor at which the chain begins; packed: its buffer id, or its first entry in the ring where the list breaks before the descriptor with the id. */
  readonly head?: number
  /** What was found and what is allowed. */
  readonly detail: string
}
