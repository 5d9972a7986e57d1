/** The words of a ring as they lie in memory, for the report of a run that failed. */
import { setupOf } from './layout.mjs'

/** @returns lines of text: the event words, the indices and the entries */
export function describeRing(shared, { size, features }) {
  const setup = setupOf(size)
  const u16 = new Uint16Array(shared)
  const u32 = new Uint32Array(shared)
  return (features.packed ? packedLines(u16, u32, setup) : splitLines(u16, u32, setup)).map((line) => `  ${line}`).join('\n')
}

function splitLines(u16, u32, { size, driverArea, deviceArea, descriptorArea }) {
  const avail = driverArea / 2
  const used = deviceArea / 2
  const list = (count, entry) => Array.from({ length: Math.min(count, 32) }, (_, i) => entry(i)).join(' ')
  return [
    `available: flags ${u16[avail]} idx ${u16[avail + 1]} used_event ${u16[avail + 2 + size]} ring ${list(size, (i) => u16[avail + 2 + i])}`,
    `used: flags ${u16[used]} idx ${u16[used + 1]} avail_event ${u16[used + 2 + 4 * size]} ring ${list(size, (i) => `${u32[deviceArea / 4 + 1 + 2 * i]}:${u32[deviceArea / 4 + 2 + 2 * i]}`)}`,
    `descriptors: ${list(size, (i) => descriptor(u16, u32, descriptorArea + 16 * i))}`,
  ]
}

function packedLines(u16, u32, { size, driverArea, deviceArea, descriptorArea }) {
  const event = (at) => `offset ${u16[at / 2] & 0x7fff} wrap ${u16[at / 2] >>> 15} flags ${u16[at / 2 + 1]}`
  const entries = Array.from({ length: Math.min(size, 32) }, (_, i) => descriptor(u16, u32, descriptorArea + 16 * i))
  return [`driver event suppression: ${event(driverArea)}`, `device event suppression: ${event(deviceArea)}`, `descriptors: ${entries.join(' ')}`]
}

/** Address, length, and the last two words in hex: of a split ring flags and next, of a packed one buffer id and flags. */
function descriptor(u16, u32, at) {
  return `${u32[at / 4].toString(16)}+${u32[at / 4 + 2]}:${u16[at / 2 + 6].toString(16)}/${u16[at / 2 + 7].toString(16)}`
}
