// What a network card of `virtgen serve` gives to DPDK's virtio driver, beside DPDK's own vhost back-end, in turn: packets of 64 bytes, split and packed rings.
//
// Both ends of DPDK spin, each on a processor of its own; `virtgen serve` waits, or spins with --spin. See docs/performance.md.
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { readOptions, refuse, wholeNumber } from './options.mjs'
import { BackEnd, ours } from './vhost-user/back-end.mjs'
import { Testpmd } from './vhost-user/testpmd.mjs'

const usage = `npm run bench:vhost-user-net -- [options]

  --rounds N    of all rows (5)
  --seconds N   of each measurement (5)
  --spin US     what virtgen serve is given (100)
  --only WORDS  rows whose names hold these words
  --json        prints one JSON object`

const options = readOptions(usage, {
  rounds: { type: 'string', default: '5' },
  seconds: { type: 'string', default: '5' },
  spin: { type: 'string', default: '100' },
  only: { type: 'string', default: '' },
  json: { type: 'boolean', default: false },
})
const say = (text) => console.error(text)
const size = 64
const folder = mkdtempSync(join(tmpdir(), 'virtgen-bench-'))
const last = cpus().length - 1

/** What the driver does, what DPDK's back-end does, ours, and in which direction the driver counts. */
const kinds = [
  { name: 'sent into nothing', front: 'txonly', peer: 'rxonly', words: ['--sink'], direction: 'Tx' },
  { name: 'sent and sent back', front: 'flowgen', peer: 'io', words: ['--echo'], direction: 'Rx' },
]
const rings = [
  { name: 'split', device: '' },
  { name: 'packed', device: ',packed_vq=1' },
]
const rows = kinds.flatMap((kind) => rings.map((ring) => ({ kind, ring, name: `${size} bytes ${kind.name}, ${ring.name}`, samples: [] })))

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]

async function drive({ kind, ring }, socket, seconds) {
  for (let tries = 0; !existsSync(socket) && tries < 400; tries++) await wait(25)
  const device = `net_virtio_user0,path=${socket},queue_size=256${ring.device}`
  const front = new Testpmd({ name: 'front', device, mode: kind.front, size, processor: last }, say)
  await wait((seconds + 3) * 1000)
  await front.end()
  const rates = front.rates(kind.direction)
  if (rates.length === 0) throw new Error(`nothing was sent:\n${front.output}`)
  return median(rates)
}

async function against(row, seconds) {
  const socket = join(folder, 'peer')
  const back = new Testpmd({ name: 'back', device: `net_vhost0,iface=${socket},queues=1`, mode: row.kind.peer, size, processor: 0 }, say)
  try {
    return await drive(row, socket, seconds)
  } finally {
    await back.end()
    rmSync(socket, { force: true })
  }
}

async function withOurs(row, seconds) {
  const back = new BackEnd('virtgen serve net', ours('net', ...row.kind.words, '--spin', options.spin), join(folder, 'ours'))
  try {
    await back.ready()
    return await drive(row, back.socket, seconds)
  } finally {
    await back.end()
    rmSync(back.socket, { force: true })
  }
}

try {
  const rounds = wholeNumber(options, 'rounds', usage)
  const seconds = wholeNumber(options, 'seconds', usage, 2)
  wholeNumber(options, 'spin', usage, 0)
  const chosen = rows.filter(({ name }) => name.includes(options.only))
  if (chosen.length === 0) refuse(`no row has "${options.only}" in its name`, usage)
  for (let turn = 0; turn < rounds; turn++)
    for (const row of chosen) row.samples.push({ theirs: await against(row, seconds), ours: await withOurs(row, seconds) })
  const table = chosen.map(({ name, samples }) => {
    const ratios = samples.map(({ theirs, ours }) => ours / theirs)
    const [theirs, ours_] = ['theirs', 'ours'].map((side) => median(samples.map((sample) => sample[side])))
    return { name, theirs, ours: ours_, ratio: ours_ / theirs, least: Math.min(...ratios), most: Math.max(...ratios) }
  })
  if (options.json) console.log(JSON.stringify({ node: process.version, processor: cpus()[0]?.model, rounds, rows: table }))
  else
    for (const { name, theirs, ours, ratio, least, most } of table)
      console.log(
        `${name.padEnd(40)} DPDK ${theirs.toFixed(2)} M/s | virtgen ${ours.toFixed(2)} M/s | ${ratio.toFixed(3)} x (${least.toFixed(3)} to ${most.toFixed(3)})`,
      )
} finally {
  rmSync(folder, { recursive: true, force: true })
}
