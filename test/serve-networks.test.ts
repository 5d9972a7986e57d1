/** Networks of `virtgen serve`, and cards whose control queue the front-end has. */
import { Net, type NetCard } from 'virtgen/devices/net'
import {
  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
  VIRTIO_NET_F_CTRL_MAC_ADDR,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_VLAN,
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_GUEST_ANNOUNCE,
  VIRTIO_NET_F_MQ,
} from 'virtgen/wire/net'
import { describe, expect, it } from 'vitest'
import { Steering } from '../devices/net/steering.ts'
import { Sink } from '../hosts/linux/serve/networks.ts'
import { Switch } from '../hosts/linux/serve/switch.ts'

/** A frame from one address to another; addresses are one byte of difference. */
function frame(from: number, to: number): Uint8Array {
  const bytes = new Uint8Array(60)
  bytes.set(to === 0xff ? new Uint8Array(6).fill(0xff) : [2, 0, 0, 0, to >> 8, to & 0xff])
  bytes.set([2, 0, 0, 0, from >> 8, from & 0xff], 6)
  return bytes
}

function guests(count: number) {
  const joined = new Switch()
  return Array.from({ length: count }, () => {
    const port = joined.port()
    const got: Uint8Array[] = []
    port.attach({ mac: new Uint8Array(6), receive: (bytes) => got.push(bytes) > 0, setCarrier: () => {} } satisfies NetCard)
    return { port, got }
  })
}

describe('a switch', () => {
  it('gives a frame to everybody but its sender as long as its address was not seen, and then to that one alone', () => {
    const [a, b, c] = guests(3) as [ReturnType<typeof guests>[0], ReturnType<typeof guests>[0], ReturnType<typeof guests>[0]]
    a.port.send(frame(1, 2))
    expect([a, b, c].map(({ got }) => got.length)).toEqual([0, 1, 1])
    b.port.send(frame(2, 1))
    expect([a, b, c].map(({ got }) => got.length)).toEqual([1, 1, 1])
    a.port.send(frame(1, 2))
    expect([a, b, c].map(({ got }) => got.length)).toEqual([1, 2, 1])
    a.port.send(frame(1, 0xff))
    expect([a, b, c].map(({ got }) => got.length)).toEqual([1, 3, 2])
  })

  it('follows an address that moves, and gives nobody their own frames back', () => {
    const [a, b, c] = guests(3) as [ReturnType<typeof guests>[0], ReturnType<typeof guests>[0], ReturnType<typeof guests>[0]]
    a.port.send(frame(1, 0xff))
    c.port.send(frame(1, 0xff))
    b.port.send(frame(2, 1))
    expect([a, b, c].map(({ got }) => got.length)).toEqual([1, 2, 2])
    c.port.send(frame(3, 1))
    expect(c.got.length).toBe(2)
  })

  it('remembers a bounded number of addresses, whatever a guest makes up', () => {
    const [a, b, c] = guests(3) as [ReturnType<typeof guests>[0], ReturnType<typeof guests>[0], ReturnType<typeof guests>[0]]
    a.port.send(frame(1, 0xff))
    for (let i = 0; i < 4200; i++) c.port.send(frame(256 + i, 0xff))
    const before = c.got.length
    b.port.send(frame(2, 1))
    // Forgotten: everybody gets it.
    expect(c.got.length).toBe(before + 1)
  })

  it('with a place that nobody is plugged into drops what is for it', () => {
    const joined = new Switch()
    const [port] = [joined.port(), joined.port()]
    expect(() => port?.send(frame(1, 2))).not.toThrow()
  })
})

describe('a card whose control queue the front-end has', () => {
  const card = new Net(new Sink(), { control: 'front-end', pairs: 2 })

  it('offers what is about frames, and nothing that it would have to be told of', () => {
    for (const feature of [VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_MQ, VIRTIO_NET_F_GUEST_ANNOUNCE]) expect(card.offered.has(feature)).toBe(true)
    for (const feature of [VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_VLAN, VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS])
      expect(card.offered.has(feature)).toBe(false)
    expect(card.queueSizes).toHaveLength(5)
  })

  it('accepts several queues without the control queue, which another card does not', () => {
    const negotiated = card.offered.without(VIRTIO_NET_F_CTRL_VQ)
    expect(card.accepts(negotiated)).toBe(true)
    expect(new Net(new Sink(), { pairs: 2 }).accepts(negotiated)).toBe(false)
  })

  it('gives flows to the first pair until the guest sends them on another', () => {
    const steering = new Steering()
    steering.follow(4)
    const packet = new Uint8Array(60)
    packet.set([8, 0, 0x45], 12)
    packet.set([10, 0, 0, 1, 10, 0, 0, 2], 26)
    packet[23] = 17
    expect(steering.pick(packet)).toBe(0)
    steering.learn(packet, 3)
    expect(steering.pick(packet)).toBe(3)
    steering.use(1)
    expect(steering.pick(packet)).toBe(0)
  })
})
