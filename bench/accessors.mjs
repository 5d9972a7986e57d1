// What an accessor costs beside the same reads written by hand: a table of descriptors is walked, every field read.
import { VirtqDesc } from 'virtgen/wire/split-ring'

/** Structs of a walk. */
export const structs = 1024
const { size, offsetOf } = VirtqDesc
const view = new DataView(new ArrayBuffer(structs * size))
for (let at = 0; at < view.byteLength; at += 4) view.setUint32(at, (at * 2654435761) >>> 8, true)

function byHand() {
  let sum = 0
  for (let at = 0; at < structs * size; at += size) {
    const address = view.getUint32(at + offsetOf.addr, true) + view.getUint32(at + offsetOf.addr + 4, true) * 0x1_0000_0000
    sum += address + view.getUint32(at + offsetOf.len, true) + view.getUint16(at + offsetOf.flags, true) + view.getUint16(at + offsetOf.next, true)
  }
  return sum
}

const cursor = new VirtqDesc()
function byAccessor() {
  let sum = 0
  for (let at = 0; at < structs * size; at += size) {
    const desc = cursor.at(view, at)
    sum += desc.addr + desc.len + desc.flags + desc.next
  }
  return sum
}

const bytes = new Uint8Array(view.buffer)
function byDecode() {
  let sum = 0
  for (let at = 0; at < structs * size; at += size) {
    const { addr, len, flags, next } = VirtqDesc.decode(bytes.subarray(at, at + size))
    sum += addr + len + flags + next
  }
  return sum
}

/** Three ways to read the table; each gives the sum of what it read. */
export const walks = { 'DataView by hand': byHand, accessor: byAccessor, 'decode to an object': byDecode }
if (byHand() !== byAccessor() || byHand() !== byDecode()) throw new Error('the three ways read different numbers')
