/** One queue of a device is reset and set up again (VIRTIO_F_RING_RESET): what skeletons and clients make of it, over either ring. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { chain, type FakeDriver, fakeDriver, TestMemory } from 'virtgen/testing'
import {
  ACKNOWLEDGE,
  DRIVER,
  DRIVER_OK,
  FEATURES_OK,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import { describe, expect, test } from 'vitest'
import { BlkDriver } from '../generated/driver/blk.ts'
import { NetDriver, type NetPacketEvent } from '../generated/driver/net.ts'
import { BlkDevice, type BlkReadRequest } from '../generated/skeleton/blk.ts'
import { NetDevice } from '../generated/skeleton/net.ts'
import { VIRTIO_BLK_F_MQ } from '../generated/wire/blk.ts'
import { VIRTIO_NET_F_MRG_RXBUF } from '../generated/wire/net.ts'
import { DeviceControl } from '../runtime/device-control.ts'
import { createDeviceQueue } from '../runtime/device-queue.ts'
import type { QueueInfo } from '../runtime/request/message.ts'
import { PARKED } from '../runtime/request/outcome.ts'
import { loopback } from './support/loopback.ts'
import { usedBy } from './support/offers.ts'

const base = FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_RESET)
const rings = [
  ['split', base],
  ['split, in order', base.with(VIRTIO_F_IN_ORDER)],
  ['packed', base.with(VIRTIO_F_RING_PACKED)],
  ['packed, in order', base.with(VIRTIO_F_RING_PACKED, VIRTIO_F_IN_ORDER)],
] as const

const turns = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve()
}

/** Answers reads of odd sectors at once and keeps the others. */
class Disk extends BlkDevice {
  readonly parked: BlkReadRequest[] = []
  readonly resets: number[] = []
  atRest: Promise<void> | undefined
  constructor() {
    super({ features: [VIRTIO_BLK_F_MQ], config: { capacity: 1000, num_queues: 2 } })
  }
  override read(request: BlkReadRequest) {
    if (request.header.sector % 2 === 0) {
      this.parked.push(request)
      return PARKED
    }
    request.writable.fill(request.header.sector)
    return undefined
  }
  override write(): void {}
  protected override queueResetting(queue: QueueInfo): Promise<void> | undefined {
    this.resets.push(queue.index)
    return this.atRest
  }
  get ready(): number[] {
    return this.queues.map(({ index }) => index)
  }
}

class Card extends NetDevice {
  override transmit(): void {}
  receive(packet: Uint8Array): number | undefined {
    return this.sendPacket(0, undefined, packet)
  }
}

describe.each(rings)('over a ring that is %s', (_, ringFeatures) => {
  const begin = async (device = new Disk()) => {
    const line = await loopback<BlkDriver>({ device, type: BlkDriver, accepts: FeatureSet.of(VIRTIO_BLK_F_MQ), ringFeatures, queueSize: 16 })
    return { ...line, device }
  }

  test('requests that are out are lost on that queue alone, and the queue works on with another size', async () => {
    const { driver, device, transport, violations, errors } = await begin()
    const lost = Promise.allSettled([driver.read({ sector: 2 }, 512, 0), driver.read({ sector: 4 }, 512, 0)])
    const kept = driver.read({ sector: 6 }, 512, 1)
    await turns()
    expect(device.parked).toHaveLength(3)
    for (const size of [4, 16, 7]) await driver.resetQueue(0, size)
    for (const result of await lost) expect(result).toMatchObject({ status: 'rejected', reason: { kind: 'queue-reset' } })
    expect(device.parked.map(({ cancelled }) => cancelled)).toEqual([true, true, false])
    expect([device.resets, transport.control.inspectQueue(0)?.size]).toEqual([[0, 0, 0], ringFeatures.has(VIRTIO_F_RING_PACKED) ? 7 : 4])
    // A late answer writes nothing and is told to nobody.
    for (const request of device.parked) {
      request.writable.fill(99)
      request.complete()
    }
    expect((await kept).data).toEqual(new Uint8Array(512).fill(99))
    for (let sector = 1; sector < 60; sector += 2) expect((await driver.read({ sector }, 512, 0)).data).toEqual(new Uint8Array(512).fill(sector))
    expect([violations, errors]).toEqual([[], []])
  })

  test('the reset waits for views that are out, and for the device', async () => {
    const { driver, device, transport } = await begin()
    let settle = (): void => {}
    device.atRest = new Promise((resolve) => {
      settle = resolve
    })
    const lost = driver.read({ sector: 2 }, 512, 0)
    await turns()
    const view = device.parked[0]?.writable.bytes(0)
    let isOver = false
    const reset = driver.resetQueue(0).then(() => {
      isOver = true
    })
    await expect(lost).rejects.toMatchObject({ kind: 'queue-reset' })
    settle()
    await turns()
    expect([isOver, transport.control.queueResetting(0), device.ready]).toEqual([false, true, [1]])
    view?.fill(7)
    device.parked[0]?.complete()
    await reset
    expect([isOver, transport.control.queueResetting(0), device.ready]).toEqual([true, false, [0, 1]])
    expect((await driver.read({ sector: 1 }, 512, 0)).data[0]).toBe(1)
  })

  test('buffers that were kept for a long event are forgotten with their queue', async () => {
    const features = FeatureSet.of(VIRTIO_NET_F_MRG_RXBUF)
    const card = new Card({ features })
    const { driver, violations } = await loopback<NetDriver>({
      device: card,
      type: NetDriver,
      accepts: features,
      ringFeatures,
      createQueue: createDeviceQueue,
      queueSize: 8,
      options: { eventBufferSize: 64 },
    })
    const packets: NetPacketEvent[] = []
    driver.onPacket((event) => packets.push(event))
    await turns()
    expect(card.receive(new Uint8Array(501))).toBeUndefined()
    await driver.resetQueue(0, 4)
    await turns()
    expect(card.receive(new Uint8Array(245))).toBeUndefined()
    expect(card.receive(new Uint8Array(244).fill(9))).toBe(244)
    await turns()
    expect(packets.map(({ packet, hdr }) => [packet, hdr.num_buffers])).toEqual([[new Uint8Array(244).fill(9), 4]])
    expect(violations).toEqual([])
  })
})

test('a queue that is made ready after DRIVER_OK is served', () => {
  const memory = new TestMemory()
  const card = new Card({ queueSize: 8 })
  const control = new DeviceControl(card, { memory, notify: () => {}, configChanged: () => {} })
  for (const status of [ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK].map((_bit, i, all) => all.slice(0, i + 1).reduce((sum, bit) => sum | bit, 0))) {
    if ((status & FEATURES_OK) !== 0) control.setDriverFeatures(1, FeatureSet.of(VIRTIO_F_VERSION_1).word(1))
    control.writeStatus(status)
  }
  expect(card.receive(Uint8Array.of(1, 2, 3))).toBeUndefined()
  const open = (index: number): FakeDriver => {
    const ring = fakeDriver(memory, { size: 4, index })
    control.setQueueSize(index, 4)
    for (const area of ['descriptorArea', 'driverArea', 'deviceArea'] as const) control.setQueueAddress(index, area, 0, ring.setup[area])
    control.setQueueReady(index, true)
    return ring
  }
  const [receiveq, transmitq] = [open(0), open(1)]
  receiveq.offer(chain().writable(64))
  expect(card.receive(Uint8Array.of(1, 2, 3))).toBe(3)
  transmitq.offer(chain().readable(12).readable(5))
  control.notifyAvailable(1)
  expect([usedBy(receiveq), usedBy(transmitq)]).toEqual([[[0, 15]], [[0, 0]]])
})
