/** `npm run fuzz`: the two sides of a virtqueue, and devices behind their registers, against another side that does whatever it likes. */
import { parseArgs } from 'node:util'
import { whyNoSystem } from '../hosts/linux/system/index.ts'
import { createDeviceQueue } from '../runtime/device-queue.ts'
import { createDriverQueue } from '../runtime/driver-queue.ts'
import { runCampaign, type Summary, type TargetSummary } from './campaign.ts'
import type { Format, Side, Subjects } from './executions.ts'
import { ProgressLine } from './progress.ts'
import { QueueTarget } from './queue-target.ts'
import { FailedExecution, type Target } from './target.ts'
import { DriverTarget } from './transport/driver-target.ts'
import { TransportTarget, transports } from './transport/transport-target.ts'
import { VhostUserTarget } from './vhost-user/vhost-user-target.ts'
import { Watchdog } from './watchdog.ts'

const driverTarget = 'driver-registers'
const vhostUserTarget = 'vhost-user'
const names: readonly string[] = ['queue', ...Object.keys(transports), driverTarget, ...(whyNoSystem() === undefined ? [vhostUserTarget] : [])]
const targetList = names.join(', ')

const usage = `npm run fuzz -- [options]

  --seconds N   runs executions for so long (10)
  --seed S      begins with this seed, by default a random one; without --seconds: runs this one execution
  --target T    only this: ${targetList}; by default all of them in turn
  --format F    only this ring format: split or packed; of queues
  --side S      only this side of the queue under test: device or driver
  --json        prints one JSON object

Ends with 0 if nothing was found, and with 1 at the first execution that fails: its target and seed bring it back. What is checked stands in docs/hostile-peer.md.`

const subjects: Subjects = { device: createDeviceQueue, driver: createDriverQueue }

interface Options {
  /** Absent: the one execution of the seed. */
  readonly seconds: number | undefined
  readonly seed: number
  readonly targets: readonly Target[]
  readonly json: boolean
  readonly help: boolean
}

/** @throws TypeError or RangeError, which say what is wrong */
function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string' },
      seed: { type: 'string' },
      target: { type: 'string' },
      format: { type: 'string' },
      side: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  const { target, format, side, json, help } = values
  const isOne = values.seed !== undefined && values.seconds === undefined
  const seconds = isOne ? undefined : Number(values.seconds ?? '10')
  const seed = values.seed === undefined ? (Math.random() * 2 ** 32) >>> 0 : Number(values.seed)
  if (seconds !== undefined && !(seconds > 0)) throw new RangeError(`--seconds takes a number above 0, not ${values.seconds}`)
  if (!(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32))
    throw new RangeError(`--seed takes a whole number from 0 to ${2 ** 32 - 1}, not ${values.seed}`)
  if (format !== undefined && !isFormat(format)) throw new RangeError(`--format takes split or packed, not ${format}`)
  if (side !== undefined && !isSide(side)) throw new RangeError(`--side takes device or driver, not ${side}`)
  if (target !== undefined && !names.includes(target)) throw new RangeError(`--target takes one of ${targetList}, not ${target}`)
  const isOfQueues = format !== undefined || side !== undefined
  if (isOfQueues && target !== undefined && target !== 'queue') throw new RangeError(`--format and --side are of queues, not of ${target}`)
  if (isOfQueues && isOne) throw new RangeError('a seed alone is of one format and side: give --seconds as well')
  const wanted = target ?? (isOfQueues ? 'queue' : undefined)
  const targets = names.filter((name) => wanted === undefined || name === wanted).map((name) => makeTarget(name, format, side))
  return { seconds, seed, targets, json, help }
}

function makeTarget(name: string, format: Format | undefined, side: Side | undefined): Target {
  if (name === driverTarget) return new DriverTarget()
  if (name === vhostUserTarget) return new VhostUserTarget()
  const transport = transports[name]
  return transport === undefined ? new QueueTarget(subjects, { format, side }) : new TransportTarget(name, transport)
}

function isFormat(format: string): format is Format {
  return format === 'split' || format === 'packed'
}

function isSide(side: string): side is Side {
  return side === 'device' || side === 'driver'
}

async function main(): Promise<number> {
  let options: Options
  try {
    options = readOptions()
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`)
    return 2
  }
  if (options.help) {
    console.log(usage)
    return 0
  }
  try {
    if (options.seconds === undefined) await runOne(options)
    else await runMany(options, options.seconds)
    return 0
  } catch (error) {
    if (!(error instanceof FailedExecution)) throw error
    const { target, seed, message } = error
    if (options.json) console.log(JSON.stringify({ failed: { target, seed, message } }))
    console.error(error)
    console.error(`again: ${error.command}`)
    return 1
  }
}

/** The execution of the seed, for each target. */
async function runOne({ seed, targets, json }: Options): Promise<void> {
  const watchdog = new Watchdog(targets.map(({ name }) => name))
  for (const [index, target] of targets.entries()) {
    watchdog.watch(seed, index)
    const { trace, violation = null, counts = {} } = await target.run(seed)
    target.close?.()
    const about = target.describe?.(seed) ?? {}
    const result = { target: target.name, seed, ...about, trace, violation, counts }
    const found = violation === null ? 'no violation' : `${violation.kind}: ${violation.detail}`
    console.log(json ? JSON.stringify(result) : `${target.name} seed ${seed}: ${[...Object.values(about), found, 'nothing failed'].join('; ')}`)
  }
  watchdog.stop()
}

async function runMany({ seed, targets, json }: Options, seconds: number): Promise<void> {
  if (!json) console.log(`from seed ${seed}`)
  const line = new ProgressLine(seconds)
  let summary: Summary
  try {
    summary = await runCampaign(targets, { seconds, seed, onProgress: (progress) => line.show(progress) })
  } finally {
    line.end()
  }
  console.log(json ? JSON.stringify(summary) : [...summary.targets.map(text), `${summary.seconds.toFixed(1)} s in all`].join('\n'))
}

function text({ target, executions, violations, counts, slowest, from, to }: TargetSummary): string {
  const kinds = Object.entries(violations).sort(([, a], [, b]) => b - a)
  const counted = Object.entries(counts).map(([name, count]) => `, ${count} ${name}`)
  return [
    `${target}: ${executions} executions${counted.join('')}; seeds ${from} to ${to}; the slowest took ${slowest.milliseconds.toFixed(1)} ms (seed ${slowest.seed})`,
    ...kinds.map(([kind, count]) => `  ${kind.padEnd(24)} ${String(count).padStart(10)}`),
  ].join('\n')
}

process.exitCode = await main()
