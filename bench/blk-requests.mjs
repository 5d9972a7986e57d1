// What a request costs a block device by itself: the driver's side is no more than a store into a ring, and there is no transport.
//
// Workload: a split ring with as many entries as three descriptors for each of `depth` requests need. Each has a header, a payload in one piece and a status, as Linux and
// libblkio make them; all are made available by one store, then the device is notified. The ring and the headers lie in one region of memory and the payloads in another, as
// libblkio has them. See docs/performance.md.

import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { Blk, RamBackend, ZeroBackend } from 'virtgen/devices/blk'
import { DeviceControl, GuestMemory, openQueue } from 'virtgen/runtime'
import { readOptions, wholeNumber } from './options.mjs'

const usage = `npm run bench:blk -- [options]

  --requests N   in a sample (100000)
  --samples N    of each row, in turn (9)
  --only WORDS   rows whose names hold these words
  --json         prints one JSON object`

const options = readOptions(usage, {
  requests: { type: 'string', default: '100000' },
  samples: { type: 'string', default: '9' },
  only: { type: 'string', default: '' },
  json: { type: 'boolean', default: false },
})
const memoryBytes = 64 * 2 ** 20
const diskBytes = 32 * 2 ** 20
const ring = { descriptorArea: 0x1000, driverArea: 0x9000, deviceArea: 0xa000 }
const headers = 0x10000
const payloads = 0x100000
/** Guest addresses: those of a process. */
const ringRegion = 0x7f00_0000_0000
const payloadRegion = 0x7e00_0000_0000
const [next, writes] = [1, 2]
const steps = [1, 3, 11, 15]
const [version1, eventIdx, indirect] = [32, 29, 28]

/** A device whose driver is this program. */
class Disk {
  constructor({ backend, depth, bytes, type }) {
    this.bytes = new Uint8Array(memoryBytes)
    this.view = new DataView(this.bytes.buffer)
    this.u16 = new Uint16Array(this.bytes.buffer)
    this.u32 = new Uint32Array(this.bytes.buffer)
    this.depth = depth
    this.size = 2 ** Math.ceil(Math.log2(3 * depth))
    this.available = 0
    this.interrupts = 0
    this.device = new Blk(backend(), { queueSize: 1024 })
    this.control = new DeviceControl(this.device, {
      memory: new GuestMemory([
        { guestAddress: ringRegion, size: payloads, source: this.bytes },
        { guestAddress: payloadRegion, size: memoryBytes - payloads, source: this.bytes, byteOffset: payloads },
      ]),
      notify: () => this.interrupts++,
      configChanged: () => {},
      onViolation: console.error,
    })
    const features = FeatureSet.of(version1, eventIdx, indirect)
    for (const status of steps) {
      if (status === 11) for (let word = 0; word < 4; word++) this.control.setDriverFeatures(word, features.word(word))
      this.control.writeStatus(status)
    }
    const [descriptorArea, driverArea, deviceArea] = Object.values(ring).map((offset) => ringRegion + offset)
    openQueue(this.control, { index: 0, size: this.size, descriptorArea, driverArea, deviceArea })
    for (let request = 0; request < depth; request++) this.#place(request, bytes, type)
    this.bytes.fill(0xff, payloads, payloads + depth * bytes)
  }

  #place(request, bytes, type) {
    const head = 3 * request
    const header = headers + 32 * request
    this.view.setUint32(header, type, true)
    // Sectors all over the disk.
    this.view.setUint32(header + 8, ((request * 7919) % (diskBytes / bytes)) * (bytes / 512), true)
    this.#descriptor(head, ringRegion + header, 16, next)
    this.#descriptor(head + 1, payloadRegion + request * bytes, bytes, next | (type === 0 ? writes : 0))
    this.#descriptor(head + 2, ringRegion + header + 16, 1, writes)
  }

  #descriptor(index, address, length, flags) {
    const at = ring.descriptorArea + 16 * index
    this.view.setBigUint64(at, BigInt(address), true)
    this.view.setUint32(at + 8, length, true)
    this.view.setUint16(at + 12, flags, true)
    this.view.setUint16(at + 14, index + 1, true)
  }

  /** All requests once more. */
  round() {
    const { u16, depth, size } = this
    const driver = ring.driverArea / 2
    for (let request = 0; request < depth; request++) u16[driver + 2 + ((this.available + request) & (size - 1))] = 3 * request
    this.available = (this.available + depth) & 0xffff
    u16[driver + 1] = this.available
    // Wants to hear of the last one.
    u16[driver + 2 + size] = this.available - 1
    this.control.notifyAvailable(0)
    if (u16[ring.deviceArea / 2 + 1] !== this.available) throw new Error('requests are not complete')
  }

  check(bytes, expected) {
    for (let request = 0; request < this.depth; request++) {
      if (this.bytes[headers + 32 * request + 16] !== 0) throw new Error(`request ${request} failed`)
      if (
        expected !== undefined &&
        this.bytes.subarray(payloads + request * bytes, payloads + (request + 1) * bytes).some((byte) => byte !== expected)
      )
        throw new Error(`request ${request} read something else`)
    }
  }
}

