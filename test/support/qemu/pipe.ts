/** A chardev `pipe:PATH` of QEMU, from our side: two named pipes, lines in both directions, without an event loop. */
import { type ChildProcess, execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const { O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY } = constants
const chunkSize = 0x1_0000
const startLimit = 20_000

export class LinePipe {
  readonly #in: number
  readonly #out: number
  readonly #chunk = new Uint8Array(chunkSize)
  readonly #lines: string[] = []
  #rest = ''

  private constructor(into: number, out: number) {
    this.#in = into
    this.#out = out
  }

  /** Before QEMU is started, which opens them. */
  static make(path: string): void {
    execFileSync('mkfifo', [`${path}.in`, `${path}.out`])
  }

  /**
   * Opens the pipes when QEMU has done so: its first line says that it has. From then on a read ends when QEMU does.
   *
   * @param question - written first; '' where QEMU speaks unasked
   * @throws Error when QEMU ends, or does not answer
   */
  static async open(path: string, qemu: ChildProcess, question: string): Promise<LinePipe> {
    // Opened for both directions: opening does not wait for the other end.
    const [into, out] = [openSync(`${path}.in`, O_RDWR), openSync(`${path}.out`, O_RDWR | O_NONBLOCK)]
    writeSync(into, question)
    const first = await firstBytes(out, qemu)
    const pipe = new LinePipe(openSync(`${path}.in`, O_WRONLY), openSync(`${path}.out`, O_RDONLY))
    pipe.#take(first)
    for (const fd of [into, out]) closeSync(fd)
    return pipe
  }

  write(line: string): void {
    writeSync(this.#in, `${line}\n`)
  }

  /** Waits for a line. */
  read(): string {
    for (;;) {
      const line = this.#lines.shift()
      if (line !== undefined) return line
      const count = readSync(this.#out, this.#chunk)
      if (count === 0) throw new Error('QEMU has ended')
      this.#take(this.#chunk.subarray(0, count))
    }
  }

  close(): void {
    closeSync(this.#in)
    closeSync(this.#out)
  }

  #take(bytes: Uint8Array): void {
    const lines = (this.#rest + Buffer.from(bytes).toString('latin1')).split('\n')
    this.#rest = lines.pop() as string
    this.#lines.push(...lines)
  }
}

async function firstBytes(fd: number, qemu: ChildProcess): Promise<Uint8Array> {
  const chunk = new Uint8Array(chunkSize)
  for (const end = Date.now() + startLimit; Date.now() < end; await sleep(2)) {
    if (qemu.exitCode !== null) break
    try {
      return chunk.subarray(0, readSync(fd, chunk))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    }
  }
  throw new Error('QEMU does not answer')
}
