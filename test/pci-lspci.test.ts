/** Configuration spaces, ours and those of QEMU, as pciutils' lspci reads them. */
import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import {
  PCI_CAP_ID_MSIX,
  PCI_CAP_ID_VNDR,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_IO,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_MSIX_ENTRY_SIZE,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_FLAGS_MASKALL,
  pci_header_command,
  pci_header_interrupt_line,
  pci_msix_capability_flags,
} from 'virtgen/wire/pci'
import {
  VIRTIO_PCI_CAP_COMMON_CFG,
  VIRTIO_PCI_CAP_DEVICE_CFG,
  VIRTIO_PCI_CAP_ISR_CFG,
  VIRTIO_PCI_CAP_NOTIFY_CFG,
  VIRTIO_PCI_CAP_PCI_CFG,
  VIRTIO_PCI_CAP_VENDOR_CFG,
  VirtioPciCapOffsets,
} from 'virtgen/wire/transport-pci'
import { describe, expect, it } from 'vitest'
import type { SharedMemory } from '../runtime/device.ts'
import { GuestMemory } from '../runtime/memory.ts'
import { PciBus } from '../runtime/pci/bus.ts'
import { PciDevice } from '../runtime/pci/device.ts'
import { pciCapabilities, virtioStructures } from '../runtime/pci/driver-capabilities.ts'
import type { PciFunction } from '../runtime/pci/function.ts'
import { type PciBarLayout, type PciLayout, type PciRegion, pciLayouts } from '../runtime/pci/layout.ts'
import type { PciDeviceOptions } from '../runtime/pci/options.ts'
import { DummyDevice } from './support/dummy-device.ts'
import { type LspciDevice, lspci, lspciMissing } from './support/lspci.ts'
import { fromHex } from './support/plain.ts'

if (lspciMissing) console.warn(`nothing is held against pciutils: ${lspciMissing}`)
const describeWithLspci = describe.skipIf(lspciMissing !== undefined)

/** A function that is nothing but bytes. */
function functionOf(config: Uint8Array): PciFunction {
  const view = new DataView(config.buffer, config.byteOffset, config.length)
  return {
    readConfig: (offset, width) => (width === 1 ? view.getUint8(offset) : width === 2 ? view.getUint16(offset, true) : view.getUint32(offset, true)),
    writeConfig: () => {},
    map: () => undefined,
  }
}

/** How lspci calls the structures; others it does not know. */
const names: ReadonlyMap<number, string> = new Map([
  [VIRTIO_PCI_CAP_COMMON_CFG, 'CommonCfg'],
  [VIRTIO_PCI_CAP_NOTIFY_CFG, 'Notify'],
  [VIRTIO_PCI_CAP_ISR_CFG, 'ISR'],
  [VIRTIO_PCI_CAP_DEVICE_CFG, 'DeviceCfg'],
])

/** What our driver's walk finds is what lspci finds, in the same order. */
function expectSameWalk(config: Uint8Array, theirs: LspciDevice): void {
  const fn = functionOf(config)
  const capabilities = pciCapabilities(fn)
  expect(capabilities.map(({ at }) => at)).toEqual(theirs.capabilities.map(({ at }) => at))
  const titles = new Map([
    [PCI_CAP_ID_VNDR, 'Vendor Specific Information: VirtIO'],
    [PCI_CAP_ID_MSIX, 'MSI-X'],
  ])
  capabilities.forEach(({ id }, index) => {
    const title = titles.get(id)
    if (title) expect(theirs.capabilities[index]?.title).toContain(title)
  })
  const ours = virtioStructures(fn, capabilities).map(({ at, type, bar, offset, length, multiplier }) => ({
    at,
    type: names.get(type) ?? '<unknown>',
    bar,
    // lspci knows no other than 32-bit capabilities.
    offset: offset % 2 ** 32,
    size: length % 2 ** 32,
    ...(type === VIRTIO_PCI_CAP_NOTIFY_CFG && { multiplier }),
  }))
  // Data of vendors are nothing that our driver uses.
  expect(ours).toEqual(theirs.virtio.filter(({ at }) => config[at + VirtioPciCapOffsets.cfg_type] !== VIRTIO_PCI_CAP_VENDOR_CFG))
}

const folder = 'test/fixtures/linux-guest'
const guests = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .map((name) => ({ name, ...(JSON.parse(readFileSync(`${folder}/${name}`, 'utf8')) as { pciConfig?: string; deviceId: number }) }))
  .filter(({ pciConfig }) => pciConfig !== undefined)

