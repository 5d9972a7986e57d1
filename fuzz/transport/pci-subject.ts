/** Virtio Over PCI Bus, as a driver uses it: with any layout of BARs, with MSI-X and without. */
import type { RegisterInfo } from 'virtgen/codegen/v1/wire'
import { VIRTIO_F_ADMIN_VQ, VIRTIO_F_NOTIF_CONFIG_DATA, VIRTIO_F_NOTIFICATION_DATA } from 'virtgen/wire/content'
import {
  PCI_COMMAND_IO,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_MSIX_ENTRY_SIZE,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_TABLE_BIR,
  pci_header,
  pci_header_command,
  pci_msix_capability_flags,
  pci_msix_capability_table,
  pci_msix_entry_data,
  pci_msix_entry_lower_addr,
  pci_msix_entry_vector_ctrl,
  pci_size,
} from 'virtgen/wire/pci'
import { VIRTIO_MSI_NO_VECTOR, virtio_pci_common_cfg } from 'virtgen/wire/transport-pci'
import type { VirtioDevice } from '../../runtime/device.ts'
import type { DeviceControl } from '../../runtime/device-control.ts'
import { PciDevice } from '../../runtime/pci/device.ts'
import { type PciDeviceState, restorePciDevice, savePciDevice } from '../../runtime/pci/device-state.ts'
import { type PciLayout, pciLayouts } from '../../runtime/pci/layout.ts'
import type { QueueSetup } from '../../runtime/queue.ts'
import { type Structures, structuresOf } from './pci-structures.ts'
import { type Subject, type SubjectSettings, selectors, type Window } from './subject.ts'

const word = 0x1_0000_0000
const layouts: readonly PciLayout[] = [
  pciLayouts.memory,
  pciLayouts.memory,
  pciLayouts.io,
  // Notifications and ISR status in ports first, and in memory as well; no place for the configuration space twice.
  [
    { kind: 'io', regions: ['notify', 'isr'] },
    { kind: 'memory32', regions: ['common', 'device', 'isr', 'notify', 'msix', 'shared'] },
  ],
]
/** Undefined: the usual one. */
const multipliers = [undefined, undefined, 0, 4, 16, 0x1000]
const queueRegisters: readonly RegisterInfo[] = Object.values<RegisterInfo>(virtio_pci_common_cfg).filter(({ bank }) =>
  bank?.includes('queue_select'),
)
/** As much of a part of a BAR is compared. */
const mostCompared = 0x200

export class PciSubject implements Subject {
  readonly windows: readonly Window[]
  protected readonly pci: PciDevice
  readonly #structures: Structures
  readonly #wantsMsix: boolean
  /** One vector is masked: its messages never come. */
  readonly #masksOne: boolean

  constructor(device: VirtioDevice, { interrupted, variant, ...settings }: SubjectSettings, transitional = false) {
    const choose = <T>(shift: number, items: readonly T[]): T => items[(variant >>> shift) % items.length]!
    const layout = choose(0, layouts)
    const multiplier = choose(4, multipliers)
    const hasMessages = choose(8, [true, true, false])
    const adminQueues = device.queueSizes.length > 2 ? choose(12, [0, 1]) : 0
    const notifConfigData = choose(14, [undefined, device.queueSizes.map((_, index) => 0x100 + 7 * index)])
    this.#wantsMsix = choose(16, [true, false])
    this.#masksOne = choose(28, [false, true])
    const vectors = choose(18, [undefined, 1, 3, 64])
    const canHaveVectors = hasMessages && layout.some(({ regions }) => regions.includes('msix'))
    this.pci = new PciDevice(device, {
      ...settings,
      ringFeatures: settings.ringFeatures!.with(
        ...(notifConfigData ? [VIRTIO_F_NOTIF_CONFIG_DATA] : []),
        ...(adminQueues > 0 ? [VIRTIO_F_ADMIN_VQ] : []),
      ),
      layout,
      transitional: transitional || choose(20, [true, false, false]),
      byteWrites: choose(22, [true, false]),
      adminQueues,
      interrupt: (level) => interrupted(level ? 1 : 0),
      // The configuration space has room for so many capabilities, and no more.
      vendorData: layout.length > 2 && device.sharedMemory.length === 0 ? choose(24, [[], [{ vendorId: 0x1234, data: Uint8Array.of(1, 2, 3) }]]) : [],
      ...(multiplier !== undefined && { notifyOffMultiplier: multiplier }),
      ...(notifConfigData && { notifConfigData }),
      ...(hasMessages && { message: (address, data) => interrupted(address, data) }),
      ...(canHaveVectors && vectors !== undefined && { vectors }),
      ...(choose(26, [true, false]) && { barChanged: ({ index, address = -1 }) => interrupted(2, index, address) }),
    })
    this.#structures = structuresOf((offset, width) => this.pci.readConfig(offset, width))
    this.windows = [this.#configWindow(), ...this.pci.bars.map(({ index, size }) => this.#barWindow(index, size))]
  }

  get control(): DeviceControl {
    return this.pci.control
  }

  #configWindow(): Window {
    const { pci } = this
    const size = pci_size.PCI_CFG_SPACE_SIZE
    const ofCapabilities = this.#structures.capabilities.flatMap((at) => [at, at + 2, at + 4, at + 8, at + 12, at + 16])
    return {
      name: 'configuration space',
      size,
      offsets: [...Object.values(pci_header).map(({ offset }) => offset), ...ofCapabilities],
      parts: [[0, size]],
      read: (...at) => pci.readConfig(...at),
      write: (...at) => pci.writeConfig(...at),
    }
  }

