/**
 * A machine of QEMU without a guest: its processor halts, and we do what a driver in the guest would do, through QEMU's test protocol (`-qtest`): reads and writes of
 * registers and ports, and reports of interrupt lines. As soon as there is something in memory for a device, QEMU stands still (SIGSTOP) except during a register access
 * and while we wait, so that our copy of its memory is exact whenever we look at it.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { DriverMemory } from '../../../runtime/driver/memory.ts'
import type { RegisterBus } from '../../../runtime/driver/transport.ts'
import { GuestMemory } from '../../../runtime/memory.ts'
import { MemoryMirror } from './mirror.ts'
import { LinePipe } from './pipe.ts'

const program = process.env.QEMU ?? 'qemu-system-x86_64'
const version = spawnSync(program, ['--version'], { encoding: 'utf8' }).stdout?.match(/version (\d+)\.\S+/)
const oldest = 10
const missing =
  version == null ? `${program} is not installed` : Number(version[1]) < oldest ? `${version[0]} is too old: ${oldest} is needed` : undefined

/** Why tests against QEMU are left out; undefined where they are not. Where everything must hold, it must be there. */
export const skipped = process.env.CI ? undefined : missing
if (missing !== undefined) console.warn(`Nothing is compared with QEMU: ${missing}`)

const megabyte = 0x10_0000
const ramSize = 16 * megabyte
/** The part of the memory that we use, and in it a page for messages (MSI) before what drivers allocate. */
const windowStart = megabyte
const windowSize = megabyte
const messagePage = 0x1000
const folderOfMemory = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
const runLimit = 10_000
/** `cli; hlt; jmp` to the hlt, at the address where a processor begins. */
const firmwareSize = 0x1_0000
const resetVector = firmwareSize - 0x10
const halt = [0xfa, 0xf4, 0xeb, 0xfd]

export interface MachineOptions {
  /** `-machine`. */
  readonly machine: string
  /** More options; `$DIR` stands for a folder of the machine's own. */
  readonly options: readonly string[]
  /** Files in that folder, by name. */
  readonly files?: Readonly<Record<string, Uint8Array>>
}

