/** Who answers at an address: the BARs that decode now. */
import { isAccess } from '../access.ts'
import { allOnes } from './absent.ts'
import type { PciBar, PciFunctionDevice } from './function-device.ts'

interface Place {
  readonly device: PciFunctionDevice
  readonly bar: PciBar
}

/**
 * The BARs of one address space, memory or ports, in the order of the slots.
 *
 * The guest decides where they are, also on top of each other: the first one answers that has all bytes of an access. Addresses are looked up at each access, so that
 * nothing has to be told when a BAR moves or is switched off.
 */
export class DecodedBars {
  readonly #isMine: (bar: PciBar) => boolean
  #places: readonly Place[] = []

  constructor(isMine: (bar: PciBar) => boolean) {
    this.#isMine = isMine
  }

  /** Takes over what is on the bus now, in the order of the slots. */
  update(devices: readonly PciFunctionDevice[]): void {
    this.#places = devices.flatMap((device) => device.bars.filter(this.#isMine).map((bar) => ({ device, bar })))
  }

  read(address: number, width: number): number {
    const place = this.#find(address, width)
    return place ? place.device.readBar(place.bar.index, address - (place.bar.address as number), width) : allOnes(width)
  }

  write(address: number, width: number, value: number): void {
    const place = this.#find(address, width)
    place?.device.writeBar(place.bar.index, address - (place.bar.address as number), width, value)
  }

  #find(address: number, width: number): Place | undefined {
    if (!isAccess(address, width)) return undefined
    for (const place of this.#places) {
      const { address: start, size } = place.bar
      if (start !== undefined && address >= start && address - start + width <= size) return place
    }
    return undefined
  }
}
