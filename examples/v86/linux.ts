/** Linux in v86, with a disk, a network card, a source of randomness and a terminal. The same in Node and in a page. */
import { V86, type V86Options } from 'v86'
import { Blk, type BlkBackend, type BlkOptions } from 'virtgen/devices/blk'
import { Console, type ConsolePort, type ConsolePortOptions } from 'virtgen/devices/console'
import { Net, type NetBackend } from 'virtgen/devices/net'
import { Rng, type RngOptions } from 'virtgen/devices/rng'
import type { VirtioDevice } from 'virtgen/runtime'
import { V86Machine, type V86MachineOptions } from 'virtgen/v86'
import { kernelWords } from './guest/kernel-words.ts'

/** What is booted. */
export interface LinuxImages {
  /** v86.wasm: bytes, or a module. */
  readonly wasm: V86MachineOptions['wasm']
  readonly bios: ArrayBuffer
  readonly vgaBios: ArrayBuffer
  readonly kernel: ArrayBuffer
  readonly initrd: ArrayBuffer
}

export interface LinuxOptions {
  readonly images: LinuxImages
  readonly disk: BlkBackend
  readonly diskOptions?: BlkOptions
  readonly network: NetBackend
  /** Of the terminal. */
  readonly terminal?: ConsolePortOptions
  readonly rng?: RngOptions
  /** Of the guest's memory; {@link leastMemory} or more. */
  readonly megabytes?: number
  /** A byte that the kernel writes to the serial port, where its messages go. */
  readonly onSerial?: (byte: number) => void
  /** The guest has powered itself off. */
  readonly onHalt?: () => void
  /** What a device found wrong, with the guest or with what is behind the device. */
  readonly onProblem?: (device: string, problem: string) => void
}

/** v86 puts the initial RAM disk at 64 MiB. */
export const leastMemory = 128
export const mostMemory = 1024
const defaultMemory = 192
const mebibyte = 2 ** 20

/** A machine that is on. */
export class Linux {
  readonly disk: Blk
  readonly net: Net
  readonly rng: Rng
  readonly console: Console
  readonly machine: V86Machine
  readonly emulator: V86

  constructor(options: LinuxOptions) {
    const { images, onSerial, onHalt } = options
    this.disk = new Blk(options.disk, options.diskOptions)
    this.net = new Net(options.network)
    this.rng = new Rng(options.rng)
    this.console = new Console({ ports: [options.terminal ?? {}] })
    this.machine = new V86Machine({ wasm: images.wasm })
    const devices: Record<string, VirtioDevice> = { blk: this.disk, net: this.net, rng: this.rng, console: this.console }
    for (const [name, device] of Object.entries(devices))
      this.machine.add(device, {
        onViolation: (violation) => options.onProblem?.(name, JSON.stringify(violation)),
        onError: (error) => options.onProblem?.(name, String(error)),
      })
    this.emulator = new V86({
      wasm_fn: this.machine.wasm_fn,
      bios: { buffer: images.bios },
      vga_bios: { buffer: images.vgaBios },
      bzimage: { buffer: images.kernel },
      initrd: { buffer: images.initrd },
      cmdline: `${kernelWords}${onSerial === undefined ? ' quiet' : ''}`,
      memory_size: (options.megabytes ?? defaultMemory) * mebibyte,
      autostart: true,
      // v86's own are not needed.
      net_device: { type: 'none' } as unknown as NonNullable<V86Options['net_device']>,
      disable_speaker: true,
      disable_keyboard: true,
      disable_mouse: true,
    })
    if (onSerial) this.emulator.add_listener('serial0-output-byte', onSerial)
    if (onHalt) this.emulator.add_listener('cpu-event-halt' as 'emulator-stopped', onHalt)
  }

  /** The console's port that the shell is on. */
  get terminal(): ConsolePort {
    return this.console.port(0) as ConsolePort
  }

  async stop(): Promise<void> {
    await this.emulator.destroy()
    await this.disk.idle()
  }
}
