/** Our driver side against QEMU's own devices behind PCI: machines pc and q35, modern and legacy, interrupt lines and messages. */
import { featureNames } from 'virtgen/codegen/v1/wire'
import { features as blkFeatures } from 'virtgen/wire/blk'
import { features as consoleFeatures } from 'virtgen/wire/console'
import { features, VIRTIO_F_EVENT_IDX, VIRTIO_F_IN_ORDER, VIRTIO_F_RING_PACKED } from 'virtgen/wire/content'
import { features as netFeatures } from 'virtgen/wire/net'
import { PCI_COMMAND_IO, PCI_COMMAND_MEMORY, pci_header_command } from 'virtgen/wire/pci'
import {
  VIRTIO_PCI_CAP_COMMON_CFG,
  VIRTIO_PCI_CAP_DEVICE_CFG,
  VIRTIO_PCI_CAP_ISR_CFG,
  VIRTIO_PCI_CAP_NOTIFY_CFG,
  VIRTIO_PCI_CAP_PCI_CFG,
} from 'virtgen/wire/transport-pci'
import { afterEach, describe, expect, it } from 'vitest'
import type { DeviceDriver } from '../runtime/driver/device-driver.ts'
import { connectPci, type PciConnection, type PciDriverOptions } from '../runtime/pci/driver.ts'
import { virtioStructures } from '../runtime/pci/driver-capabilities.ts'
import type { PciFunction } from '../runtime/pci/function.ts'
import { blk, console, entropy, manyRequests, net, optionsOf, ports, type QemuDevice, type Session } from './support/qemu/devices.ts'
import { QemuMachine, skipped } from './support/qemu/machine.ts'
import { type PciMachine, pciMachines, placeFunction, type QemuFunction, slot } from './support/qemu/pci.ts'
import { virtioStatus } from './support/qemu/status.ts'

const queueSize = 16
let machine: QemuMachine | undefined
afterEach(() => machine?.stop())

interface Started {
  readonly machine: QemuMachine
  readonly kind: PciMachine
  readonly fn: QemuFunction
}

async function start(kind: PciMachine, device: QemuDevice<unknown>, ...properties: string[]): Promise<Started> {
  const options = optionsOf(device, 'pci', [`addr=${slot}`, ...properties])
  machine = await QemuMachine.start({ machine: pciMachines[kind].machine, options, files: device.files ?? {} })
  return { machine, kind, fn: placeFunction(machine, kind) }
}

/** Messages go to a page of memory, where we find them. */
const messages = ({ machine }: Started, count: number) =>
  Array.from({ length: count }, (_, i) => ({ address: machine.messages + 4 * i, data: 0x5600 + i }))

async function connect<T>(started: Started, device: QemuDevice<T>, options: Partial<PciDriverOptions> = {}, fn: PciFunction = started.fn) {
  const { machine, kind } = started
  const connection = await connectPci(fn, device.type, { memory: machine.memory, queueSize, ...options })
  const session: Session<T> = {
    machine,
    driver: connection.driver,
    legacy: connection.legacy,
    wait: (promise) => machine.run(promise, () => (connection.vectors > 0 ? takeMessages(machine, connection) : takeLine(machine, kind, connection))),
  }
  return { ...connection, session }
}

function takeLine({ raised }: QemuMachine, kind: PciMachine, connection: PciConnection<unknown>): void {
  if (raised.has(pciMachines[kind].line)) expect(connection.interrupt()).toBe(true)
}

function takeMessages({ guest, messages, raised }: QemuMachine, connection: PciConnection<unknown>): void {
  const { view } = guest.regions[0]!
  for (let vector = 0; vector < connection.vectors; vector++) {
    const at = messages - guest.regions[0]!.guestAddress + 4 * vector
    const data = view.getUint32(at, true)
    if (data === 0) continue
    expect(data).toBe(0x5600 + vector)
    view.setUint32(at, 0, true)
    expect(connection.interrupt(vector)).toBe(true)
  }
  expect(raised.size).toBe(0)
}

const devices = [blk, entropy, net, console, ports] as QemuDevice<unknown>[]
const ways = [
  { title: 'modern registers and the interrupt line, on pc', kind: 'pc', options: {}, vectors: 0, properties: [] },
  { title: 'the legacy header and the interrupt line, on pc', kind: 'pc', options: { interface: 'legacy' }, vectors: 0, properties: [] },
  { title: 'modern registers and messages, on q35', kind: 'q35', options: {}, vectors: 3, properties: ['disable-legacy=on'] },
  { title: 'the legacy header and messages, on q35', kind: 'q35', options: { interface: 'any' }, vectors: 3, properties: ['disable-modern=on'] },
] as const

