/** Base address registers. PCI Local Bus Specification 3.0, 6.2.5. */
import {
  PCI_BASE_ADDRESS_IO_MASK,
  PCI_BASE_ADDRESS_MEM_MASK,
  PCI_BASE_ADDRESS_MEM_PREFETCH,
  PCI_BASE_ADDRESS_MEM_TYPE_64,
  PCI_BASE_ADDRESS_SPACE_IO,
  PCI_COMMAND_IO,
  PCI_COMMAND_MEMORY,
  pci_header_base_address_0,
  pci_header_command,
} from 'virtgen/wire/pci'
import type { PciConfigSpace } from './config-space.ts'
import type { PciBar } from './function-device.ts'
import type { PlacedBar } from './layout.ts'

const registerWidth = 4
const word = 0x1_0000_0000

/** A base address register in a configuration space, which holds its address. */
export class BaseAddress implements PciBar {
  readonly index: number
  readonly kind: PlacedBar['kind']
  readonly prefetchable: boolean
  readonly size: number
  readonly #space: PciConfigSpace
  readonly #at: number
  /** @internal The address that the VMM was told last. */
  $told: number | undefined

  constructor({ index, kind, prefetchable, size }: PlacedBar, space: PciConfigSpace) {
    this.index = index
    this.kind = kind
    this.prefetchable = prefetchable
    this.size = size
    this.#space = space
    this.#at = pci_header_base_address_0 + registerWidth * index
    space.set(this.#at, registerWidth, this.#flags)
    // Bits below the size stay 0: by them software finds out what it is.
    const settable = word - (size % word || word)
    space.allow(this.#at, registerWidth, size < word ? settable : 0)
    if (kind === 'memory64') space.allow(this.#at + registerWidth, registerWidth, word - Math.max(1, size / word))
  }

  get #flags(): number {
    if (this.kind === 'io') return PCI_BASE_ADDRESS_SPACE_IO
    return (this.kind === 'memory64' ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0) | (this.prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0)
  }

  /** Nothing is decoded at 0, where no address has been given, nor at the end of all addresses, where software asks for the size. */
  get address(): number | undefined {
    const space = this.#space
    const enabled = this.kind === 'io' ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY
    if ((space.read(pci_header_command, 2) & enabled) === 0) return undefined
    const mask = this.kind === 'io' ? PCI_BASE_ADDRESS_IO_MASK : PCI_BASE_ADDRESS_MEM_MASK
    const low = (space.read(this.#at, registerWidth) & mask) >>> 0
    const high = this.kind === 'memory64' ? space.read(this.#at + registerWidth, registerWidth) : 0
    const address = high * word + low
    const end = address + this.size
    return address === 0 || end === word || end > Number.MAX_SAFE_INTEGER ? undefined : address
  }
}
