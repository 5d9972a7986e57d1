/** `npm run fuzz`: the two sides of a virtqueue against another one that does whatever it likes. */
import { parseArgs } from 'node:util'
import { createDeviceQueue } from '../runtime/device-queue.ts'
import { createDriverQueue } from '../runtime/driver-queue.ts'
import { runCampaign, type Summary } from './campaign.ts'
import { Executions, FailedExecution, type Format, formatOf, isRace, type Side, type Subjects, sideOf } from './executions.ts'
import { Watchdog } from './watchdog.ts'

const usage = `npm run fuzz -- [options]

  --seconds N   runs executions for so long (10)
  --seed S      begins with this seed, by default a random one; without --seconds: runs this one execution
  --format F    only this ring format: split or packed
  --side S      only this side of the queue under test: device or driver
  --json        prints one JSON object

Ends with 0 if nothing was found, and with 1 at the first execution that fails: its seed brings it back. What is checked stands in docs/hostile-peer.md.`

const subjects: Subjects = { device: createDeviceQueue, driver: createDriverQueue }

interface Options {
  /** Absent: the one execution of the seed. */
  readonly seconds: number | undefined
  readonly seed: number
  readonly format: Format | undefined
  readonly side: Side | undefined
  readonly json: boolean
  readonly help: boolean
}

/** @throws TypeError or RangeError, which say what is wrong */
function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string' },
      seed: { type: 'string' },
      format: { type: 'string' },
      side: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  const { format, side, json, help } = values
  const isOne = values.seed !== undefined && values.seconds === undefined
  const seconds = isOne ? undefined : Number(values.seconds ?? '10')
  const seed = values.seed === undefined ? (Math.random() * 2 ** 32) >>> 0 : Number(values.seed)
  if (seconds !== undefined && !(seconds > 0)) throw new RangeError(`--seconds takes a number above 0, not ${values.seconds}`)
  if (!(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32))
    throw new RangeError(`--seed takes a whole number from 0 to ${2 ** 32 - 1}, not ${values.seed}`)
  if (format !== undefined && !isFormat(format)) throw new RangeError(`--format takes split or packed, not ${format}`)
  if (side !== undefined && !isSide(side)) throw new RangeError(`--side takes device or driver, not ${side}`)
  if (isOne && (format !== undefined || side !== undefined)) throw new RangeError('a seed alone is of one format and side: give --seconds as well')
  return { seconds, seed, format, side, json, help }
}

function main(): number {
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
    if (options.seconds === undefined) runOne(options)
    else runMany(options, options.seconds)
    return 0
  } catch (error) {
    if (!(error instanceof FailedExecution)) throw error
    if (options.json) console.log(JSON.stringify({ failed: { seed: error.seed, message: error.message } }))
    console.error(error)
    console.error(`again: npm run fuzz -- --seed ${error.seed}`)
    return 1
  }
}

function runOne({ seed, json }: Options): void {
  const executions = new Executions(subjects)
  const watchdog = new Watchdog()
  watchdog.watch(seed)
  const { trace, violation = null } = executions.run(seed)
  watchdog.stop()
  executions.close()
  const result = { seed, format: formatOf(seed), side: sideOf(seed), race: isRace(seed), trace, violation }
  const found = violation === null ? 'no violation' : `${violation.kind}: ${violation.detail}`
  const kind = `${result.format} virtqueue, side of the ${result.side}${result.race ? ', a race with another thread' : ''}`
  console.log(json ? JSON.stringify(result) : `seed ${seed}: ${kind}; ${found}; nothing failed`)
}

function runMany({ seed, format, side, json }: Options, seconds: number): void {
  if (!json) console.log(`from seed ${seed}`)
  const summary = runCampaign(subjects, { seconds, seed, ...(format && { format }), ...(side && { side }) })
  console.log(json ? JSON.stringify(summary) : text(summary))
}

function isFormat(format: string): format is Format {
  return format === 'split' || format === 'packed'
}

function isSide(side: string): side is Side {
  return side === 'device' || side === 'driver'
}

function text({ executions, races, seconds, violations, slowest, from, to }: Summary): string {
  const kinds = Object.entries(violations).sort(([, a], [, b]) => b - a)
  return [
    ...kinds.map(([kind, count]) => `${kind.padEnd(24)} ${String(count).padStart(10)}`),
    `${executions} executions, ${races} of them races with another thread, in ${seconds.toFixed(1)} s, seeds ${from} to ${to}; the slowest took ${slowest.milliseconds.toFixed(1)} ms (seed ${slowest.seed})`,
  ].join('\n')
}

process.exitCode = main()
