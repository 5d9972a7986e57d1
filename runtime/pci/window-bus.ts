/** Access to a BAR through the configuration space, where the BAR itself cannot be reached. VIRTIO 1.4, PCI configuration access capability. */
import { VirtioPciCapOffsets, VirtioPciCfgCapOffsets } from 'virtgen/wire/transport-pci'
import type { RegisterBus } from '../driver/transport.ts'
import type { PciFunction } from './function.ts'

export class WindowBus implements RegisterBus {
  readonly #fn: PciFunction
  readonly #at: number
  readonly #bar: number
  readonly #start: number

  /**
   * @param at - where the capability is
   * @param start - within the BAR; offsets count from there
   */
  constructor(fn: PciFunction, at: number, bar: number, start: number) {
    this.#fn = fn
    this.#at = at
    this.#bar = bar
    this.#start = start
  }

  read(offset: number, width: 1 | 2 | 4): number {
    this.#point(offset, width)
    return this.#fn.readConfig(this.#at + VirtioPciCfgCapOffsets.pci_cfg_data, width)
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    this.#point(offset, width)
    this.#fn.writeConfig(this.#at + VirtioPciCfgCapOffsets.pci_cfg_data, width, value)
  }

  #point(offset: number, width: number): void {
    this.#fn.writeConfig(this.#at + VirtioPciCapOffsets.bar, 1, this.#bar)
    this.#fn.writeConfig(this.#at + VirtioPciCapOffsets.length, 4, width)
    this.#fn.writeConfig(this.#at + VirtioPciCapOffsets.offset, 4, this.#start + offset)
  }
}
