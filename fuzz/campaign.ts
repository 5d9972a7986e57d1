/** Many executions, one seed after the other. */
import type { ViolationKind } from '../runtime/violation.ts'
import { Executions, type Format, formatOf, isRace, type Result, type Side, type Subjects, sideOf } from './executions.ts'
import { Watchdog } from './watchdog.ts'

export interface CampaignOptions {
  readonly seconds: number
  /** The seed to begin with, 32 bits; the others follow it. */
  readonly seed: number
  /** Only this ring format. */
  readonly format?: Format
  /** Only this side of the queue. */
  readonly side?: Side
}

export interface Summary {
  /** First and last seed. */
  readonly from: number
  readonly to: number
  readonly seconds: number
  readonly executions: number
  /** Those of them in which another thread changed memory. */
  readonly races: number
  /** How many executions ended with a violation of that kind; `none`: with none. */
  readonly violations: Readonly<Partial<Record<ViolationKind | 'none', number>>>
  /** The execution that took longest, in milliseconds. */
  readonly slowest: { readonly seed: number; readonly milliseconds: number }
}

/**
 * Runs executions until the time is over.
 *
 * @throws FailedExecution for the first one that fails
 */
export function runCampaign(subjects: Subjects, { seconds, seed, format, side }: CampaignOptions): Summary {
  const executions = new Executions(subjects)
  const violations: Partial<Record<ViolationKind | 'none', number>> = {}
  const watchdog = new Watchdog()
  // Wrong calls of our own user throw by the thousand, and nobody looks at where.
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  const began = performance.now()
  let slowest = { seed, milliseconds: 0 }
  let count = 0
  let races = 0
  let to = seed
  try {
    for (let now = began, next = seed; now - began < seconds * 1000; next = (next + 1) >>> 0) {
      if ((format !== undefined && formatOf(next) !== format) || (side !== undefined && sideOf(next) !== side)) continue
      watchdog.watch(next)
      const kind = run(executions, next, stackTraceLimit).violation?.kind ?? 'none'
      violations[kind] = (violations[kind] ?? 0) + 1
      count++
      if (isRace(next)) races++
      to = next
      const then = now
      now = performance.now()
      if (now - then > slowest.milliseconds) slowest = { seed: next, milliseconds: now - then }
    }
  } finally {
    Error.stackTraceLimit = stackTraceLimit
    watchdog.stop()
    executions.close()
  }
  return { from: seed, to, seconds: (performance.now() - began) / 1000, executions: count, races, violations, slowest }
}

/** One that fails is run again, for where it fails: it fails there again, unless it is a race. */
function run(executions: Executions, seed: number, stackTraceLimit: number): Result {
  try {
    return executions.run(seed)
  } catch (error) {
    Error.stackTraceLimit = stackTraceLimit
    executions.run(seed)
    throw error
  }
}
