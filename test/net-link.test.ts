/** Two guests on one cable: whatever they send arrives unharmed and in order. And TCP segmentation, against segments that are put together from the RFCs. */
import fc from 'fast-check'
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { link, Net, type Offload } from 'virtgen/devices/net'
import { NetDriver } from 'virtgen/driver/net'
import { chain, testDevice, testMachine } from 'virtgen/testing'
import { VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import {
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_HOST_ECN,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_MAC,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_GSO_ECN,
  VIRTIO_NET_HDR_GSO_TCPV4,
  VIRTIO_NET_HDR_GSO_TCPV6,
  VIRTIO_NET_HDR_GSO_UDP_L4,
  VirtioNetHdr,
  type VirtioNetHdrValue,
} from 'virtgen/wire/net'
import { describe, expect, it } from 'vitest'
import { bytesOf, plainFrame, Sink, tcpFrame } from './support/net.ts'

const modern = FeatureSet.of(VIRTIO_F_VERSION_1)
const headerBytes = 12
const receiveq = 0
const transmitq = 1
const own = '52:54:0:0:0:2'
const formats = [{ packed: false }, { packed: true }]
const noHeader = new Uint8Array(headerBytes)
const header = (value: Partial<VirtioNetHdrValue>): Uint8Array => VirtioNetHdr.encode(value, { features: modern })
const runs = process.env.CI ? 60 : 25

/** Cuts bytes at any places. */
function pieces(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [...new Set(cuts.map((cut) => cut % bytes.length))].sort((a, b) => a - b)
  return [0, ...places].map((from, i) => bytes.subarray(from, places[i] ?? bytes.length)).filter(({ length }) => length > 0)
}

describe.each(formats)('a cable (packed: $packed)', (rings) => {
  it('carries frames of any length, in any buffers on both sides, in order', async () => {
    const length = fc.oneof(fc.integer({ min: 14, max: 1514 }), fc.integer({ min: 14, max: 65_000 }))
    const frames = fc.array(fc.record({ length, cuts: fc.array(fc.nat(), { maxLength: 4 }) }), { minLength: 1, maxLength: 8 })
    // A ring full of them holds the longest frame.
    const room = fc.tuple(fc.integer({ min: 1100, max: 3000 }), fc.array(fc.integer({ min: 1, max: 3000 }), { maxLength: 2 }))
    const buffers = fc.array(
      room.map(([first, others]) => [...others, first]),
      { minLength: 4, maxLength: 12 },
    )
    await fc.assert(
      fc.asyncProperty(frames, buffers, fc.boolean(), async (frames, buffers, early) => {
        const [left, right] = link()
        const sender = testDevice(new Net(left), { ...rings, size: 16, indirect: true })
        const receiver = testDevice(new Net(right, { mac: '52:54:00:00:00:02' }), { ...rings, size: 64, indirect: true })
        const expected = frames.map(({ length }, seed) => plainFrame(length, { to: own, seed }))
        const arrived: Uint8Array[] = []
        const send = async (): Promise<void> => {
          for (const [i, frame] of expected.entries()) {
            const spec = chain().indirect()
            for (const piece of pieces(Uint8Array.of(...noHeader, ...frame), frames[i]!.cuts)) spec.readable(piece)
            await sender.request(spec, transmitq)
          }
        }
        const sending = early ? send() : undefined
        if (early) await sending
        // Buffers are given until all has arrived; each holds the header.
        let parts: Uint8Array[] = []
        let open = 0
        const take = async (first: number): Promise<void> => {
          const spec = chain().indirect().writable(headerBytes)
          for (const room of buffers[first % buffers.length]!) spec.writable(room)
          const { bytes } = await receiver.request(spec, receiveq)
          if (parts.length === 0) open = VirtioNetHdr.decode(bytes, { features: modern }).num_buffers ?? 0
          parts.push(bytes.slice())
          if (parts.length < open) return
          arrived.push(Uint8Array.from(Buffer.concat(parts)).subarray(headerBytes))
          parts = []
        }
        const waiting: Promise<unknown>[] = []
        for (let i = 0; i < 40; i++) waiting.push(take(i).catch(() => undefined))
        if (!early) await send()
        for (let i = 40; arrived.length < expected.length && i < 2000; i++) {
          waiting.push(take(i).catch(() => undefined))
          await Promise.race([waiting.at(-1), new Promise((resolve) => setImmediate(resolve))])
        }
        expect(arrived.length).toBe(expected.length)
        for (const [i, frame] of expected.entries()) expect(Buffer.compare(arrived[i]!, frame), `frame ${i}`).toBe(0)
        receiver.recorder.expectWritesCoverChanges(receiver.memory)
        receiver.memory.checkGuards()
      }),
      { numRuns: runs },
    )
  })

  it('joins two drivers, both ways at once', async () => {
    const [left, right] = link()
    const one = await testMachine(new Net(left, { mac: '52:54:00:00:00:01' }), NetDriver, { ...rings, driverBytes: 0x10_0000 })
    const two = await testMachine(new Net(right, { mac: '52:54:00:00:00:02' }), NetDriver, { ...rings, driverBytes: 0x10_0000 })
    const got: [Uint8Array[], Uint8Array[]] = [[], []]
    one.driver.onPacket(({ packet }) => got[0].push(packet.slice()))
    two.driver.onPacket(({ packet }) => got[1].push(packet.slice()))
    const to = (address: string) => Array.from({ length: 100 }, (_, seed) => plainFrame(60 + 13 * seed, { to: address, seed }))
    const [forth, back] = [to(own), to('52:54:0:0:0:1')]
    await Promise.all([...forth.map((frame) => one.driver.transmit({}, frame)), ...back.map((frame) => two.driver.transmit({}, frame))])
    expect(got[1]).toEqual(forth)
    expect(got[0]).toEqual(back)
  })
})

const fin = 0x01
const push = 0x08
const ack = 0x10
const cwr = 0x80

describe('TCP segmentation', () => {
  const cases = fc.record({
    version: fc.constantFrom<4 | 6>(4, 6),
    length: fc.integer({ min: 1, max: 60_000 }),
    size: fc.integer({ min: 536, max: 9000 }),
    options: fc.integer({ min: 0, max: 10 }).map((words) => 4 * words),
    vlan: fc.option(fc.integer({ min: 0, max: 4095 }), { nil: undefined }),
    sequence: fc.integer({ min: 0, max: 0xffff_ffff }),
    identification: fc.integer({ min: 0, max: 0xffff }),
    ecn: fc.boolean(),
  })

  it('gives what the guest would have sent itself', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ version, length, size, ecn, vlan, ...rest }) => {
        const tag = vlan === undefined ? {} : { vlan }
        const payload = bytesOf(length, size)
        const flags = ack | push | fin | (ecn ? cwr : 0)
        const { frame, checksumStart, headerLength } = tcpFrame({ version, payload, flags, partial: true, ...tag, ...rest })
        const backend = new Sink()
        const net = testDevice(new Net(backend), { indirect: true })
        const gso_type = (version === 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6) | (ecn ? VIRTIO_NET_HDR_GSO_ECN : 0)
        const hdr = header({
          flags: VIRTIO_NET_HDR_F_NEEDS_CSUM,
          gso_type,
          gso_size: size,
          hdr_len: headerLength,
          csum_start: checksumStart,
          csum_offset: 16,
        })
        await net.request(chain().readable(hdr).readable(frame), transmitq)
        const expected: Uint8Array[] = []
        for (let at = 0; at < length; at += size) {
          const isLast = at + size >= length
          const of = {
            version,
            payload: payload.subarray(at, at + size),
            flags: flags & ~(isLast ? 0 : push | fin) & ~(at > 0 ? cwr : 0),
            ...tag,
            ...rest,
            sequence: (rest.sequence + at) % 2 ** 32,
            identification: (rest.identification + expected.length) % 2 ** 16,
          }
          expected.push(tcpFrame(of).frame)
        }
        expect(backend.frames.length).toBe(expected.length)
        for (const [i, segment] of expected.entries())
          expect(Buffer.from(backend.frames[i]!).toString('hex')).toBe(Buffer.from(segment).toString('hex'))
      }),
      { numRuns: 3 * runs },
    )
  })

  const big = tcpFrame({ version: 4, payload: bytesOf(10_000), partial: true })
  const good = {
    flags: VIRTIO_NET_HDR_F_NEEDS_CSUM,
    gso_type: VIRTIO_NET_HDR_GSO_TCPV4,
    gso_size: 1460,
    hdr_len: big.headerLength,
    csum_start: big.checksumStart,
    csum_offset: 16,
  }

  it('is left to a backend, or a guest, that does it', async () => {
    const backend = new Sink({ checksum: true, tcp4: true })
    const net = testDevice(new Net(backend))
    await net.request(chain().readable(header(good)).readable(big.frame), transmitq)
    expect(backend.frames).toEqual([big.frame])
    const offload: Offload = {
      checksumStart: big.checksumStart,
      checksumOffset: 16,
      segmentation: { protocol: 'tcp4', size: 1460, headerLength: big.headerLength, ecn: false },
    }
    expect(backend.offloads).toEqual([offload])
    // Not with congestion notification, which it has not said it can do.
    await net.request(
      chain()
        .readable(header({ ...good, gso_type: VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN }))
        .readable(big.frame),
      transmitq,
    )
    expect(backend.frames).toHaveLength(1 + 7)

    const guest = testDevice(new Net(new Sink(), { mac: '52:54:00:00:00:02' }))
    const used = guest.request(chain().writable(20_000), receiveq)
    guest.device.receive(big.frame, offload)
    const { bytes } = await used
    expect(VirtioNetHdr.decode(bytes, { features: modern })).toMatchObject(good)
    expect(bytes.slice(headerBytes)).toEqual(big.frame)
  })

  it('is told with the length of the headers that there are, whatever the sender has said of it', async () => {
    for (const hdr_len of [0, 14, 0xffff]) {
      const [left, right] = link()
      const sender = testDevice(new Net(left))
      const receiver = testDevice(new Net(right, { mac: '52:54:00:00:00:02' }))
      const used = receiver.request(chain().writable(20_000), receiveq)
      await sender.request(
        chain()
          .readable(header({ ...good, hdr_len }))
          .readable(big.frame),
        transmitq,
      )
      expect(VirtioNetHdr.decode((await used).bytes, { features: modern })).toMatchObject(good)
      // A header that is not all there is none.
      const short = big.frame.slice(0, big.headerLength - 1)
      await sender.request(
        chain()
          .readable(header({ ...good, hdr_len }))
          .readable(short),
        transmitq,
      )
      expect(sender.device.statistics).toMatchObject({ transmittedFrames: 1, transmitDropped: 1 })
      expect(receiver.device.statistics).toMatchObject({ receivedFrames: 1, receiveDropped: 0 })
    }
  })

  it('is done for a guest that does not, in order', async () => {
    const [left, right] = link()
    const sender = testDevice(new Net(left))
    const receiver = testDevice(new Net(right, { mac: '52:54:00:00:00:02' }), { features: [VIRTIO_NET_F_MAC, VIRTIO_NET_F_MRG_RXBUF] })
    const buffers = Array.from({ length: 7 }, () => receiver.request(chain().writable(1600), receiveq))
    await sender.request(chain().readable(header(good)).readable(big.frame), transmitq)
    for (const [i, buffer] of buffers.entries()) {
      const payload = bytesOf(10_000).subarray(1460 * i, 1460 * (i + 1))
      const expected = tcpFrame({ version: 4, payload, sequence: 1000 + 1460 * i, identification: 7 + i }).frame
      expect((await buffer).bytes.slice(headerBytes)).toEqual(expected)
    }
  })

  it.each<[string, Partial<VirtioNetHdrValue>, Uint8Array?]>([
    ['without a checksum to be computed', { flags: 0 }],
    ['without a size', { gso_size: 0 }],
    ['of a size that makes far too many of it', { gso_size: 10 }],
    ['of UDP, which is not negotiated', { gso_type: VIRTIO_NET_HDR_GSO_UDP_L4 }],
    ['of a kind that there is not', { gso_type: 0x7f }],
    ['in a tunnel', { gso_type: VIRTIO_NET_HDR_GSO_TCPV4 | 0x20 }],
    ['of IPv6, which it is not', { gso_type: VIRTIO_NET_HDR_GSO_TCPV6 }],
    ['whose checksum is elsewhere', { csum_offset: 6 }],
    ['whose header begins elsewhere', { csum_start: 30 }],
    ['whose header is behind its end', { csum_start: 10_030 }],
    ['that is no IP', {}, big.frame.with(12, 9)],
    ['that is no TCP', {}, big.frame.with(23, 17)],
    ['with a header that is too short', {}, big.frame.with(46, 0x40)],
    ['with nothing behind its header', {}, big.frame.subarray(0, 54)],
  ])('is refused: a frame %s', async (_, change, frame = big.frame) => {
    const backend = new Sink()
    const net = testDevice(new Net(backend))
    await net.request(
      chain()
        .readable(header({ ...good, ...change }))
        .readable(frame),
      transmitq,
    )
    expect([backend.frames, net.device.statistics.transmitDropped, net.needsReset]).toEqual([[], 1, false])
  })

  it('is refused where it is not negotiated, with ECN as well', async () => {
    for (const [features, gso_type] of [
      [[VIRTIO_NET_F_CSUM], VIRTIO_NET_HDR_GSO_TCPV4],
      [[VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4], VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN],
      [[VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_ECN], VIRTIO_NET_HDR_GSO_TCPV6],
    ] as const) {
      const backend = new Sink()
      const net = testDevice(new Net(backend), { features })
      await net.request(
        chain()
          .readable(header({ ...good, gso_type }))
          .readable(big.frame),
        transmitq,
      )
      expect(backend.frames).toEqual([])
    }
  })

  it('takes any bytes: nothing throws, and what is emitted is never longer than it may be', () => {
    const bytes = fc.uint8Array({ minLength: 14, maxLength: 300 })
    const word = fc.integer({ min: 0, max: 400 })
    fc.assert(
      fc.property(
        bytes,
        fc.constantFrom(1, 4, 0x81, 0x84),
        word,
        word,
        word,
        fc.boolean(),
        (frame, gso_type, gso_size, csum_start, csum_offset, isIp) => {
          if (isIp) frame.set(big.frame.subarray(0, Math.min(54, frame.length)))
          const backend = new Sink()
          const net = testDevice(new Net(backend))
          net.driver(transmitq).offer(
            chain()
              .readable(header({ flags: 1, gso_type, gso_size, csum_start, csum_offset }))
              .readable(frame),
          )
          expect([net.recorder.errors, net.recorder.violations]).toEqual([[], []])
          for (const { length } of backend.frames) expect(length).toBeLessThanOrEqual(frame.length)
        },
      ),
      { numRuns: 200 },
    )
  })
})
