/** What stock Linux did to the registers of QEMU's devices, done to ours: every write in its order, and what is read wherever it is determined. */
import { FeatureSet, featuresFromHex } from 'virtgen/codegen/v1/wire'
import { requests as blkRequests } from 'virtgen/messages/blk'
import { requests as consoleRequests } from 'virtgen/messages/console'
import { requests as entropyRequests } from 'virtgen/messages/entropy'
import { requests as netRequests } from 'virtgen/messages/net'
import { BlkDevice } from 'virtgen/skeleton/blk'
import { ConsoleDevice } from 'virtgen/skeleton/console'
import { EntropyDevice } from 'virtgen/skeleton/entropy'
import { NetDevice } from 'virtgen/skeleton/net'
import { VirtioBlkConfig } from 'virtgen/wire/blk'
import { VirtioConsoleConfig } from 'virtgen/wire/console'
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_RING_RESET, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { VirtioNetConfig } from 'virtgen/wire/net'
import {
  PCI_CAP_ID_MSIX,
  PCI_MSIX_FLAGS_QSIZE,
  PCI_MSIX_TABLE_BIR,
  PCI_MSIX_TABLE_OFFSET,
  pci_capability_id,
  pci_header_base_address_0,
  pci_header_base_address_1,
  pci_header_base_address_5,
  pci_header_capability_list,
  pci_header_interrupt_line,
  pci_msix_capability_flags,
  pci_msix_capability_table,
} from 'virtgen/wire/pci'
import { virtio_mmio, virtio_mmio_legacy } from 'virtgen/wire/transport-mmio'
import {
  VIRTIO_PCI_CAP_COMMON_CFG,
  VIRTIO_PCI_CAP_DEVICE_CFG,
  VIRTIO_PCI_CAP_ISR_CFG,
  VIRTIO_PCI_CAP_NOTIFY_CFG,
  VIRTIO_PCI_CAP_PCI_CFG,
  VirtioPciCapOffsets,
  virtio_pci_legacy_header,
} from 'virtgen/wire/transport-pci'
import { describe, expect, it } from 'vitest'
import type { VirtioDevice } from '../runtime/device.ts'
import type { ControlState } from '../runtime/device-state.ts'
import { GuestMemory } from '../runtime/memory.ts'
import { LegacyMmioDevice, MmioDevice, saveLegacyMmioDevice, saveMmioDevice } from '../runtime/mmio/index.ts'
import { PciDevice, type PciDeviceOptions, type PciFunction, pciCapabilities, savePciDevice, virtioStructures } from '../runtime/pci/index.ts'
import { type Access, type Found, find, type LinuxRecord, linuxRecords } from './support/linux-accesses.ts'

const memorySize = 256 << 20
/** Zeros: no driver has ever made a buffer available. */
const memory = GuestMemory.of(new Uint8Array(memorySize))

type AnyClass = new (options: object) => object
type DeviceClass = new (options: object) => VirtioDevice

/** A device of a generated skeleton whose requests all succeed and do nothing. */
function quiet(skeleton: unknown, requests: object): DeviceClass {
  const made = class extends (skeleton as AnyClass) {}
  Object.defineProperties(made.prototype, Object.fromEntries(Object.keys(requests).map((name) => [name, { value: () => undefined }])))
  return made as DeviceClass
}

const makers = {
  blk: [quiet(BlkDevice, blkRequests), (bytes: Uint8Array) => VirtioBlkConfig.decode(bytes)],
  net: [quiet(NetDevice, netRequests), (bytes: Uint8Array) => VirtioNetConfig.decode(bytes)],
  rng: [quiet(EntropyDevice, entropyRequests), () => undefined],
  serial: [quiet(ConsoleDevice, consoleRequests), (bytes: Uint8Array) => VirtioConsoleConfig.decode(bytes)],
} as const

const known = FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_RESET)
const firstReserved = 24
const lastReserved = 49

