/**
 * The word in which a driver notifies with VIRTIO_F_NOTIFICATION_DATA: which queue, and where it puts its next buffer (see NotificationLe of `virtgen/wire/content`).
 * VIRTIO 1.4, Basic Facilities of a Virtio Device / Driver Notifications.
 *
 * The queue is told by its index or, with VIRTIO_F_NOTIF_CONFIG_DATA, by a value that the device has given: the same 16 bits. A position is an available index; packed: an
 * offset in bits 0 to 14, which are `next_off`, with the wrap counter in bit 15, which is `next_wrap`.
 */

const queueBits = 16
const queueMask = 0xffff

export function notificationWord(queue: number, position: number): number {
  return (queue | (position << queueBits)) >>> 0
}

export function notificationQueue(word: number): number {
  return word & queueMask
}

export function notificationPosition(word: number): number {
  return word >>> queueBits
}
