/** A function in a driver's hands: its decoding and bus mastering, its Base Address Registers, its structures. */
import {
  PCI_BASE_ADDRESS_IO_MASK,
  PCI_BASE_ADDRESS_MEM_MASK,
  PCI_BASE_ADDRESS_MEM_TYPE_64,
  PCI_BASE_ADDRESS_MEM_TYPE_MASK,
  PCI_BASE_ADDRESS_SPACE,
  PCI_BASE_ADDRESS_SPACE_IO,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_IO,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_STD_NUM_BARS,
  pci_header_base_address_0,
  pci_header_base_address_1,
  pci_header_command,
} from 'virtgen/wire/pci'
import { VIRTIO_PCI_CAP_PCI_CFG } from 'virtgen/wire/transport-pci'
import { DriverError } from '../driver/host.ts'
import type { RegisterBus } from '../driver/transport.ts'
import { type PciCapabilityPlace, pciCapabilities, type VirtioStructure, virtioStructures } from './driver-capabilities.ts'
import type { PciFunction } from './function.ts'
import { WindowBus } from './window-bus.ts'

const barStride = pci_header_base_address_1 - pci_header_base_address_0
const wordSize = 2 ** 32

/** What a driver needs of a structure. */
export interface StructureNeed {
  /** `cfg_type`. */
  readonly type: number
  /** As a message names it. */
  readonly name: string
  /** Where in the structure what is needed begins; 0 by default. */
  readonly from?: (structure: VirtioStructure) => number
  /** Bytes from there, and how many are of use. */
  readonly least: number
  readonly most?: number
  /** Of the place within the BAR. */
  readonly alignment: number
}

/** What was found for it. */
export interface FoundStructure {
  readonly bus: RegisterBus
  /** Bytes that can be reached there. */
  readonly length: number
}

interface Bar {
  readonly isIo: boolean
  readonly address: number
}

export class DriverFunction {
  readonly fn: PciFunction
  readonly capabilities: readonly PciCapabilityPlace[]
  readonly structures: readonly VirtioStructure[]
  /** The command register as it was found. */
  #command: number | undefined

  constructor(fn: PciFunction) {
    this.fn = fn
    this.capabilities = pciCapabilities(fn)
    this.structures = virtioStructures(fn, this.capabilities)
  }

  /** Lets the BARs that have an address decode, the device reach memory, and its interrupt line work. */
  open(): void {
    const { fn } = this
    const command = fn.readConfig(pci_header_command, 2)
    this.#command = command
    let spaces = 0
    for (let i = 0; i < PCI_STD_NUM_BARS; i++) {
      const bar = this.bar(i)
      if (bar && bar.address !== 0) spaces |= bar.isIo ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY
      if (bar === undefined || this.#isWide(i)) i++
    }
    fn.writeConfig(pci_header_command, 2, (command & ~PCI_COMMAND_INTX_DISABLE) | spaces | PCI_COMMAND_MASTER)
  }

  /** Puts the command register back. */
  close(): void {
    if (this.#command !== undefined) this.fn.writeConfig(pci_header_command, 2, this.#command)
    this.#command = undefined
  }

  /** What a Base Address Register says; undefined for one that cannot be. */
  bar(index: number): Bar | undefined {
    const low = this.#readBar(index)
    if ((low & PCI_BASE_ADDRESS_SPACE) === PCI_BASE_ADDRESS_SPACE_IO) return { isIo: true, address: (low & PCI_BASE_ADDRESS_IO_MASK) >>> 0 }
    if (this.#isWide(index) && index + 1 >= PCI_STD_NUM_BARS) return undefined
    const high = this.#isWide(index) ? this.#readBar(index + 1) : 0
    return { isIo: false, address: ((low & PCI_BASE_ADDRESS_MEM_MASK) >>> 0) + high * wordSize }
  }

  #isWide(index: number): boolean {
    const low = this.#readBar(index)
    return (low & PCI_BASE_ADDRESS_SPACE) !== PCI_BASE_ADDRESS_SPACE_IO && (low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) === PCI_BASE_ADDRESS_MEM_TYPE_64
  }

  #readBar(index: number): number {
    return this.fn.readConfig(pci_header_base_address_0 + index * barStride, 4) >>> 0
  }

  /** The first structure of a type that can be used: the driver SHOULD use that. Through the window where the BARs of none can be reached. */
  find(need: StructureNeed): FoundStructure | undefined {
    const { least, most = least, alignment } = need
    const places = this.structures.flatMap((structure) => {
      const from = need.from?.(structure) ?? 0
      const offset = structure.offset + from
      if (structure.type !== need.type || structure.length - from < least || offset % alignment !== 0) return []
      return { bar: structure.bar, offset, length: Math.min(structure.length - from, most) }
    })
    for (const { bar, offset, length } of places) {
      const bus = this.fn.map(bar, offset, length)
      if (bus) return { bus, length }
    }
    const [first] = places
    const window = this.structures.find(({ type }) => type === VIRTIO_PCI_CAP_PCI_CFG)
    if (first === undefined || window === undefined || first.offset + first.length > wordSize) return undefined
    return { bus: new WindowBus(this.fn, window.at, first.bar, first.offset), length: first.length }
  }

  /** @throws DriverError `layout` */
  get(need: StructureNeed): FoundStructure {
    const found = this.find(need)
    if (found) return found
    const count = this.structures.filter(({ type }) => type === need.type).length
    const which = count === 0 ? 'no' : `none of the ${count}`
    throw new DriverError('layout', `there is ${which} ${need.name} with ${need.least} bytes at a multiple of ${need.alignment} that can be reached`)
  }
}