const zeroes = () => new ZeroBackend(diskBytes)
const ram = () => new RamBackend(new Uint8Array(diskBytes).fill(0x5a))
const sizes = [
  [4096, 1],
  [4096, 32],
  [4096, 128],
  [65536, 32],
  [2 ** 20, 8],
]
const rows = [
  ...sizes.map(([bytes, depth]) => ({ name: `null read ${bytes} depth ${depth}`, backend: zeroes, bytes, depth, type: 0, expected: 0 })),
  { name: 'null write 4096 depth 32', backend: zeroes, bytes: 4096, depth: 32, type: 1 },
  ...sizes.map(([bytes, depth]) => ({ name: `ram read ${bytes} depth ${depth}`, backend: ram, bytes, depth, type: 0, expected: 0x5a })),
  { name: 'ram write 4096 depth 32', backend: ram, bytes: 4096, depth: 32, type: 1 },
].filter(({ name }) => name.includes(options.only))

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

function sample(disk, requests) {
  const rounds = Math.ceil(requests / disk.depth)
  const begin = process.hrtime.bigint()
  for (let round = 0; round < rounds; round++) disk.round()
  return Number(process.hrtime.bigint() - begin) / (rounds * disk.depth)
}

/** What filling or copying the payload alone takes. */
function floorOf({ backend, bytes, depth, type }, requests) {
  const memory = new Uint8Array(payloads + depth * bytes)
  const { bytes: disk } = backend()
  const pieces = Array.from({ length: depth }, (_, request) => memory.subarray(payloads + request * bytes, payloads + (request + 1) * bytes))
  const blocks = disk && pieces.map((_, request) => disk.subarray(((request * 7919) % (diskBytes / bytes)) * bytes).subarray(0, bytes))
  const rounds = Math.ceil(requests / depth)
  const begin = process.hrtime.bigint()
  for (let round = 0; round < rounds; round++)
    for (let request = 0; request < depth; request++)
      if (disk === undefined) type === 0 && pieces[request].fill(0)
      else if (type === 0) pieces[request].set(blocks[request])
      else blocks[request].set(pieces[request])
  return Number(process.hrtime.bigint() - begin) / (rounds * depth)
}

const requests = wholeNumber(options, 'requests', usage)
const samples = wholeNumber(options, 'samples', usage)
const costOf = ({ bytes }) => Math.ceil(requests / Math.max(1, bytes / 16384))
const measured = rows.map((row) => ({ row, disk: new Disk(row), times: [], floors: [] }))
for (let turn = -2; turn < samples; turn++)
  for (const { row, disk, times, floors } of measured) {
    const time = sample(disk, costOf(row))
    const floor = floorOf(row, costOf(row))
    if (turn < 0) continue
    times.push(time)
    floors.push(floor)
  }
for (const { row, disk } of measured) disk.check(row.bytes, row.expected)
const table = measured.map(({ row, times, floors }) => ({
  name: row.name,
  nanoseconds: median(times),
  least: Math.min(...times),
  payload: median(floors),
}))
if (options.json) console.log(JSON.stringify({ node: process.version, rows: table }))
else
  for (const { name, nanoseconds, least, payload } of table)
    console.log(
      `${name.padEnd(28)} ${nanoseconds.toFixed(0).padStart(8)} ns a request, least ${least.toFixed(0)}; its payload alone ${payload.toFixed(0)}`,
    )
