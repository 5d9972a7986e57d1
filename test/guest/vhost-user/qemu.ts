/** A Linux in QEMU with a shell on its serial port, and with memory that other processes share. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { join } from 'node:path'
import { SerialShell } from '../serial-shell.ts'
import { kernelWords, linuxImage } from './linux.ts'

export const qemuProgram = process.env.QEMU ?? 'qemu-system-x86_64'
const memory = '256M'
const bootSeconds = 90

export interface QemuOptions {
  /** Devices; `$DIR` stands for the folder. */
  readonly options: readonly string[]
  /** Where sockets are; kept. */
  readonly folder: string
  /** More files of the initial RAM disk, by path. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>
}

/** What every machine here is made of; `$DIR` stands for the folder. */
const fixed = [
  ...['-machine', 'q35,memory-backend=mem', '-accel', 'tcg', '-cpu', 'max', '-m', memory, '-nodefaults', '-no-user-config', '-display', 'none'],
  ...['-object', `memory-backend-memfd,id=mem,size=${memory},share=on`, '-serial', 'stdio', '-qmp', 'unix:$DIR/monitor,server=on,wait=off'],
]

export class QemuGuest extends SerialShell {
  readonly #child: ChildProcess
  readonly #folder: string
  #monitor: Socket | undefined

  private constructor(child: ChildProcess, folder: string) {
    super()
    this.#child = child
    this.#folder = folder
    child.stdout?.setEncoding('utf8').on('data', (text: string) => this.heard(text))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => this.errors.push(`QEMU: ${text.trim()}`))
    child.once('exit', (code, signal) => this.errors.push(`QEMU has ended: ${signal ?? code}`))
    child.stdin?.on('error', () => {})
  }

  /** Resolves when the shell is there. */
  static async boot(options: QemuOptions): Promise<QemuGuest> {
    const guest = QemuGuest.begin(options)
    const end = once(guest.#child, 'exit').then(() => {
      throw new Error(guest.errors.join('\n'))
    })
    end.catch(() => {})
    await Promise.race([guest.ready(bootSeconds), end])
    return guest
  }

  /** The same, and nothing is waited for. */
  static begin({ options, folder, files }: QemuOptions): QemuGuest {
    const { kernel, initrd } = linuxImage(files)
    writeFileSync(join(folder, 'initrd'), initrd)
    const image = ['-kernel', kernel, '-initrd', '$DIR/initrd', '-append', kernelWords]
    const words = [qemuProgram, ...fixed, ...image, ...options].map((word) => word.replaceAll('$DIR', folder))
    // It must not outlive us, however we end.
    return new QemuGuest(spawn('setpriv', ['--pdeathsig', 'KILL', ...words], { stdio: 'pipe', cwd: folder }), folder)
  }

  protected override type(text: string): void {
    this.#child.stdin?.write(text)
  }

  /** Says a command to QEMU's monitor (QMP). */
  async monitor<Answer>(execute: string, values: Readonly<Record<string, unknown>> = {}): Promise<Answer> {
    if (this.#monitor === undefined) {
      this.#monitor = createConnection(join(this.#folder, 'monitor')).setEncoding('utf8')
      await this.#answer('QMP')
      this.#monitor.write('{ "execute": "qmp_capabilities" }\n')
      await this.#answer('return')
    }
    this.#monitor.write(`${JSON.stringify({ execute, arguments: values })}\n`)
    return (await this.#answer('return')) as Answer
  }

  /** The next message that has a member of that name; others are events. */
  #answer(member: string): Promise<unknown> {
    let text = ''
    return new Promise((resolve, reject) => {
      const hear = (data: string): void => {
        text += data
        const lines = text.split('\n')
        text = lines.pop() ?? ''
        for (const line of lines) {
          const message = JSON.parse(line) as Record<string, unknown>
          if (message.error === undefined && message[member] === undefined) continue
          this.#monitor?.off('data', hear)
          message.error === undefined ? resolve(message[member]) : reject(new Error(line))
        }
      }
      this.#monitor?.on('data', hear)
    })
  }

  async stop(): Promise<void> {
    this.#monitor?.destroy()
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const end = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await end
  }
}
