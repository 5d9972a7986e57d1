/** The network card: frames pass unharmed and in order, offloads are done where nobody else does them, and what the driver says is heeded. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { link, Net, type NetOptions } from 'virtgen/devices/net'
import { chain, forgedChains, type TestDevice, testDevice } from 'virtgen/testing'
import { VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { VIRTIO_NET_F_MAC, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_HDR_F_NEEDS_CSUM, VirtioNetHdr, type VirtioNetHdrValue } from 'virtgen/wire/net'
import { describe, expect, it } from 'vitest'
import { bytesOf, plainFrame, referenceChecksum, Sink, tcpFrame } from './support/net.ts'

const formats = [{ packed: false }, { packed: true }]
const modern = FeatureSet.of(VIRTIO_F_VERSION_1)
const receiveq = 0
const transmitq = 1

const headerBytes = 12
const noHeader = new Uint8Array(headerBytes)
const header = (value: Partial<VirtioNetHdrValue>): Uint8Array => {
  const bytes = new Uint8Array(headerBytes)
  bytes.set(VirtioNetHdr.encode(value, { features: modern }).subarray(0, headerBytes))
  return bytes
}

function card(options: NetOptions = {}, rings = {}, backend = new Sink()): { backend: Sink; net: TestDevice<Net> } {
  return { backend, net: testDevice(new Net(backend, { mac: '52:54:00:00:00:02', ...options }), rings) }
}

describe.each(formats)('the card (packed: $packed)', (rings) => {
  it('sends a frame in any pieces', async () => {
    const { backend, net } = card({}, rings)
    const frame = plainFrame(100)
    await net.request(chain().readable(noHeader).readable(frame), transmitq)
    await net.request(
      chain()
        .readable(noHeader.subarray(0, 5))
        .readable(Uint8Array.of(...noHeader.subarray(5), ...frame.subarray(0, 20)))
        .readable(frame.subarray(20)),
      transmitq,
    )
    expect(backend.frames).toEqual([frame, frame])
    expect(net.device.statistics).toMatchObject({ transmittedFrames: 2, transmittedBytes: 200, transmitDropped: 0 })
  })

  it('receives a frame into a buffer, with a header that says so', async () => {
    const { backend, net } = card({}, rings)
    const used = net.request(chain().writable(1526), receiveq)
    const frame = plainFrame(60)
    expect(backend.card.receive(frame)).toBe(true)
    const { bytes } = await used
    expect(VirtioNetHdr.decode(bytes, { features: modern })).toMatchObject({ flags: 0, gso_type: 0, num_buffers: 1 })
    expect(bytes.subarray(headerBytes)).toEqual(frame)
    net.recorder.expectWritesCoverChanges(net.memory)
    net.memory.checkGuards()
  })

  it('spreads a frame over as many buffers as it takes', async () => {
    const { backend, net } = card({}, rings)
    const buffers = [100, 50, 200, 400].map((length) => net.request(chain().writable(length), receiveq))
    const frame = plainFrame(300)
    backend.card.receive(frame)
    const parts = await Promise.all(buffers.slice(0, 3))
    expect(parts.map(({ written }) => written)).toEqual([100, 50, 162])
    expect(VirtioNetHdr.decode(parts[0]!.bytes, { features: modern }).num_buffers).toBe(3)
    expect(Buffer.concat(parts.map(({ bytes }) => bytes)).subarray(headerBytes)).toEqual(Buffer.from(frame))
    expect(net.recorder.notifications).toBe(1)
    void buffers[3]?.catch(() => {})
  })

  it('keeps frames until there are buffers, in order, and drops what is too much', async () => {
    const { backend, net } = card({ backlog: 4 }, rings)
    const frames = Array.from({ length: 6 }, (_, seed) => plainFrame(60 + seed, { seed }))
    expect(frames.map((frame) => backend.card.receive(frame))).toEqual([true, true, false, false, false, false])
    expect(net.device.waiting).toBe(4)
    const received: Uint8Array[] = []
    for (let i = 0; i < 4; i++) received.push((await net.request(chain().writable(1526), receiveq)).bytes.slice(headerBytes))
    expect(received).toEqual(frames.slice(0, 4))
    expect(backend.resumed).toBe(1)
    expect(net.device.statistics).toMatchObject({ receivedFrames: 4, receiveDropped: 2 })
  })

  it('copies what waits: the backend may use its array again', async () => {
    const { backend, net } = card({}, rings)
    const frame = plainFrame(80)
    // A slice of a Buffer is no copy of it.
    for (const array of [frame.slice(), Buffer.from(frame)]) {
      backend.card.receive(array)
      array.fill(0)
      expect((await net.request(chain().writable(200), receiveq)).bytes.slice(headerBytes)).toEqual(frame)
    }
  })
})

describe('what is no frame', () => {
  it.each([
    ['too short to have a header', [plainFrame(13)]],
    ['empty', [new Uint8Array(0)]],
  ])('is dropped: %s', async (_title, pieces) => {
    const { backend, net } = card()
    await net.request(
      pieces.reduce((spec, piece) => (piece.length > 0 ? spec.readable(piece) : spec), chain().readable(noHeader)),
      transmitq,
    )
    for (const piece of pieces) backend.card.receive(piece)
    expect(backend.frames).toEqual([])
    expect(net.device.statistics).toMatchObject({ transmitDropped: 1, receiveDropped: 1 })
    expect(net.needsReset).toBe(false)
  })

  it('is dropped: longer than any frame', async () => {
    const { backend, net } = card()
    await net.request(chain().indirect().readable(noHeader).readable(new Uint8Array(65_000)).readable(new Uint8Array(700)), transmitq)
    backend.card.receive(new Uint8Array(65_700))
    expect(net.device.statistics).toMatchObject({ transmitDropped: 1, receiveDropped: 1 })
  })

  it('makes the device need a reset where not even the header is there', () => {
    const { net } = card()
    net.driver(transmitq).offer(chain().readable(new Uint8Array(11)))
    expect(net.recorder.violations).toMatchObject([{ kind: 'request-size', queue: transmitq }])
  })

  it('is not cut: without VIRTIO_NET_F_MRG_RXBUF a frame fits or is dropped', async () => {
    const { backend, net } = card({ mergeable: false })
    const used = net.request(chain().writable(12 + 80), receiveq)
    backend.card.receive(plainFrame(81))
    expect(net.device.statistics.receiveDropped).toBe(1)
    backend.card.receive(plainFrame(80))
    expect(await used).toMatchObject({ written: 92 })
  })

  it('does not stop those behind it, where all buffers together are too small', async () => {
    const { backend, net } = card({}, { size: 4 })
    backend.card.receive(plainFrame(500))
    backend.card.receive(plainFrame(60))
    const buffers = Array.from({ length: 4 }, () => net.request(chain().writable(80), receiveq).catch(() => undefined))
    expect(await buffers[0]).toMatchObject({ written: 72 })
    expect(net.device.statistics.receiveDropped).toBe(1)
  })

  it('is too long for VIRTIO_NET_F_MTU', async () => {
    const { backend, net } = card({ mtu: 1400 })
    const used = [net.request(chain().writable(2000), receiveq), net.request(chain().writable(2000), receiveq)]
    backend.card.receive(plainFrame(1415))
    backend.card.receive(plainFrame(1414))
    expect((await used[0])?.written).toBe(1426)
    expect(net.device.statistics.receiveDropped).toBe(1)
    expect(net.device.config.fields?.mtu).toBe(1400)
    void used[1]?.catch(() => {})
  })
})

describe('checksums', () => {
  const { frame, checksumStart } = tcpFrame({ version: 4, payload: bytesOf(333), partial: true })
  const complete = tcpFrame({ version: 4, payload: bytesOf(333) }).frame
  const partialHeader = header({ flags: VIRTIO_NET_HDR_F_NEEDS_CSUM, csum_start: checksumStart, csum_offset: 16 })

  it('are computed for a backend that wants them', async () => {
    const { backend, net } = card()
    await net.request(chain().readable(partialHeader).readable(frame), transmitq)
    expect(backend.frames).toEqual([complete])
    expect(backend.offloads).toEqual([undefined])
  })

  it('are left to a backend that takes them', async () => {
    const { backend, net } = card({}, {}, new Sink({ checksum: true }))
    await net.request(chain().readable(partialHeader).readable(frame), transmitq)
    expect(backend.frames).toEqual([frame])
    expect(backend.offloads).toEqual([{ checksumStart, checksumOffset: 16 }])
  })

  it('are not believed where VIRTIO_NET_F_CSUM is not negotiated', async () => {
    const { backend, net } = card({}, { features: [VIRTIO_NET_F_MAC] })
    await net.request(chain().readable(partialHeader).readable(frame), transmitq)
    expect(backend.frames).toEqual([frame])
  })

  it('may be anywhere in the frame, at odd places too, and nowhere else', async () => {
    const { backend, net } = card()
    const bytes = plainFrame(101)
    for (const [csum_start, csum_offset] of [
      [15, 2],
      [14, 85],
      [99, 0],
      [33, 33],
    ] as const) {
      await net.request(
        chain()
          .readable(header({ flags: VIRTIO_NET_HDR_F_NEEDS_CSUM, csum_start, csum_offset }))
          .readable(bytes),
        transmitq,
      )
      const at = csum_start + csum_offset
      const expected = bytes.slice()
      const sum = referenceChecksum(bytes.subarray(csum_start)) || 0xffff
      expected.set([sum >> 8, sum & 0xff], at)
      expect(backend.frames.pop()).toEqual(expected)
    }
    for (const [csum_start, csum_offset] of [
      [100, 0],
      [0, 100],
      [0xffff, 0xffff],
      [99, 1],
    ] as const)
      await net.request(
        chain()
          .readable(header({ flags: VIRTIO_NET_HDR_F_NEEDS_CSUM, csum_start, csum_offset }))
          .readable(bytes),
        transmitq,
      )
    expect(backend.frames).toEqual([])
    expect(net.device.statistics.transmitDropped).toBe(4)
  })

  it('of zero are written as all ones', async () => {
    const { backend, net } = card()
    const bytes = new Uint8Array(60)
    bytes.set([0xff, 0xff], 40)
    await net.request(
      chain()
        .readable(header({ flags: VIRTIO_NET_HDR_F_NEEDS_CSUM, csum_start: 20, csum_offset: 6 }))
        .readable(bytes),
      transmitq,
    )
    expect([...backend.frames[0]!.subarray(26, 28)]).toEqual([0xff, 0xff])
  })

  it('are left out between guests that both can do without, and computed for one that cannot', async () => {
    for (const features of [undefined, [VIRTIO_NET_F_MAC, VIRTIO_NET_F_MRG_RXBUF]]) {
      const [left, right] = link()
      const one = testDevice(new Net(left))
      const two = testDevice(new Net(right, { mac: '52:54:00:00:00:02' }), features ? { features } : {})
      const used = two.request(chain().writable(2000), receiveq)
      await one.request(chain().readable(partialHeader).readable(frame), transmitq)
      const { bytes } = await used
      expect(bytes.slice(headerBytes)).toEqual(features ? complete : frame)
      const { flags, csum_start, csum_offset } = VirtioNetHdr.decode(bytes, { features: modern })
      expect([flags, csum_start, csum_offset]).toEqual(features ? [0, 0, 0] : [VIRTIO_NET_HDR_F_NEEDS_CSUM, checksumStart, 16])
    }
  })
})

const forged = forgedChains.filter(({ violation, before }) => violation.split !== undefined && before === undefined)
describe.each([receiveq, transmitq])('on queue %i', (queue) => {
  it.each(forged)('finds $title', ({ forge, violation, needs }) => {
    const { backend, net } = card({}, { size: 8, ...needs })
    forge(net.driver(queue))
    backend.card.receive(plainFrame(60))
    expect(net.recorder.violations).toMatchObject([{ kind: violation.split, queue }])
    expect([net.needsReset, net.recorder.errors]).toEqual([true, []])
    net.memory.checkGuards()
  })
})
