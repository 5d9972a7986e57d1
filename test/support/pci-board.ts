/** A VMM with one PCI function, and a driver's hands on it: capabilities are found as a driver finds them. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { SplitFakeDriver, TestMemory } from 'virtgen/testing'
import { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import {
  PCI_CAP_ID_MSIX,
  PCI_CAP_ID_VNDR,
  PCI_COMMAND_IO,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_MSIX_ENTRY_SIZE,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_TABLE_BIR,
  pci_header,
  pci_msix_capability,
  pci_msix_entry,
} from 'virtgen/wire/pci'
import {
  VIRTIO_PCI_CAP_COMMON_CFG,
  VIRTIO_PCI_CAP_DEVICE_CFG,
  VIRTIO_PCI_CAP_ISR_CFG,
  VIRTIO_PCI_CAP_NOTIFY_CFG,
  VirtioPciCap,
  VirtioPciNotifyCap,
  virtio_pci_common_cfg,
} from 'virtgen/wire/transport-pci'
import { createDeviceQueue } from '../../runtime/device-queue.ts'
import { PciDevice } from '../../runtime/pci/device.ts'
import type { PciBar } from '../../runtime/pci/function-device.ts'
import type { PciDeviceOptions } from '../../runtime/pci/options.ts'
import type { Violation } from '../../runtime/violation.ts'
import { DummyDevice } from './dummy-device.ts'

export type CommonRegister = keyof typeof virtio_pci_common_cfg
export const live = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK
const allCommands = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER

/** A dummy of a type that can be transitional. */
export class DummyNet extends DummyDevice {
  override readonly id = 1 as never
}

export interface Place {
  readonly bar: number
  readonly offset: number
  readonly length: number
}

export class PciBoard {
  readonly bytes: Uint8Array
  readonly memory: TestMemory
  readonly device: DummyDevice
  readonly pci: PciDevice
  readonly levels: boolean[] = []
  readonly messages: [address: number, data: number][] = []
  readonly moves: [index: number, address: number | undefined][] = []
  readonly violations: Violation[] = []
  onInterrupt: (level: boolean) => void = () => {}
  onMessage: (address: number, data: number) => void = () => {}
  onMove: (bar: PciBar) => void = () => {}

  constructor(options: Partial<PciDeviceOptions> = {}, device: DummyDevice = new DummyNet(), bytes: Uint8Array = new Uint8Array(0x8000)) {
    this.device = device
    this.bytes = bytes
    this.memory = new TestMemory({ regions: [{ guestAddress: 0, size: bytes.length, source: bytes }] })
    this.pci = new PciDevice(device, {
      memory: this.memory,
      createQueue: createDeviceQueue,
      interrupt: (level) => {
        this.levels.push(level)
        this.onInterrupt(level)
      },
      message: (address, data) => {
        this.messages.push([address, data])
        this.onMessage(address, data)
      },
      barChanged: (bar) => {
        this.moves.push([bar.index, bar.address])
        this.onMove(bar)
      },
      onViolation: (violation) => this.violations.push(violation),
      ...options,
    })
  }

  // ---- Configuration space

  header(register: keyof typeof pci_header): number {
    const { offset, width } = pci_header[register]
    return this.pci.readConfig(offset, width)
  }
  setHeader(register: keyof typeof pci_header, value: number): void {
    const { offset, width } = pci_header[register]
    this.pci.writeConfig(offset, width, value)
  }

  /** Places of all capabilities of an id, in the order of the list. */
  capabilities(id: number): number[] {
    const found: number[] = []
    for (let at = this.header('capability_list'), count = 0; at !== 0; at = this.pci.readConfig(at + 1, 1), count++) {
      if (count > 64) throw new Error('the list of capabilities does not end')
      if (this.pci.readConfig(at, 1) === id) found.push(at)
    }
    return found
  }

  /** The whole capability, by bytes. */
  capabilityBytes(at: number): Uint8Array {
    return Uint8Array.from({ length: this.pci.readConfig(at + 2, 1) }, (_, index) => this.pci.readConfig(at + index, 1))
  }

  /** Places of the virtio capabilities of a type. */
  virtio(type: number): number[] {
    return this.capabilities(PCI_CAP_ID_VNDR).filter((at) => this.pci.readConfig(at + VirtioPciCap.offsetOf.cfg_type, 1) === type)
  }

  place(type: number, which = 0): Place {
    const { bar, offset, length } = VirtioPciCap.decode(this.capabilityBytes(this.virtio(type)[which] as number))
    return { bar, offset, length }
  }

  // ---- Structures

