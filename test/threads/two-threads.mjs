/**
 * Driver and device in two threads over one SharedArrayBuffer: every combination of format, VIRTIO_F_EVENT_IDX, indirect descriptors and VIRTIO_F_IN_ORDER, with the
 * driver in the worker and with the device in it. Both sleep when they have nothing to do, so that a lost notification ends the run, with the state of the ring.
 * Runs what is in `dist`, on any Node that the package supports.
 */
import { once } from 'node:events'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { readOptions, refuse, wholeNumber } from '../../bench/options.mjs'
import { combinations } from './combinations.mjs'
import { DeviceSide } from './device-side.mjs'
import { Stopped, stop, words } from './doorbell.mjs'
import { DriverSide } from './driver-side.mjs'
import { memoryBytes, prepareRing } from './layout.mjs'
import { describeRing } from './ring-words.mjs'

const usage = `npm run test:threads -- [options]

  --chains N      chains of a combination with a large queue; small queues take long and get a part of them (1000000)
  --seed N        chooses queue sizes and chains; by default one that is printed
  --patience MS   how long a side sleeps before a notification counts as lost (20000)
  --only TEXT     only combinations whose name holds the text: packed, event-index, worker=driver, …
  --json          prints one JSON object`

/** Runs one side to its end. What it throws is told to the other side and is part of the outcome. */
function runSide(role, { run, memory, control }) {
  let side
  try {
    side = role === 'driver' ? new DriverSide(run, memory, control) : new DeviceSide(run, memory, control)
    side.serve()
    return { role, report: side.report }
  } catch (error) {
    stop(control)
    return { role, report: side?.report, failure: error instanceof Stopped ? undefined : `${error.stack}`, stopped: true }
  }
}

async function runCombination(run) {
  const memory = new SharedArrayBuffer(memoryBytes)
  if (run.start !== 0) prepareRing(memory, run)
  const control = new Int32Array(new SharedArrayBuffer(words.count * 4))
  const shared = { run, memory, control }
  const worker = new Worker(new URL(import.meta.url), { workerData: { role: run.worker, shared } })
  const theirs = once(worker, 'message')
  await once(worker, 'online')
  const started = performance.now()
  // This thread sleeps like the worker, in Atomics.wait, and hears nothing else until it is done.
  const mine = runSide(run.worker === 'driver' ? 'device' : 'driver', shared)
  const milliseconds = performance.now() - started
  const [other] = await theirs
  const outcomes = [mine, other]
  const device = outcomes.find(({ role }) => role === 'device')
  const driver = outcomes.find(({ role }) => role === 'driver')
  const failed = outcomes.some((outcome) => outcome.stopped)
  return { run, milliseconds, device, driver, failed, ring: failed ? describeRing(memory, run) : undefined }
}

function print({ run, milliseconds, device, driver, failed, ring }) {
  const sleeps = `slept ${driver.report?.slept} + ${device.report?.slept}, notifications ${driver.report?.notifications} + ${device.report?.notifications}`
  console.log(`${failed ? 'FAILED ' : ''}${run.name}: ${run.chains} chains in ${(milliseconds / 1000).toFixed(2)} s, driver + device: ${sleeps}`)
  if (!failed) return
  for (const { role, report, failure } of [driver, device]) console.log(`  ${role}: ${failure ?? 'stopped'}\n  ${JSON.stringify(report)}`)
  console.log(ring)
}

async function main() {
  const values = readOptions(usage, {
    chains: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: `${Date.now() % 1_000_000}` },
    patience: { type: 'string', default: '20000' },
    only: { type: 'string', default: '' },
    json: { type: 'boolean', default: false },
  })
  const number = (name, least) => wholeNumber(values, name, usage, least)
  const settings = { chains: number('chains', 1), seed: number('seed', 0), patience: number('patience', 1) }
  const runs = combinations(settings).filter(({ name }) => name.includes(values.only))
  if (runs.length === 0) refuse(`no combination has ${values.only} in its name`, usage)
  const results = []
  for (const run of runs) {
    const result = await runCombination(run)
    results.push(result)
    if (!values.json) print(result)
    if (result.failed) break
  }
  const failed = results.some((result) => result.failed)
  if (values.json) console.log(JSON.stringify({ node: process.version, ...settings, results }))
  else {
    const chains = results.reduce((sum, { device }) => sum + (device.report?.completed ?? 0), 0)
    const verdict = failed ? 'FAILED' : 'no notification lost'
    console.log(`Node ${process.version}, seed ${settings.seed}: ${results.length} of ${runs.length} combinations, ${chains} chains, ${verdict}`)
  }
  process.exitCode = failed ? 1 : 0
}

if (isMainThread) await main()
else parentPort.postMessage(runSide(workerData.role, workerData.shared))
