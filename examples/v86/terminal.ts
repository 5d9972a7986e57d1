/** The terminal that the example runs in, as a terminal of the guest. */
import { PassThrough, Transform, type TransformCallback } from 'node:stream'
import type { ConsolePort } from 'virtgen/devices/console'
import { joinPort } from 'virtgen/node'

const prefix = 0x01
/** Where the input is no terminal, its end ends the shell, behind what was typed before. */
const endOfInput = Buffer.from('\nexit\n')
const leaveKeys = 'xX'
const helpKeys = 'hH?'
const help = '\r\nCtrl-A x  leaves\r\nCtrl-A a  sends Ctrl-A\r\nexit      ends the shell, and the guest\r\n'

/** Lets everything through but Ctrl-A and the key behind it, as QEMU does. */
class EscapeKeys extends Transform {
  readonly #act: (key: 'leave' | 'help') => void
  #isEscaped = false

  constructor(act: (key: 'leave' | 'help') => void) {
    super()
    this.#act = act
  }

  override _transform(chunk: Buffer, _: string, done: TransformCallback): void {
    const passed: number[] = []
    for (const byte of chunk) {
      if (!this.#isEscaped && byte === prefix) {
        this.#isEscaped = true
        continue
      }
      const key = String.fromCharCode(byte)
      if (!this.#isEscaped) passed.push(byte)
      else if (leaveKeys.includes(key)) this.#act('leave')
      else if (helpKeys.includes(key)) this.#act('help')
      else if (key === 'a' || byte === prefix) passed.push(prefix)
      this.#isEscaped = false
    }
    done(null, Buffer.from(passed))
  }
}

export interface TerminalEvents {
  /** The guest writes to its terminal for the first time. */
  readonly onFirstOutput: () => void
  /** What Ctrl-A x does. */
  readonly onLeave: () => void
}

/** Joins the terminal, or files and pipes in its place, with a port until the returned function is called. */
export function joinTerminal(port: ConsolePort, { onFirstOutput, onLeave }: TerminalEvents): () => void {
  const { stdin, stdout, stderr } = process
  const isTerminal = stdin.isTTY === true
  const keys = isTerminal ? new EscapeKeys((key) => (key === 'leave' ? onLeave() : stderr.write(help))) : new PassThrough()
  const shown = new PassThrough()
  const resize = (): void => port.resize({ columns: stdout.columns, rows: stdout.rows })
  const typeEnd = (): void => void keys.write(endOfInput)
  // Linux drops input of a console that no program has opened. One that writes has.
  shown.once('data', () => {
    onFirstOutput()
    if (isTerminal) stdin.setRawMode(true)
    else stdin.once('end', typeEnd)
    stdin.pipe(keys, { end: false })
  })
  shown.pipe(stdout, { end: false })
  const part = joinPort(port, { input: keys, output: shown })
  if (stdout.isTTY) {
    resize()
    stdout.on('resize', resize)
  }
  return () => {
    part()
    stdin.unpipe(keys).off('end', typeEnd).pause()
    stdout.off('resize', resize)
    if (isTerminal) stdin.setRawMode(false)
  }
}
