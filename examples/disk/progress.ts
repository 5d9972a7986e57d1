/** A progress bar on a terminal; nothing elsewhere. */
export class Progress {
  readonly #stream: NodeJS.WriteStream
  readonly #title: string
  readonly #total: number
  readonly #started = performance.now()
  #drawn = 0

  constructor(title: string, total: number, stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream
    this.#title = title
    this.#total = total
  }

  /** Draws at most twenty times a second. */
  show(done: number): void {
    const now = performance.now()
    if (!this.#stream.isTTY || (now - this.#drawn < 50 && done < this.#total)) return
    this.#drawn = now
    const share = this.#total === 0 ? 1 : done / this.#total
    const width = Math.max(10, Math.min(40, this.#stream.columns - 50))
    const filled = Math.round(share * width)
    const bar = '#'.repeat(filled) + '.'.repeat(width - filled)
    this.#stream.write(`\r\u001b[K  ${this.#title.padEnd(6)} [${bar}] ${(share * 100).toFixed(0).padStart(3)} %  ${rate(done, now - this.#started)}`)
  }

  /** Removes the bar; gives the milliseconds since the start. */
  end(): number {
    if (this.#stream.isTTY) this.#stream.write('\r\u001b[K')
    return performance.now() - this.#started
  }
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/** `12.5 MiB`. */
export function bytesText(count: number): string {
  const unit = count < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(count) / 10))
  const value = count / 1024 ** unit
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit]}`
}

/** `850 MiB/s`. */
export function rate(count: number, milliseconds: number): string {
  return `${bytesText(Math.round((count / Math.max(milliseconds, 0.001)) * 1000))}/s`
}
