/** `npm run fuzz`: the two sides of a virtqueue against another one that does whatever it likes. */
import { parseArgs } from 'node:util'
import { createDeviceQueue } from '../runtime/device-queue.ts'
import { createDriverQueue } from '../runtime/driver-queue.ts'
import { runCampaign, type Summary } from './campaign.ts'
import { Executions, FailedExecution, type Format, isRace, type Side, type Subjects } from './executions.ts'

const usage = `npm run fuzz -- [--seconds N] [--seed S] [--format split|packed] [--side device|driver] [--json]

  --seconds N   runs for so long, 10 by default
  --seed S      begins with this seed, a random one by default; without --seconds: runs this one execution
  --format F    only this ring format
  --side S      only this side of the queue under test
  --json        prints the summary as JSON`

const subjects: Subjects = { device: createDeviceQueue, driver: createDriverQueue }

function main(): number {
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
  const { seconds = '10', format, side, json } = values
  const seed = values.seed === undefined ? (Math.random() * 2 ** 32) >>> 0 : Number(values.seed)
  const isWrong =
    !(Number(seconds) > 0) ||
    !(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32) ||
    !(format === undefined || isFormat(format)) ||
    !(side === undefined || isSide(side))
  if (values.help || isWrong) {
    console.log(usage)
    return values.help ? 0 : 2
  }
  try {
    if (values.seed !== undefined && values.seconds === undefined) {
      const executions = new Executions(subjects)
      const { trace, violation } = executions.run(seed)
      executions.close()
      console.log(JSON.stringify({ seed, trace, race: isRace(seed), violation: violation ?? null }))
      return 0
    }
    if (!json) console.log(`from seed ${seed}`)
    const summary = runCampaign(subjects, { seconds: Number(seconds), seed, ...(isFormat(format) && { format }), ...(isSide(side) && { side }) })
    console.log(json ? JSON.stringify(summary) : text(summary))
    return 0
  } catch (error) {
    if (!(error instanceof FailedExecution)) throw error
    console.error(error)
    console.error(`again: npm run fuzz -- --seed ${error.seed}`)
    return 1
  }
}

function isFormat(format: string | undefined): format is Format {
  return format === 'split' || format === 'packed'
}

function isSide(side: string | undefined): side is Side {
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