  #barWindow(bar: number, size: number): Window {
    const { pci } = this
    const { all, msixAt } = this.#structures
    const parts = all
      .filter((structure) => structure.bar === bar)
      .map(({ offset, length }) => [offset, offset + Math.min(length, mostCompared)] as const)
    const msix = this.#msixTable
    if (msixAt !== undefined && msix.bar === bar) parts.push([msix.offset, msix.offset + mostCompared])
    // Only the legacy structure is in no capability.
    if (bar === 0) parts.push([0, Math.min(size, 0x80)])
    return {
      name: `BAR ${bar}`,
      size,
      offsets: parts.flatMap(([begin, end]) => Array.from({ length: Math.ceil(Math.min(end - begin, 0x40) / 2) }, (_, i) => begin + 2 * i)),
      parts,
      read: (...at) => pci.readBar(bar, ...at),
      write: (...at) => pci.writeBar(bar, ...at),
    }
  }

  get #msixTable(): { bar: number; offset: number } {
    const table = this.#structures.msixAt === undefined ? 0 : this.pci.readConfig(this.#structures.msixAt + pci_msix_capability_table, 4)
    return { bar: table & PCI_MSIX_TABLE_BIR, offset: (table & ~PCI_MSIX_TABLE_BIR) >>> 0 }
  }

  #get({ offset, width }: RegisterInfo): number {
    const { common } = this.#structures
    return this.pci.readBar(common.bar, common.offset + offset, width)
  }
  #set({ offset, width }: RegisterInfo, value: number): void {
    const { common } = this.#structures
    this.pci.writeBar(common.bar, common.offset + offset, width, value)
  }
  #setAddress({ offset }: RegisterInfo, address: number): void {
    this.#set({ offset, width: 4, access: 'rw' }, address % word)
    this.#set({ offset: offset + 4, width: 4, access: 'rw' }, Math.floor(address / word))
  }

  /** MSI-X is enabled. */
  protected get hasMsix(): boolean {
    const { msixAt } = this.#structures
    return msixAt !== undefined && (this.pci.readConfig(msixAt + pci_msix_capability_flags, 2) & PCI_MSIX_FLAGS_ENABLE) !== 0
  }

  /** The function may use memory; where it is wanted, MSI-X is enabled, with some of its vectors unmasked. */
  prepare(): void {
    const { pci } = this
    pci.writeConfig(pci_header_command, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)
    const { msixAt } = this.#structures
    if (msixAt === undefined || !this.#wantsMsix) return
    const { bar, offset } = this.#msixTable
    const count = (pci.readConfig(msixAt + pci_msix_capability_flags, 2) & 0x7ff) + 1
    for (let vector = 0; vector < Math.min(count, 8); vector++) {
      const at = offset + vector * PCI_MSIX_ENTRY_SIZE
      pci.writeBar(bar, at + pci_msix_entry_lower_addr, 4, 0xfee0_0000 + vector * 0x1000)
      pci.writeBar(bar, at + pci_msix_entry_data, 4, vector)
      pci.writeBar(bar, at + pci_msix_entry_vector_ctrl, 4, this.#masksOne && vector === 2 ? 1 : 0)
    }
    pci.writeConfig(msixAt + pci_msix_capability_flags, 2, PCI_MSIX_FLAGS_ENABLE)
    this.#set(virtio_pci_common_cfg.config_msix_vector, 0)
  }

  get status(): number {
    return this.#get(virtio_pci_common_cfg.device_status)
  }
  set status(value: number) {
    this.#set(virtio_pci_common_cfg.device_status, value)
  }

  offered(index: number): number {
    this.#set(virtio_pci_common_cfg.device_feature_select, index)
    return this.#get(virtio_pci_common_cfg.device_feature)
  }
  accept(index: number, value: number): void {
    this.#set(virtio_pci_common_cfg.driver_feature_select, index)
    this.#set(virtio_pci_common_cfg.driver_feature, value)
  }

  setUpQueue({ index, size, descriptorArea, driverArea, deviceArea }: QueueSetup): void {
    this.#set(virtio_pci_common_cfg.queue_select, index)
    this.#set(virtio_pci_common_cfg.queue_size, size)
    this.#set(virtio_pci_common_cfg.queue_msix_vector, index + 1)
    // Where there are too few, one vector is for all.
    if (this.#get(virtio_pci_common_cfg.queue_msix_vector) === VIRTIO_MSI_NO_VECTOR) this.#set(virtio_pci_common_cfg.queue_msix_vector, 0)
    this.#setAddress(virtio_pci_common_cfg.queue_desc, descriptorArea)
    this.#setAddress(virtio_pci_common_cfg.queue_driver, driverArea)
    this.#setAddress(virtio_pci_common_cfg.queue_device, deviceArea)
    this.#set(virtio_pci_common_cfg.queue_enable, 1)
  }
  /** Drivers cannot do that here. */
  stopQueue(index: number): void {
    this.#set(virtio_pci_common_cfg.queue_select, index)
    this.#set(virtio_pci_common_cfg.queue_enable, 0)
  }
  resetQueue(index: number): void {
    this.#set(virtio_pci_common_cfg.queue_select, index)
    this.#set(virtio_pci_common_cfg.queue_reset, 1)
  }

  notify(index: number, value: number): void {
    this.#set(virtio_pci_common_cfg.queue_select, index)
    const { bar, offset, multiplier } = this.#structures.notify
    const at = offset + this.#get(virtio_pci_common_cfg.queue_notify_off) * multiplier
    const { features } = this.control
    const name = features.has(VIRTIO_F_NOTIF_CONFIG_DATA) ? this.#get(virtio_pci_common_cfg.queue_notif_config_data) : index
    const hasData = features.has(VIRTIO_F_NOTIFICATION_DATA)
    this.pci.writeBar(bar, at, hasData ? 4 : 2, hasData ? value - (value % 0x1_0000) + name : name)
  }
  acknowledge(): boolean {
    const { bar, offset } = this.#structures.isr
    return this.pci.readBar(bar, offset, 1) !== 0 || this.hasMsix
  }

  probe(see: (value: number) => void): void {
    for (const value of selectors) {
      see(this.offered(value))
      this.#set(virtio_pci_common_cfg.driver_feature_select, value)
      see(this.#get(virtio_pci_common_cfg.driver_feature))
      this.#set(virtio_pci_common_cfg.queue_select, value)
      for (const { offset, width, ...rest } of queueRegisters)
        for (let at = 0; at < width; at += 4) see(this.#get({ offset: offset + at, width: Math.min(width, 4), ...rest }))
    }
    for (const selector of ['device_feature_select', 'driver_feature_select', 'queue_select'] as const) this.#set(virtio_pci_common_cfg[selector], 0)
  }

  powerOn(): void {
    void this.pci.powerOnReset()
  }
  /** Configuration space and MSI-X table stay, and whatever happens the count of changes that the driver has seen. */
  takeOver(other: Subject, isPoweredOn: boolean): void {
    const { config, msix, generation, changed } = other.save() as PciDeviceState
    const fresh = this.save() as PciDeviceState
    const own = { config, ...(fresh.msix && { msix: { ...fresh.msix, table: msix?.table } }) }
    this.restore({ ...fresh, generation, changed, ...(!isPoweredOn && own) })
  }
  save(): unknown {
    return savePciDevice(this.pci)
  }
  restore(state: unknown): void {
    restorePciDevice(this.pci, state as PciDeviceState)
  }
}
