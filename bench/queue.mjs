// What a chain costs, in ns: the rings of this library, and those of others where they are there.
//
// Workload: queue size 256 n, 256 chains of n descriptors made available at once by one store, 64 MiB of guest memory in one region, buffers 8 KiB apart.
// For each chain: take it, check and translate every descriptor, copy the payload out, use it. All rows run in one process, whose code has served both formats
// and several types of devices before. See docs/performance.md.
import { spawnSync } from 'node:child_process'
import { readOptions, refuse, wholeNumber } from './options.mjs'
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
  --only TEXT      only rows whose label holds the text: split, packed, "round trip", …
  --node FILE      runs in another Node
  --by min         ratios of least times, for a busy machine (median)
  --markdown       prints tables
  --json           prints one JSON object

Times are for one chain. Labels and the workload are explained in docs/performance.md.`

const options = readOptions(usage, {
  rounds: { type: 'string', default: '200' },
  samples: { type: 'string', default: '11' },
  peers: { type: 'string' },
  only: { type: 'string' },
  node: { type: 'string' },
  by: { type: 'string', default: 'median' },
  markdown: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
})

/** Rounds before the first sample, three times of each row: enough for the optimizing compiler to have settled. */
const warmRounds = 60
/** Rounds in which allocations are counted: few enough that nothing is collected. */
const countedRounds = 2

async function main() {
  const rounds = wholeNumber(options, 'rounds', usage)
  const samples = wholeNumber(options, 'samples', usage)
  if (!['median', 'min'].includes(options.by)) refuse(`--by takes median or min, not ${options.by}`, usage)
  if (!sections().some(({ rows }) => rows.some(isWanted))) refuse(`no row has ${options.only} in its label`, usage)
  const peers = options.peers === undefined ? undefined : peersIn(options.peers, rounds)
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
    // Who runs right behind another program pays for what that left in the caches: nobody who is measured.
    for (const row of rows.slice(0, 12)) row.sample(rounds)
    for (const row of rows) row.times.push(row.sample(rounds))
  }
  for (const row of rows) row.bytes = Number.POSITIVE_INFINITY
  // What allocates is looked at again after the others: the engine may still have been at work on the code.
  for (let i = 0; i < 3; i++)
    for (const row of rows) if (row.bytes > 0) row.bytes = Math.min(row.bytes, bytesPerCall(row.round, countedRounds) / batch)
}

function peersIn(folder, rounds) {
  try {
    return findPeers(folder, rounds)
  } catch (error) {
    if (error instanceof RangeError) refuse(error.message, usage)
    throw error
  }
}

function isWanted(row) {
  return options.only === undefined || labelOf(row).includes(options.only)
}

function runIn(node) {
  const words = process.argv.slice(2)
  const rest = words.filter((word, i) => !word.startsWith('--node') && words[i - 1] !== '--node')
  const { status, error } = spawnSync(node, [import.meta.filename, ...rest], { stdio: 'inherit' })
  if (error !== undefined) refuse(`${node} does not run: ${error.message}`, usage)
  return status ?? 1
}

if (options.node !== undefined) process.exitCode = runIn(options.node)
else await main()
