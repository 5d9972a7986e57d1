/** The header of a function: what it is, and what its driver lets it do. PCI Local Bus Specification 3.0, 6.2. */
import {
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_IO,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_COMMAND_PARITY,
  PCI_COMMAND_SERR,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_FLAGS_MASKALL,
  PCI_STATUS_INTERRUPT,
  pci_header_cache_line_size,
  pci_header_class_prog,
  pci_header_command,
  pci_header_device_id,
  pci_header_interrupt_line,
  pci_header_interrupt_pin,
  pci_header_latency_timer,
  pci_header_revision_id,
  pci_header_status,
  pci_header_subsystem_id,
  pci_header_subsystem_vendor_id,
  pci_header_vendor_id,
  pci_msix_capability_flags,
} from 'virtgen/wire/pci'
import type { PciConfigSpace } from './config-space.ts'
import type { PciIdentity } from './identity.ts'
import type { MsixGate } from './msix.ts'

/** What software may set: what the function obeys, and the reports of errors, of which it has none. */
const commands = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE

export class FunctionHeader implements MsixGate {
  readonly #space: PciConfigSpace
  /** Where the MSI-X capability is; undefined where there is none. */
  msixAt: number | undefined

  /** @param pin - of INTx; 0 is none */
  constructor(space: PciConfigSpace, identity: PciIdentity, pin: number) {
    this.#space = space
    space.set(pci_header_vendor_id, 2, identity.vendorId)
    space.set(pci_header_device_id, 2, identity.deviceId)
    space.set(pci_header_revision_id, 1, identity.revision)
    space.set(pci_header_class_prog, 3, identity.classCode)
    space.set(pci_header_subsystem_vendor_id, 2, identity.subsystemVendorId)
    space.set(pci_header_subsystem_id, 2, identity.subsystemId)
    space.set(pci_header_interrupt_pin, 1, pin)
    space.allow(pci_header_command, 2, commands)
    for (const note of [pci_header_cache_line_size, pci_header_latency_timer, pci_header_interrupt_line]) space.allow(note, 1, 0xff)
  }

  get #command(): number {
    return this.#space.read(pci_header_command, 2)
  }

  get #msixFlags(): number {
    return this.msixAt === undefined ? 0 : this.#space.read(this.msixAt + pci_msix_capability_flags, 2)
  }

  /** The function may read and write guest memory, and send messages. */
  get isMaster(): boolean {
    return (this.#command & PCI_COMMAND_MASTER) !== 0
  }

  becomeMaster(): void {
    this.#space.set(pci_header_command, 2, this.#command | PCI_COMMAND_MASTER)
  }

  get isPinDisabled(): boolean {
    return (this.#command & PCI_COMMAND_INTX_DISABLE) !== 0
  }

  /** MSI-X is enabled. */
  get isMsixEnabled(): boolean {
    return (this.#msixFlags & PCI_MSIX_FLAGS_ENABLE) !== 0
  }

  get isOpen(): boolean {
    return this.isMaster && (this.#msixFlags & (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)) === PCI_MSIX_FLAGS_ENABLE
  }

  /** Interrupt Status says that an interrupt is pending, also where the pin is disabled. */
  showPending(pending: boolean): void {
    const status = this.#space.read(pci_header_status, 2)
    const now = pending ? status | PCI_STATUS_INTERRUPT : status & ~PCI_STATUS_INTERRUPT
    if (now !== status) this.#space.set(pci_header_status, 2, now)
  }
}
