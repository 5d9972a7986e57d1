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

/** The list at a position, or undefined where nothing is available there. `free`: descriptors of the ring that are not with the device. */
export function readPackedChain(rules: RingRules, position: number, free: number): PackedReading | undefined {
  const { arena, setup, indirect, maxChainLength } = rules
  const at = (place: number): PlainDescriptor => readDescriptor(arena, setup.descriptorArea + (place & ~wrapBit) * PvirtqDesc.size, false)
  if (!isAvailable(at(position), position)) return undefined
  const reading = new ChainReading(arena, maxChainLength === 'strict' ? setup.size : maxChainLength)
  for (let place = position; ; place = moved(place, 1, setup.size)) {
    const descriptor = at(place)
    reading.slots++
    if (!isAvailable(descriptor, place)) reading.problems.add('descriptor-index')
    if (reading.slots > free) {
      // A list that goes over descriptors that the device has, or over itself.
      reading.problems.add('chain-length')
      reading.problems.add('available-index')
      reading.problems.add('descriptor-index')
      return { id: descriptor.other, reading }
    }
    if (isIndirect(descriptor)) {
      if (reading.slots > 1) reading.problems.add('indirect-next')
      readTable(rules, descriptor, reading.open(descriptor, indirect), reading)
    } else reading.add(descriptor)
    if (reading.problems.size > 0) {
      // What is wrong with the id comes last, if the list is read to its end at all.
      return { id: descriptor.other, reading }
    }
    if (!goesOn(descriptor)) return { id: descriptor.other, reading }
  }
}

/** VIRTQ_DESC_F_WRITE is the only valid flag in an indirect table, the others are ignored by the device; so is the id. */
function readTable({ arena }: RingRules, { address }: PlainDescriptor, entries: number, reading: ChainReading): void {
  for (let i = 0; i < entries && !reading.problems.has('chain-length'); i++) {
    const { flags, ...descriptor } = readDescriptor(arena, address + i * PvirtqDesc.size, false)
    reading.add({ ...descriptor, flags: flags & VIRTQ_DESC_F_WRITE })
  }
}
