// What each step of a chain's life costs, with tinybench: npm run bench -- [--only TEXT] [--time MS] [--json]. For the whole workload beside others see queue.mjs.
import { Bench } from 'tinybench'
import { structs, walks } from './accessors.mjs'
import { readOptions, refuse, wholeNumber } from './options.mjs'
import { bytesPerCall } from './queue/allocation.mjs'
import { now, withoutClock } from './queue/clock.mjs'
import { batch, GuestBytes } from './queue/guest.mjs'
import { formats } from './queue/library.mjs'
import { deviceSteps, driverSteps, roundTripSteps } from './queue/steps.mjs'
import { warmUp } from './queue/warm-up.mjs'

const usage = `npm run bench -- [options]

  --only TEXT   only rows whose name holds the text: device, driver, packed, "n=4 ", …
  --time MS     how long each row is measured (200)
  --json        one JSON object`

const options = readOptions(usage, { only: { type: 'string' }, time: { type: 'string', default: '200' }, json: { type: 'boolean' } })
const time = wholeNumber(options, 'time', usage)
const counts = [1, 2, 4, 16]

/** Every row: its name, the step (which says how long its part took, in ms), and how many chains or structs that was. */
function* rows() {
  const guest = new GuestBytes()
  const shapes = (of) => of.flatMap((format) => counts.map((n) => ({ format, n })))
  for (const { format, n } of shapes(formats)) yield* named(`device ${format} n=${n}`, deviceSteps(guest, { format, n }))
  for (const { format, n } of shapes(formats)) yield* named(`driver ${format} n=${n}`, driverSteps(guest, { format, n }))
  for (const { format, n } of shapes(formats)) yield* named(`round trip ${format} n=${n}`, roundTripSteps(guest, { format, n }))
  for (const [name, walk] of Object.entries(walks)) yield { name: `struct of 4 fields, ${name}`, step: timed(walk), of: structs }
}

function* named(prefix, steps) {
  for (const [name, step] of Object.entries(steps)) yield { name: `${prefix} ${name}`, step, of: batch }
}

/** The sums that the walks give, so that the engine cannot leave them out. */
let sum = 0
function timed(walk) {
  return () => {
    const started = now()
    sum += walk()
    return now() - started
  }
}

async function measure(wanted) {
  const bench = new Bench({ time, warmupTime: 50 })
  for (const { name, step } of wanted) bench.add(name, () => ({ overriddenDuration: step() }))
  await bench.run()
  return wanted.map(({ name, step, of }, i) => {
    const { latency, error } = bench.tasks[i].result
    if (error) throw error
    const ns = (milliseconds) => (milliseconds * 1e6) / of
    return {
      name,
      median: ns(latency.p50),
      min: ns(latency.min),
      p99: ns(latency.p99),
      samples: latency.samplesCount,
      bytes: withoutClock(() => bytesPerCall(step, 2)) / of,
    }
  })
}

function print(results) {
  const width = Math.max(...results.map(({ name }) => name.length))
  console.log(`node ${process.versions.node}, ${process.arch}: ns for a chain (or struct), and bytes that it allocates on the heap`)
  for (const { name, median, min, p99, bytes } of results) {
    const columns = [median, min, p99].map((time) => time.toFixed(1).padStart(8)).join(' ')
    console.log(`${name.padEnd(width)}  median, min, p99 ${columns}   ${bytes.toFixed(2).padStart(8)} bytes`)
  }
}

await warmUp()
const wanted = [...rows()].filter(({ name }) => options.only === undefined || name.includes(options.only))
if (wanted.length === 0) refuse(`no row has ${options.only} in its name`, usage)
const results = await measure(wanted)
if (options.json) console.log(JSON.stringify({ node: process.versions.node, architecture: process.arch, results }, undefined, 2))
else print(results)
if (Number.isNaN(sum)) throw new Error('the structs hold no numbers')
