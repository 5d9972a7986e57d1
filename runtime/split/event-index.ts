/** When an index that moves on passes the one the other side waits for. Used by both sides of a ring with VIRTIO_F_EVENT_IDX. */

/**
 * Says whether the other side asked to be notified of one of the entries that were just published.
 *
 * The entries are those with the indices `before`, `before + 1`, … `now - 1`, modulo 2^16; it asked for the entry with the index `event` (VIRTIO 1.4, Basic
 * Facilities of a Virtio Device / Virtqueues / Used Buffer Notification Suppression). Seen from the newest entry backwards, the entry `event` is number
 * `now - 1 - event` (0 for the newest), and `now - before` entries are new. Both are distances on a ring of 2^16 indices, so each is taken modulo 2^16 by itself: then
 * the event is among the new entries exactly when its number is less than their count. Comparing the indices instead fails at the wrap.
 */
export function isEventDue(event: number, now: number, before: number): boolean {
  return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff)
}
