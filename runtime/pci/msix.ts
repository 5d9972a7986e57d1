/** The MSI-X table of a function and its pending bits, as the PCI Local Bus Specification 3.0 has them. */
import {
  PCI_MSIX_ENTRY_CTRL_MASKBIT,
  PCI_MSIX_ENTRY_SIZE,
  pci_msix_entry_data,
  pci_msix_entry_lower_addr,
  pci_msix_entry_upper_addr,
  pci_msix_entry_vector_ctrl,
  pci_size,
} from 'virtgen/wire/pci'
import { type BarWindow, getBytes, putBytes } from './register-window.ts'

/** What decides whether messages go out; the configuration space knows. */
export interface MsixGate {
  /** MSI-X is enabled, no mask over all vectors is set, and the function may write to memory. */
  readonly isOpen: boolean
}

const word = 0x1_0000_0000
const bitsPerByte = 8

/**
 * The table, and behind it the pending bits. A message that cannot go out, because its vector or all of them are masked or the function is no bus master, stays pending
 * and goes out as soon as it can.
 */
export class MsixTable implements BarWindow {
  readonly vectors: number
  readonly #gate: MsixGate
  readonly #message: (address: number, data: number) => void
  /** @internal */
  readonly $table: Uint8Array
  /** @internal A bit for each vector. */
  readonly $pending: Uint8Array

  /** @param message - comes last, and may come back in */
  constructor(vectors: number, gate: MsixGate, message: (address: number, data: number) => void) {
    this.vectors = vectors
    this.#gate = gate
    this.#message = message
    this.$table = new Uint8Array(vectors * PCI_MSIX_ENTRY_SIZE)
    this.$pending = new Uint8Array(pendingBytes(vectors))
    this.#mask()
  }

  /** Bytes of the table, where the pending bits begin. */
  get pendingOffset(): number {
    return this.$table.length
  }

  /** Any access is served, although the driver must use 32 or 64 bits. */
  read(offset: number, width: number): number {
    const { length } = this.$table
    return offset < length ? getBytes(this.$table, offset, width) : getBytes(this.$pending, offset - length, width)
  }

  /** Pending bits are read-only. */
  write(offset: number, width: number, value: number): void {
    putBytes(this.$table, offset, width, value)
    // An access that is misaligned may lie in two.
    for (const at of [offset, offset + width - 1]) this.#written(Math.floor(at / PCI_MSIX_ENTRY_SIZE))
  }

  #written(vector: number): void {
    if (vector >= this.vectors) return
    const at = vector * PCI_MSIX_ENTRY_SIZE
    // Reserved bits stay 0: an address is one of 32-bit words.
    this.$table[at + pci_msix_entry_lower_addr]! &= ~3
    putBytes(this.$table, at + pci_msix_entry_vector_ctrl, 4, this.$table[at + pci_msix_entry_vector_ctrl]! & PCI_MSIX_ENTRY_CTRL_MASKBIT)
    if (this.#isPending(vector)) this.trigger(vector)
  }

  /** An event of that vector takes place. */
  trigger(vector: number): void {
    const isOpen = this.#gate.isOpen && !this.#isMasked(vector)
    this.#setPending(vector, !isOpen)
    if (isOpen) this.#send(vector)
  }

  /** Sends what is pending and can go out by now. */
  release(): void {
    for (let vector = 0; vector < this.vectors && this.#gate.isOpen; vector++) {
      if (this.#isPending(vector)) this.trigger(vector)
    }
  }

  #send(vector: number): void {
    const at = vector * PCI_MSIX_ENTRY_SIZE
    const low = getBytes(this.$table, at + pci_msix_entry_lower_addr, 4)
    const high = getBytes(this.$table, at + pci_msix_entry_upper_addr, 4)
    this.#message(low + high * word, getBytes(this.$table, at + pci_msix_entry_data, 4))
  }

  #isMasked(vector: number): boolean {
    return (this.$table[vector * PCI_MSIX_ENTRY_SIZE + pci_msix_entry_vector_ctrl]! & PCI_MSIX_ENTRY_CTRL_MASKBIT) !== 0
  }

  #isPending(vector: number): boolean {
    return ((this.$pending[vector >> 3] as number) & (1 << (vector & 7))) !== 0
  }

  #setPending(vector: number, pending: boolean): void {
    const bit = 1 << (vector & 7)
    if (pending) this.$pending[vector >> 3]! |= bit
    else this.$pending[vector >> 3]! &= ~bit
  }

  /** What is pending is void. */
  clearPending(): void {
    this.$pending.fill(0)
  }

  /** As after power-on. */
  reset(): void {
    this.$table.fill(0)
    this.#mask()
    this.clearPending()
  }

  /** After a reset every vector is masked. */
  #mask(): void {
    for (let at = pci_msix_entry_vector_ctrl; at < this.$table.length; at += PCI_MSIX_ENTRY_SIZE) this.$table[at] = PCI_MSIX_ENTRY_CTRL_MASKBIT
  }
}

function pendingBytes(vectors: number): number {
  const { pci_msix_pba_size } = pci_size
  return Math.ceil(vectors / bitsPerByte / pci_msix_pba_size) * pci_msix_pba_size
}

/** Bytes of a table with its pending bits. */
export function msixLength(vectors: number): number {
  return vectors * PCI_MSIX_ENTRY_SIZE + pendingBytes(vectors)
}
