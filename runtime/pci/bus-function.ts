/** A slot of a PciBus as a driver reaches it. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import {
  PCI_BASE_ADDRESS_IO_MASK,
  PCI_BASE_ADDRESS_MEM_MASK,
  PCI_BASE_ADDRESS_MEM_TYPE_64,
  PCI_BASE_ADDRESS_MEM_TYPE_MASK,
  PCI_BASE_ADDRESS_SPACE_IO,
  PCI_CFG_SPACE_EXP_SIZE,
  PCI_STD_NUM_BARS,
  pci_ecam,
  pci_geometry,
  pci_header_base_address_0,
} from 'virtgen/wire/pci'
import type { PciBus } from './bus.ts'

const slotBytes = pci_geometry.pci_functions_per_device << pci_ecam.pci_ecam_function_shift

type Width = 1 | 2 | 4

/** Registers in a BAR, by their offsets from the start of what was mapped. */
export interface BarWindow {
  read(offset: number, width: Width): number
  write(offset: number, width: Width, value: number): void
}

/**
 * The functions of a driver's `PciFunction`, over the accesses that a guest has: ECAM, and the addresses that the BARs hold. A slot that is empty, a BAR that does not
 * decode and one that another function answers for are what they are for a guest: all ones.
 */
export class BusFunction {
  readonly #bus: PciBus
  readonly #start: number

  constructor(bus: PciBus, slot: number) {
    this.#bus = bus
    this.#start = slot * slotBytes
  }

  /** @throws RangeError for an offset outside 4096 bytes */
  readConfig(offset: number, width: Width): number {
    return this.#bus.readEcam(this.#start + checkOffset(offset, width), width)
  }

  /** @throws RangeError for an offset outside 4096 bytes */
  writeConfig(offset: number, width: Width, value: number): void {
    this.#bus.writeEcam(this.#start + checkOffset(offset, width), width, value)
  }

  /**
   * Registers at a place in a BAR, where that is now: to be mapped again when the BAR has moved.
   *
   * @throws RangeError for a BAR that there is not; from the window, for accesses outside of `length` bytes
   */
  map(bar: number, offset: number, length: number): BarWindow {
    const { isIo, address } = this.#place(checkInteger(bar, 0, PCI_STD_NUM_BARS - 1, 'bar'))
    const bus = this.#bus
    const at = (from: number, width: number): number => address + offset + checkInteger(from, 0, length - width, 'offset')
    return {
      read: (from, width) => (isIo ? bus.readPort(at(from, width), width) : bus.readMemory(at(from, width), width)),
      write: (from, width, value) => (isIo ? bus.writePort(at(from, width), width, value) : bus.writeMemory(at(from, width), width, value)),
    }
  }

  #place(bar: number): { isIo: boolean; address: number } {
    const register = pci_header_base_address_0 + 4 * bar
    const low = this.readConfig(register, 4)
    if ((low & PCI_BASE_ADDRESS_SPACE_IO) !== 0) return { isIo: true, address: (low & PCI_BASE_ADDRESS_IO_MASK) >>> 0 }
    const is64 = (low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) === PCI_BASE_ADDRESS_MEM_TYPE_64 && bar < PCI_STD_NUM_BARS - 1
    const high = is64 ? this.readConfig(register + 4, 4) : 0
    return { isIo: false, address: high * 2 ** 32 + ((low & PCI_BASE_ADDRESS_MEM_MASK) >>> 0) }
  }
}

function checkOffset(offset: number, width: number): number {
  return checkInteger(offset, 0, PCI_CFG_SPACE_EXP_SIZE - width, 'offset')
}
