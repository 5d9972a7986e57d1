/** Says how far a campaign is: one line that changes on a terminal, a line now and then elsewhere. */
import type { Progress } from './campaign.ts'

/** Milliseconds between two words, on a terminal and elsewhere. */
const pauses = { terminal: 250, other: 10_000 } as const
/** Nothing is said of what does not take longer. */
const patience = 1000

export class ProgressLine {
  readonly #stream: NodeJS.WriteStream
  readonly #seconds: number
  readonly #pause: number
  #last = performance.now() + patience
  #isDrawn = false

  constructor(seconds: number, stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream
    this.#seconds = seconds
    this.#pause = stream.isTTY ? pauses.terminal : pauses.other
    this.#last = performance.now() + patience - this.#pause
  }

  show({ seconds, executions, target, seed }: Progress): void {
    const now = performance.now()
    if (now - this.#last < this.#pause) return
    this.#last = now
    this.#isDrawn = true
    const text = `${seconds.toFixed(0)} s of ${this.#seconds} s: ${executions} executions, now ${target} seed ${seed}`
    this.#stream.write(this.#stream.isTTY ? `\r\u001b[K${text}` : `${text}\n`)
  }

  /** Removes the line. */
  end(): void {
    if (this.#isDrawn && this.#stream.isTTY) this.#stream.write('\r\u001b[K')
  }
}
