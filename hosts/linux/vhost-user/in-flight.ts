/**
 * The inflight area of vhost-user: shared memory in which a back-end notes the chains that it has taken, and which the front-end keeps while the back-end dies and is
 * started again. vhost-user, Inflight I/O tracking.
 *
 * The front-end can write anything there at any time. So it is read once, when a ring starts, and checked; from then on the back-end only writes it, out of state of its own.
 */
import { DescStatePacked, DescStateSplit, QueueRegionPacked, QueueRegionSplit } from 'virtgen/wire/vhost-user'

/** Each region begins at a multiple of it: of cache lines, as all back-ends have it. */
const alignment = 64

const layouts = {
  split: { header: QueueRegionSplit.offsetOf.desc, entry: DescStateSplit.size, version: QueueRegionSplit.offsetOf.version },
  packed: { header: QueueRegionPacked.offsetOf.desc, entry: DescStatePacked.size, version: QueueRegionPacked.offsetOf.version },
} as const

function layoutOf(packed: boolean): (typeof layouts)['split' | 'packed'] {
  return packed ? layouts.packed : layouts.split
}

/** Bytes of the region of one queue, without what follows up to the next one. */
function regionSize(queueSize: number, packed: boolean): number {
  const { header, entry } = layoutOf(packed)
  return header + entry * queueSize
}

function regionOffset(index: number, queueSize: number, packed: boolean): number {
  return index * Math.ceil(regionSize(queueSize, packed) / alignment) * alignment
}

/**
 * Bytes of an area. Zeros are an area in which nothing is in flight.
 *
 * @param queueSize - the largest of the queues
 */
export function inFlightSize(queues: number, queueSize: number, packed: boolean): number {
  return regionOffset(queues, queueSize, packed)
}

/** The region of a queue in an area; undefined where the area is too small for it, or begins where no 64-bit numbers can. */
export function inFlightRegion(area: Uint8Array, index: number, queueSize: number, packed: boolean): Uint8Array | undefined {
  const start = regionOffset(index, queueSize, packed)
  const end = start + regionSize(queueSize, packed)
  return end <= area.length && area.byteOffset % 8 === 0 ? area.subarray(start, end) : undefined
}

/** Entries for which a region has room. */
export function inFlightEntries(region: Uint8Array, packed: boolean): number {
  const { header, entry } = layoutOf(packed)
  return Math.floor((region.length - header) / entry)
}

/** Nothing is in flight any more: the driver has reset the device, and does not wait for anything. */
export function clearInFlight(region: Uint8Array, packed: boolean): void {
  new Uint16Array(region.buffer, region.byteOffset)[layoutOf(packed).version / 2] = 0
}