  get(register: CommonRegister, half: 0 | 1 = 0): number {
    const { bar, offset } = this.place(VIRTIO_PCI_CAP_COMMON_CFG)
    const { offset: at, width } = virtio_pci_common_cfg[register]
    return this.pci.readBar(bar, offset + at + 4 * half, Math.min(4, width))
  }
  set(register: CommonRegister, value: number, half: 0 | 1 = 0): void {
    const { bar, offset } = this.place(VIRTIO_PCI_CAP_COMMON_CFG)
    const { offset: at, width } = virtio_pci_common_cfg[register]
    this.pci.writeBar(bar, offset + at + 4 * half, Math.min(4, width), value)
  }

  isr(): number {
    const { bar, offset } = this.place(VIRTIO_PCI_CAP_ISR_CFG)
    return this.pci.readBar(bar, offset, 1)
  }

  readDevice(at: number, width: number): number {
    const { bar, offset } = this.place(VIRTIO_PCI_CAP_DEVICE_CFG)
    return this.pci.readBar(bar, offset + at, width)
  }
  writeDevice(at: number, width: number, value: number): void {
    const { bar, offset } = this.place(VIRTIO_PCI_CAP_DEVICE_CFG)
    this.pci.writeBar(bar, offset + at, width, value)
  }

  /** Notifies of a queue at its own place. */
  notify(queue: number, width = 2, value = queue): void {
    const at = this.virtio(VIRTIO_PCI_CAP_NOTIFY_CFG)[0] as number
    const { cap, notify_off_multiplier } = VirtioPciNotifyCap.decode(this.capabilityBytes(at))
    this.set('queue_select', queue)
    this.pci.writeBar(cap.bar, cap.offset + this.get('queue_notify_off') * notify_off_multiplier, width, value)
  }

  // ---- What a driver does

  enable(commands = allCommands): void {
    this.setHeader('command', commands)
  }

  negotiate(features = FeatureSet.of(VIRTIO_F_VERSION_1)): void {
    this.set('device_status', ACKNOWLEDGE)
    this.set('device_status', ACKNOWLEDGE | DRIVER)
    for (let word = 0; word < 4; word++) {
      this.set('driver_feature_select', word)
      this.set('driver_feature', features.word(word))
    }
    this.set('device_status', live & ~DRIVER_OK)
  }

  ring(index: number, size = 4): SplitFakeDriver {
    const ring = new SplitFakeDriver(this.memory, { size, index })
    this.set('queue_select', index)
    this.set('queue_size', size)
    this.set('queue_desc', ring.setup.descriptorArea)
    this.set('queue_driver', ring.setup.driverArea)
    this.set('queue_device', ring.setup.deviceArea)
    this.set('queue_enable', 1)
    return ring
  }

  /** Brings the device up with queue 0. */
  start(features?: FeatureSet): SplitFakeDriver {
    this.enable()
    this.negotiate(features)
    const ring = this.ring(0)
    this.set('device_status', live)
    return ring
  }

  // ---- MSI-X

  get msixAt(): number {
    return this.capabilities(PCI_CAP_ID_MSIX)[0] as number
  }

  setMsixFlags(flags: number): void {
    this.pci.writeConfig(this.msixAt + pci_msix_capability.flags.offset, 2, flags)
  }

  msixPlace(which: 'table' | 'pba'): Omit<Place, 'length'> {
    const word = this.pci.readConfig(this.msixAt + pci_msix_capability[which].offset, 4)
    return { bar: word & PCI_MSIX_TABLE_BIR, offset: word - (word & PCI_MSIX_TABLE_BIR) }
  }

  entry(vector: number, field: keyof typeof pci_msix_entry): number {
    const { bar, offset } = this.msixPlace('table')
    return this.pci.readBar(bar, offset + vector * PCI_MSIX_ENTRY_SIZE + pci_msix_entry[field].offset, 4)
  }
  setEntry(vector: number, field: keyof typeof pci_msix_entry, value: number): void {
    const { bar, offset } = this.msixPlace('table')
    this.pci.writeBar(bar, offset + vector * PCI_MSIX_ENTRY_SIZE + pci_msix_entry[field].offset, 4, value)
  }

  pending(): number {
    const { bar, offset } = this.msixPlace('pba')
    return this.pci.readBar(bar, offset, 4)
  }

  /** Enables MSI-X with an unmasked entry for each vector: address 0xfee0_0000 + vector, data 0x40 + vector. */
  enableMsix(vectors = 3): void {
    for (let vector = 0; vector < vectors; vector++) {
      this.setEntry(vector, 'lower_addr', 0xfee0_0000 + 0x1000 * vector)
      this.setEntry(vector, 'data', 0x40 + vector)
      this.setEntry(vector, 'vector_ctrl', 0)
    }
    this.setMsixFlags(PCI_MSIX_FLAGS_ENABLE)
  }
}
