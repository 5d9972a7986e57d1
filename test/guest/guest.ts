/** A Linux in v86, with a shell on its serial port, and virtgen's devices beside v86's own. */
import { readFileSync } from 'node:fs'
import { V86, type V86Options } from 'v86'
import type { VirtioDevice } from 'virtgen/runtime'
import { type V86DeviceOptions, type V86DevicesState, V86Machine } from 'virtgen/v86'
import { debianGuest } from '../../examples/v86/guest/debian.ts'
import { makeInitrd } from '../../examples/v86/guest/initrd.ts'
import { kernelWords } from '../../examples/v86/guest/kernel-words.ts'
import type { WasmImports } from '../../hosts/v86/cpu.ts'
import { SerialShell, serialShellInit } from './serial-shell.ts'

export interface PluggedDevice {
  readonly device: VirtioDevice
  readonly options?: V86DeviceOptions
}

export interface GuestOptions {
  readonly devices: readonly (VirtioDevice | PluggedDevice)[]
  /** More files of the initial RAM disk, by path. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>
  /** Options of the emulator, such as a disk of its own. */
  readonly emulator?: Partial<V86Options>
  /** More words of the kernel's command line. */
  readonly kernel?: string
  /** Stands between the module of v86 and everybody else. */
  readonly wrap?: (exports: WasmExports) => Partial<WasmExports>
}

/** What v86's module exports. */
export type WasmExports = Readonly<Record<string, (...values: number[]) => unknown>>

/** A guest at one moment, for another emulator with the same devices. */
export interface Snapshot {
  readonly emulator: ArrayBuffer
  /** JSON. */
  readonly devices: string
}

const memorySize = 192 * 2 ** 20
const pageSize = 4096

export class Guest extends SerialShell {
  readonly machine: V86Machine
  readonly emulator: V86
  readonly memorySize = memorySize
  /** Resets of the whole machine, that at power-on counted. */
  resets = 0
  readonly #options: GuestOptions
  /** What v86 puts into memory before the guest starts: kernel and RAM disk. */
  readonly #image: [address: number, bytes: Uint8Array][] = []

  private constructor(options: GuestOptions, autostart: boolean) {
    super()
    this.#options = options
    const guest = debianGuest((line) => console.log(line))
    const path = new URL('../../node_modules/v86/build/v86.wasm', import.meta.url)
    this.machine = new V86Machine({ wasm: () => readFileSync(path) })
    for (const each of options.devices) this.add('device' in each ? each : { device: each })
    this.emulator = new V86({
      wasm_fn: (imports) => this.#instantiate(imports),
      bios: { buffer: bytesOf(guest.bios) },
      vga_bios: { buffer: bytesOf(guest.vgaBios) },
      bzimage: { buffer: bytesOf(guest.kernel) },
      initrd: { buffer: bufferOf(makeInitrd(guest, { init: serialShellInit, ...options.files })) },
      cmdline: `${kernelWords} quiet ${options.kernel ?? ''}`,
      memory_size: memorySize,
      autostart,
      net_device: { type: 'none' },
      disable_speaker: true,
      disable_keyboard: true,
      disable_mouse: true,
      ...options.emulator,
    })
    this.emulator.add_listener('emulator-loaded', () => this.#keepImage())
    this.emulator.add_listener('serial0-output-byte', (byte: number) => this.heard(String.fromCharCode(byte)))
  }

  /** Plugs a device in; what it reports is in `errors`. */
  add({ device, options = {} }: PluggedDevice): number {
    return this.machine.add(device, {
      onViolation: (violation) => this.errors.push(JSON.stringify(violation)),
      onError: (error) => this.errors.push(String(error)),
      ...options,
    })
  }

  async #instantiate<Exports>(imports: WasmImports): Promise<Exports> {
    const { wrap } = this.#options
    const original = WebAssembly.instantiate
    if (wrap !== undefined)
      WebAssembly.instantiate = (async (...values: Parameters<typeof original>) => {
        const { instance } = (await original(...values)) as unknown as WebAssembly.WebAssemblyInstantiatedSource
        const exports = instance.exports as WasmExports
        return { instance: { exports: { ...exports, ...wrap(exports) } } }
      }) as never
    try {
      const exports = await this.machine.wasm_fn<WasmExports>(imports)
      return { ...exports, reset_cpu: () => this.#reset(exports) } as Exports
    } finally {
      WebAssembly.instantiate = original
    }
  }

  /** v86 loads the kernel once, when it is made, and has none after a reset: here it is loaded again. */
  #reset(exports: WasmExports): void {
    exports.reset_cpu?.()
    this.resets++
    for (const [address, bytes] of this.#image) this.emulator.write_memory(bytes, address)
  }

  #keepImage(): void {
    const memory = this.emulator.read_memory(0, memorySize)
    const zeroes = Buffer.alloc(pageSize)
    for (let address = 0; address < memorySize; address += pageSize) {
      const page = memory.subarray(address, address + pageSize)
      if (!zeroes.equals(page)) this.#image.push([address, page.slice()])
    }
  }

  /** Resolves when the shell is there. */
  static async boot(options: GuestOptions): Promise<Guest> {
    const guest = new Guest(options, true)
    await guest.ready()
    return guest
  }

  /** Stops the guest where it is, for good. */
  async snapshot(): Promise<Snapshot> {
    await this.emulator.stop()
    const emulator = await this.emulator.save_state()
    return { emulator, devices: JSON.stringify(this.machine.save()) }
  }

  /** A new emulator, whose guest goes on where that of the snapshot was stopped. */
  static async restore(options: GuestOptions, { emulator, devices }: Snapshot): Promise<Guest> {
    const guest = new Guest(options, false)
    await new Promise<void>((resolve) => guest.emulator.add_listener('emulator-loaded', () => resolve()))
    await guest.emulator.restore_state(emulator)
    guest.machine.restore(JSON.parse(devices) as V86DevicesState)
    await guest.emulator.run()
    return guest
  }

  protected override type(text: string): void {
    this.emulator.serial0_send(text)
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
