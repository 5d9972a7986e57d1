/** The three parts of a packed virtqueue: how long they are and how they must be aligned. What both sides of the ring share. */
import { packed_ring_alignment, packed_ring_entry_size, packed_ring_fixed_size, packed_ring_limits } from 'virtgen/wire/packed-ring'
import type { AreaSizes } from '../split/areas.ts'

/** Bytes of the parts of a queue of `size` entries: descriptor ring, driver and device event suppression structures (VIRTIO 1.4, Packed Virtqueues). */
export function packedAreaSizes(size: number): AreaSizes {
  return {
    descriptorArea: packed_ring_entry_size.descriptor_ring * size,
    driverArea: packed_ring_fixed_size.driver_event_suppression,
    deviceArea: packed_ring_fixed_size.device_event_suppression,
  }
}

/** Alignment of the parts of a queue in bytes. */
export const packedAreaAlignment: AreaSizes = {
  descriptorArea: packed_ring_alignment.descriptor_ring,
  driverArea: packed_ring_alignment.driver_event_suppression,
  deviceArea: packed_ring_alignment.device_event_suppression,
}

/** Says whether a packed virtqueue can have that many entries: any number up to 32768. */
export function isPackedQueueSize(size: number): boolean {
  return Number.isInteger(size) && size > 0 && size <= packed_ring_limits.packed_ring_max_queue_size
}
