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
import { type CpuExports, instantiate, type WasmImports, type WasmSource } from './cpu.ts'
import { PirqRouter, pirqLines } from './pirq-router.ts'
import { PortMap } from './port-map.ts'

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
  /** IRQs that v86's own devices hold, as bits. */
  readonly otherIrqs: number
}

type Read = (port: number) => number
type Write = (port: number, value: number) => void

const firstSlot = 16
const standInBytes = 8
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
  /** For the option of that name of `new V86(...)`, whose types name neither imports nor exports. */
  readonly wasm_fn: <Exports = CpuExports>(imports: WasmImports) => Promise<Exports>
  readonly #bus = new PciBus({
    interrupt: (line, level) => this.#routes.set(line, level),
    swizzle: (slot, pin) => (slot + pin - 2) & 3,
  })
  readonly #routes = new PirqRouter({
    raise: (irq) => this.#cpu?.device_raise_irq(irq),
    lower: (irq) => this.#cpu?.device_lower_irq(irq),
  })
  /**
   * Guest memory. It moves whenever v86's WebAssembly memory grows: what is kept of it is good until the guest runs again. Before the emulator has made it there is none,
   * but for some bytes that stand in for it.
   */
  readonly memory = GuestMemory.of(new Uint8Array(standInBytes))
  /** By slot, in the order of the slots. */
  #devices: ReadonlyMap<number, PciDevice> = new Map()
  readonly #ports = new PortMap()
  #cpu: CpuExports | undefined

  constructor({ wasm }: V86MachineOptions) {
    this.wasm_fn = async <Exports>(imports: WasmImports) => {
      if (this.#cpu !== undefined) throw new Error('a machine serves one emulator: make another one for the next')
      const cpu = await instantiate(wasm, { ...imports, env: this.#withPorts(imports.env ?? {}) })
      this.#cpu = cpu
      const exports: CpuExports = {
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
        device_raise_irq: (irq) => this.#routes.raiseOther(irq),
        device_lower_irq: (irq) => this.#routes.lowerOther(irq),
      }
      return exports as Exports
    }
  }

  #begin(cpu: CpuExports, offset: number, size: number): void {
    // The buffer of this source is another one whenever the module lets it grow.
    const source = cpu.memory
    this.memory.replace([
      { guestAddress: 0, size: vgaBegin, source, byteOffset: offset },
      { guestAddress: vgaEnd, size: size - vgaEnd, source, byteOffset: offset + vgaEnd },
    ])
    // Code in these bytes may have been compiled.
    this.memory.onWrite = (address, length) => cpu.jit_dirty_cache(address, address + length)
  }

  // ---- Devices

  /**
   * Plugs a device in: before the guest starts, or while it runs; then the guest must look for it (Linux: `echo 1 > /sys/bus/pci/rescan`).
   *
   * @returns the slot
   * @throws RangeError for a slot that is taken or not there, and for a layout with memory BARs, which v86 cannot move
   */
  add(device: VirtioDevice, { slot = this.#freeSlot(), ...settings }: V86DeviceOptions = {}): number {
    const transport = this.#bus.add(slot, (interrupt) => this.#make(device, settings, interrupt))
    this.#setDevices([...this.#devices, [slot, transport]])
    // Firmware does this for what it finds at boot; a device that comes later has to say it itself.
    const line = this.#bus.lineOf(slot)
    const irq = line === undefined ? undefined : this.#routes.irqOf(line)
    if (irq !== undefined) transport.writeConfig(pci_header_interrupt_line, 1, irq)
    return slot
  }

  /** Takes a device out, and resets it; nothing where the slot is empty. */
  remove(slot: number): void {
    const device = this.#devices.get(slot)
    this.#bus.remove(slot)
    this.#setDevices([...this.#devices].filter(([each]) => each !== slot))
    device?.control.reset()
  }

  /** Slots that have a device, ascending. */
  get slots(): readonly number[] {
    return [...this.#devices.keys()]
  }

  /** The transport of a device; undefined where the slot is empty. */
  at(slot: number): PciDevice | undefined {
    return this.#devices.get(slot)
  }

  #freeSlot(): number {
    let slot = firstSlot
    while (this.#devices.has(slot)) slot++
    if (slot >= pci_geometry.pci_devices_per_bus) throw new RangeError('all slots are taken')
    return slot
  }

  #make(device: VirtioDevice, settings: Omit<V86DeviceOptions, 'slot'>, interrupt: (level: boolean) => void): PciDevice {
    const made = new PciDevice(device, {
      layout: pciLayouts.io,
      vectors: 0,
      ...settings,
      memory: this.memory,
      interrupt,
      barChanged: (bar) => {
        this.#ports.update(this.#devices.values())
        settings.barChanged?.(bar)
      },
    })
    if (made.bars.some(({ kind }) => kind !== 'io')) throw new RangeError('v86 has no place for memory BARs: use pciLayouts.io')
    return made
  }

  #setDevices(devices: [slot: number, device: PciDevice][]): void {
    this.#devices = new Map(devices.sort(([a], [b]) => a - b))
    this.#ports.update(this.#devices.values())
  }

  // ---- Ports

  #withPorts(env: WasmImports[string]): WasmImports[string] {
    const wrapped: Record<string, unknown> = { ...env }
    for (const width of widths) {
      const bits = 8 * width
      const read = env[`io_port_read${bits}`] as Read
      const write = env[`io_port_write${bits}`] as Write
      wrapped[`io_port_read${bits}`] = (port: number) => {
        const place = this.#ports.find(port, width)
        if (place !== undefined) return place.device.readBar(place.bar, port - place.start, width)
        return this.#isMine(port, width) ? this.#bus.readPort(port, width) : read(port)
      }
      wrapped[`io_port_write${bits}`] = (port: number, value: number) => {
        const place = this.#ports.find(port, width)
        if (place !== undefined) place.device.writeBar(place.bar, port - place.start, width, value)
        else if (this.#isMine(port, width)) this.#bus.writePort(port, width, value >>> 0)
        else {
          this.#watch(port, width, value >>> 0)
          write(port, value)
        }
      }
    }
    return wrapped
  }

  /** The bytes of the configuration space that is chosen, and those of one of our functions. */
  #isMine(port: number, width: number): boolean {
    if (port < pci_config_ports_CONFIG_DATA || port + width > configPortsEnd) return false
    const chosen = this.#bus.configAddress
    return (
      (chosen & pci_config_enable) !== 0 &&
      (chosen & pci_config_bus) === 0 &&
      this.#bus.at((chosen & pci_config_device) >>> deviceShift) !== undefined
    )
  }

  /** Both buses hear which configuration space is chosen; the routes of interrupts are v86's, and heard of here. */
  #watch(port: number, width: number, value: number): void {
    if (port === pci_config_ports_CONFIG_ADDRESS && width === 4) this.#bus.writePort(port, width, value)
    if (port < pci_config_ports_CONFIG_DATA || port >= configPortsEnd) return
    const chosen = this.#bus.configAddress
    const space = chosen & (pci_config_bus | pci_config_device | pci_config_function)
    if ((chosen & pci_config_enable) !== 0)
      this.#routes.watch(space, (chosen & pci_config_register) + port - pci_config_ports_CONFIG_DATA, width, value)
  }

  // ---- Snapshots

  /** To be kept beside what `emulator.save_state()` gives, taken at the same time: while the emulator is stopped. */
  save(): V86DevicesState {
    const devices = Object.fromEntries([...this.#devices].map(([slot, device]) => [slot, savePciDevice(device)]))
    return { version: 1, devices, configAddress: this.#bus.configAddress, routes: this.#routes.routes, otherIrqs: this.#routes.others }
  }

  /**
   * Takes over a state, into the same devices in the same slots, which no driver has begun with; after `emulator.restore_state(...)`.
   *
   * @throws StateError for what is not a state of these devices
   */
  restore(state: V86DevicesState): void {
    checkState(state, [...this.#devices.keys()])
    // The guest may run as soon as it is interrupted: everything is to be there by then.
    this.#routes.hold(() => {
      this.#bus.configAddress = state.configAddress
      this.#routes.others = state.otherIrqs
      this.#routes.routes = state.routes
      for (const [slot, device] of this.#devices) restorePciDevice(device, state.devices[slot] as PciDeviceState)
    })
  }
}

function checkState(state: V86DevicesState, here: readonly number[]): void {
  const isIn = (value: unknown, most: number): boolean => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most
  const check = (isSo: boolean, member: string, expected: string): void => {
    if (!isSo) throw new StateError(member, `${member} of the state must be ${expected}`)
  }
  check(state?.version === 1, 'version', '1')
  check(isIn(state.configAddress, 0xffff_ffff), 'configAddress', 'a number of 32 bits')
  check(isIn(state.otherIrqs, 0xffff), 'otherIrqs', 'a number of 16 bits')
  const { routes } = state
  check(Array.isArray(routes) && routes.length === pirqLines && routes.every((route) => isIn(route, 0xff)), 'routes', `${pirqLines} bytes`)
  const slots = Object.keys(state.devices ?? {})
  check(slots.length === here.length && here.every((slot) => slots.includes(String(slot))), 'devices', `those of the slots ${here.join(', ')}`)
}
