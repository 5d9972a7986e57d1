/** Who answers at each port, looked up at every access of the guest to any port, of v86's own devices as well. */
import type { PciDevice } from 'virtgen/pci'

/** An I/O BAR that decodes. */
export interface PortPlace {
  readonly device: PciDevice
  readonly bar: number
  readonly start: number
  /** Behind the last port. */
  readonly end: number
}

const ports = 0x1_0000

/** The I/O BARs of all functions. Where they lie on top of each other the first function answers. */
export class PortMap {
  /** The one that decodes a port: an index into `places`. */
  readonly #owners = new Uint8Array(ports)
  /** From 1 on; at 0 nobody. */
  #places: (PortPlace | undefined)[] = [undefined]

  /** Takes over where the BARs are now. */
  update(devices: Iterable<PciDevice>): void {
    this.#owners.fill(0)
    this.#places = [undefined]
    for (const device of devices)
      for (const { kind, index, address: start, size } of device.bars) {
        if (kind !== 'io' || start === undefined) continue
        const end = Math.min(start + size, ports)
        const place = this.#places.push({ device, bar: index, start, end }) - 1
        for (let port = start; port < end; port++) if (this.#owners[port] === 0) this.#owners[port] = place
      }
  }

  /** Who has all bytes of an access. */
  find(port: number, width: number): PortPlace | undefined {
    const owner = this.#owners[port]
    if (owner === 0) return undefined
    const place = this.#places[owner as number]
    return place !== undefined && port + width <= place.end ? place : undefined
  }
}
