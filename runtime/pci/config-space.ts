/** The configuration space of a PCI function: bytes, and which of their bits can be written. PCI Local Bus Specification 3.0, 6. */
import { pci_size } from 'virtgen/wire/pci'
import { getBytes, putBytes } from './register-window.ts'

/**
 * Live bytes. Each access may be of 1, 2 or 4 bytes at any offset; bits that cannot be written keep their values. Capabilities are behind the header in the order in which
 * they are added.
 */
export class PciConfigSpace {
  /** @internal */
  readonly $bytes = new Uint8Array(pci_size.PCI_CFG_SPACE_SIZE)
  /** @internal Bits that software may write. */
  readonly $writable = new Uint8Array(pci_size.PCI_CFG_SPACE_SIZE)
  #afterReset: Uint8Array = this.$bytes

  read(offset: number, width: number): number {
    return getBytes(this.$bytes, offset, width)
  }

  /** Software writes: only where it may. */
  write(offset: number, width: number, value: number): void {
    for (let index = 0; index < width; index++) {
      const at = offset + index
      const mask = this.$writable[at]
      if (mask) this.$bytes[at] = (this.$bytes[at]! & ~mask) | ((value >>> (8 * index)) & mask)
    }
  }

  /** The function itself writes, whatever software may. */
  set(offset: number, width: number, value: number): void {
    putBytes(this.$bytes, offset, width, value)
  }

  /** Lets software write these bits. */
  allow(offset: number, width: number, bits: number): void {
    putBytes(this.$writable, offset, width, bits)
  }

  /** Now the space is as it shall be after a reset. */
  seal(): void {
    this.#afterReset = this.$bytes.slice()
  }

  reset(): void {
    this.$bytes.set(this.#afterReset)
  }
}
