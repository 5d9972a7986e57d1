/**
 * virtio devices in v86, the PC in JavaScript (npm package `v86`), through its documented option `wasm_fn` alone: nothing private of v86 is touched.
 *
 * The guest's CPU is a WebAssembly module that asks JavaScript for every access to a port. This stands between: accesses to the configuration spaces and ports of its own
 * devices it answers, all others it passes on.
 */
import { PciBus, PciDevice, type PciDeviceOptions, type PciDeviceState, pciLayouts, restorePciDevice, savePciDevice } from 'virtgen/pci'
import { GuestMemory, StateError, type VirtioDevice } from 'virtgen/runtime'
import {
  pci_config_address,
  pci_config_ports_CONFIG_ADDRESS,
  pci_config_ports_CONFIG_DATA,
  pci_geometry,
  pci_header_interrupt_line,
} from 'virtgen/wire/pci'
import { type CpuExports, instantiate, type PortImports, type WasmSource } from './cpu.ts'
import { PirqRouter } from './pirq-router.ts'

export interface V86MachineOptions {
  /** The module v86.wasm of the same version as v86's JavaScript: its bytes, a `WebAssembly.Module`, or a function that gives one of them, perhaps as a promise. */
  readonly wasm: WasmSource
}

/** How a device is plugged in: as in any other bus, but for what v86 decides. */
export interface V86DeviceOptions extends Partial<Omit<PciDeviceOptions, 'memory' | 'interrupt' | 'message'>> {
  /** PCI slot, 0–31; by default the first free one from 16 on. v86 has devices of its own in others. */
  readonly slot?: number
}

/** What v86 does not save itself. JSON-safe. */
export interface V86DevicesState {
  readonly version: 1
  /** By slot. */
  readonly devices: Readonly<Record<string, PciDeviceState>>
  /** What CONFIG_ADDRESS holds. */
  readonly configAddress: number
  /** Routes of the interrupt lines in the south bridge. */
  readonly routes: readonly number[]
}

interface Plugged {
  readonly device: VirtioDevice
  readonly options: V86DeviceOptions
}

type Read = (port: number) => number
type Write = (port: number, value: number) => void

const firstSlot = 16
/** The window of the graphics card, which is no memory for devices. */
const vgaBegin = 0xa_0000
const vgaEnd = 0xc_0000
const widths = [1, 2, 4] as const
const { pci_config_enable, pci_config_bus, pci_config_device, pci_config_function, pci_config_register } = pci_config_address
const deviceShift = 11
const configPortsEnd = pci_config_ports_CONFIG_DATA + 4

/**
 * One emulator's virtio devices.
 *
 * ```ts
 * const machine = new V86Machine({ wasm: readFileSync('node_modules/v86/build/v86.wasm') })
 * machine.add(new RngDevice())
 * const emulator = new V86({ wasm_fn: machine.wasm_fn, ... })
 * ```
 */
