/** The ready devices behind every transport, modern and legacy, with the driver clients of their types. */
import { Blk, OverlayBackend, RamBackend } from 'virtgen/devices/blk'
import { Net } from 'virtgen/devices/net'
import { Rng } from 'virtgen/devices/rng'
import { BlkDriver } from 'virtgen/driver/blk'
import { EntropyDriver } from 'virtgen/driver/entropy'
import { NetDriver } from 'virtgen/driver/net'
import { VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_MQ, VIRTIO_BLK_S_IOERR, virtio_blk_cache } from 'virtgen/wire/blk'
import { VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_S_LINK_UP } from 'virtgen/wire/net'
import { describe, expect, it } from 'vitest'
import { Later, pattern, sectorBytes } from './support/blk.ts'
import { bytesOf, plainFrame, Sink, tcpFrame } from './support/net.ts'
import { transports } from './support/transports.ts'

const sectors = 64
const chunk = 4 * sectorBytes

describe.each(transports)('behind $name', (transport) => {
  it('a disk over a slow storage keeps what is written, changes its cache and its size', async () => {
    const ram = new RamBackend(pattern(sectors))
    const slow = new Later(ram)
    const disk = new Blk(slow, { serial: 'ready', queues: 2 })
    const plugged = transport.plug(disk)
    const driver = await plugged.connect(BlkDriver)
    expect([driver.config?.capacity, driver.features.has(VIRTIO_BLK_F_MQ)]).toEqual([sectors, true])
    await Promise.all(Array.from({ length: sectors / 4 }, (_, i) => driver.write({ sector: 4 * i }, pattern(4, i), i % 2)))
    const parts = await Promise.all(Array.from({ length: sectors / 4 }, (_, i) => driver.read({ sector: 4 * i }, chunk, i % 2)))
    for (const [i, { data }] of parts.entries()) expect(Buffer.from(data).equals(Buffer.from(pattern(4, i)))).toBe(true)
    expect(slow.flushes).toBe(0)
    await driver.flush()
    expect(slow.flushes).toBe(1)

    expect(driver.features.has(VIRTIO_BLK_F_CONFIG_WCE)).toBe(true)
    driver.writeConfig('writeback', virtio_blk_cache.writethrough)
    await driver.write({ sector: 0 }, pattern(1))
    expect(slow.flushes).toBe(2)

    let changes = 0
    driver.onConfigChange(() => changes++)
    ram.resize(2 * sectors * sectorBytes)
    disk.updateCapacity()
    expect([changes, driver.config?.capacity]).toEqual([1, 2 * sectors])
    await expect(driver.read({ sector: 2 * sectors }, sectorBytes)).rejects.toMatchObject({ status: VIRTIO_BLK_S_IOERR })
    expect(new TextDecoder().decode((await driver.getId()).id).replaceAll('\0', '')).toBe('ready')
    expect([plugged.guest.errors, plugged.guest.violations]).toEqual([[], []])
  })

  it('an overlay serves one driver after the other', async () => {
    const overlay = new OverlayBackend(new Later(new RamBackend(pattern(sectors))))
    const plugged = transport.plug(new Blk(overlay))
    for (let round = 0; round < 3; round++) {
      const driver = await plugged.connect(BlkDriver)
      await driver.writeZeroes({ segments: [{ sector: round, num_sectors: 1, flags: { unmap: 1 } }] })
      await driver.write({ sector: 10 + round }, pattern(1, round))
      await driver.close()
    }
    const driver = await plugged.connect(BlkDriver)
    const expected = pattern(sectors)
    expected.fill(0, 0, 3 * sectorBytes)
    for (let round = 0; round < 3; round++) expected.set(pattern(1, round), (10 + round) * sectorBytes)
    expect(Buffer.from((await driver.read({ sector: 0 }, sectors * sectorBytes)).data).equals(Buffer.from(expected))).toBe(true)
    expect([plugged.guest.errors, plugged.guest.violations]).toEqual([[], []])
  })

  it('an entropy device fills what it is given', async () => {
    const plugged = transport.plug(new Rng())
    const driver = await plugged.connect(EntropyDriver)
    for (const length of [1, 64, 5000]) expect((await driver.read(length)).data).toHaveLength(length)
    expect([plugged.guest.errors, plugged.guest.violations]).toEqual([[], []])
  })

  it.each([
    ['mergeable buffers', undefined],
    ['none', [VIRTIO_NET_F_MRG_RXBUF]],
  ] as const)('a network card carries frames both ways, heeds commands and tells of its link, with %s', async (_, without) => {
    const network = new Sink()
    const card = new Net(network, { mac: '52:54:00:00:00:02', pairs: 2 })
    const plugged = transport.plug(card)
    const features = NetDriver.features.without(...(without ?? []))
    const driver = await plugged.connect(NetDriver, { features })
    expect(driver.features.has(VIRTIO_NET_F_MRG_RXBUF)).toBe(without === undefined)
    const received: Uint8Array[] = []
    driver.onPacket(({ packet }) => received.push(packet.slice()))
    const frames = [14, 60, 1514].map((length, seed) => plainFrame(length, { to: '52:54:0:0:0:2', seed }))
    for (const frame of frames) {
      await driver.transmit({}, frame)
      network.card.receive(frame)
    }
    expect([network.frames, received]).toEqual([frames, frames])

    const partial = tcpFrame({ version: 4, payload: bytesOf(99), partial: true })
    const members = { flags: VIRTIO_NET_HDR_F_NEEDS_CSUM, gso_type: 0, hdr_len: 0, gso_size: 0, csum_start: partial.checksumStart, csum_offset: 16 }
    await driver.transmit({ hdr: members }, partial.frame)
    expect(network.frames.at(-1)).toEqual(tcpFrame({ version: 4, payload: bytesOf(99) }).frame)

    network.card.receive(plainFrame(60, { to: '52:54:0:0:0:9' }))
    await driver.setPromisc({ mode: 1 })
    network.card.receive(plainFrame(61, { to: '52:54:0:0:0:9' }))
    expect(received.map(({ length }) => length)).toEqual([14, 60, 1514, 61])

    const links: number[] = []
    driver.onConfigChange(() => links.push(driver.config.status))
    card.setLink(false)
    card.setLink(true)
    expect(links).toEqual([0, VIRTIO_NET_S_LINK_UP])
    expect([plugged.guest.errors, plugged.guest.violations]).toEqual([[], []])
  })
})
