/** What the command needs of the world around it. Tests give their own; the program gets that of the process. */
import { readFileSync } from 'node:fs'
import type { Readable, Writable } from 'node:stream'
import { isatty } from 'node:tty'

/** A stream to write to. */
export interface Output {
  write(text: string): void
  readonly isTTY: boolean
}

/** Where somebody can be asked. */
export interface Terminal {
  readonly input: Readable
  readonly output: Writable
}

export interface Host {
  readonly stdout: Output
  readonly stderr: Output
  /** Everything on the standard input. */
  readInput(): Uint8Array
  /** Absent unless standard input and standard output are both a terminal. */
  readonly terminal?: Terminal | undefined
  readonly environment: Readonly<Record<string, string | undefined>>
  /** The working folder. */
  readonly folder: string
}

/** The host of the running process. */
export function processHost(): Host {
  return {
    stdout: processOutput(process.stdout),
    stderr: processOutput(process.stderr),
    readInput: () => readFileSync(0),
    // Only for who asks: to look at process.stdin opens it, and what is open so can no longer be read at once.
    get terminal() {
      return isatty(0) && isatty(1) ? { input: process.stdin, output: process.stdout } : undefined
    },
    environment: process.env,
    folder: process.cwd(),
  }
}

/** A reader that goes away (`| head`) is no error: what is left to say is dropped. */
function processOutput(stream: NodeJS.WriteStream): Output {
  let gone = false
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    gone = true
  })
  return {
    write: (text) => {
      if (!gone) stream.write(text)
    },
    isTTY: stream.isTTY === true,
  }
}