export class V86Machine {
  /** For the option of that name of `new V86(...)`. */
  readonly wasm_fn: (imports: PortImports) => Promise<CpuExports>
  readonly #bus = new PciBus({
    interrupt: (line, level) => this.#routes.set(line, level),
    swizzle: (slot, pin) => (slot + pin - 2) & 3,
  })
  readonly #routes = new PirqRouter({
    raise: (irq) => this.#cpu?.device_raise_irq(irq),
    lower: (irq) => this.#cpu?.device_lower_irq(irq),
  })
  /** By slot. */
  readonly #plugged = new Map<number, Plugged>()
  readonly #devices = new Map<number, PciDevice>()
  #cpu: CpuExports | undefined
  #memory: GuestMemory | undefined

  constructor({ wasm }: V86MachineOptions) {
    this.wasm_fn = async (imports) => {
      if (this.#cpu !== undefined) throw new Error('a machine serves one emulator: make another one for the next')
      const cpu = await instantiate(wasm, { ...imports, env: this.#withPorts(imports.env) })
      this.#cpu = cpu
      return {
        ...cpu,
        allocate_memory: (size) => {
          const offset = cpu.allocate_memory(size)
          this.#begin(cpu, offset, size)
          return offset
        },
        reset_cpu: () => {
          this.#bus.powerOnReset()
          cpu.reset_cpu()
        },
      }
    }
  }

  /** Guest memory; undefined before the emulator has made it. */
  get memory(): GuestMemory | undefined {
    return this.#memory
  }

  // ---- Devices

  /**
   * Plugs a device in: before the guest starts, or while it runs; then the guest must look for it (Linux: `echo 1 > /sys/bus/pci/rescan`).
   *
   * @returns the slot
   * @throws RangeError for a slot that is taken or not there, and for a layout with memory BARs, which v86 cannot move
   */
  add(device: VirtioDevice, options: V86DeviceOptions = {}): number {
    const slot = options.slot ?? this.#freeSlot()
    if (this.#plugged.has(slot)) throw new RangeError(`slot ${slot} is taken`)
    if (this.#memory !== undefined) this.#plug(slot, { device, options }, this.#memory)
    this.#plugged.set(slot, { device, options })
    return slot
  }

  /** Takes a device out, and resets it. */
  remove(slot: number): void {
    this.#plugged.delete(slot)
    this.#bus.remove(slot)
    this.#devices.get(slot)?.control.reset()
    this.#devices.delete(slot)
  }

  /** The transport of a device; undefined where the slot is empty, or before there is memory. */
  at(slot: number): PciDevice | undefined {
    return this.#devices.get(slot)
  }

  #freeSlot(): number {
    let slot = firstSlot
    while (this.#plugged.has(slot)) slot++
    if (slot >= pci_geometry.pci_devices_per_bus) throw new RangeError('all slots are taken')
    return slot
  }

  #begin(cpu: CpuExports, offset: number, size: number): void {
    const source = cpu.memory
    const memory = new GuestMemory([
      // The buffer of the memory is another one whenever the module lets it grow.
      { guestAddress: 0, size: vgaBegin, source, byteOffset: offset },
      { guestAddress: vgaEnd, size: size - vgaEnd, source, byteOffset: offset + vgaEnd },
    ])
    // Code in these bytes may have been compiled.
    memory.onWrite = (address, length) => cpu.jit_dirty_cache(address, address + length)
    this.#memory = memory
    for (const [slot, plugged] of this.#plugged) this.#plug(slot, plugged, memory)
  }

  #plug(slot: number, { device, options: { slot: _, ...settings } }: Plugged, memory: GuestMemory): void {
    const transport = this.#bus.add(slot, (interrupt) => {
      const made = new PciDevice(device, { layout: pciLayouts.io, vectors: 0, ...settings, memory, interrupt })
      if (made.bars.some(({ kind }) => kind !== 'io')) throw new RangeError('v86 has no place for memory BARs: use pciLayouts.io')
      return made
    })
    this.#devices.set(slot, transport)
    // Firmware does this for what it finds at boot; a device that comes later has to say it itself.
    const line = this.#bus.lineOf(slot)
    const irq = line === undefined ? undefined : this.#routes.irqOf(line)
    if (irq !== undefined) transport.writeConfig(pci_header_interrupt_line, 1, irq)
  }

  // ---- Ports

  #withPorts(env: PortImports['env']): PortImports['env'] {
    const wrapped: Record<string, unknown> = { ...env }
    for (const width of widths) {
      const bits = 8 * width
      const read = env[`io_port_read${bits}`] as Read
      const write = env[`io_port_write${bits}`] as Write
      wrapped[`io_port_read${bits}`] = (port: number) => (this.#isMine(port, width) ? this.#bus.readPort(port, width) : read(port))
      wrapped[`io_port_write${bits}`] = (port: number, value: number) => {
        const unsigned = value >>> 0
        if (port === pci_config_ports_CONFIG_ADDRESS && width === 4) this.#bus.writePort(port, width, unsigned)
        else if (this.#isMine(port, width)) {
          this.#bus.writePort(port, width, unsigned)
          return
        } else if (port >= pci_config_ports_CONFIG_DATA && port < configPortsEnd) this.#watch(port, width, unsigned)
        write(port, value)
      }
    }
    return wrapped
  }

  /** Both buses hear which configuration space is chosen; this one answers for its own functions. */
  #isMine(port: number, width: number): boolean {
    if (port < pci_config_ports_CONFIG_DATA || port >= configPortsEnd) return this.#bus.answersPort(port, width)
    const chosen = this.#bus.configAddress
    return (
      (chosen & pci_config_enable) !== 0 &&
      (chosen & pci_config_bus) === 0 &&
      this.#bus.at((chosen & pci_config_device) >>> deviceShift) !== undefined
    )
  }

  #watch(port: number, width: number, value: number): void {
    const chosen = this.#bus.configAddress
    const space = chosen & (pci_config_bus | pci_config_device | pci_config_function)
    if ((chosen & pci_config_enable) !== 0)
      this.#routes.watch(space, (chosen & pci_config_register) + port - pci_config_ports_CONFIG_DATA, width, value)
  }

  // ---- Snapshots

  /** To be kept beside what `emulator.save_state()` gives, taken at the same time: while the emulator is stopped. */
  save(): V86DevicesState {
    const devices = Object.fromEntries([...this.#devices].map(([slot, device]) => [slot, savePciDevice(device)]))
    return { version: 1, devices, configAddress: this.#bus.configAddress, routes: this.#routes.routes }
  }

  /**
   * Takes over a state, into the same devices in the same slots, which no driver has begun with; after `emulator.restore_state(...)`.
   *
   * @throws StateError for what is not a state of these devices
   */
  restore(state: V86DevicesState): void {
    if (state?.version !== 1) throw new StateError('version', `version must be 1, not ${String(state?.version)}`)
    const slots = Object.keys(state.devices)
    const here = [...this.#devices.keys()].map(String)
    if (slots.length !== here.length || slots.some((slot) => !here.includes(slot)))
      throw new StateError('devices', `there must be devices in the slots ${slots.join(', ')}, not in ${here.join(', ')}`)
    this.#bus.configAddress = state.configAddress
    this.#routes.routes = state.routes
    for (const [slot, device] of this.#devices) restorePciDevice(device, state.devices[slot] as PciDeviceState)
  }
}
