// What a chain costs through SplitDeviceQueue, beside a walker written inline over typed arrays that checks nothing but the bounds of buffers.
// Workload: 256 chains of n device-readable descriptors made available at once, buffers 8 KiB apart in 64 MiB; take, translate every descriptor,
// [copy 64 bytes out], complete with nothing written.
// node bench/ring.mjs [rounds]    prints ns per chain (least of 11 samples: the machine is noisy) and the ratio to the inline walker of the same run
import { VIRTQ_DESC_F_NEXT, VirtqDesc } from 'virtgen/wire/split-ring'
import { GuestMemory } from '../dist/runtime/memory.js'
import { SplitDeviceQueue } from '../dist/runtime/split/device-queue.js'

const rounds = Number(process.argv[2] ?? 200)
const chains = 256
const memorySize = 64 << 20
const ringSpace = 1 << 20
const target = new Uint8Array(4096)

function setUp(n, payload) {
  const bytes = new Uint8Array(memorySize)
  const view = new DataView(bytes.buffer)
  const size = chains * n
  const driverArea = size * 16
  const deviceArea = driverArea + 6 + 2 * size + 2
  for (let i = 0; i < size; i++) {
    view.setBigUint64(i * 16, BigInt(ringSpace + (i % 4096) * 8192), true)
    view.setUint32(i * 16 + VirtqDesc.offsetOf.len, (payload || 64) / n, true)
    view.setUint16(i * 16 + VirtqDesc.offsetOf.flags, i % n === n - 1 ? 0 : VIRTQ_DESC_F_NEXT, true)
    view.setUint16(i * 16 + VirtqDesc.offsetOf.next, i + 1, true)
  }
  let index = 0
  const u16 = new Uint16Array(bytes.buffer)
  const offer = () => {
    for (let i = 0; i < chains; i++) u16[driverArea / 2 + 2 + ((index + i) & (size - 1))] = i * n
    index = (index + chains) & 0xffff
    Atomics.store(u16, driverArea / 2 + 1, index)
  }
  return { bytes, size, setup: { index: 0, size, descriptorArea: 0, driverArea, deviceArea }, offer }
}

/** The library. */
function queueServer({ bytes, setup }, payload, corked) {
  let notified = 0
  const queue = new SplitDeviceQueue(GuestMemory.of(bytes), setup, {
    eventIndex: false,
    indirect: true,
    notify: () => notified++,
    fail: (violation) => {
      throw new Error(violation.detail)
    },
  })
  return () => {
    let count = 0
    if (corked) queue.cork()
    for (let chain = queue.next(); chain !== undefined; chain = queue.next()) {
      if (payload > 0) chain.readable.copyTo(target)
      count++
      chain.complete(0)
    }
    if (corked) queue.uncork()
    return count
  }
}

/** The yardstick: one function, all in locals. */
function inlineServer({ bytes, size, setup }, payload) {
  const u16 = new Uint16Array(bytes.buffer)
  const u32 = new Uint32Array(bytes.buffer)
  const targetWords = new Uint32Array(target.buffer)
  const available = setup.driverArea / 2
  const used = setup.deviceArea / 4
  let next = 0
  return () => {
    const index = Atomics.load(u16, available + 1)
    let count = 0
    for (; next !== index; next = (next + 1) & 0xffff) {
      const head = u16[available + 2 + (next & (size - 1))]
      let sum = 0
      let to = 0
      for (let i = head; ; ) {
        if (i >= size) throw new Error('index')
        const address = u32[i * 4] + u32[i * 4 + 1] * 0x1_0000_0000
        const length = u32[i * 4 + 2]
        if (address + length > memorySize) throw new Error('address')
        sum += address
        if (payload > 0) for (let word = 0; word < length / 4; word++) targetWords[to++] = u32[address / 4 + word]
        if ((u32[i * 4 + 3] & 1) === 0) break
        i = u32[i * 4 + 3] >>> 16
      }
      const at = used + 1 + (next & (size - 1)) * 2
      u32[at] = head
      u32[at + 1] = sum < 0 ? 1 : 0
      count++
    }
    Atomics.store(u16, setup.deviceArea / 2 + 1, next)
    return count
  }
}

/** Least time in ns per chain of each server; they take turns, so that all see the same noise. */
function measure(n, payload, servers) {
  const runs = servers.map((make) => {
    const world = setUp(n, payload)
    const serve = make(world, payload)
    const samples = []
    const sample = (record) => {
      let time = 0
      for (let i = 0; i < rounds; i++) {
        world.offer()
        const started = performance.now()
        if (serve() !== chains) throw new Error('not all chains were served')
        time += performance.now() - started
      }
      if (record) samples.push((time * 1e6) / (rounds * chains))
    }
    return { sample, samples }
  })
  for (let i = 0; i < 13; i++) for (const { sample } of runs) sample(i > 1)
  return runs.map(({ samples }) => samples.sort((a, b) => a - b)[0])
}

for (const payload of [0, 64]) {
  console.log(payload === 0 ? 'no payload' : `${payload} bytes copied out`)
  for (const n of [1, 2, 4, 16]) {
    const corked = (world, bytes) => queueServer(world, bytes, true)
    const [base, each, batch] = measure(n, payload, [inlineServer, queueServer, corked])
    const text = (time) => `${time.toFixed(1).padStart(6)} (${(time / base).toFixed(1)}x)`
    console.log(`  n=${String(n).padEnd(3)} inline ${base.toFixed(1).padStart(6)}   queue ${text(each)}   corked ${text(batch)}   ns per chain`)
  }
}