describeWithLspci('a device of QEMU', () => {
  it.each(guests)('is walked as lspci walks it: $name', ({ pciConfig, deviceId }) => {
    const config = fromHex(pciConfig as string)
    const theirs = lspci(config)
    expectSameWalk(config, theirs)
    expect([theirs.vendor, theirs.device]).toEqual([0x1af4, 0x1040 + deviceId])
    expect(theirs.virtio.map(({ type }) => type).toSorted()).toEqual(['<unknown>', 'CommonCfg', 'DeviceCfg', 'ISR', 'Notify'])
  })
})

class SharingDevice extends DummyDevice {
  override readonly sharedMemory: readonly SharedMemory[]
  constructor(shared: readonly SharedMemory[], id = 42) {
    super()
    this.sharedMemory = shared
    Object.defineProperty(this, 'id', { value: id })
  }
}

const windows = {
  memory: { address: 0xc000_0000, size: 0x3000_0000 },
  memory64: { address: 0x80_0000_0000, size: 2 ** 44 },
  io: { address: 0x4000, size: 0xc000 },
  interrupts: [10, 11, 10, 11],
}

/** A device on a bus; firmware has not run yet. */
function make(options: Partial<PciDeviceOptions> = {}, shared: readonly SharedMemory[] = [], id = 42): { pci: PciDevice; bus: PciBus } {
  const bus = new PciBus({ interrupt: () => {} })
  const pci = bus.add(
    1,
    (interrupt) =>
      new PciDevice(new SharingDevice(shared, id), { memory: GuestMemory.of(new Uint8Array(0x1000)), interrupt, message: () => {}, ...options }),
  )
  return { pci, bus }
}

function configOf(pci: PciDevice): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, offset) => pci.readConfig(offset, 1))
}

/** Asks lspci, and holds everything against the device. */
function see(pci: PciDevice): LspciDevice {
  const config = configOf(pci)
  const theirs = lspci(config)
  expectSameWalk(config, theirs)
  const command = pci.readConfig(pci_header_command, 2)
  expect(theirs.control).toMatchObject({
    'I/O': (command & PCI_COMMAND_IO) !== 0,
    Mem: (command & PCI_COMMAND_MEMORY) !== 0,
    BusMaster: (command & PCI_COMMAND_MASTER) !== 0,
    DisINTx: (command & PCI_COMMAND_INTX_DISABLE) !== 0,
  })
  expect(theirs.status.Cap).toBe(true)
  // Where a BAR decodes, lspci shows the address, and no BAR that is not there. One that has no address is not always shown.
  const ours = pci.bars.map(({ index, kind, prefetchable, address }) => ({ bar: index, kind, prefetchable, address }))
  const decoded = ours.filter(({ address }) => address !== undefined)
  expect(
    theirs.regions.filter(({ disabled }) => !disabled).map(({ bar, kind, prefetchable, address }) => ({ bar, kind, prefetchable, address })),
  ).toEqual(decoded)
  for (const { bar, kind, prefetchable } of theirs.regions) expect(ours.find((each) => each.bar === bar)).toMatchObject({ kind, prefetchable })
  expectRoom(pci, config, theirs.msix)
  return theirs
}

/** Everything has a place of its own in a BAR that there is. */
function expectRoom(pci: PciDevice, config: Uint8Array, msix: LspciDevice['msix']): void {
  const structures = virtioStructures(functionOf(config)).filter(({ type }) => type !== VIRTIO_PCI_CAP_PCI_CFG)
  const places = structures.map(({ bar, offset, length }) => ({ bar, offset, length }))
  if (msix) {
    places.push({ ...msix.table, length: msix.count * PCI_MSIX_ENTRY_SIZE })
    places.push({ ...msix.pba, length: Math.ceil(msix.count / 64) * 8 })
  }
  places.sort((a, b) => a.bar - b.bar || a.offset - b.offset)
  for (const [index, { bar, offset, length }] of places.entries()) {
    const end = pci.bars.find((each) => each.index === bar)?.size ?? 0
    const next = places[index + 1]
    expect(offset + length).toBeLessThanOrEqual(next?.bar === bar ? next.offset : end)
  }
}

