/** Events that may take several buffers (`spans`): received packets of a network device. */
import * as fc from 'fast-check'
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { describe, expect, test } from 'vitest'
import { NetDriver, type NetPacketEvent } from '../generated/driver/net.ts'
import { NetDevice } from '../generated/skeleton/net.ts'
import { VIRTIO_NET_F_MRG_RXBUF } from '../generated/wire/net.ts'
import type { DeviceQueue, QueueState } from '../runtime/queue.ts'
import { loopback } from './support/loopback.ts'

const headerBytes = 12
const receiveq1 = 0

class Card extends NetDevice {
  override transmit(): void {}
  receive(packet: Uint8Array, flags = 0): number | undefined {
    // What the author says of num_buffers does not count.
    return this.sendPacket(receiveq1, { hdr: { flags, num_buffers: 77 } as never }, packet)
  }
  get queue(): DeviceQueue {
    return this.host?.queue(receiveq1) as DeviceQueue
  }
}

const packetOf = (length: number, seed = 1): Uint8Array => Uint8Array.from({ length }, (_, i) => seed + i * 7)

async function connected(eventBufferSize: number, mergeable = true, cuts?: (length: number) => number[]) {
  const features = FeatureSet.of(...(mergeable ? [VIRTIO_NET_F_MRG_RXBUF] : []))
  const card = new Card({ features })
  const line = await loopback<NetDriver>({
    device: card,
    type: NetDriver,
    accepts: features.with(32),
    queueSize: 8,
    options: { eventBufferSize },
    ...(cuts ? { cuts } : {}),
  })
  const received: NetPacketEvent[] = []
  line.driver.onPacket((event) => received.push(event))
  const posted = async (): Promise<void> => {
    for (let i = 0; i < 4; i++) await Promise.resolve()
  }
  await posted()
  return { card, line, received, posted }
}

describe('a received packet', () => {
  test('fills as many buffers as it needs, and says how many', async () => {
    const { card, line, received, posted } = await connected(64)
    const packet = packetOf(200)
    expect(card.receive(packet, 2)).toBe(200)
    await posted()
    // 12 + 200 bytes in buffers of 64
    expect(received).toEqual([{ hdr: expect.objectContaining({ flags: 2, num_buffers: 4 }), packet, queue: receiveq1 }])
    expect(line.violations).toEqual([])
  })

  test.each([
    [51, 1],
    [52, 1],
    [53, 2],
    [116, 2],
    [117, 3],
  ])('of %i bytes takes %i buffers of 64', async (length, count) => {
    const { card, received, posted } = await connected(64)
    expect(card.receive(packetOf(length))).toBe(length)
    await posted()
    expect(received.map(({ hdr }) => hdr.num_buffers)).toEqual([count])
  })

  test('is cut to one buffer without VIRTIO_NET_F_MRG_RXBUF', async () => {
    const { card, received, posted } = await connected(64, false)
    expect(card.receive(packetOf(200))).toBe(64 - headerBytes)
    await posted()
    expect(received).toEqual([{ hdr: expect.objectContaining({ num_buffers: 1 }), packet: packetOf(200).slice(0, 52), queue: receiveq1 }])
  })

  test('waits until there are buffers enough; a smaller one goes into those that are there', async () => {
    const { card, received, posted } = await connected(64)
    // 8 buffers of 64 bytes hold 500 bytes of a packet.
    expect(card.receive(packetOf(501))).toBeUndefined()
    // They are taken again for the next packet; nobody waits for them meanwhile.
    const state: QueueState = card.queue.save()
    expect([state.inFlight.length, card.queue.drained()]).toEqual([8, undefined])
    expect(card.receive(packetOf(500))).toBe(500)
    await posted()
    expect(card.receive(packetOf(60, 3))).toBe(60)
    await posted()
    expect(received.map(({ packet }) => packet)).toEqual([packetOf(500), packetOf(60, 3)])
    expect(received.map(({ hdr }) => hdr.num_buffers)).toEqual([8, 2])
  })

  test('arrives as it was sent, whatever its length and the descriptors', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.gen(),
        fc.array(fc.nat(400), { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 12, max: 90 }),
        async (random, lengths, size) => {
          const cuts = (length: number): number[] => {
            const offsets = Array.from({ length: Math.min(2, length - 1) }, () => random(fc.integer, { min: 1, max: length - 1 }))
            return [...new Set(offsets)].sort((a, b) => a - b)
          }
          const { card, line, received, posted } = await connected(size, true, cuts)
          const sent: Uint8Array[] = []
          for (const length of lengths) {
            const packet = packetOf(length, length)
            if (card.receive(packet) !== undefined) sent.push(packet)
            await posted()
          }
          expect(received.map(({ packet }) => packet)).toEqual(sent)
          expect(sent.filter(({ length }) => headerBytes + length <= 8 * size)).toEqual(sent)
          expect(line.violations).toEqual([])
        },
      ),
      { numRuns: 30 },
    )
  })
})

describe('a device that lies about the number of buffers is given up', () => {
  test.each([0, 9, 0xffff])('%i', async (count) => {
    const { card, line, received, posted } = await connected(64)
    const chain = card.queue.next()
    const bytes = new Uint8Array(20)
    new DataView(bytes.buffer).setUint16(10, count, true)
    chain?.writable.copyFrom(bytes)
    chain?.complete(bytes.length)
    await posted()
    expect(received).toEqual([])
    expect(line.driver.failure?.message).toBe(`the device broke the rules: packet: ${count} buffers of 8`)
  })

  test('and one that uses a buffer without a header', async () => {
    const { card, line, posted } = await connected(64)
    card.queue.next()?.complete(0)
    await posted()
    expect(line.driver.failure?.message).toBe('the device broke the rules: packet: the device wrote 0 bytes, the event has 12')
  })
})
