/** Where a VMM has places for devices behind memory-mapped registers. */

/** Places for devices, one behind the other. Plain data. */
export interface MmioSlotLayout {
  /** Guest address of the first slot. */
  readonly address: number
  /** Bytes from one slot to the next, and of the window of each: a power of 2, 512 or more. */
  readonly slotSize: number
  /** How many. */
  readonly slots: number
  /** Number of the interrupt of the first slot; of the others one more each. */
  readonly firstInterrupt: number
  /** How many interrupts there are, as many as slots by default. With fewer the slots share them in turn. */
  readonly interrupts?: number
}

/** One place. */
export interface MmioPlace {
  readonly index: number
  /** Guest address of the first register. */
  readonly address: number
  /** Bytes. */
  readonly size: number
  /** Number of the interrupt. */
  readonly interrupt: number
}

/** Layouts of VMMs, as their guests know them. */
export const mmioSlotLayouts = {
  /** squib: 32 slots; the interrupts are INTIDs of a GIC. */
  squib: { address: 0x0f00_0000, slotSize: 0x1000, slots: 32, firstInterrupt: 48 },
  /** QEMU's `microvm` as it is by default, with ACPI and a second I/O APIC: 24 slots; the interrupts are global system interrupts. */
  qemuMicrovm: { address: 0xfeb0_0000, slotSize: 0x200, slots: 24, firstInterrupt: 24 },
  /** QEMU's `microvm` with `acpi=off`: 8 slots; the interrupts are those of the first I/O APIC. */
  qemuMicrovmWithoutAcpi: { address: 0xfeb0_0000, slotSize: 0x200, slots: 8, firstInterrupt: 5 },
} as const satisfies Readonly<Record<string, MmioSlotLayout>>
