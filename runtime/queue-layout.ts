/** How a queue is laid into memory: what its areas need and where they can lie beside each other. What a driver decides before it makes a queue. */
import { packed_ring_limits } from 'virtgen/wire/packed-ring'
import { split_ring_limits } from 'virtgen/wire/split-ring'
import { isPackedQueueSize, packedAreaAlignment, packedAreaSizes } from './packed/areas.ts'
import type { QueueSetup } from './queue.ts'
import { areaAlignment, areaSizes, isQueueSize } from './split/areas.ts'

/** What one side writes again and again does not share a cache line with what the other side writes. */
const cacheLine = 64

/** One of the areas of a queue. Bytes. */
export interface AreaLayout {
  /** From the beginning of the queue's memory. */
  readonly offset: number
  readonly size: number
  /** The guest address of the area must be a multiple of this. */
  readonly alignment: number
}

/** Where a struct for each request lies beside a ring: request `i` at `offset + i * stride`. */
export interface RequestAreaLayout extends AreaLayout {
  /** From one struct to the next. */
  readonly stride: number
}

export interface QueueLayout {
  /** Entries of the ring. */
  readonly queueSize: number
  /** Descriptor table; packed: the descriptor ring. */
  readonly descriptorArea: AreaLayout
  /** Available ring; packed: the driver event suppression structure. */
  readonly driverArea: AreaLayout
  /** Used ring; packed: the device event suppression structure. */
  readonly deviceArea: AreaLayout
  /** A struct for each entry of the ring, where `requestSize` asks for it. */
  readonly requests: RequestAreaLayout | undefined
  /** Bytes of all together. */
  readonly size: number
  /** Of the guest address at which all begins. */
  readonly alignment: number
}

export interface QueueLayoutOptions {
  /** Entries of the ring. */
  readonly size: number
  /** VIRTIO_F_RING_PACKED. */
  readonly packed?: boolean
  /** Bytes of a struct for each request, in memory that the device reaches: a header, a status. Absent or 0: none. */
  readonly requestSize?: number
  /** Of those structs: a power of 2. Default 8. */
  readonly requestAlignment?: number
  /**
   * Queue Align of a legacy interface, a power of 2 from 4: the available ring follows the descriptor table, the used ring begins at the next multiple of this, and the
   * queue ends at one. Split rings only.
   */
  readonly queueAlign?: number
}

/**
 * Lays a queue into one piece of memory. The areas may as well be allocated one by one, with the sizes and alignments given here (VIRTIO 1.4, Split Virtqueues; Packed
 * Virtqueues / Structure Size and Alignment). With `queueAlign` they may not (Split Virtqueues / Legacy Interfaces: A Note on Virtqueue Layout).
 *
 * @throws RangeError for a size that a queue of that format cannot have, or a wrong size or alignment of requests
 */
export function queueLayout(options: QueueLayoutOptions): QueueLayout {
  const { size, packed = false, requestSize = 0, requestAlignment = 8, queueAlign } = options
  checkQueueSize(size, packed)
  if (queueAlign !== undefined) checkQueueAlign(queueAlign, packed)
  if (!(Number.isSafeInteger(requestSize) && requestSize >= 0)) throw new RangeError(`requestSize must be an integer from 0, not ${requestSize}`)
  if (!(Number.isInteger(requestAlignment) && requestAlignment > 0 && Number.isInteger(Math.log2(requestAlignment))))
    throw new RangeError(`requestAlignment must be a power of 2, not ${requestAlignment}`)
  const sizes = packed ? packedAreaSizes(size) : areaSizes(size)
  const alignments = packed ? packedAreaAlignment : areaAlignment
  const place = (area: keyof typeof sizes, from: number, alignment: number): AreaLayout => {
    return { offset: roundUp(from, alignment), size: sizes[area], alignment: alignments[area] }
  }
  const descriptorArea = place('descriptorArea', 0, 1)
  // The driver writes the descriptors as well; of a packed ring the device does too.
  const driverArea = place('driverArea', descriptorArea.size, packed ? cacheLine : alignments.driverArea)
  const deviceArea = place('deviceArea', driverArea.offset + driverArea.size, queueAlign ?? cacheLine)
  const end = roundUp(deviceArea.offset + deviceArea.size, queueAlign ?? 1)
  const stride = roundUp(requestSize, requestAlignment)
  const offset = roundUp(end, Math.max(cacheLine, requestAlignment))
  const requests = requestSize === 0 ? undefined : { offset, size: stride * size, alignment: requestAlignment, stride }
  return {
    queueSize: size,
    descriptorArea,
    driverArea,
    deviceArea,
    requests,
    size: requests === undefined ? end : requests.offset + requests.size,
    alignment: Math.max(cacheLine, requests?.alignment ?? 0, queueAlign ?? 0),
  }
}

/**
 * Says where a queue is that was laid out at a guest address.
 *
 * @throws RangeError where the address is not a multiple of `layout.alignment`
 */
export function placeQueue(layout: QueueLayout, index: number, address: number): QueueSetup {
  if (address % layout.alignment !== 0)
    throw new RangeError(`a queue with this layout must begin at a multiple of ${layout.alignment}, not at ${address}`)
  return {
    index,
    size: layout.queueSize,
    descriptorArea: address + layout.descriptorArea.offset,
    driverArea: address + layout.driverArea.offset,
    deviceArea: address + layout.deviceArea.offset,
  }
}

/**
 * The largest size that a queue can have: at most what the device has and what is wanted, downwards to a power of 2 for a split queue, any number for a packed one.
 *
 * @param max - what the device says, whatever that is: the transport's Queue Size
 * @param wanted - entries at most, from 1
 * @returns 0 where the device says 0: it does not have the queue
 * @throws RangeError for a wrong `wanted`
 */
export function negotiateQueueSize(max: number, wanted: number, { packed = false }: { readonly packed?: boolean } = {}): number {
  if (!(Number.isSafeInteger(wanted) && wanted >= 1)) throw new RangeError(`a queue must be wanted with 1 entry or more, not ${wanted}`)
  const most = Math.min(max, wanted, packed ? packed_ring_limits.packed_ring_max_queue_size : split_ring_limits.split_ring_max_queue_size)
  if (!(most >= 1)) return 0
  return packed ? Math.floor(most) : 2 ** Math.floor(Math.log2(most))
}

function checkQueueSize(size: number, packed: boolean): void {
  if (packed ? isPackedQueueSize(size) : isQueueSize(size)) return
  const most = packed ? packed_ring_limits.packed_ring_max_queue_size : split_ring_limits.split_ring_max_queue_size
  throw new RangeError(`a ${packed ? 'packed queue has' : 'split queue has a power of 2,'} 1 to ${most} entries, not ${size}`)
}

function checkQueueAlign(queueAlign: number, packed: boolean): void {
  if (packed) throw new RangeError('a packed queue has no legacy layout')
  const least = areaAlignment.deviceArea
  if (!(Number.isInteger(Math.log2(queueAlign)) && queueAlign >= least))
    throw new RangeError(`queueAlign must be a power of 2 from ${least}, not ${queueAlign}`)
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step
}
