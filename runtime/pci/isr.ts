/** ISR status behind a BAR. VIRTIO 1.4, Virtio Over PCI Bus / PCI Device Layout / ISR status capability. */
import { virtio_pci_isr } from 'virtgen/wire/transport-pci'
import type { PciInterrupts } from './interrupts.ts'
import { RegisterWindow } from './register-window.ts'

/** One register, which reading clears. */
export function isrWindow(interrupts: PciInterrupts): RegisterWindow {
  return new RegisterWindow(virtio_pci_isr, { readRegister: () => interrupts.takeIsr(), writeRegister: () => {} }, false)
}
