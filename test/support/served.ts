/** `virtgen serve` as a process of its own. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'

const root = resolve(import.meta.dirname, '../..')
const seconds = 30

export class Served {
  out = ''
  errors = ''
  readonly child: ChildProcess
  readonly #exit: Promise<number | string>

  /** @param command - by default that of the build */
  constructor(
    words: readonly string[],
    options: SpawnOptions = {},
    command: readonly string[] = [process.execPath, resolve(root, 'bin/virtgen.js')],
  ) {
    const [program, ...first] = command as [string, ...string[]]
    // Not started by npm, as far as it can know.
    const { npm_execpath: _, npm_config_user_agent: __, ...env } = process.env
    this.child = spawn(program, [...first, 'serve', ...words], { stdio: ['ignore', 'pipe', 'pipe'], env, ...options })
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.out += text
    })
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.errors += text
    })
    this.#exit = once(this.child, 'close').then(([code, signal]) => signal ?? code)
  }

  /** Resolves when it has printed something like that. */
  async said(pattern: RegExp): Promise<RegExpExecArray> {
    let found: RegExpExecArray | null = null
    await until(() => {
      found = pattern.exec(this.out)
      return found !== null || this.child.exitCode !== null || this.child.signalCode !== null
    }, `${pattern} in ${this.out}${this.errors}`)
    found ??= pattern.exec(this.out)
    if (found === null) throw new Error(`it has ended without ${pattern}:\n${this.out}${this.errors}`)
    return found
  }

  /** The lines of its log. */
  get events(): { readonly event: string; readonly [name: string]: unknown }[] {
    return this.out
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line))
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name)
  }

  /** Resolves with its exit code, or with the signal that ended it. */
  ended(): Promise<number | string> {
    return this.#exit
  }

  end(name: NodeJS.Signals = 'SIGTERM'): Promise<number | string> {
    this.signal(name)
    return this.#exit
  }
}

/** Waits until something is so. */
export async function until(isSo: () => boolean, what = String(isSo)): Promise<void> {
  for (const end = Date.now() + seconds * 1000; !isSo(); ) {
    if (Date.now() > end) throw new Error(`it did not come about: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
