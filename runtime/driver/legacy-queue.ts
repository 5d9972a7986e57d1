/** Where a legacy device finds a queue: by the number of its first page. VIRTIO 1.4, Legacy Interfaces: A Note on Virtqueue Layout. */
import { split_ring_legacy } from 'virtgen/wire/split-ring'
import { DriverError } from './host.ts'

/** The pages that the driver counts, and the alignment of the used ring: what PCI demands, and the usual one on MMIO. */
export const legacyPageSize: number = split_ring_legacy.legacy_queue_align

const largestPage = 0xffff_ffff

/** @throws DriverError `memory` where the number has more than 32 bits */
export function legacyPage(address: number): number {
  const page = address / legacyPageSize
  if (page <= largestPage) return page
  throw new DriverError('memory', `a queue of a legacy device lies below 2^44, not at 0x${address.toString(16)}`)
}