/** The device as QEMU offered it. */
function makeDevice(name: string, { offered, queueSizes, config }: Found): VirtioDevice {
  const [Device, decode] = makers[name.split('-')[2] as keyof typeof makers]
  const features = offered.bits.filter((bit) => bit < firstReserved || bit > lastReserved)
  const values = decode(config)
  return new Device({ features, queueSize: queueSizes, ...(values && { config: values }) })
}

/** What the accesses are done to. */
interface Target {
  read(access: Access): number
  write(access: Access): void
  save(): ControlState
}

/** As QEMU names itself. */
const vendorId = 0x554d_4551
const qemuSubsystem = 0x1100
/** A place in configuration space where nothing is. */
const noConfig = 0xf0
const interrupt = (): void => {}

function makeTarget(record: LinuxRecord, found: Found, errors: unknown[]): Target {
  const device = makeDevice(record.name, found)
  const settings = { memory, interrupt, onError: (error: unknown) => errors.push(error), onViolation: (violation: unknown) => errors.push(violation) }
  const ringFeatures = known.intersection(found.offered).with(VIRTIO_F_VERSION_1)
  if (record.name.startsWith('pci')) return pciTarget(device, record, { ...settings, ringFeatures })
  const isLegacy = record.name.startsWith('mmio-legacy')
  const mmio = isLegacy
    ? new LegacyMmioDevice(device, { ...settings, ringFeatures, vendorId })
    : new MmioDevice(device, { ...settings, ringFeatures, vendorId })
  return {
    read: ({ offset, width }) => mmio.read(offset, width),
    write: ({ offset, width, value }) => mmio.write(offset, width, value),
    save: () => (mmio instanceof MmioDevice ? saveMmioDevice(mmio) : saveLegacyMmioDevice(mmio)).control,
  }
}

const structureTypes: Readonly<Record<string, number>> = {
  common: VIRTIO_PCI_CAP_COMMON_CFG,
  notify: VIRTIO_PCI_CAP_NOTIFY_CFG,
  isr: VIRTIO_PCI_CAP_ISR_CFG,
  device: VIRTIO_PCI_CAP_DEVICE_CFG,
  window: VIRTIO_PCI_CAP_PCI_CFG,
}

function pciTarget(device: VirtioDevice, { name, accesses }: LinuxRecord, settings: PciDeviceOptions): Target {
  const isTransitional = name.startsWith('pci-transitional') || name.startsWith('pci-legacy')
  const control = accesses.find(({ region, offset }) => region === 'msix.cap' && offset === pci_msix_capability_flags)?.value
  const pci = new PciDevice(device, {
    ...settings,
    transitional: isTransitional,
    ...(isTransitional ? {} : { subsystemId: qemuSubsystem }),
    ...(control === undefined ? {} : { message: () => {}, vectors: (control & PCI_MSIX_FLAGS_QSIZE) + 1 }),
  })
  const fn: PciFunction = {
    readConfig: (offset, width) => pci.readConfig(offset, width),
    writeConfig: (offset, width, value) => pci.writeConfig(offset, width, value),
    map: () => undefined,
  }
  const msix = pciCapabilities(fn).find(({ id }) => id === PCI_CAP_ID_MSIX)?.at ?? 0
  const structures = virtioStructures(fn)
  const structure = (region: string) => structures.find(({ type }) => type === structureTypes[region])
  /** Where a register of a structure is; the legacy header is the beginning of BAR 0. Linux reaches only what is decoded. */
  const place = ({ region, offset, text }: Access): readonly [bar: number, offset: number] => {
    const table = pci.readConfig(msix + pci_msix_capability_table, 4)
    const at = structure(region) ?? { bar: 0, offset: 0 }
    const [bar, start] = region === 'msix' ? [table & PCI_MSIX_TABLE_BIR, table & PCI_MSIX_TABLE_OFFSET] : [at.bar, at.offset]
    expect(pci.bars.find(({ index }) => index === bar)?.address, text).toBeGreaterThan(0)
    return [bar, start + offset]
  }
  /** Where a register of configuration space is; undefined for others. */
  const configPlace = ({ region, offset }: Access): number | undefined => {
    if (region === 'config') return offset
    const capability = region.match(/^(.*)\.cap$/)?.[1]
    if (capability === undefined) return undefined
    const at = capability === 'msix' ? msix : structure(capability)?.at
    // A device without configuration need not have the structure.
    return at === undefined ? noConfig : offset + at
  }
  return {
    read(access) {
      const at = configPlace(access)
      return at === undefined ? pci.readBar(...place(access), access.width) : pci.readConfig(at, access.width)
    },
    write(access) {
      const at = configPlace(access)
      if (at === undefined) pci.writeBar(...place(access), access.width, access.value)
      else pci.writeConfig(at, access.width, access.value)
    },
    save: () => savePciDevice(pci).control,
  }
}