describe.skipIf(skipped !== undefined)('QEMU behind PCI', () => {
  it.each(ways.flatMap((way) => devices.map((device) => [device.name, way.title, device, way] as const)))(
    'drives %s by %s',
    async (_, __, device, { kind, options, vectors, properties }) => {
      const started = await start(kind, device, ...properties)
      const given = vectors > 0 ? { ...options, vectors: messages(started, vectors) } : options
      const connection = await connect(started, device, given)
      expect(connection.legacy).toBe('interface' in options)
      expect(connection.vectors > 0).toBe(vectors > 0)
      await device.use(connection.session)
      await (connection.driver as DeviceDriver).close()
      expect(started.machine.raised.size).toBe(0)
    },
  )

  const rings = [
    ['packed=off,event_idx=off,indirect_desc=off', []],
    ['packed=off,event_idx=on', [VIRTIO_F_EVENT_IDX]],
    ['packed=on,event_idx=off,indirect_desc=off', [VIRTIO_F_RING_PACKED]],
    ['packed=on,event_idx=on', [VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX]],
    ['packed=off,in_order=on,event_idx=on', [VIRTIO_F_EVENT_IDX, VIRTIO_F_IN_ORDER]],
    ['packed=on,in_order=on,event_idx=on', [VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX, VIRTIO_F_IN_ORDER]],
  ] as const
  it.each(rings)('keeps many requests in flight on four queues, and resets one of them, with %s', async (properties, features) => {
    const started = await start('q35', blk, 'disable-legacy=on', 'num-queues=4', properties)
    const { driver, session } = await connect(started, blk, { vectors: messages(started, 5) })
    for (const feature of [VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX, VIRTIO_F_IN_ORDER])
      expect(driver.features.has(feature)).toBe((features as readonly number[]).includes(feature))
    // In order, QEMU 10.0 loses requests when a ring is full.
    const count = driver.features.has(VIRTIO_F_IN_ORDER) ? 4 * (queueSize - 1) : 100
    await manyRequests(session, count)
    const lost = expect(driver.read({ sector: 0 }, 512, 2)).rejects.toMatchObject({ kind: 'queue-reset' })
    await session.wait(driver.resetQueue(2, 8))
    await lost
    await manyRequests(session, Math.min(count, 28))
  })

  it.each([
    ['as it is', []],
    ['with a page for the notifications of each queue', ['page-per-vq=on']],
    ['with notifications by a port too', ['modern-pio-notify=on']],
    ['without MSI-X', ['vectors=0']],
    ['without a legacy interface', ['disable-legacy=on']],
  ] as const)('has BARs and structures where QEMU says, %s', async (_, properties) => {
    const { machine, fn } = await start('pc', blk, ...properties)
    fn.writeConfig(pci_header_command, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY)
    const { bars } = fn
    const [bus] = machine.query('query-pci') as QemuBus[]
    const theirs = bus!.devices.find((device) => device.slot === slot)!.regions
    expect(theirs.map(({ bar, type, address, size }) => [bar, type, address, size])).toEqual(
      [...bars].map(([index, { kind, address, size }]) => [index, kind === 'io' ? 'io' : 'memory', address, size]),
    )
    for (const { bar, prefetch = false, mem_type_64 = false } of theirs)
      expect([prefetch, mem_type_64]).toEqual([bars.get(bar)!.prefetchable, bars.get(bar)!.kind === 'memory64'])
    const regions = new Map(
      [...machine.info('mtree').matchAll(/([0-9a-f]{16})-([0-9a-f]{16}) \(prio 0, i\/o\): virtio-pci-([a-z-]+)-virtio-blk/g)].map(
        ([, from, to, name]) => [name, [Number(`0x${from}`), Number(`0x${to}`) + 1]] as const,
      ),
    )
    const names = new Map<number, string>([
      [VIRTIO_PCI_CAP_COMMON_CFG, 'common'],
      [VIRTIO_PCI_CAP_ISR_CFG, 'isr'],
      [VIRTIO_PCI_CAP_DEVICE_CFG, 'device'],
      [VIRTIO_PCI_CAP_NOTIFY_CFG, 'notify'],
    ])
    const structures = virtioStructures(fn).filter(({ type }) => type !== VIRTIO_PCI_CAP_PCI_CFG)
    const found = structures.map(({ type, bar, offset, length }) => {
      const { kind, address } = bars.get(bar)!
      return [`${names.get(type)}${kind === 'io' ? '-pio' : ''}`, [address + offset, address + offset + length]] as const
    })
    expect(new Map(found)).toEqual(regions)
    expect(found.length).toBe(regions.size)
  })

  it.each([blk, net, console] as QemuDevice<unknown>[])('agrees about features and status: $name', async (device) => {
    const started = await start('q35', device)
    const { driver } = await connect(started, device)
    const theirs = virtioStatus(started.machine)
    expect(theirs.status).toEqual(['ACKNOWLEDGE', 'DRIVER', 'DRIVER_OK', 'FEATURES_OK'])
    const ours = featureNames(
      (driver as DeviceDriver).features,
      features,
      { blk: blkFeatures, net: netFeatures, console: consoleFeatures }[device.name]!,
    )
    expect(theirs.features).toEqual(ours.sort())
  })

  it('drives a device through the window in its configuration space alone', async () => {
    const started = await start('q35', blk, 'disable-legacy=on')
    const connection = await connect(started, blk, {}, { ...started.fn, map: () => undefined })
    await blk.use(connection.session)
    await connection.driver.close()
  })

  it.each([
    ['modern', 'disable-modern=on'],
    ['legacy', 'disable-legacy=on'],
  ] as const)('refuses a device without the %s interface, untouched', async (wanted, properties) => {
    const started = await start('pc', blk, properties)
    await expect(connect(started, blk, { interface: wanted })).rejects.toMatchObject({ kind: 'version' })
    await expect(connect(started, entropy)).rejects.toMatchObject({ kind: 'device-id' })
    expect(started.fn.readConfig(pci_header_command, 2)).toBe(0)
  })
})

interface QemuBus {
  readonly devices: readonly { readonly slot: number; readonly regions: readonly QemuRegion[] }[]
}

interface QemuRegion {
  readonly bar: number
  readonly type: 'io' | 'memory'
  readonly address: number
  readonly size: number
  readonly prefetch?: boolean
  readonly mem_type_64?: boolean
}
