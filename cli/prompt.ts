/** Questions on a terminal, one line each. */
import { createInterface, type Interface } from 'node:readline/promises'
import type { Paint } from '../generator/diagnostic.ts'
import { UsageError } from './command.ts'
import type { Terminal } from './host.ts'

/** Whoever was asked does not want to go on. */
export class PromptEnded extends Error {
  /** Exit code: 130 after Ctrl-C, as shells have it; 1 after the end of the input. */
  readonly code: number
  constructor(code: number) {
    super(code === 130 ? 'interrupted' : 'the input has ended')
    this.code = code
  }
}

export class Prompt {
  readonly #terminal: Terminal
  readonly #paint: Paint
  readonly #interface: Interface
  /** Lines that were typed ahead. */
  readonly #lines: string[] = []
  #ended: PromptEnded | undefined
  #wake: () => void = () => {}

  constructor(terminal: Terminal, paint: Paint) {
    this.#terminal = terminal
    this.#paint = paint
    this.#interface = createInterface({ ...terminal, terminal: true, historySize: 0 })
    this.#interface.on('line', (line) => {
      if (!this.#ended) this.#lines.push(line)
      this.#wake()
    })
    this.#interface.on('SIGINT', () => {
      this.#lines.length = 0
      this.#end(130)
    })
    this.#interface.on('close', () => this.#end(1))
  }

  /**
   * Asks until the answer can be taken.
   *
   * @param shown - the default as it stands in brackets; an empty answer takes it
   * @param take - makes a value of an answer, or throws a UsageError that says why not
   * @throws PromptEnded after Ctrl-C or the end of the input
   */
  async ask<T>(question: string, shown: string, take: (answer: string) => T): Promise<T> {
    for (;;) {
      this.#interface.setPrompt(`${this.#paint.bold(question)} ${this.#paint.dim(`[${shown}]`)} `)
      this.#interface.prompt()
      const line = (await this.#line()).trim()
      try {
        return take(line === '' ? shown : line)
      } catch (error) {
        if (!(error instanceof UsageError)) throw error
        this.say(`  ${this.#paint.red(error.message)}${error.hint === undefined ? '' : `; ${error.hint}`}`)
      }
    }
  }

  say(line: string): void {
    this.#terminal.output.write(`${line}\n`)
  }

  /** Gives the terminal back. */
  close(): void {
    this.#interface.close()
  }

  async #line(): Promise<string> {
    while (this.#lines.length === 0) {
      if (this.#ended) {
        this.say('')
        throw this.#ended
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.#lines.shift() as string
  }

  #end(code: number): void {
    this.#ended ??= new PromptEnded(code)
    this.#wake()
  }
}