export class QemuMachine {
  /** A folder that is gone with the machine. */
  readonly folder: string
  readonly guest: GuestMemory
  /** For drivers. */
  readonly memory: DriverMemory
  /** Guest address of a page for messages. */
  readonly messages = windowStart
  /** Interrupt lines of the I/O APIC that are raised. */
  readonly raised = new Set<number>()
  /** Register accesses so far. */
  accesses = 0
  readonly #child: ChildProcess
  readonly #pid: number
  readonly #test: LinePipe
  readonly #monitor: LinePipe
  readonly #mirror: MemoryMirror
  readonly #stat: number
  #isFrozen = false
  readonly #end = (): void => {
    this.#child.kill('SIGKILL')
    rmSync(this.folder, { recursive: true, force: true })
  }

  private constructor(folder: string, child: ChildProcess, test: LinePipe, monitor: LinePipe) {
    this.folder = folder
    this.#child = child
    this.#pid = child.pid as number
    this.#test = test
    this.#monitor = monitor
    this.#mirror = new MemoryMirror(join(folder, 'ram'), windowStart, windowSize)
    this.guest = GuestMemory.of(this.#mirror.bytes, windowStart)
    this.memory = new DriverMemory(this.guest, windowStart + messagePage, windowSize - messagePage)
    this.#stat = openSync(`/proc/${this.#pid}/stat`, 'r')
    process.once('exit', this.#end)
    this.command('irq_intercept_in ioapic')
  }

  /** @throws Error with what QEMU says, where it does not start */
  static async start({ machine, options, files = {} }: MachineOptions): Promise<QemuMachine> {
    const folder = mkdtempSync(join(folderOfMemory, 'virtgen-qemu-'))
    const firmware = new Uint8Array(firmwareSize)
    firmware.set(halt, resetVector)
    for (const [name, bytes] of Object.entries({ ...files, firmware })) writeFileSync(join(folder, name), bytes)
    for (const name of ['test', 'monitor']) LinePipe.make(join(folder, name))
    const fixed = ['-machine', `${machine},memory-backend=ram`, '-accel', 'tcg', '-m', `${ramSize / megabyte}M`, '-bios', '$DIR/firmware']
    fixed.push('-object', `memory-backend-file,id=ram,size=${ramSize},mem-path=$DIR/ram,share=on`)
    fixed.push('-nodefaults', '-no-user-config', '-display', 'none')
    fixed.push('-qtest', 'pipe:$DIR/test', '-qtest-log', '/dev/null', '-qmp', 'pipe:$DIR/monitor')
    const all = [...fixed, ...options].map((option) => option.replaceAll('$DIR', folder))
    // It must not outlive us, however we end.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', program, ...all], { stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    child.stderr.on('data', (data) => {
      said += data
    })
    try {
      const monitor = await LinePipe.open(join(folder, 'monitor'), child, '')
      monitor.read()
      const test = await LinePipe.open(join(folder, 'test'), child, 'endianness\n')
      test.read()
      const result = new QemuMachine(folder, child, test, monitor)
      result.#ask({ execute: 'qmp_capabilities' })
      return result
    } catch (error) {
      child.kill('SIGKILL')
      rmSync(folder, { recursive: true })
      throw new Error(said || String(error))
    }
  }

  /** Registers in the address space of the memory. */
  bus(address: number): RegisterBus {
    return {
      read: (offset, width) => Number(this.command(`read${suffix[width]} ${hex(address + offset)}`)),
      write: (offset, width, value) => void this.command(`write${suffix[width]} ${hex(address + offset)} ${hex(value)}`),
    }
  }

  /** Registers in the address space of the ports. */
  ports(port: number): RegisterBus {
    return {
      read: (offset, width) => Number(this.command(`in${suffix[width]} ${hex(port + offset)}`)),
      write: (offset, width, value) => void this.command(`out${suffix[width]} ${hex(port + offset)} ${hex(value)}`),
    }
  }

  /** A command of the test protocol. Memory is exchanged before and after it. */
  command(line: string): string {
    this.accesses++
    return this.#alive(() => this.#command(line))
  }

  /** What the monitor prints. */
  info(what: string): string {
    return this.query('human-monitor-command', { 'command-line': `info ${what}` }) as string
  }

  /** What a command of the monitor protocol (QMP) answers. */
  query(execute: string, given: object = {}): unknown {
    return this.#ask({ execute, arguments: given })
  }

  /**
   * Lets QEMU and what waits for it go on until a promise is settled.
   *
   * @param interrupts - called while something may have changed, to serve interrupts
   * @throws Error (as a rejection) when that takes too long
   */
  async run<T>(promise: Promise<T>, interrupts: () => void): Promise<T> {
    let settled = false
    const settle = (): void => {
      settled = true
    }
    promise.then(settle, settle)
    for (const end = Date.now() + runLimit; ; ) {
      await turn()
      if (settled) return promise
      if (Date.now() > end) throw new Error(`nothing came within ${runLimit} ms`)
      this.wait(0.5)
      interrupts()
    }
  }

  /** Lets QEMU go on for a while. */
  wait(milliseconds: number): void {
    this.#freeze()
    this.#alive(() => {
      sleep(milliseconds)
      this.#command('endianness')
    })
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#end()
    process.off('exit', this.#end)
    await ended
    this.#test.close()
    this.#monitor.close()
    this.#mirror.close()
    closeSync(this.#stat)
  }

  #alive<T>(run: () => T): T {
    // While nothing but zeros was ever there, no buffer is available, and no device writes anything.
    if (!this.#isFrozen && !this.#mirror.isChanged) return run()
    this.#freeze()
    this.#mirror.push()
    process.kill(this.#pid, 'SIGCONT')
    this.#isFrozen = false
    try {
      return run()
    } finally {
      this.#freeze()
      this.#mirror.pull()
    }
  }

  #freeze(): void {
    if (this.#isFrozen) return
    process.kill(this.#pid, 'SIGSTOP')
    const text = Buffer.alloc(64)
    // The state stands behind the name, which is in parentheses.
    while (!/\) T/.test(text.toString('latin1', 0, readSync(this.#stat, text, 0, text.length, 0)))) sleep(0.02)
    this.#isFrozen = true
  }

  #command(line: string): string {
    this.#test.write(line)
    for (;;) {
      const [word, ...rest] = this.#test.read().split(' ')
      if (word === 'OK') return rest.join(' ')
      if (word !== 'IRQ') throw new Error(`${line}: ${word} ${rest.join(' ')}`)
      if (rest[0] === 'raise') this.raised.add(Number(rest[1]))
      else this.raised.delete(Number(rest[1]))
    }
  }

  #ask(question: object): unknown {
    return this.#alive(() => {
      this.#monitor.write(JSON.stringify(question))
      for (;;) {
        const answer = JSON.parse(this.#monitor.read())
        if ('return' in answer) return answer.return
        if ('error' in answer) throw new Error(answer.error.desc)
      }
    })
  }
}

/** Of the commands of the test protocol. */
const suffix = { 1: 'b', 2: 'w', 4: 'l' } as const

const still = new Int32Array(new SharedArrayBuffer(4))

/** Without an event loop. */
function sleep(milliseconds: number): void {
  Atomics.wait(still, 0, 0, milliseconds)
}

function hex(value: number): string {
  return `0x${value.toString(16)}`
}

/** Bytes that are not zero, and nowhere the same. */
export function pattern(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => 1 + ((at * 7 + (at >> 8) * 31 + seed) % 255))
}
