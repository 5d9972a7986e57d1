/** Many executions, one seed after the other, against one target or several. */
import type { ViolationKind } from '../runtime/violation.ts'
import type { Result, Target } from './target.ts'
import { Watchdog } from './watchdog.ts'

export interface CampaignOptions {
  readonly seconds: number
  /** The seed to begin with, 32 bits; the others follow it. */
  readonly seed: number
  /** Is told how far it is, after each execution. */
  readonly onProgress?: (progress: Progress) => void
}

export interface Progress {
  /** Seconds since the beginning. */
  readonly seconds: number
  readonly executions: number
  readonly target: string
  readonly seed: number
}

/** What the executions against one target came to. */
export interface TargetSummary {
  readonly target: string
  /** First and last seed. */
  readonly from: number
  readonly to: number
  readonly executions: number
  /** How many executions ended with a violation of that kind; `none`: with none. */
  readonly violations: Readonly<Partial<Record<ViolationKind | 'none', number>>>
  /** Sums of what the executions counted. */
  readonly counts: Readonly<Record<string, number>>
  /** The execution that took longest, in milliseconds. */
  readonly slowest: { readonly seed: number; readonly milliseconds: number }
}

export interface Summary {
  readonly seconds: number
  readonly targets: readonly TargetSummary[]
}

/**
 * Runs executions until the time is over, each target for as long as the others.
 *
 * @throws FailedExecution for the first one that fails
 */
export async function runCampaign(targets: readonly Target[], { seconds, seed, onProgress }: CampaignOptions): Promise<Summary> {
  const runs = targets.map((target) => new Run(target, seed))
  const watchdog = new Watchdog(targets.map(({ name }) => name))
  // Wrong calls of our own user throw by the thousand, and nobody looks at where.
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  const began = performance.now()
  let executions = 0
  try {
    for (let now = began; now - began < seconds * 1000; ) {
      const run = runs.reduce((least, other) => (other.milliseconds < least.milliseconds ? other : least))
      watchdog.watch(run.next, runs.indexOf(run))
      await run.execute(stackTraceLimit)
      const then = now
      now = performance.now()
      run.took(now - then)
      onProgress?.({ seconds: (now - began) / 1000, executions: ++executions, target: run.target.name, seed: run.last })
    }
  } finally {
    Error.stackTraceLimit = stackTraceLimit
    watchdog.stop()
    for (const target of targets) target.close?.()
  }
  return { seconds: (performance.now() - began) / 1000, targets: runs.map((run) => run.summary()) }
}

/** The executions against one target. */
class Run {
  readonly target: Target
  readonly #from: number
  next: number
  last: number
  milliseconds = 0
  #executions = 0
  #slowest: TargetSummary['slowest']
  readonly #violations: Partial<Record<ViolationKind | 'none', number>> = {}
  readonly #counts: Record<string, number> = {}

  constructor(target: Target, seed: number) {
    this.target = target
    this.#from = seed
    this.last = seed
    this.next = seed
    this.#skip()
    this.#slowest = { seed, milliseconds: 0 }
  }

  /** To the next seed that the target takes. */
  #skip(): void {
    while (this.target.takes?.(this.next) === false) this.next = (this.next + 1) >>> 0
  }

  async execute(stackTraceLimit: number): Promise<void> {
    const seed = this.next
    const { violation, counts = {} } = await this.#execute(seed, stackTraceLimit)
    const kind = violation?.kind ?? 'none'
    this.#violations[kind] = (this.#violations[kind] ?? 0) + 1
    for (const [name, count] of Object.entries(counts)) this.#counts[name] = (this.#counts[name] ?? 0) + count
    this.#executions++
    this.last = seed
    this.next = (seed + 1) >>> 0
    this.#skip()
  }

  /** One that fails is run again, for where it fails: it fails there again, unless it is a race. */
  async #execute(seed: number, stackTraceLimit: number): Promise<Result> {
    try {
      return await this.target.run(seed)
    } catch (error) {
      Error.stackTraceLimit = stackTraceLimit
      await this.target.run(seed)
      throw error
    }
  }

  /** What the last execution took. */
  took(milliseconds: number): void {
    this.milliseconds += milliseconds
    if (milliseconds > this.#slowest.milliseconds) this.#slowest = { seed: this.last, milliseconds }
  }

  summary(): TargetSummary {
    return {
      target: this.target.name,
      from: this.#from,
      to: this.last,
      executions: this.#executions,
      violations: this.#violations,
      counts: this.#counts,
      slowest: this.#slowest,
    }
  }
}
