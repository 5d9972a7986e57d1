/** What a list of a packed ring is: the reference. VIRTIO 1.4, Packed Virtqueues. */
import { PvirtqDesc, VIRTQ_DESC_F_AVAIL, VIRTQ_DESC_F_USED, VIRTQ_DESC_F_WRITE } from 'virtgen/wire/packed-ring'
import { ChainReading, goesOn, isIndirect, type PlainDescriptor, readDescriptor } from './chain-reading.ts'
import type { RingRules } from './ring-rules.ts'

/** A place in the ring: the wrap counter in bit 15. */
export const wrapBit = 0x8000

export interface PackedReading {
  readonly id: number
  readonly reading: ChainReading
}

/** The position so many descriptors further. */
export function moved(position: number, by: number, size: number): number {
  const at = (position & ~wrapBit) + by
  return at < size ? at | (position & wrapBit) : (at - size) | (~position & wrapBit)
}

function isAvailable({ flags }: PlainDescriptor, position: number): boolean {
  const wrap = (position & wrapBit) !== 0
  return ((flags & VIRTQ_DESC_F_AVAIL) !== 0) === wrap && ((flags & VIRTQ_DESC_F_USED) !== 0) !== wrap
}

/** Whether something is available at a position. */
export function isAnyAvailable({ arena, setup }: RingRules, position: number): boolean {
  return isAvailable(readDescriptor(arena, setup.descriptorArea + (position & ~wrapBit) * PvirtqDesc.size, false), position)
}

/** The list at a position, or undefined where nothing is available there. `free`: descriptors of the ring that are not with the device. */
export function readPackedChain(rules: RingRules, position: number, free: number): PackedReading | undefined {
  const { arena, setup, indirect, maxChainLength } = rules
  if (!isAnyAvailable(rules, position)) return undefined
  const reading = new ChainReading(arena, maxChainLength === 'strict' ? setup.size : maxChainLength)
  for (let place = position; ; place = moved(place, 1, setup.size)) {
    const descriptor = readDescriptor(arena, setup.descriptorArea + (place & ~wrapBit) * PvirtqDesc.size, false)
    const { problems } = reading
    if (!isAvailable(descriptor, place)) problems.add('descriptor-flags')
    if (reading.slots++ === setup.size) problems.add('descriptor-loop')
    if (isIndirect(descriptor)) {
      if (reading.slots > 1 || goesOn(descriptor)) problems.add('indirect-next')
      readTable(rules, descriptor, reading.open(descriptor, indirect), reading)
    } else reading.add(descriptor)
    if (problems.size === 0 && goesOn(descriptor)) continue
    // A list over descriptors that the device has is found at its end, or before something else is wrong with it.
    if (reading.slots > free) problems.add('available-index')
    return { id: descriptor.other, reading }
  }
}

/** VIRTQ_DESC_F_WRITE is the only valid flag in an indirect table, the others are ignored by the device; so is the id. */
function readTable({ arena }: RingRules, { address }: PlainDescriptor, entries: number, reading: ChainReading): void {
  for (let i = 0; i < entries && !reading.problems.has('chain-length'); i++) {
    const { flags, ...descriptor } = readDescriptor(arena, address + i * PvirtqDesc.size, false)
    reading.add({ ...descriptor, flags: flags & VIRTQ_DESC_F_WRITE })
  }
}
