/** A Linux in v86, with a shell on its serial port, and virtgen's devices beside v86's own. */
import { readFileSync } from 'node:fs'
import { V86, type V86Options } from 'v86'
import type { VirtioDevice } from 'virtgen/runtime'
import { type V86DeviceOptions, V86Machine } from 'virtgen/v86'
import { debianGuest } from '../../examples/v86/guest/debian.ts'
import { makeInitrd } from '../../examples/v86/guest/initrd.ts'
import { kernelWords } from '../../examples/v86/guest/kernel-words.ts'

export interface GuestOptions {
  readonly devices: readonly (VirtioDevice | { readonly device: VirtioDevice; readonly options: V86DeviceOptions })[]
  /** More files of the initial RAM disk, by path. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>
  /** Options of the emulator, such as a disk of its own. */
  readonly emulator?: Partial<V86Options>
  /** More words of the kernel's command line. */
  readonly kernel?: string
}

const memorySize = 192 * 2 ** 20
const bootSeconds = 120
const commandSeconds = 60

export class Guest {
  readonly machine: V86Machine
  readonly emulator: V86
  /** All that came out of the serial port. */
  output = ''
  readonly errors: string[] = []
  #asked = 0
  #wake = (): void => {}

  private constructor(options: GuestOptions) {
    const guest = debianGuest((line) => console.log(line))
    const path = new URL('../../node_modules/v86/build/v86.wasm', import.meta.url)
    this.machine = new V86Machine({ wasm: () => readFileSync(path) })
    for (const each of options.devices) {
      const { device, options: settings } = 'device' in each ? each : { device: each, options: {} }
      this.machine.add(device, {
        onViolation: (violation) => this.errors.push(JSON.stringify(violation)),
        onError: (error) => this.errors.push(String(error)),
        ...settings,
      })
    }
    this.emulator = new V86({
      wasm_fn: this.machine.wasm_fn,
      bios: { buffer: bytesOf(guest.bios) },
      vga_bios: { buffer: bytesOf(guest.vgaBios) },
      bzimage: { buffer: bytesOf(guest.kernel) },
      initrd: { buffer: bufferOf(makeInitrd(guest, options.files)) },
      cmdline: `${kernelWords} quiet ${options.kernel ?? ''}`,
      memory_size: memorySize,
      autostart: true,
      net_device: { type: 'none' },
      disable_speaker: true,
      disable_keyboard: true,
      disable_mouse: true,
      ...options.emulator,
    })
    this.emulator.add_listener('serial0-output-byte', (byte: number) => {
      this.output += String.fromCharCode(byte)
      this.#wake()
    })
  }

  /** Resolves when the shell is there. */
  static async boot(options: GuestOptions): Promise<Guest> {
    const guest = new Guest(options)
    await guest.waitFor(/GUEST-READY/, bootSeconds)
    await guest.run(':')
    return guest
  }

  /** Runs a command in the guest's shell. Gives what it printed; throws where it failed. */
  async run(command: string, seconds = commandSeconds): Promise<string> {
    const mark = `m${++this.#asked}m`
    const from = this.output.length
    this.emulator.serial0_send(`{ ${command}\n} 2>&1; echo "${mark.slice(0, 1)}""${mark.slice(1)} $?"\n`)
    const found = await this.waitFor(new RegExp(`${mark} (\\d+)\\r?\\n`), seconds, from)
    const text = this.output.slice(from, found.index + from).replaceAll('\r', '')
    if (found[1] !== '0') throw new Error(`${command}: exit code ${found[1]}\n${text}`)
    return text.trim()
  }

  async waitFor(pattern: RegExp, seconds: number, from = 0): Promise<RegExpExecArray> {
    const end = Date.now() + seconds * 1000
    for (;;) {
      const found = pattern.exec(this.output.slice(from))
      if (found !== null) return found
      const left = end - Date.now()
      if (left <= 0)
        throw new Error(`the guest did not say ${pattern} within ${seconds} s:\n${this.output.slice(from).slice(-2000)}\n${this.errors.join('\n')}`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
        setTimeout(resolve, Math.min(left, 1000))
      })
    }
  }

  /** Waits until something is so. */
  async until(isSo: () => boolean, seconds = 20): Promise<void> {
    for (const end = Date.now() + seconds * 1000; !isSo(); ) {
      if (Date.now() > end)
        throw new Error(`it did not come about within ${seconds} s: ${isSo}\n${this.output.slice(-1000)}\n${this.errors.join('\n')}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async stop(): Promise<void> {
    await this.emulator.destroy()
  }
}

function bytesOf(path: string): ArrayBuffer {
  return bufferOf(readFileSync(path))
}

function bufferOf(bytes: Uint8Array): ArrayBuffer {
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer
}
