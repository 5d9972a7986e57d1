/** Virtqueues under test, both sides and both formats, some of them in a race with another thread. */
import { Executions, type Format, formatOf, isRace, type Side, type Subjects, sideOf } from './executions.ts'
import type { Result, Target } from './target.ts'

export interface QueueTargetOptions {
  /** Only this ring format. */
  readonly format?: Format | undefined
  /** Only this side of the queue. */
  readonly side?: Side | undefined
}

export class QueueTarget implements Target {
  readonly name = 'queue'
  readonly #executions: Executions
  readonly #options: QueueTargetOptions

  constructor(subjects: Subjects, options: QueueTargetOptions = {}) {
    this.#executions = new Executions(subjects)
    this.#options = options
  }

  takes(seed: number): boolean {
    const { format, side } = this.#options
    return (format === undefined || formatOf(seed) === format) && (side === undefined || sideOf(seed) === side)
  }

  run(seed: number): Result {
    return { ...this.#executions.run(seed), counts: { races: isRace(seed) ? 1 : 0 } }
  }

  describe(seed: number): Readonly<Record<string, string>> {
    return { format: formatOf(seed), side: sideOf(seed), ...(isRace(seed) && { race: 'with another thread' }) }
  }

  close(): void {
    this.#executions.close()
  }
}
