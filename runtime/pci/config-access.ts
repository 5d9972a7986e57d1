/** The window in the configuration space through which a driver reaches BARs that are mapped nowhere. VIRTIO 1.4, PCI Device Layout / PCI configuration access capability. */
import { VirtioPciCapOffsets, VirtioPciCfgCapOffsets } from 'virtgen/wire/transport-pci'
import { isAccess } from '../access.ts'
import type { PciConfigSpace } from './config-space.ts'

/** Who has the BARs. */
export interface BarAccess {
  readBar(bar: number, offset: number, width: number): number
  writeBar(bar: number, offset: number, width: number, value: number): void
}

const dataLength = 4

export class ConfigAccess {
  readonly #space: PciConfigSpace
  readonly #bars: BarAccess
  readonly #at: number

  /** @param at - of the capability */
  constructor(space: PciConfigSpace, bars: BarAccess, at: number) {
    this.#space = space
    this.#bars = bars
    this.#at = at
  }

  get #data(): number {
    return this.#at + VirtioPciCfgCapOffsets.pci_cfg_data
  }

  /** Says whether an access of the configuration space touches pci_cfg_data. */
  covers(offset: number, width: number): boolean {
    return offset < this.#data + dataLength && offset + width > this.#data
  }

  /** Where the driver has aimed; undefined where that is no aligned access of 1, 2 or 4 bytes. */
  get #aim(): { readonly bar: number; readonly offset: number; readonly width: number } | undefined {
    const bar = this.#space.read(this.#at + VirtioPciCapOffsets.bar, 1)
    const offset = this.#space.read(this.#at + VirtioPciCapOffsets.offset, 4)
    const width = this.#space.read(this.#at + VirtioPciCapOffsets.length, 4)
    return isAccess(offset, width) && offset % width === 0 ? { bar, offset, width } : undefined
  }

  /** The driver is about to read pci_cfg_data: the device reads the BAR into it. */
  fetch(): void {
    const aim = this.#aim
    if (aim) this.#space.set(this.#data, aim.width, this.#bars.readBar(aim.bar, aim.offset, aim.width))
  }

  /** The driver has written pci_cfg_data: the device writes its first bytes to the BAR. */
  store(): void {
    const aim = this.#aim
    if (aim) this.#bars.writeBar(aim.bar, aim.offset, aim.width, this.#space.read(this.#data, aim.width))
  }
}
