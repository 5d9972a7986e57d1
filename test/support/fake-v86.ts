/** v86 as far as `V86Machine` sees it: a module with a growing memory that imports accesses of ports, and JavaScript behind them; and a guest in it. */
import { connectPci, type PciFunction, type VectorConnection } from 'virtgen/pci'
import { DriverMemory, type DriverType, GuestMemory } from 'virtgen/runtime'
import type { V86Machine } from 'virtgen/v86'
import { PCI_BASE_ADDRESS_IO_MASK, pci_header_base_address_0 } from 'virtgen/wire/pci'
import { vi } from 'vitest'
import type { CpuExports } from '../../hosts/v86/cpu.ts'

export const configAddress = 0xcf8
export const configData = 0xcfc
/** Bit 31 of CONFIG_ADDRESS. */
const enabled = 0x8000_0000
const pageBytes = 0x1_0000
const offset = pageBytes
const ramBytes = 0x20_0000
const widths = [1, 2, 4] as const

/** An access that reached v86's own JavaScript. */
export type OwnAccess = readonly [port: number, width: number, value?: number]

export class FakeV86 {
  readonly memory = new WebAssembly.Memory({ initial: (offset + ramBytes) / pageBytes })
  readonly own: OwnAccess[] = []
  /** What v86's own JavaScript answers. */
  ownAnswer = 0x5a
  readonly dirty: [start: number, end: number][] = []
  /** What happened to interrupts, in order. */
  readonly edges: string[] = []
  /** IRQs that are high, as the interrupt controller sees them. */
  readonly high = new Set<number>()
  resets = 0
  onRaise: (irq: number) => void = () => {}
  onDirty: () => void = () => {}
  /** What v86's JavaScript has of the module. */
  exports!: CpuExports
  #ports!: Record<string, (port: number, value?: number) => number>

  /** Starts v86 with a machine's option `wasm_fn`. */
  static async start(machine: V86Machine): Promise<FakeV86> {
    const fake = new FakeV86()
    await fake.#load(machine)
    fake.exports.allocate_memory(ramBytes)
    fake.exports.reset_cpu()
    return fake
  }

  async #load(machine: V86Machine): Promise<void> {
    const own: Record<string, (port: number, value?: number) => number> = {}
    for (const width of widths) {
      own[`io_port_read${8 * width}`] = (port) => {
        this.own.push([port, width])
        return this.ownAnswer
      }
      own[`io_port_write${8 * width}`] = (port, value) => this.own.push([port, width, value])
    }
    const spy = vi.spyOn(WebAssembly, 'instantiate').mockImplementation((async (_module: unknown, { env }: { env: typeof own }) => {
      this.#ports = env
      return { instance: { exports: Object.freeze(this.#module()) } }
    }) as never)
    try {
      this.exports = await machine.wasm_fn({ env: own })
    } finally {
      spy.mockRestore()
    }
  }

  #module(): CpuExports {
    return {
      memory: this.memory,
      allocate_memory: () => offset,
      reset_cpu: () => {
        this.resets++
      },
      device_raise_irq: (irq) => {
        if (this.high.has(irq)) return
        this.high.add(irq)
        this.edges.push(`+${irq}`)
        this.onRaise(irq)
      },
      device_lower_irq: (irq) => {
        if (this.high.delete(irq)) this.edges.push(`-${irq}`)
      },
      jit_dirty_cache: (start, end) => {
        this.dirty.push([start, end])
        this.onDirty()
      },
    }
  }

  /** Guest memory, as it is now. */
  get ram(): Uint8Array {
    return new Uint8Array(this.memory.buffer, offset, ramBytes)
  }

  /** What v86 does under load: every view of memory so far is void. */
  grow(): void {
    this.memory.grow(1)
  }

  /** An access of the guest. */
  read(port: number, width: number): number {
    const value = this.#ports[`io_port_read${8 * width}`]?.(port) ?? Number.NaN
    return width === 4 ? value >>> 0 : value
  }

  /** 32 bits come as signed numbers, as from WebAssembly. */
  write(port: number, width: number, value: number): void {
    this.#ports[`io_port_write${8 * width}`]?.(port, width === 4 ? value | 0 : value)
  }
}

/** Where `route` puts a slot's registers. */
export function portsOf(slot: number): number {
  return 0xc000 + 0x100 * slot
}

/** A guest: firmware and drivers. It stays the same when it is moved to another emulator. */
export class FakeGuest {
  v86: FakeV86
  readonly #memory: GuestMemory

  constructor(v86: FakeV86) {
    this.v86 = v86
    const guest = this
    const source = {
      get buffer(): ArrayBuffer {
        return guest.v86.memory.buffer
      },
    }
    this.#memory = new GuestMemory([{ guestAddress: 0, size: ramBytes, source, byteOffset: offset }])
  }

  /** In a new emulator with this machine. */
  static async boot(machine: V86Machine, ...slots: readonly number[]): Promise<FakeGuest> {
    const guest = new FakeGuest(await FakeV86.start(machine))
    guest.route(...slots)
    return guest
  }

  /** What firmware does: gives first BARs an address, and routes interrupt lines 0 to 3 to IRQs 9 to 12. */
  route(...slots: readonly number[]): void {
    for (const slot of slots) this.function(slot).writeConfig(pci_header_base_address_0, 4, portsOf(slot))
    this.function(1).writeConfig(0x60, 4, 0x0c0b_0a09)
  }

  /** The configuration space of a slot, through the two ports, and its BARs behind others. */
  function(slot: number): PciFunction {
    const choose = (at: number): number => {
      this.v86.write(configAddress, 4, (enabled | (slot << 11) | (at & 0xfc)) >>> 0)
      return configData + (at & 3)
    }
    return {
      readConfig: (at, width) => this.v86.read(choose(at), width),
      writeConfig: (at, width, value) => this.v86.write(choose(at), width, value),
      map: (bar, from) => {
        const start = (this.v86.read(choose(pci_header_base_address_0 + 4 * bar), 4) & PCI_BASE_ADDRESS_IO_MASK) + from
        return { read: (at, width) => this.v86.read(start + at, width), write: (at, width, value) => this.v86.write(start + at, width, value) }
      },
    }
  }

  /** A driver whose interrupt handler is called by the test. */
  connect<T>(slot: number, type: DriverType<T>): Promise<VectorConnection<T>> {
    return connectPci(this.function(slot), type, { memory: new DriverMemory(this.#memory, areaOf(slot), areaBytes), queueSize: 4 })
  }

  /** A driver whose interrupt handler runs as soon as the IRQ is raised. */
  async drive<T>(slot: number, type: DriverType<T>): Promise<T> {
    const { driver, interrupt } = await this.connect(slot, type)
    this.serve(interrupt)
    return driver
  }

  /** From now on this handler runs as soon as an IRQ is raised. */
  serve(handler: () => unknown): void {
    const before = this.v86.onRaise
    this.v86.onRaise = (irq) => {
      before(irq)
      handler()
    }
  }

  /** Goes on in another emulator, with the memory as it is. */
  moveTo(v86: FakeV86): void {
    v86.ram.set(this.v86.ram)
    this.v86 = v86
  }
}

const areaBytes = 0x1_0000

/** Memory of a slot's driver. */
export function areaOf(slot: number): number {
  return 0xc_0000 + areaBytes * (slot - 16)
}
