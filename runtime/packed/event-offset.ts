/** When a position in a packed ring passes the one the other side waits for. Used by both sides of a ring with VIRTIO_F_EVENT_IDX. */
import { packed_ring_limits } from 'virtgen/wire/packed-ring'

/** Where a wrap counter lies in a position, above the offset: as in `desc` of the event suppression structure and in a notification. */
export const wrapBit = packed_ring_limits.packed_ring_max_queue_size
/** The offset in a position. */
export const offsetMask = wrapBit - 1

/**
 * Says whether the other side asked to be notified of one of the descriptors that were just made available, or used.
 *
 * They are the `count` descriptors that end before the position `now`, and 1 ≤ `count` ≤ `size`. All descriptors of the lap of `now` that are done lie at lower offsets; those of
 * the lap before lie `size` lower still. So an event whose wrap counter is that of `now` counts from there, one with the other wrap counter from one lap below, and it is due
 * exactly when it lies 1 to `count` descriptors below `now`. No modulus is taken: the size need not divide any (VIRTIO 1.4, Packed Virtqueues / Driver and Device Event
 * Suppression).
 *
 * @param event - `desc` of the event suppression structure: offset, wrap counter in bit 15
 * @param now - position of the next descriptor, in the same form
 */
export function isOffsetDue(event: number, now: number, count: number, size: number): boolean {
  const lap = ((event ^ now) & wrapBit) === 0 ? 0 : size
  const distance = (now & offsetMask) - (event & offsetMask) + lap
  return distance >= 1 && distance <= count
}
