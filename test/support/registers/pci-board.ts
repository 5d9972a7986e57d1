/** A PCI function with everything that one can have, and a driver's hands on it. */
import { Board, type Core, loadCore } from './board.ts'

/** @param first - the module with the map: alone and before all others */
export async function loadPci(first: string) {
  await import(/* @vite-ignore */ first)
  const [wire, pci, { PciDevice }, { PciBus }] = await Promise.all([
    import('virtgen/wire/transport-pci'),
    import('virtgen/wire/pci'),
    import('../../../runtime/pci/device.ts'),
    import('../../../runtime/pci/bus.ts'),
  ])
  return { ...wire, pci, PciDevice, PciBus, ...(await loadCore()) }
}
export type PciModules = Awaited<ReturnType<typeof loadPci>>

/** Names of the queues for VIRTIO_F_NOTIF_CONFIG_DATA. */
export const queueNames = [100, 101, 102, 103]
export const vectors = 3

/** A capability of the function, as its bytes say. */
export interface FoundCapability {
  readonly at: number
  readonly id: number
  /** Of a vendor capability of virtio. */
  readonly type: number
  readonly bar: number
  readonly offset: number
  readonly length: number
}

export class PciBoard extends Board<PciModules & Core> {
  readonly pci: InstanceType<PciModules['PciDevice']>
  readonly messages: [address: number, data: number][] = []

  constructor(modules: PciModules, { transitional = false } = {}) {
    super(modules, { id: transitional ? 2 : 42, queues: [8, 0, 4, 2] })
    const { FeatureSet, content } = modules
    this.pci = new modules.PciDevice(this.device, {
      memory: this.memory,
      ringFeatures: FeatureSet.of(
        content.VIRTIO_F_VERSION_1,
        content.VIRTIO_F_RING_RESET,
        content.VIRTIO_F_NOTIF_CONFIG_DATA,
        content.VIRTIO_F_ADMIN_VQ,
      ),
      interrupt: this.interrupt,
      message: (address, data) => this.messages.push([address, data]),
      vectors,
      transitional,
      notifConfigData: queueNames,
      adminQueues: 1,
      vendorData: [{ vendorId: 0x15b3, data: Uint8Array.of(1, 2, 3, 4) }],
    })
    const { PCI_COMMAND_IO, PCI_COMMAND_MEMORY, PCI_COMMAND_MASTER, pci_header_command } = modules.pci
    this.pci.writeConfig(pci_header_command, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)
  }

  get control() {
    return this.pci.control
  }

  /** All capabilities, in their order. */
  get capabilities(): FoundCapability[] {
    const { pci_header_capability_list } = this.modules.pci
    const read = (at: number, width: number): number => this.pci.readConfig(at, width)
    const found: FoundCapability[] = []
    for (let at = read(pci_header_capability_list, 1); at !== 0 && found.length < 64; at = read(at + 1, 1))
      found.push({ at, id: read(at, 1), type: read(at + 3, 1), bar: read(at + 4, 1), offset: read(at + 8, 4), length: read(at + 12, 4) })
    return found
  }

  /** The virtio capability of a type. */
  capability(type: number): FoundCapability {
    const { PCI_CAP_ID_VNDR } = this.modules.pci
    const found = this.capabilities.find((each) => each.id === PCI_CAP_ID_VNDR && each.type === type)
    if (!found) throw new Error(`the function has no virtio capability of type ${type}`)
    return found
  }

  get msix(): FoundCapability {
    const found = this.capabilities.find(({ id }) => id === this.modules.pci.PCI_CAP_ID_MSIX)
    if (!found) throw new Error('the function has no MSI-X')
    return found
  }

  /** What a virtio capability leads to. */
  structure(type: number) {
    const { bar, offset } = this.capability(type)
    return this.window(bar, offset)
  }

  window(bar: number, offset: number) {
    return {
      read: (at: number, width: number): number => this.pci.readBar(bar, offset + at, width),
      write: (at: number, width: number, value: number): void => this.pci.writeBar(bar, offset + at, width, value),
    }
  }

  /** The MSI-X table, or from the other register on the pending bits. */
  msixWindow(register: number = this.modules.pci.pci_msix_capability_table) {
    const { PCI_MSIX_TABLE_BIR, PCI_MSIX_TABLE_OFFSET } = this.modules.pci
    const place = this.pci.readConfig(this.msix.at + register, 4)
    return this.window(place & PCI_MSIX_TABLE_BIR, (place & PCI_MSIX_TABLE_OFFSET) >>> 0)
  }

  enableMsix(): void {
    const { pci_msix_capability_flags, PCI_MSIX_FLAGS_ENABLE } = this.modules.pci
    this.pci.writeConfig(this.msix.at + pci_msix_capability_flags, 2, PCI_MSIX_FLAGS_ENABLE)
  }

  negotiate(): void {
    const { ACKNOWLEDGE, DRIVER, FEATURES_OK } = this.modules.content
    this.control.setDriverFeatures(1, this.control.offered.word(1))
    for (const status of [ACKNOWLEDGE, ACKNOWLEDGE | DRIVER, ACKNOWLEDGE | DRIVER | FEATURES_OK]) this.control.writeStatus(status)
  }

  /** The device is live with queue 0, on which a buffer is available. */
  start(): void {
    this.negotiate()
    for (const area of ['descriptorArea', 'driverArea', 'deviceArea'] as const) this.control.setQueueAddress(0, area, 0, this.areas[area])
    this.control.setQueueReady(0, true)
    this.control.writeStatus(this.control.status | this.modules.content.DRIVER_OK)
    this.device.log.length = 0
    this.offer()
  }
}
