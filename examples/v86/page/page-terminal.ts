/** A terminal of the page (xterm.js), joined with a port of a console. */
import { Terminal } from '@xterm/xterm'
import type { ConsolePort } from 'virtgen/devices/console'

const leastColumns = 20
const leastRows = 5

export class PageTerminal {
  /** Bytes from the guest, and to it. */
  shown = 0
  typed = 0
  readonly #place: HTMLElement
  readonly #terminal = new Terminal({ fontSize: 14, cursorBlink: true, scrollback: 5000, theme: { background: '#010409', foreground: '#e6edf3' } })

  constructor(place: HTMLElement) {
    this.#place = place
    this.#terminal.open(place)
    this.#terminal.focus()
    new ResizeObserver(() => this.#fit()).observe(place)
    this.#fit()
  }

  get size(): string {
    return `${this.#terminal.cols} x ${this.#terminal.rows}`
  }

  /** Resolves when the bytes are on the screen: until then the guest does not get its buffer back, and a `cat` of a large file goes as fast as it can be shown. */
  show(bytes: Uint8Array): Promise<void> {
    this.shown += bytes.length
    return new Promise((resolve) => this.#terminal.write(bytes, resolve))
  }

  join(port: ConsolePort): void {
    const encoder = new TextEncoder()
    const type = (bytes: Uint8Array): void => {
      this.typed += bytes.length
      port.write(bytes)
    }
    this.#terminal.onData((text) => type(encoder.encode(text)))
    this.#terminal.onBinary((text) => type(Uint8Array.from(text, (character) => character.charCodeAt(0))))
    this.#terminal.onResize(({ cols, rows }) => port.resize({ columns: cols, rows }))
    port.resize({ columns: this.#terminal.cols, rows: this.#terminal.rows })
  }

  /** As many characters as there is room for. */
  #fit(): void {
    const screen = this.#place.querySelector('.xterm-screen')?.getBoundingClientRect()
    if (screen === undefined || screen.width === 0) return
    const { cols, rows } = this.#terminal
    const style = getComputedStyle(this.#place)
    const width = this.#place.clientWidth - Number.parseFloat(style.paddingLeft) - Number.parseFloat(style.paddingRight)
    const height = this.#place.clientHeight - Number.parseFloat(style.paddingTop) - Number.parseFloat(style.paddingBottom)
    const columns = Math.max(leastColumns, Math.floor((width * cols) / screen.width))
    this.#terminal.resize(columns, Math.max(leastRows, Math.floor((height * rows) / screen.height)))
  }
}
