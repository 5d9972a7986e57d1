/** The same devices, unchanged, and the same drivers on every transport. */
import { FeatureSet, featureNames } from 'virtgen/codegen/v1/wire'
import { BlkDriver } from 'virtgen/driver/blk'
import { ConsoleDriver } from 'virtgen/driver/console'
import { EntropyDriver } from 'virtgen/driver/entropy'
import { NetDriver } from 'virtgen/driver/net'
import type { DeviceDriver, VirtioDevice } from 'virtgen/runtime'
import { VIRTIO_BLK_F_MQ, VIRTIO_BLK_S_IOERR, virtio_blk_size } from 'virtgen/wire/blk'
import { VIRTIO_CONSOLE_F_EMERG_WRITE } from 'virtgen/wire/console'
import {
  features as reservedFeatures,
  VIRTIO_F_ANY_LAYOUT,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import { describe, expect, it } from 'vitest'
import { Counter, EchoConsole, MirrorNet, RamDisk } from './support/small-devices.ts'
import { type Plugged, type Transport, transports } from './support/transports.ts'

const { sector_bytes } = virtio_blk_size
const pattern = (length: number, seed: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 7 + seed) % 251)

async function useDisk(driver: BlkDriver): Promise<void> {
  const queues = driver.features.has(VIRTIO_BLK_F_MQ) ? 2 : 1
  const contents = pattern(16 * sector_bytes, 3)
  for (let sector = 0; sector < 16; sector += 4)
    await driver.write({ sector }, contents.subarray(sector * sector_bytes, (sector + 4) * sector_bytes), (sector / 4) % queues)
  await driver.flush()
  const sectors = await Promise.all(Array.from({ length: 16 }, (_, sector) => driver.read({ sector }, sector_bytes, sector % queues)))
  expect(Buffer.concat(sectors.map(({ data }) => data))).toEqual(Buffer.from(contents))
  expect(new TextDecoder().decode((await driver.getId()).id).replaceAll('\0', '')).toBe('ram')
  await expect(driver.read({ sector: 16 }, sector_bytes)).rejects.toMatchObject({ status: VIRTIO_BLK_S_IOERR })
}

async function useNet(driver: NetDriver): Promise<void> {
  const packets: Uint8Array[] = []
  driver.onPacket(({ packet }) => packets.push(packet.slice()))
  const sent = Array.from({ length: 100 }, (_, i) => pattern(60 + 14 * i, i))
  for (const packet of sent) await driver.transmit({}, packet)
  const hex = (all: Uint8Array[]): string[] => all.map((packet) => Buffer.from(packet).toString('hex'))
  expect(hex(packets)).toEqual(hex(sent))
}

async function useConsole(driver: ConsoleDriver): Promise<void> {
  let text = ''
  driver.onInput(({ data }) => {
    text += new TextDecoder().decode(data)
  })
  for (let i = 0; i < 40; i++) await driver.output(new TextEncoder().encode(`line ${i}\n`))
  expect(text).toBe(Array.from({ length: 40 }, (_, i) => `line ${i}\n`).join(''))
}

async function useEntropy(driver: EntropyDriver, source: Counter): Promise<void> {
  source.next = 0
  for (let i = 0; i < 40; i++) expect((await driver.read(5)).data).toEqual(Uint8Array.from([0, 1, 2, 3, 4], (n) => 5 * i + n))
}

