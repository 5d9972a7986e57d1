/** Back-ends as processes of their own, `virtgen serve` or programs of the tests. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const command = fileURLToPath(new URL('../../../bin/virtgen.js', import.meta.url))
const startSeconds = 20

export class Served {
  /** All that it printed. */
  output = ''
  readonly #child: ChildProcess
  readonly #exit: Promise<number | string>

  private constructor(words: readonly string[]) {
    // It must not outlive us, however we end.
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', process.execPath, ...words], { stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
      })
    this.#exit = once(this.#child, 'exit').then(([code, signal]) => signal ?? code)
  }

  /** `virtgen serve`, with its arguments. */
  static begin(socket: string, ...words: readonly string[]): Served {
    return new Served([command, 'serve', ...words, '--socket', socket])
  }

  /** The same; resolves when it listens. */
  static command(socket: string, ...words: readonly string[]): Promise<Served> {
    return Served.#started(Served.begin(socket, ...words), socket)
  }

  /** A program in `test/guest/programs`, whose first argument is the socket. */
  static program(name: string, socket: string, ...words: readonly string[]): Promise<Served> {
    return Served.#started(new Served([fileURLToPath(new URL(`../programs/${name}`, import.meta.url)), socket, ...words]), socket)
  }

  static async #started(served: Served, socket: string): Promise<Served> {
    await served.until(() => existsSync(socket), startSeconds)
    return served
  }

  /** Waits until it has printed something. */
  async printed(pattern: RegExp, seconds = startSeconds): Promise<RegExpExecArray> {
    await this.until(() => pattern.test(this.output), seconds)
    return pattern.exec(this.output) as RegExpExecArray
  }

  async until(isSo: () => boolean, seconds: number): Promise<void> {
    for (const end = Date.now() + seconds * 1000; !isSo(); ) {
      if (this.#child.exitCode !== null || Date.now() > end) throw new Error(`it did not come about: ${isSo}\n${this.output}`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Resolves with its exit code, or with the signal that ended it. */
  end(name: NodeJS.Signals = 'SIGTERM'): Promise<number | string> {
    this.#child.kill(name)
    return this.#exit
  }
}
