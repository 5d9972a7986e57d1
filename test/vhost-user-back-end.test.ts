/** The back-end of vhost-user against a front-end in the same process. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { VhostUserServer, type VhostUserServerOptions, whyNoSystem } from 'virtgen/linux'
import { VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { afterEach, describe, expect, it } from 'vitest'
import { HeldDevice } from './support/vhost-user-device.ts'
import { FrontEnd, FrontRing, type Piece, settle } from './support/vhost-user-front.ts'

const size = 0x10_0000
const ringAt = 0x1000
const dataAt = 0x8_0000

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

function serve(options: Partial<VhostUserServerOptions> = {}, device = new HeldDevice()) {
  const errors: unknown[] = []
  const server = new VhostUserServer({
    device: () => device,
    onError: (error) => errors.push(error),
    onProtocolError: (error) => errors.push(error),
    ...options,
  })
  const front = new FrontEnd((fd) => server.adopt(fd))
  ends.push(
    () => server.close(),
    () => front.close(),
  )
  return { server, device, front, errors }
}

async function started(options: Partial<VhostUserServerOptions> = {}, device = new HeldDevice(), features = FeatureSet.of(VIRTIO_F_VERSION_1)) {
  const session = serve(options, device)
  const { front } = session
  await front.negotiate(undefined, features)
  const piece = front.piece(0, size)
  expect(await front.done('set_mem_table', ...front.table([piece]))).toBe(true)
  const memory = front.memoryOf([piece])
  const ring = new FrontRing<number>(front, memory, 0, 64, ringAt)
  ring.start(piece)
  return { ...session, piece, memory, ring }
}

function add(ring: FrontRing<number>, token: number, publish = true): void {
  expect(ring.queue.add([], [{ address: dataAt + token * 64, length: 64 }], token)).toBe(true)
  if (publish) ring.queue.publish()
}

describe.skipIf(whyNoSystem() !== undefined)('a ring', () => {
  it.each([
    ['split', FeatureSet.of(VIRTIO_F_VERSION_1)],
    ['packed', FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED)],
  ])('is served, %s: what the driver adds comes back', async (_, features) => {
    const { ring, memory, errors } = await started({}, undefined, features)
    for (let token = 0; token < 300; token++) {
      add(ring, token % 50)
      expect(await ring.completed()).toBe(token % 50)
      expect(ring.queue.written).toBe(64)
    }
    expect(memory.resolve(dataAt, 64)!.every((byte) => byte === 0xa5)).toBe(true)
    expect(errors).toEqual([])
    const base = await ring.stop()
    expect(base & 0xffff).toBe(features.has(VIRTIO_F_RING_PACKED) ? (300 % 64) | (((Math.floor(300 / 64) + 1) % 2) << 15) : 300)
  })
})
