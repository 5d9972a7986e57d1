/** What tells a process to end, or to do something. */
import { exitNow } from '../system/index.ts'

/** Signals within so many milliseconds of the first are the same one, by another way: a terminal sends SIGINT to npx and to what it has started, and npx passes it on. */
const sameWithin = 500

/** Requests by signals other than the end. */
export interface Reactions {
  /** SIGUSR1. */
  readonly print: () => void
  /** SIGUSR2. */
  readonly resize: () => void
}

const endings = ['SIGTERM', 'SIGINT'] as const

/** Hears the signals of the process, one object at a time. */
export class Signals {
  /** Resolves when the process is to end. */
  readonly ended: Promise<void>
  readonly #onEnd: (reason: string) => void
  readonly #listeners: [NodeJS.Signals, () => void][] = []
  #resolve: () => void = () => {}
  #endedAt: number | undefined
  #reactions: Reactions | undefined

  /** @param onEnd - told once, and why */
  constructor(onEnd: (reason: string) => void) {
    this.#onEnd = onEnd
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve
    })
    for (const signal of endings) this.#listen(signal, () => this.end(signal))
    // Without a listener, it starts Node's debugger.
    this.#listen('SIGUSR1', () => this.#reactions?.print())
    this.#listen('SIGUSR2', () => this.#reactions?.resize())
  }

  on(reactions: Reactions): void {
    this.#reactions = reactions
  }

  /** Begins to end. Again, after a moment: at once, whatever is going on. */
  end(reason: string): void {
    const now = performance.now()
    if (this.#endedAt === undefined) {
      this.#endedAt = now
      this.#onEnd(reason)
      this.#resolve()
    } else if (now - this.#endedAt > sameWithin) exitNow(1)
  }

  close(): void {
    for (const [signal, listener] of this.#listeners) process.off(signal, listener)
  }

  #listen(signal: NodeJS.Signals, listener: () => void): void {
    this.#listeners.push([signal, listener])
    process.on(signal, listener)
  }
}
