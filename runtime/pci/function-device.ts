/** A PCI function as a bus sees it: what `PciDevice` is, and whatever else a VMM puts on the bus. */

/** A base address register of a function. The same object as long as the function lives. */
export interface PciBar {
  /** 0–5; a 64-bit one takes the next register too. */
  readonly index: number
  readonly kind: 'io' | 'memory32' | 'memory64'
  readonly prefetchable: boolean
  /** Bytes, a power of two. */
  readonly size: number
  /** Where it answers now; undefined while the command register does not let it decode. Any multiple of `size`, as the guest writes it. */
  readonly address: number | undefined
}

/** Nothing here throws, whatever offset, width and value are: a guest chooses them. Widths are bytes, values unsigned numbers of that width. */
export interface PciFunctionDevice {
  readonly bars: readonly PciBar[]
  readConfig(offset: number, width: number): number
  writeConfig(offset: number, width: number, value: number): void
  /** @param offset - bytes from the start of the BAR */
  readBar(bar: number, offset: number, width: number): number
  writeBar(bar: number, offset: number, width: number, value: number): void
  /** Back to the state after power-on; absent where there is none to go back to. A promise where that takes its time. */
  powerOnReset?(): void | Promise<void>
}