const all = 0xffff_ffff
const lowByte = 0xff
/** Bits of the legacy interface that QEMU offers (or not) and we do not: NOTIFY_ON_EMPTY, ANY_LAYOUT, and one that a driver must never accept. */
const otherLegacyBits = (1 << 24) | (1 << 27) | (1 << 30)

/** Which bits of a read follow from the text and from what was done before. The others are the device's own choice, or tell of what went on in the guest. */
function determinedBits({ name }: LinuxRecord, { region, offset, value }: Access): number {
  const isLegacy = name.startsWith('mmio-legacy') || name.startsWith('pci-legacy')
  if (region === 'isr' || (region === 'legacy' && offset === virtio_pci_legacy_header.isr_status.offset)) return 0
  if (region.startsWith('mmio') && offset === virtio_mmio.InterruptStatus.offset) return 0
  const features = { legacy: virtio_pci_legacy_header.device_features, 'mmio-legacy': virtio_mmio_legacy.HostFeatures }[region]
  if (features?.offset === offset) return ~otherLegacyBits
  // The entropy device has no configuration: QEMU has the structure nevertheless.
  if (region === 'device.cap' && name.endsWith('-rng')) return 0
  if (region.endsWith('.cap')) return determinedOfCapability(offset)
  if (region !== 'config') return all
  if (offset === pci_header_capability_list) return 0
  // The firmware has written the line.
  if (offset === pci_header_interrupt_line) return ~lowByte
  // How long the ports of the legacy header are, and which other BARs the function has.
  if (offset === pci_header_base_address_0 && value >= 0xffff_0000) return 0
  return isLegacy && offset > pci_header_base_address_1 && offset <= pci_header_base_address_5 ? 0 : all
}

/** Of a capability: what it is and, of MSI-X, its flags; not which one is next, and where in which BAR a structure is. */
function determinedOfCapability(offset: number): number {
  if (offset === pci_capability_id) return lowByte
  return offset === pci_msix_capability_flags || offset === VirtioPciCapOffsets.cfg_type ? all : 0
}

describe('what Linux did to a device, done to ours', () => {
  it.each(linuxRecords().map((record) => [record.name, record] as const))('%s', (_, record) => {
    const errors: unknown[] = []
    const found = find(record)
    const target = makeTarget(record, found, errors)
    const wrong: string[] = []
    let compared = 0
    for (const access of record.accesses) {
      if (access.direction === 'w') target.write(access)
      else {
        const value = target.read(access)
        const bits = determinedBits(record, access)
        if (bits !== 0) compared++
        if (((value ^ access.value) & bits) !== 0) wrong.push(`${access.text}, not ${value.toString(16)}`)
      }
    }
    expect(wrong).toEqual([])
    expect(errors).toEqual([])
    expect(compared).toBeGreaterThan(20)
    const { status, features, queues } = target.save()
    expect(status).toBe(record.status)
    expect(featuresFromHex(features).bits).toEqual(record.features.bits)
    const address = ([low, high]: readonly [number, number]): number => low + high * 2 ** 32
    const live = queues.flatMap((queue, index) =>
      queue?.queue === undefined
        ? []
        : [
            [
              index,
              {
                size: queue.size,
                descriptorArea: address(queue.descriptorArea),
                driverArea: address(queue.driverArea),
                deviceArea: address(queue.deviceArea),
              },
            ],
          ],
    )
    expect(live).toEqual([...found.queues])
    expect(live.length).toBeGreaterThan(0)
  })
})