const everything: PciRegion[] = ['common', 'isr', 'device', 'notify', 'msix']
const layouts: Record<string, { options: Partial<PciDeviceOptions>; shared?: readonly SharedMemory[] }> = {
  'memory BARs': { options: {} },
  'an I/O BAR': { options: { layout: pciLayouts.io } },
  'one memory BAR of 32 bits': { options: { layout: [{ kind: 'memory32', regions: everything }] } },
  'one memory BAR of 64 bits, prefetchable': { options: { layout: [{ kind: 'memory64', index: 2, prefetchable: true, regions: everything }] } },
  'a BAR for each': { options: { layout: everything.map((region) => ({ kind: 'memory32', regions: [region] }) as const) } },
  'notifications in ports first, then in memory': {
    options: { layout: [{ kind: 'io', regions: ['notify'] }, ...pciLayouts.memory] },
  },
  'shared memory': {
    options: {},
    shared: [
      { id: 1, length: 0x20_0000 },
      { id: 7, length: 0x1_0000_0000 },
    ],
  },
  'vendor data': { options: { vendorData: [{ vendorId: 0x15b3, data: new Uint8Array(7) }] } },
  'no MSI-X': { options: { vectors: 0 } },
  'as many vectors as there can be': { options: { vectors: 2048 } },
  'a page for each queue’s notifications': { options: { notifyOffMultiplier: 0x1000 } },
  'one place for all notifications': { options: { notifyOffMultiplier: 0 } },
  'no interrupt pin': { options: { interruptPin: 0 } },
  'another identity': { options: { classCode: 0x01_00_00, revision: 7, subsystemVendorId: 0x1234, subsystemId: 0x5678, interruptPin: 3 } },
}

describeWithLspci('a PciDevice', () => {
  describe.each(Object.entries(layouts))('with %s', (_, { options, shared }) => {
    it('is as lspci sees it: after power-on, with addresses, and when MSI-X is enabled', () => {
      const { pci, bus } = make(options, shared)
      const { vectors = pci.device.queueSizes.length + 1, layout = pciLayouts.memory as PciLayout } = options
      const count = layout.some(({ regions }) => regions.includes('msix')) ? vectors : 0
      expect(see(pci).msix?.count ?? 0).toBe(count)

      bus.assign(windows)
      expect(pci.bars.every(({ address }) => address !== undefined)).toBe(true)
      const assigned = see(pci)
      expect(assigned.regions.length).toBe(pci.bars.length)
      expect(assigned.msix ?? { enabled: false, masked: false }).toMatchObject({ enabled: false, masked: false })
      expect(assigned.pin).toBe([undefined, 'A', 'B', 'C', 'D'][options.interruptPin ?? 1])
      expect(assigned.line).toBe(assigned.pin === undefined ? undefined : pci.readConfig(pci_header_interrupt_line, 1))

      if (assigned.msix === undefined) return
      pci.writeConfig(assigned.msix.at + pci_msix_capability_flags, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)
      pci.writeConfig(pci_header_command, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE)
      expect(see(pci).msix).toEqual({ ...assigned.msix, enabled: true, masked: true })
    })
  })

  it('has the ids of its type', () => {
    const { device, revision, subsystem, subsystemVendor, class: code } = see(make({}, [], 2).pci)
    expect([device, revision, subsystem, subsystemVendor, code]).toEqual([0x1042, 1, 0x1042, 0x1af4, 0x0100])
  })

  it('has the ids of a transitional device', () => {
    const { pci, bus } = make({ transitional: true }, [], 1)
    bus.assign(windows)
    const { device, revision, subsystem, class: code, regions } = see(pci)
    expect([device, revision, subsystem, code]).toEqual([0x1000, 0, 1, 0x0200])
    expect(regions[0]).toMatchObject({ bar: 0, kind: 'io' })
  })

  it('asks for its interrupt where lspci looks', () => {
    const { pci } = make()
    pci.writeConfig(pci_header_command, 2, PCI_COMMAND_MASTER)
    expect(see(pci).status.INTx).toBe(false)
    pci.control.setDriverFeatures(1, 1)
    for (const status of [1, 3, 11, 15]) pci.control.writeStatus(status)
    pci.device.config.update(() => {})
    expect(see(pci).status.INTx).toBe(true)
  })

  it('is as lspci sees it, whatever the layout', () => {
    const bar = fc.record({ kind: fc.constantFrom('memory32', 'memory64', 'io'), prefetchable: fc.boolean() }) as fc.Arbitrary<PciBarLayout>
    const bars = 4
    const layout = fc
      .record({ bars: fc.array(bar, { minLength: bars, maxLength: bars }), places: fc.array(fc.nat(bars - 1), { minLength: everything.length }) })
      .map(({ bars, places }) => bars.map((each, index) => ({ ...each, regions: everything.filter((_, region) => places[region] === index) })))
      .map((bars) => bars.map((each) => (each.regions.includes('msix') && each.kind === 'io' ? { ...each, kind: 'memory32' as const } : each)))
    const options = fc.record({ layout, notifyOffMultiplier: fc.constantFrom(0, 2, 4, 0x1000), transitional: fc.boolean() })
    let asked = 0
    fc.assert(
      fc.property(options, (wanted) => {
        let made: ReturnType<typeof make>
        try {
          made = make(wanted, [], 1)
        } catch (error) {
          if (error instanceof RangeError) return
          throw error
        }
        made.bus.assign(windows)
        see(made.pci)
        asked++
      }),
      { numRuns: 60 },
    )
    expect(asked).toBeGreaterThan(10)
  })
})
