/** What an available buffer notification says. VIRTIO 1.4, Basic Facilities of a Virtio Device / Driver Notifications. */
import { type FeatureSet, viewOf } from 'virtgen/codegen/v1/wire'
import { NotificationLe, VIRTIO_F_NOTIFICATION_DATA } from 'virtgen/wire/content'

/** Bits 0 to 14 of a position are `next_off`, the highest one is `next_wrap`: in both formats of the ring. */
const offsetBits = 15

/**
 * The word in which a driver notifies: which queue, and with VIRTIO_F_NOTIFICATION_DATA where it puts its next buffer. The queue is told by its index or, with
 * VIRTIO_F_NOTIF_CONFIG_DATA, by a value that the device has given: the same 16 bits.
 */
export class NotificationWord {
  readonly #view = viewOf(new Uint8Array(NotificationLe.size))
  readonly #data: NotificationLe | undefined
  #value = 0

  /** @param features - what is negotiated */
  constructor(features: FeatureSet) {
    this.#data = features.has(VIRTIO_F_NOTIFICATION_DATA) ? new NotificationLe().at(this.#view) : undefined
  }

  /**
   * @param queue - index or value of the queue, 16 bits
   * @param position - where the driver puts its next buffer: the available index; packed: a position with the wrap counter in bit 15
   */
  encode(queue: number, position: number): number {
    if (this.#data === undefined) return queue
    this.#data.vq_index = queue
    this.#data.next_off = position % 2 ** offsetBits
    this.#data.next_wrap = position >>> offsetBits
    return this.#view.getUint32(0, true)
  }

  /** Takes a word apart, of 32 bits at most; then `queue` and `position` are of it. */
  decode(value: number): this {
    this.#value = value
    this.#view.setUint32(0, value, true)
    return this
  }

  get queue(): number {
    return this.#data === undefined ? this.#value : this.#data.vq_index
  }

  /** As for `encode`; undefined without VIRTIO_F_NOTIFICATION_DATA. */
  get position(): number | undefined {
    return this.#data && this.#data.next_off + this.#data.next_wrap * 2 ** offsetBits
  }
}
