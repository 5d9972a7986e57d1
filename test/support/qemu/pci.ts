/** A function on QEMU's PCI bus 0, and what firmware would have done for it: addresses and the routing of interrupt lines. */
import {
  PCI_BASE_ADDRESS_IO_MASK,
  PCI_BASE_ADDRESS_MEM_MASK,
  PCI_BASE_ADDRESS_MEM_PREFETCH,
  PCI_BASE_ADDRESS_MEM_TYPE_64,
  PCI_BASE_ADDRESS_MEM_TYPE_MASK,
  PCI_BASE_ADDRESS_SPACE_IO,
  PCI_STD_NUM_BARS,
  pci_config_address,
  pci_config_ports_CONFIG_ADDRESS,
  pci_config_ports_CONFIG_DATA,
  pci_header_base_address_0,
} from 'virtgen/wire/pci'
import type { PciFunction } from '../../../runtime/pci/function.ts'
import type { QemuMachine } from './machine.ts'

/** Machines with PCI; the interrupt of the slot that we use comes by that line of the I/O APIC. */
export const pciMachines = {
  /** i440FX. Nothing routes its lines before firmware has: registers of the bridge to ISA, in slot 1. */
  pc: { machine: 'pc,pit=off,hpet=off', line: 11, route: { slot: 1, registers: 0x60 } },
  /** ICH9: slot 4 has line PIRQ E (4 + slot % 4 with pin A), the first behind the 16 of ISA and four others. */
  q35: { machine: 'q35,pit=off,hpet=off', line: 20, route: undefined },
} as const
export type PciMachine = keyof typeof pciMachines

/** Where the device is: `addr=`. */
export const slot = 4
const deviceShift = 11
/** Addresses that these machines leave to PCI. */
const memoryStart = 0xe000_0000
const portStart = 0xc000

export interface QemuBar {
  readonly kind: 'io' | 'memory32' | 'memory64'
  readonly prefetchable: boolean
  readonly address: number
  readonly size: number
}

export interface QemuFunction extends PciFunction {
  /** By index; holes where there is none. */
  readonly bars: ReadonlyMap<number, QemuBar>
}

/** Gives the function in our slot its addresses. */
export function placeFunction(machine: QemuMachine, kind: PciMachine): QemuFunction {
  const { line, route } = pciMachines[kind]
  if (route) configBus(machine, route.slot).write(route.registers, 4, line * 0x0101_0101)
  const config = configBus(machine, slot)
  const bars = placeBars(config)
  return {
    bars,
    readConfig: (offset, width) => config.read(offset, width),
    writeConfig: (offset, width, value) => config.write(offset, width, value),
    map(index, offset, length) {
      const bar = bars.get(index)
      if (bar === undefined || offset + length > bar.size) return undefined
      return bar.kind === 'io' ? machine.ports(bar.address + offset) : machine.bus(bar.address + offset)
    },
  }
}

type Config = ReturnType<typeof configBus>

function configBus(machine: QemuMachine, device: number) {
  const address = machine.ports(pci_config_ports_CONFIG_ADDRESS)
  const data = machine.ports(pci_config_ports_CONFIG_DATA)
  const select = (offset: number): void =>
    address.write(0, 4, (pci_config_address.pci_config_enable | (device << deviceShift) | (offset & pci_config_address.pci_config_register)) >>> 0)
  return {
    read(offset: number, width: 1 | 2 | 4): number {
      select(offset)
      return data.read(offset % 4, width)
    },
    write(offset: number, width: 1 | 2 | 4, value: number): void {
      select(offset)
      data.write(offset % 4, width, value)
    },
  }
}

function placeBars(config: Config): Map<number, QemuBar> {
  const bars = new Map<number, QemuBar>()
  const next = { io: portStart, memory: memoryStart }
  for (let index = 0; index < PCI_STD_NUM_BARS; index++) {
    const at = pci_header_base_address_0 + 4 * index
    config.write(at, 4, 0xffff_ffff)
    const word = config.read(at, 4)
    if (word === 0) continue
    const isPorts = (word & PCI_BASE_ADDRESS_SPACE_IO) !== 0
    const isLarge = !isPorts && (word & PCI_BASE_ADDRESS_MEM_TYPE_MASK) === PCI_BASE_ADDRESS_MEM_TYPE_64
    const size = -(word & (isPorts ? PCI_BASE_ADDRESS_IO_MASK : PCI_BASE_ADDRESS_MEM_MASK))
    const space = isPorts ? 'io' : 'memory'
    const address = Math.ceil(next[space] / size) * size
    next[space] = address + size
    config.write(at, 4, address)
    if (isLarge) config.write(at + 4, 4, 0)
    const prefetchable = !isPorts && (word & PCI_BASE_ADDRESS_MEM_PREFETCH) !== 0
    bars.set(index, { kind: isPorts ? 'io' : isLarge ? 'memory64' : 'memory32', prefetchable, address, size })
    if (isLarge) index++
  }
  return bars
}
