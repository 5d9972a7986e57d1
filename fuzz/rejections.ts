/** Hears of promises that are rejected and nobody else hears of. */
import process from 'node:process'
import { Failure } from './failure.ts'

export class Rejections {
  readonly #reasons: unknown[] = []
  readonly #listen = (reason: unknown): void => {
    this.#reasons.push(reason)
  }

  begin(): void {
    this.#reasons.length = 0
    process.on('unhandledRejection', this.#listen)
  }
  end(): void {
    process.off('unhandledRejection', this.#listen)
  }

  /** @throws Failure where there was one; to be called in a later turn than the rejection */
  check(): void {
    const [reason] = this.#reasons
    if (this.#reasons.length > 0) throw new Failure(`nobody hears of a promise that is rejected: ${reason}`, { cause: reason })
  }
}
