// What a chain costs, in ns: the rings of this library, and those of others where they are there.
//
// Workload: queue size 256 n, 256 chains of n descriptors made available at once by one store, 64 MiB of guest memory in one region, buffers 8 KiB apart.
// For each chain: take it, check and translate every descriptor, copy the payload out, use it. All rows run in one process, whose code has served both formats
// and several types of devices before. See docs/performance.md.
import { spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { bytesPerCall } from './queue/allocation.mjs'
import { batch, GuestBytes } from './queue/guest.mjs'
import { findPeers } from './queue/peers.mjs'
import { Report } from './queue/report.mjs'
import { labelOf, sections } from './queue/rows.mjs'
import { warmUp } from './queue/warm-up.mjs'

const usage = `npm run bench:queue -- [options]

  --rounds N       batches of 256 chains in a sample (200)
  --samples N      samples of each row (11)
  --peers FOLDER   a folder with ring and rust-queue-bench, or their sources: they run between our samples, and rows show their ratio to virtio-queue's pop
  --only TEXT      only rows whose label holds the text
  --node FILE      runs in another Node
  --by min         ratios of least times, for a busy machine; default: of medians
  --markdown       prints tables
  --json           prints one JSON object`

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '200' },
    samples: { type: 'string', default: '11' },
    peers: { type: 'string' },
    only: { type: 'string' },
    node: { type: 'string' },
    by: { type: 'string', default: 'median' },
    markdown: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

/** Rounds before the first sample, three times of each row: enough for the optimizing compiler to have settled. */
const warmRounds = 60
/** Rounds in which allocations are counted: few enough that nothing is collected. */
const countedRounds = 2

async function main() {
  const rounds = count('rounds')
  const samples = count('samples')
  if (!['median', 'min'].includes(options.by)) throw new RangeError(`--by takes median or min, not ${options.by}`)
  const peers = options.peers === undefined ? undefined : findPeers(options.peers, rounds)
  await warmUp()
  const guest = new GuestBytes()
  const found = sections().map(({ heading, rows }) => ({
    heading,
    rows: rows.filter(isWanted).map((row) => ({ ...row, ...row.make(guest, row), times: [] })),
  }))
  measure(
    found.flatMap((section) => section.rows),
    { rounds, samples, peers },
  )
  const report = new Report(found, peers, options.by)
  console.log(options.json ? JSON.stringify(report.json(), undefined, 2) : options.markdown ? report.markdown() : report.text())
}

/** Everybody takes turns, so that all see the same noise. */
function measure(rows, { rounds, samples, peers }) {
  for (let i = 0; i < 3; i++) for (const row of rows) row.sample(warmRounds)
  for (let i = 0; i < samples; i++) {
    peers?.run()
    for (const row of rows) row.times.push(row.sample(rounds))
  }
  for (const row of rows) row.bytes = Number.POSITIVE_INFINITY
  // What allocates is looked at again after the others: the engine may still have been at work on the code.
  for (let i = 0; i < 3; i++)
    for (const row of rows) if (row.bytes > 0) row.bytes = Math.min(row.bytes, bytesPerCall(row.round, countedRounds) / batch)
}

function count(name) {
  const value = Number(options[name])
  if (!(Number.isInteger(value) && value > 0)) throw new RangeError(`--${name} takes a whole number from 1, not ${options[name]}`)
  return value
}

function isWanted(row) {
  return options.only === undefined || labelOf(row).includes(options.only)
}

function runIn(node) {
  const words = process.argv.slice(2)
  const rest = words.filter((word, i) => !word.startsWith('--node') && words[i - 1] !== '--node')
  return spawnSync(node, [import.meta.filename, ...rest], { stdio: 'inherit' }).status ?? 1
}

if (options.help) console.log(usage)
else if (options.node !== undefined) process.exitCode = runIn(options.node)
else await main()
