/** Where everything lies in the memory that the two threads share. Guest addresses are offsets. */
import { GuestMemory } from 'virtgen/runtime'
import { VirtqAvail, VirtqUsed } from 'virtgen/wire/split-ring'
import { mostWords } from './message.mjs'

/** Bytes that a buffer takes: the request, then the room for the answer. */
export const slotBytes = 2 * mostWords * 4

const areas = 0x1000
const slots = 0x1_0000
const tables = 0x4_0000
export const memoryBytes = 0x8_0000

/** The place of a queue. Its areas are far from each other, and room is left in front and behind. */
export function setupOf(size) {
  return { index: 0, size, descriptorArea: areas, driverArea: 0x8000, deviceArea: 0xa000 }
}

/** Where the indirect tables are allocated. */
export const tableRange = { address: tables, length: memoryBytes - tables }

/** Guest address of a buffer. */
export function slotAddress(slot) {
  return slots + slot * slotBytes
}

export function memoryOver(shared) {
  return GuestMemory.of(new Uint8Array(shared))
}

/** Writes what lies in the ring of a queue that goes on from a saved position; a packed ring of zeros is at its beginning. */
export function prepareRing(shared, { size, start }) {
  const { driverArea, deviceArea } = setupOf(size)
  const words = new Uint16Array(shared)
  words[(driverArea + VirtqAvail.offsetOf.idx) / 2] = start
  words[(deviceArea + VirtqUsed.offsetOf.idx) / 2] = start
}