describe.each(transports)('behind $name', (transport: Transport) => {
  const isQuiet = ({ guest, control }: Plugged): void => {
    expect([guest.errors, guest.violations]).toEqual([[], []])
    expect(control.features.has(VIRTIO_F_VERSION_1)).toBe(!transport.legacy)
    const other = transport.interrupts === 'line' ? 'messages' : 'line'
    expect([guest.heard[transport.interrupts] > 0, guest.heard[other]]).toEqual([true, 0])
    // The table of MSI-X is in memory, whatever the rest is behind.
    if (transport.space !== undefined) expect(guest.accesses[transport.space]).toBeGreaterThan(20)
    if (transport.space === 'memory') expect(guest.accesses.io).toBe(0)
  }

  it('a disk keeps what is written, on all its queues, and answers errors', async () => {
    const plugged = transport.plug(new RamDisk())
    const driver = await plugged.connect(BlkDriver)
    expect(driver.config?.$get()).toMatchObject({ capacity: 16, blk_size: sector_bytes, num_queues: 2 })
    await useDisk(driver)
    isQuiet(plugged)
  })

  it('a network card sends back every packet whole and in order, with the header of its interface', async () => {
    const plugged = transport.plug(new MirrorNet())
    const driver = await plugged.connect(NetDriver)
    expect(driver.config?.$get()).toMatchObject({ mac: Uint8Array.of(2, 0, 0, 0, 0, 1), status: 1 })
    await useNet(driver)
    isQuiet(plugged)
  })

  it('a console echoes, tells of its size, and takes what is written into its configuration', async () => {
    const device = new EchoConsole()
    const plugged = transport.plug(device)
    const driver = await plugged.connect(ConsoleDriver)
    await useConsole(driver)
    let changes = 0
    driver.onConfigChange(() => changes++)
    device.resize(132, 43)
    expect([changes, driver.config?.$get()]).toEqual([1, expect.objectContaining({ cols: 132, rows: 43 })])
    expect(driver.features.has(VIRTIO_CONSOLE_F_EMERG_WRITE)).toBe(true)
    driver.writeConfig('emerg_wr', 0x21)
    expect(device.config.fields?.emerg_wr).toBe(0x21)
    isQuiet(plugged)
  })

  it('a source of entropy gives every byte once', async () => {
    const source = new Counter()
    const plugged = transport.plug(source)
    await useEntropy(await plugged.connect(EntropyDriver), source)
    isQuiet(plugged)
  })

  it('a device serves one driver after the other, also one that was left without a word, and all memory comes back', async () => {
    const plugged = transport.plug(new RamDisk())
    for (let round = 0; round < 5; round++) {
      const driver = await plugged.connect(BlkDriver)
      await useDisk(driver)
      if (round % 2 === 0) await driver.close()
      else {
        plugged.powerOnReset()
        expect(plugged.control.status).toBe(0)
        await driver.close()
      }
      expect(plugged.guest.driverMemory.available).toBe(1 << 20)
    }
    await plugged.connect(BlkDriver)
    isQuiet(plugged)
  })

  const all = [VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_RESET]
  const packed = [...all, VIRTIO_F_RING_PACKED, VIRTIO_F_IN_ORDER, VIRTIO_F_NOTIFICATION_DATA]
  it.each(
    [[], [VIRTIO_F_EVENT_IDX], all, [VIRTIO_F_IN_ORDER], [VIRTIO_F_NOTIFICATION_DATA], [VIRTIO_F_RING_PACKED], packed].map((bits) => {
      const features = FeatureSet.of(VIRTIO_F_VERSION_1, ...bits)
      return [featureNames(features, reservedFeatures).join(', '), features] as const
    }),
  )('every device works with %s, as far as the interface has them', async (_, ringFeatures) => {
    const source = new Counter()
    const settings = { ringFeatures }
    const connections: [VirtioDevice, (plugged: Plugged) => Promise<DeviceDriver>, (driver: never) => Promise<void>][] = [
      [new RamDisk(), ({ connect }) => connect(BlkDriver), useDisk],
      [new MirrorNet(), ({ connect }) => connect(NetDriver), useNet],
      [new EchoConsole(), ({ connect }) => connect(ConsoleDriver), useConsole],
      [source, ({ connect }) => connect(EntropyDriver), (driver) => useEntropy(driver, source)],
    ]
    const possible = transport.legacy ? ringFeatures.intersection(FeatureSet.of(VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX)) : ringFeatures
    for (const [device, connect, use] of connections) {
      const plugged = transport.plug(device, settings)
      const driver = await connect(plugged)
      const negotiated = driver.features.difference(device.offered).difference(FeatureSet.of(VIRTIO_F_ANY_LAYOUT))
      expect(negotiated.bits).toEqual(possible.bits)
      await use(driver as never)
      isQuiet(plugged)
    }
  })
})
