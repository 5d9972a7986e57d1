// What an accessor costs beside the same reads written by hand: a table of descriptors is walked, every field read.
// node bench/accessors.mjs [rounds]    prints ns per struct and the ratio to the hand-written loop of the same run
import { VirtqDesc } from 'virtgen/wire/split-ring'

const rounds = Number(process.argv[2] ?? 2000)
const count = 1024
const { size, offsetOf } = VirtqDesc
const view = new DataView(new ArrayBuffer(count * size))
for (let at = 0; at < view.byteLength; at += 4) view.setUint32(at, (at * 2654435761) >>> 8, true)

function byHand() {
  let sum = 0
  for (let at = 0; at < count * size; at += size) {
    const address = view.getUint32(at + offsetOf.addr, true) + view.getUint32(at + offsetOf.addr + 4, true) * 0x1_0000_0000
    sum += address + view.getUint32(at + offsetOf.len, true) + view.getUint16(at + offsetOf.flags, true) + view.getUint16(at + offsetOf.next, true)
  }
  return sum
}

const cursor = new VirtqDesc()
function byAccessor() {
  let sum = 0
  for (let at = 0; at < count * size; at += size) {
    const desc = cursor.at(view, at)
    sum += desc.addr + desc.len + desc.flags + desc.next
  }
  return sum
}

const bytes = new Uint8Array(view.buffer)
function byDecode() {
  let sum = 0
  for (let at = 0; at < count * size; at += size) {
    const { addr, len, flags, next } = VirtqDesc.decode(bytes.subarray(at, at + size))
    sum += addr + len + flags + next
  }
  return sum
}

/** Median of 11 samples, in ns per struct. */
function measure(walk) {
  const samples = []
  for (let sample = 0; sample < 11; sample++) {
    const started = process.hrtime.bigint()
    for (let round = 0; round < rounds / 11; round++) walk()
    samples.push(Number(process.hrtime.bigint() - started) / ((rounds / 11) * count))
  }
  return samples.sort((a, b) => a - b)[5]
}

if (byHand() !== byAccessor() || byHand() !== byDecode()) throw new Error('the three ways read different numbers')
const base = measure(byHand)
for (const [name, walk] of [
  ['DataView by hand', byHand],
  ['accessor', byAccessor],
  ['decode', byDecode],
]) {
  const time = measure(walk)
  console.log(`${name.padEnd(18)} ${time.toFixed(1).padStart(6)} ns/struct   ${(time / base).toFixed(2)}x`)
}
