/** What is under test, and how an execution against it begins. */
import type { Violation } from '../runtime/violation.ts'

/** What an execution showed. */
export interface Result {
  /** A number over everything that could be seen; 0 where another thread had a hand in it. */
  readonly trace: number
  readonly violation: Violation | undefined
  /** How deep it came: numbers that are added up over a campaign. */
  readonly counts?: Readonly<Record<string, number>>
}

/** Something that executions are run against, one for each seed. */
export interface Target {
  readonly name: string
  /** Says whether the execution of a seed is wanted. Absent: each one is. */
  readonly takes?: (seed: number) => boolean
  /**
   * The same for the same seed.
   *
   * @param seed - 32 bits
   * @throws FailedExecution
   */
  run(seed: number): Result | Promise<Result>
  /** What the seed decides before anything else, in words. */
  describe?(seed: number): Readonly<Record<string, string>>
  /** Ends what the executions have begun. */
  close?(): void
}

/** An execution that failed, with what is needed to see it again. */
export class FailedExecution extends Error {
  readonly target: string
  readonly seed: number

  constructor(target: string, seed: number, cause: unknown) {
    super(`the execution with seed ${seed} failed: ${cause instanceof Error ? cause.message : cause}`, { cause })
    this.target = target
    this.seed = seed
  }

  /** How to see it again. */
  get command(): string {
    return replayOf(this.target, this.seed)
  }
}

export const replayOf = (target: string, seed: number): string => `npm run fuzz -- --target ${target} --seed ${seed}`
