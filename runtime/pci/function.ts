/** A PCI function as a driver reaches it. */
import type { RegisterBus } from '../driver/transport.ts'

export type { RegisterBus } from '../driver/transport.ts'

/** Access to one function: its configuration space, and what its Base Address Registers lead to. What enumerates the bus gives this; addresses are assigned by then. */
export interface PciFunction {
  /** @returns an unsigned number of that width, little-endian; all ones where there is no function */
  readConfig(offset: number, width: 1 | 2 | 4): number
  writeConfig(offset: number, width: 1 | 2 | 4, value: number): void
  /**
   * Gives access to a part of a BAR. Called after the command register lets the BAR decode; with numbers that the device has chosen.
   *
   * @param bar - 0–5
   * @param offset - of the part within the BAR, in bytes
   * @param length - bytes, from 1
   * @returns undefined where that part cannot be reached: no such BAR, not inside it, no address, or a space that the platform does not have
   */
  map(bar: number, offset: number, length: number): RegisterBus | undefined
}
