// What a chain costs, in ns: the rings of this library, and those of others where they are there.
//
// Workload: queue size 256 n, 256 chains of n descriptors made available at once by one store, 64 MiB of guest memory in one region, buffers 8 KiB apart.
// For each chain: take it, check and translate every descriptor, copy the payload out, use it. All rows run in one process, whose code has served both formats
// and several types of devices before. See docs/performance.md.
import { spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { aimOf, packedAimOf } from './queue/aims.mjs'
import { bytesPerCall } from './queue/allocation.mjs'
import { batch, GuestBytes } from './queue/guest.mjs'
import { findPeers } from './queue/peers.mjs'
import { labelOf, sections } from './queue/rows.mjs'
import { summary } from './queue/statistics.mjs'
import { warmUp } from './queue/warm-up.mjs'

const usage = `npm run bench:queue -- [options]

  --rounds N       batches of 256 chains in a sample (200)
  --samples N      samples of each row (11)
  --peers FOLDER   a folder with ring and rust-queue-bench, or their sources: they run between our samples, and rows show their ratio to virtio-queue's pop
  --only TEXT      only rows whose label holds the text
  --node FILE      runs in another Node
  --by min         ratios of least times, for a busy machine; default: of medians
  --json           one JSON object`

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '200' },
    samples: { type: 'string', default: '11' },
    peers: { type: 'string' },
    only: { type: 'string' },
    node: { type: 'string' },
    by: { type: 'string', default: 'median' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

/** Rounds before the first sample: enough for the optimizing compiler to have settled. */
const warmRounds = 60

async function main() {
  const rounds = count('rounds')
  const samples = count('samples')
  const guest = new GuestBytes()
  const peers = options.peers === undefined ? undefined : findPeers(options.peers, rounds)
  await warmUp()
  const all = sections().map(({ heading, rows }) => ({
    heading,
    rows: rows.filter(isWanted).map((row) => ({ ...row, ...row.make(guest, row), times: [] })),
  }))
  const rows = all.flatMap((section) => section.rows)
  for (let i = 0; i < 3; i++) for (const row of rows) row.sample(warmRounds)
  for (let i = 0; i < samples; i++) {
    peers?.run()
    for (const row of rows) row.times.push(row.sample(rounds))
  }
  for (const row of rows) row.bytes = bytesPerCall(row.round, 4) / batch
  if (options.json) console.log(JSON.stringify(report(all, peers), undefined, 2))
  else print(all, peers)
}

function count(name) {
  const value = Number(options[name])
  if (!(Number.isInteger(value) && value > 0)) throw new RangeError(`--${name} takes a whole number from 1, not ${options[name]}`)
  return value
}

function isWanted(row) {
  return options.only === undefined || labelOf(row).includes(options.only)
}

function timeOf(row) {
  return summary(row.times)[options.by]
}

function line(label, { n, payload }, times) {
  const { median, min, max } = summary(times)
  const figures = `median ${median.toFixed(1)}  min ${min.toFixed(1)}  max ${max.toFixed(1)} ns/chain`
  return `${label} n=${String(n).padEnd(2)} payload=${String(payload).padEnd(4)}  ${figures}`
}

/** How a row stands to its aims: `0.56 of rust's (aim 0.75, floor 1.0)`. */
function judgements(row, rows, peers) {
  const found = []
  const other = peers?.time(row.n, row.payload, options.by)
  if (other !== undefined) found.push({ to: 'rust', ratio: timeOf(row) / other, ...aimOf(row) })
  if (row.format === 'packed' && row.variant === undefined) {
    const split = rows.find(
      (one) => one.format === 'split' && one.variant === undefined && one.corked === row.corked && one.n === row.n && one.payload === row.payload,
    )
    if (split) found.push({ to: 'split', ratio: timeOf(row) / timeOf(split), aim: packedAimOf(row) })
  }
  return found
}

function verdict({ ratio, aim, floor }) {
  if (aim === undefined) return ''
  const told = floor === undefined ? `aim ${aim}` : `aim ${aim}, floor ${floor}`
  return ` (${told}${ratio <= aim ? '' : ratio <= (floor ?? aim) ? ': MISSED' : ': BELOW FLOOR'})`
}

function print(all, peers) {
  const rows = all.flatMap((section) => section.rows)
  console.log(`node ${process.versions.node}, ${process.arch}`)
  for (const { heading, rows: some } of all) {
    if (some.length === 0) continue
    console.log(`\n# ${heading}`)
    const width = Math.max(...some.map((row) => labelOf(row).length), 'virtgen packed'.length)
    for (const row of some) {
      const judged = judgements(row, rows, peers).map((one) => `  ${one.ratio.toFixed(2)} x ${one.to}${verdict(one)}`)
      console.log(line(labelOf(row).padEnd(width), row, row.times) + judged.join(''))
    }
  }
  if (peers) {
    console.log('\n# others')
    const width = Math.max(...peers.rows.map(({ label }) => label.length))
    for (const row of peers.rows) console.log(line(row.label.padEnd(width), row, row.samples))
  }
  console.log('\n# allocated on the heap, steady state')
  const width = Math.max(...rows.map((row) => labelOf(row).length))
  for (const row of rows)
    console.log(
      `${labelOf(row).padEnd(width)} n=${String(row.n).padEnd(2)} payload=${String(row.payload).padEnd(4)}  ${row.bytes.toFixed(2)} bytes/chain`,
    )
}

function report(all, peers) {
  const rows = all.flatMap((section) => section.rows)
  const { rounds, samples } = options
  return {
    node: process.versions.node,
    architecture: process.arch,
    rounds: Number(rounds),
    samples: Number(samples),
    sections: all.map(({ heading, rows: some }) => ({
      heading,
      rows: some.map((row) => ({
        label: labelOf(row),
        n: row.n,
        payload: row.payload,
        ...summary(row.times),
        bytesPerChain: row.bytes,
        ratios: judgements(row, rows, peers),
      })),
    })),
    peers: peers?.rows.map(({ label, n, payload, samples: times }) => ({ label, n, payload, ...summary(times) })) ?? [],
  }
}

if (options.help) console.log(usage)
else if (options.node !== undefined) {
  const passed = process.argv.slice(2).filter((word, i, words) => word !== '--node' && words[i - 1] !== '--node' && !word.startsWith('--node='))
  process.exitCode = spawnSync(options.node, [import.meta.filename, ...passed], { stdio: 'inherit' }).status ?? 1
} else await main()
