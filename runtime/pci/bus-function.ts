/** A slot of a PciBus as a driver reaches it. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import { PCI_CFG_SPACE_EXP_SIZE, pci_ecam, pci_geometry } from 'virtgen/wire/pci'
import type { PciBus } from './bus.ts'
import type { PciFunction, RegisterBus } from './function.ts'

const slotBytes = pci_geometry.pci_functions_per_device << pci_ecam.pci_ecam_function_shift

/**
 * A driver's `PciFunction` over the accesses that a guest has: ECAM, and the addresses at which the BARs are. A slot that is empty, a BAR that decodes no more and one
 * that another function answers for are what they are for a guest.
 */
export class BusFunction implements PciFunction {
  readonly #bus: PciBus
  readonly #slot: number

  constructor(bus: PciBus, slot: number) {
    this.#bus = bus
    this.#slot = slot
  }

  /** @throws RangeError for an offset outside 4096 bytes */
  readConfig(offset: number, width: number): number {
    return this.#bus.readEcam(this.#at(offset, width), width)
  }

  /** @throws RangeError for an offset outside 4096 bytes */
  writeConfig(offset: number, width: number, value: number): void {
    this.#bus.writeEcam(this.#at(offset, width), width, value)
  }

  #at(offset: number, width: number): number {
    return this.#slot * slotBytes + checkInteger(offset, 0, PCI_CFG_SPACE_EXP_SIZE - width, 'offset')
  }

  /** The place where the BAR is now: to be mapped again when it has moved. The registers throw RangeError for accesses outside of `length` bytes. */
  map(bar: number, offset: number, length: number): RegisterBus | undefined {
    const found = this.#bus.at(this.#slot)?.bars.find(({ index }) => index === bar)
    const start = found?.address
    if (found === undefined || start === undefined || !(offset >= 0 && length > 0 && offset + length <= found.size)) return undefined
    const bus = this.#bus
    const isIo = found.kind === 'io'
    const at = (from: number, width: number): number => start + offset + checkInteger(from, 0, length - width, 'offset')
    return {
      read: (from, width) => (isIo ? bus.readPort(at(from, width), width) : bus.readMemory(at(from, width), width)),
      write: (from, width, value) => (isIo ? bus.writePort(at(from, width), width, value) : bus.writeMemory(at(from, width), width, value)),
    }
  }
}
