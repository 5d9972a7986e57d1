/** Our driver side against QEMU's own devices behind virtio-mmio (machine microvm), of both versions of the register layout. */

import { featureNames } from 'virtgen/codegen/v1/wire'
import { features as blkFeatures } from 'virtgen/wire/blk'
import { features, VIRTIO_F_EVENT_IDX, VIRTIO_F_IN_ORDER, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_RING_PACKED } from 'virtgen/wire/content'
import { mmio_device_id, mmio_identity, virtio_mmio } from 'virtgen/wire/transport-mmio'
import { afterEach, describe, expect, it } from 'vitest'
import { connectMmio, type MmioDriverOptions } from '../runtime/mmio/driver.ts'
import { blk, console, entropy, manyRequests, net, optionsOf, ports, type QemuDevice, type Session } from './support/qemu/devices.ts'
import { QemuMachine, skipped } from './support/qemu/machine.ts'
import { virtioStatus } from './support/qemu/status.ts'

const slots = 8
const slotSize = 0x200
const firstSlot = 0xfeb0_0000
const firstLine = 16
/** QEMU fills the slots from the last one. */
const used = slots - 1
const queueSize = 16
const bases = Array.from({ length: slots }, (_, slot) => firstSlot + slot * slotSize)

const versions = [
  ['version 2', false],
  ['version 1', true],
] as const

let machine: QemuMachine | undefined
afterEach(() => machine?.stop())

async function start(legacy: boolean, device: QemuDevice<unknown>, ...properties: string[]): Promise<QemuMachine> {
  const options = ['-global', `virtio-mmio.force-legacy=${legacy}`, ...optionsOf(device, 'device', properties)]
  machine = await QemuMachine.start({ machine: 'microvm,ioapic2=off,pit=off', options, files: device.files ?? {} })
  return machine
}

async function connect<T>(on: QemuMachine, type: QemuDevice<T>['type'], options: Partial<MmioDriverOptions> = {}): Promise<Session<T>> {
  const connection = await connectMmio(on.bus(bases[used]!), type, { memory: on.memory, queueSize, interface: 'any', ...options })
  const interrupt = (): void => {
    if (on.raised.has(firstLine + used)) expect(connection.interrupt()).toBe(true)
  }
  return { machine: on, driver: connection.driver, legacy: connection.legacy, wait: (promise) => on.run(promise, interrupt) }
}

describe.skipIf(skipped !== undefined)('QEMU behind virtio-mmio', () => {
  it.each(versions)('has slots, and a device in one of them, %s', async (_, legacy) => {
    const { MagicValue, Version, DeviceID } = virtio_mmio
    const machine = await start(legacy, blk)
    const buses = bases.map((base) => machine.bus(base))
    const version = legacy ? mmio_identity.mmio_legacy_version : mmio_identity.mmio_version
    expect(buses.map((bus) => [MagicValue, Version].map(({ offset }) => bus.read(offset, 4)))).toEqual(
      bases.map(() => [mmio_identity.mmio_magic_value, version]),
    )
    const { mmio_placeholder_device } = mmio_device_id
    expect(buses.map((bus) => bus.read(DeviceID.offset, 4))).toEqual(
      bases.map((_, slot) => (slot === used ? blk.type.deviceId : mmio_placeholder_device)),
    )
  })

  const all = [blk, entropy, net, console, ports] as QemuDevice<unknown>[]
  it.each(all.flatMap((device) => versions.map(([version, legacy]) => [device.name, version, device, legacy] as const)))(
    'drives %s, %s',
    async (_, __, device, legacy) => {
      const session = await connect(await start(legacy, device), device.type)
      expect(session.legacy).toBe(legacy)
      await device.use(session)
    },
  )

  const rings = [
    ['packed=off,event_idx=off,indirect_desc=off', []],
    ['packed=off,event_idx=on,indirect_desc=on', [VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC]],
    ['packed=on,event_idx=off,indirect_desc=off', [VIRTIO_F_RING_PACKED]],
    ['packed=on,event_idx=on,indirect_desc=on', [VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC]],
    ['packed=off,event_idx=on,in_order=on', [VIRTIO_F_EVENT_IDX, VIRTIO_F_IN_ORDER]],
    ['packed=on,event_idx=on,in_order=on', [VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX, VIRTIO_F_IN_ORDER]],
  ] as const
  it.each(rings)('keeps many requests in flight on two queues, with %s', async (properties, features) => {
    const session = await connect(await start(false, blk, 'num-queues=2', properties), blk.type)
    for (const feature of features) expect(session.driver.features.has(feature)).toBe(true)
    for (const feature of [VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX, VIRTIO_F_IN_ORDER])
      expect(session.driver.features.has(feature)).toBe((features as readonly number[]).includes(feature))
    // In order, QEMU 10.0 loses requests when a ring is full: it looks through none of them, the difference of its positions modulo the size being 0.
    await manyRequests(session, session.driver.features.has(VIRTIO_F_IN_ORDER) ? 2 * (queueSize - 1) : 100)
  })

  it('is given up where a queue cannot be reset: QEMU offers VIRTIO_F_RING_RESET without a register for it', async () => {
    const on = await start(false, blk)
    const { driver, wait } = await connect(on, blk.type)
    const before = on.memory.available
    await expect(wait(driver.resetQueue(0))).rejects.toMatchObject({ kind: 'reset' })
    expect(on.memory.available).toBe(before)
    await driver.close()
    expect(on.memory.available).toBe(on.memory.end - on.memory.start)
  })

  it.each(versions)('agrees about features and status, %s', async (_, legacy) => {
    const on = await start(legacy, blk)
    const { driver } = await connect(on, blk.type)
    // The legacy interface has no FEATURES_OK.
    const status = ['ACKNOWLEDGE', 'DRIVER', 'DRIVER_OK', ...(legacy ? [] : ['FEATURES_OK'])]
    expect(virtioStatus(on)).toEqual({ status, features: featureNames(driver.features, features, blkFeatures).sort() })
  })
})
