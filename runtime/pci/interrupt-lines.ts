/** The interrupt lines of a PCI bus, each shared by several functions. */

/** Lines of a bus: as many as a function has pins. */
export const interruptLines = 4

/** What a function drives its pin with: idempotent. */
export type LineSource = (level: boolean) => void

/** Wired-OR: a line is high as long as one of its sources is. */
export class InterruptLines {
  readonly #drive: (line: number, level: boolean) => void
  readonly #asserted: number[] = new Array(interruptLines).fill(0)

  /** @param drive - called when a line changes, after all state is consistent */
  constructor(drive: (line: number, level: boolean) => void) {
    this.#drive = drive
  }

  /** A source of that line, low at first. */
  source(line: number): LineSource {
    let now = false
    return (level) => {
      if (level === now) return
      now = level
      const before = this.#asserted[line] as number
      const after = before + (level ? 1 : -1)
      this.#asserted[line] = after
      if (before === 0 || after === 0) this.#drive(line, level)
    }
  }
}

/** The pin of a function that is being put on a bus, is there, or was: what it says before counts when it comes, what it says after its end does not. */
export class InterruptPin {
  #level = false
  #source: LineSource | undefined
  #ended = false

  set(level: boolean): void {
    if (this.#ended) return
    this.#level = level
    this.#source?.(level)
  }

  connect(source: LineSource): void {
    this.#source = source
    source(this.#level)
  }

  disconnect(): void {
    this.#ended = true
    this.#source?.(false)
  }
}
