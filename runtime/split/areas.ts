/** The three parts of a split virtqueue: how long they are and how they must be aligned. What both sides of the ring share. */
import { split_ring_alignment, split_ring_entry_size, split_ring_fixed_size, split_ring_limits } from 'virtgen/wire/split-ring'

/** Bytes of the parts of a queue. */
export interface AreaSizes {
  /** Descriptor Area: the descriptor table. */
  readonly descriptorArea: number
  /** Driver Area: the available ring with `used_event`. */
  readonly driverArea: number
  /** Device Area: the used ring with `avail_event`. */
  readonly deviceArea: number
}

/**
 * Bytes of the parts of a queue of `size` entries. The event words are always counted: the text reserves them whether VIRTIO_F_EVENT_IDX is negotiated or not
 * (VIRTIO 1.4, Basic Facilities of a Virtio Device / Split Virtqueues).
 */
export function areaSizes(size: number): AreaSizes {
  return {
    descriptorArea: split_ring_fixed_size.descriptor_table + split_ring_entry_size.descriptor_table * size,
    driverArea: split_ring_fixed_size.available_ring + split_ring_entry_size.available_ring * size,
    deviceArea: split_ring_fixed_size.used_ring + split_ring_entry_size.used_ring * size,
  }
}

/** Alignment of the parts of a queue in bytes. */
export const areaAlignment: AreaSizes = {
  descriptorArea: split_ring_alignment.descriptor_table,
  driverArea: split_ring_alignment.available_ring,
  deviceArea: split_ring_alignment.used_ring,
}

/** Says whether a split virtqueue can have that many entries: a power of 2 up to 32768. */
export function isQueueSize(size: number): boolean {
  return Number.isInteger(size) && size > 0 && size <= split_ring_limits.split_ring_max_queue_size && (size & (size - 1)) === 0
}
