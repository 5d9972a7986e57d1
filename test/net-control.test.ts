/** What the driver says to the card by its control queue, what the host says, and what is left of it after a reset or in a snapshot. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { Net, type NetOptions } from 'virtgen/devices/net'
import { RateLimiter } from 'virtgen/devices/rate-limiter'
import { NetDriver } from 'virtgen/driver/net'
import { MmioDevice, restoreMmioDevice, saveMmioDevice } from 'virtgen/mmio'
import { StateError } from 'virtgen/runtime'
import { chain, type TestMachineOptions, testDevice, testMachine } from 'virtgen/testing'
import {
  VIRTIO_NET_ERR,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_VLAN,
  VIRTIO_NET_F_MQ,
  VIRTIO_NET_S_ANNOUNCE,
  VIRTIO_NET_S_LINK_UP,
  virtio_net_offloads,
} from 'virtgen/wire/net'
import { describe, expect, it } from 'vitest'
import { FakeTimers } from './support/fake-timers.ts'
import { bytesOf, mac, plainFrame, Sink, tcpFrame } from './support/net.ts'
import { transports } from './support/transports.ts'

const formats = [{ packed: false }, { packed: true }]
const own = '52:54:0:0:0:2'
const others = '52:54:0:0:0:9'
const everybody = 'ff:ff:ff:ff:ff:ff'
const group = '33:33:0:0:0:1'
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

async function machine(options: NetOptions = {}, rings: TestMachineOptions = {}) {
  const backend = new Sink()
  const all = { driverBytes: 0x40_0000, ...rings }
  const { driver, device, recorder, registers } = await testMachine(new Net(backend, { mac: '52:54:00:00:00:02', ...options }), NetDriver, all)
  const packets: { queue: number; packet: Uint8Array }[] = []
  driver.onPacket(({ queue, packet }) => packets.push({ queue, packet: packet.slice() }))
  /** Which of some frames, told apart by where they go, the guest gets. */
  const gets = (...frames: Uint8Array[]): boolean[] =>
    frames.map((frame) => {
      const before = packets.length
      backend.card.receive(frame)
      return packets.length > before
    })
  return { backend, driver, device, recorder, registers, packets, gets }
}

const to = (address: string): Uint8Array => plainFrame(60, { to: address })
const destinations = [own, others, everybody, group].map(to)
const tagged = (vlan: number, address = own): Uint8Array => tcpFrame({ version: 4, payload: bytesOf(10), vlan, to: address }).frame

describe.each(formats)('filters (packed: $packed)', (rings) => {
  it('let through what is for the card and for everybody, at first', async () => {
    const { gets } = await machine({}, rings)
    expect(gets(...destinations)).toEqual([true, false, true, false])
  })

  it('let everything through without VIRTIO_NET_F_CTRL_RX', async () => {
    const { gets } = await machine({}, { ...rings, features: NetDriver.features.without(VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_VLAN) })
    expect(gets(...destinations, tagged(7))).toEqual([true, true, true, true, true])
  })

  it.each([
    ['setPromisc', [true, true, true, true]],
    ['setAllmulti', [true, false, true, true]],
    ['setAlluni', [true, true, true, false]],
    ['setNomulti', [true, false, true, false]],
    ['setNouni', [false, false, true, false]],
    ['setNobcast', [true, false, false, false]],
  ] as const)('%s changes that, and changes it back', async (command, expected) => {
    const { driver, gets, device } = await machine({}, rings)
    await driver[command]({ mode: 1 })
    expect(gets(...destinations)).toEqual(expected)
    await driver[command]({ mode: 0 })
    expect(gets(...destinations)).toEqual([true, false, true, false])
    await expect(driver[command]({ mode: 2 })).rejects.toMatchObject({ status: VIRTIO_NET_ERR })
    expect(device.statistics.filtered).toBe(expected.filter((passes) => !passes).length + 2)
  })

  it('the stronger mode wins', async () => {
    const { driver, gets } = await machine({}, rings)
    await driver.setAllmulti({ mode: 1 })
    await driver.setNomulti({ mode: 1 })
    expect(gets(...destinations)).toEqual([true, false, true, false])
    await driver.setPromisc({ mode: 1 })
    expect(gets(...destinations)).toEqual([true, true, true, true])
  })

  it('have a table of addresses', async () => {
    const { driver, gets } = await machine({}, rings)
    const table = (...list: string[]) => ({ entries: list.length, macs: list.map(mac) })
    await driver.setMacTable({ unicast: table(others), multicast: table(group, '33:33:0:0:0:2') })
    expect(gets(...destinations)).toEqual([true, true, true, true])
    await driver.setMacTable({ unicast: table(), multicast: table() })
    expect(gets(...destinations)).toEqual([true, false, true, false])
    const many = Array.from({ length: 3000 }, (_, i) => `2:0:0:0:${(i >> 8).toString(16)}:${(i & 0xff).toString(16)}`)
    await driver.setMacTable({ unicast: table(...many), multicast: table() })
    expect(gets(to(many[2999]!), to(others))).toEqual([true, false])
  })

  it('know VLANs by their tags', async () => {
    const { driver, gets } = await machine({}, rings)
    expect(gets(tagged(7), tagged(8))).toEqual([false, false])
    await driver.addVlan({ vlan_id: 7 })
    // Priority bits are none of the number.
    expect(gets(tagged(7), tagged(0xe007), tagged(8), tagged(7, others))).toEqual([true, true, false, false])
    await driver.deleteVlan({ vlan_id: 7 })
    expect(gets(tagged(7))).toEqual([false])
    await expect(driver.addVlan({ vlan_id: 4096 })).rejects.toMatchObject({ status: VIRTIO_NET_ERR })
  })
})

describe('the address', () => {
  it('is what the host says, else a random one that no other card has', () => {
    expect(new Net(new Sink(), { mac: '52-54-00-AB-cd-ef' }).macText).toBe('52:54:00:ab:cd:ef')
    const random = Array.from({ length: 20 }, () => new Net(new Sink()).mac)
    for (const { 0: first } of random) expect(first! & 3).toBe(2)
    expect(new Set(random.map(String)).size).toBe(20)
    for (const bad of ['52:54:00:12:34', '525400123456', 'x', '01:00:00:00:00:01', '0:0:0:0:0:0', '00:00:00:00:00:00'])
      expect(() => new Net(new Sink(), { mac: bad })).toThrow(/address/)
  })

  it('can be changed by the driver, until the next reset', async () => {
    const { driver, device, gets } = await machine()
    await driver.setMacAddr({ mac: mac(others) })
    expect(gets(...destinations)).toEqual([false, true, true, false])
    expect([device.macText, [...(device.config.fields?.mac ?? [])]]).toEqual(['52:54:00:00:00:09', [...mac(others)]])
    await expect(driver.setMacAddr({ mac: mac(group) })).rejects.toMatchObject({ status: VIRTIO_NET_ERR })
    expect(device.macText).toBe('52:54:00:00:00:09')
    await driver.close()
    expect(device.macText).toBe('52:54:00:00:00:02')
  })

  it('is written into the configuration space by drivers of the legacy interface', () => {
    const device = new Net(new Sink(), { mac: '52:54:00:00:00:02' })
    mac(others).forEach((byte, at) => {
      for (const field of device.config.write(at, 1, byte, FeatureSet.empty)) device.configWritten(field)
    })
    expect(device.macText).toBe('52:54:00:00:00:09')
  })
})

describe('the link', () => {
  it('goes down and up, and frames stop meanwhile', async () => {
    const { driver, device, backend, gets } = await machine()
    const seen: number[] = []
    driver.onConfigChange(() => void seen.push(driver.config.status))
    device.setLink(false)
    await driver.transmit({}, to(others))
    expect([backend.frames.length, gets(to(own)), device.linkUp]).toEqual([0, [false], false])
    device.setLink(true)
    device.setLink(true)
    await driver.transmit({}, to(others))
    expect([backend.frames.length, gets(to(own)), device.linkUp]).toEqual([1, [true], true])
    expect(seen).toEqual([0, VIRTIO_NET_S_LINK_UP])
  })

  it('is up only where the cable is plugged in and the backend has a network', async () => {
    const { device, backend } = await machine()
    const states = [
      () => backend.card.setCarrier(false),
      () => device.setLink(false),
      () => backend.card.setCarrier(true),
      () => device.setLink(true),
    ]
    const seen = states.map((change) => {
      change()
      return device.linkUp
    })
    expect(seen).toEqual([false, false, false, true])
  })

  it('leads to a network, or there is no card', () => {
    expect(() => new Net(undefined as never)).toThrow('a card needs a network')
  })

  it('is announced by the guest when the host asks for it', async () => {
    const { driver, device } = await machine()
    expect(device.announce()).toBe(true)
    expect(device.config.fields?.status).toBe(VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE)
    await driver.ackAnnounce()
    expect(device.config.fields?.status).toBe(VIRTIO_NET_S_LINK_UP)
    device.announce()
    await driver.close()
    expect(device.config.fields?.status).toBe(VIRTIO_NET_S_LINK_UP)
    expect(device.announce()).toBe(false)
  })

  it('has a speed and an MTU, where they are given', async () => {
    const { driver } = await machine({ speed: 10_000, mtu: 9000 })
    expect([driver.config.speed, driver.config.duplex, driver.config.mtu]).toEqual([10_000, 1, 9000])
  })
})

describe('offloads of frames to the guest', () => {
  const bit = (name: keyof typeof virtio_net_offloads): bigint => 1n << BigInt(virtio_net_offloads[name])

  it('are switched by the driver', async () => {
    const { driver, backend, packets } = await machine()
    const partial = tcpFrame({ version: 4, payload: bytesOf(99), partial: true })
    const complete = tcpFrame({ version: 4, payload: bytesOf(99) }).frame
    const offload = { checksumStart: partial.checksumStart, checksumOffset: 16 }
    for (const [offloads, expected] of [
      [undefined, partial.frame],
      [0n, complete],
      [bit('VIRTIO_NET_F_GUEST_CSUM'), partial.frame],
    ] as const) {
      if (offloads !== undefined) await driver.setOffloads({ offloads })
      backend.card.receive(Buffer.from(partial.frame.buffer, partial.frame.byteOffset, partial.frame.length), offload)
      expect(packets.pop()?.packet).toEqual(expected)
    }
    // What belongs to the backend was not changed.
    expect(partial.frame).toEqual(tcpFrame({ version: 4, payload: bytesOf(99), partial: true }).frame)
  })

  it('that the driver switches off are off for frames that wait already, too', async () => {
    const backend = new Sink()
    const net = testDevice(
      new Net(backend, { mac: '52:54:00:00:00:02', receiveLimiter: new RateLimiter({ operations: { perSecond: 1, burst: 1 } }) }),
    )
    const { frame, checksumStart, headerLength } = tcpFrame({ version: 4, payload: bytesOf(3000), partial: true })
    const segmentation = { protocol: 'tcp4', size: 1460, headerLength, ecn: false } as const
    backend.card.receive(frame, { checksumStart, checksumOffset: 16, segmentation })
    expect(net.device.waiting).toBe(1)
    await net.request(chain().readable([5, 0, 0, 0, 0, 0, 0, 0, 0, 0]).writable(1), 2)
    const first = await net.request(chain().writable(2000), 0)
    // Neither flags nor segmentation, and one that the limiter has let through needs not ask again.
    expect([...first.bytes.subarray(0, 2), first.bytes.length]).toEqual([0, 0, 12 + headerLength + 1460])
    const others = [1, 2].map(() => net.request(chain().writable(2000), 0))
    expect((await Promise.all(others)).map(({ bytes }) => bytes.length)).toEqual([12 + headerLength + 1460, 12 + headerLength + 80])
  })

  it('cannot be other ones than were negotiated', async () => {
    const { driver } = await machine()
    for (const offloads of [bit('VIRTIO_NET_F_GUEST_UFO'), bit('VIRTIO_NET_F_GUEST_USO6'), 1n, 2n ** 64n - 1n, 2n ** 32n + 2n])
      await expect(driver.setOffloads({ offloads })).rejects.toMatchObject({ status: VIRTIO_NET_ERR })
    const all = bit('VIRTIO_NET_F_GUEST_CSUM') | bit('VIRTIO_NET_F_GUEST_TSO4') | bit('VIRTIO_NET_F_GUEST_TSO6') | bit('VIRTIO_NET_F_GUEST_ECN')
    await driver.setOffloads({ offloads: all })
  })
})

describe.each(formats)('several queues (packed: $packed)', (rings) => {
  const flow = (i: number, back = false): Uint8Array => {
    const [source, destination] = ['10.0.2.15', `10.1.0.${i + 1}`]
    const ports = { sourcePort: 40_000 + 17 * i, port: 80 }
    return back
      ? tcpFrame({ version: 4, payload: bytesOf(20), source: destination, destination: source, sourcePort: ports.port, port: ports.sourcePort }).frame
      : tcpFrame({ version: 4, payload: bytesOf(20), source, destination, ...ports }).frame
  }

  it('are used when the driver says so: answers come where the flow was sent', async () => {
    const { driver, backend, packets } = await machine({ pairs: 4 }, rings)
    expect(driver.config.max_virtqueue_pairs).toBe(4)
    for (let i = 0; i < 16; i++) backend.card.receive(flow(i, true))
    expect(new Set(packets.splice(0).map(({ queue }) => queue))).toEqual(new Set([0]))
    await driver.setVqPairs({ virtqueue_pairs: 4 })
    for (let i = 0; i < 16; i++) backend.card.receive(flow(i, true))
    const spread = packets.splice(0).map(({ queue }) => queue)
    expect(spread).toHaveLength(16)
    expect(new Set(spread).size).toBeGreaterThan(2)
    for (let i = 0; i < 16; i++) await driver.transmit({}, flow(i), 2 * (i % 4) + 1)
    for (let i = 0; i < 16; i++) backend.card.receive(flow(i, true))
    expect(packets.splice(0).map(({ queue }) => queue)).toEqual(Array.from({ length: 16 }, (_, i) => 2 * (i % 4)))
    await driver.setVqPairs({ virtqueue_pairs: 1 })
    for (let i = 0; i < 16; i++) backend.card.receive(flow(i, true))
    expect(new Set(packets.splice(0).map(({ queue }) => queue))).toEqual(new Set([0]))
  })

  it('leave no frame behind that waits for a queue which is used no more', async () => {
    const backend = new Sink()
    const net = testDevice(new Net(backend, { mac: '52:54:00:00:00:02', pairs: 2 }), rings)
    const command = (pairs: number) => net.request(chain().readable([4, 0, pairs, 0]).writable(1), 4)
    for (const [pairs, ack] of [
      [0, 1],
      [3, 1],
      [2, 0],
    ] as const)
      expect((await command(pairs)).bytes[0]).toBe(ack)
    for (let i = 0; i < 8; i++) backend.card.receive(flow(i, true))
    expect(net.device.waiting).toBe(8)
    await command(1)
    const got = await Promise.all(Array.from({ length: 8 }, () => net.request(chain().writable(200), 0)))
    expect(got).toHaveLength(8)
    expect(net.device.waiting).toBe(0)
  })

  it('that are used no more hold nobody up: the network hears that there is room', async () => {
    const backend = new Sink()
    const net = testDevice(new Net(backend, { mac: '52:54:00:00:00:02', pairs: 2, backlog: 8 }), rings)
    await net.request(chain().readable([4, 0, 2, 0]).writable(1), 4)
    const buffers = Array.from({ length: 14 }, () => net.request(chain().writable(200), 0))
    const answers: boolean[] = []
    for (let i = 0; i < 14 && !answers.includes(false); i++) answers.push(backend.card.receive(flow(i, true)))
    expect([answers.at(-1), backend.resumed]).toEqual([false, 0])
    await net.request(chain().readable([4, 0, 1, 0]).writable(1), 4)
    expect([net.device.waiting, backend.resumed]).toEqual([0, 1])
    expect(await Promise.all(buffers.slice(0, answers.length))).toHaveLength(answers.length)
  })

  it('need the control queue', () => {
    expect(() => new Net(new Sink(), { pairs: 2, control: false })).toThrow(TypeError)
    expect(() => new Net(new Sink(), { pairs: 0 })).toThrow(RangeError)
  })

  it('the control queue stands behind them only where they are negotiated', async () => {
    const { driver, gets } = await machine({ pairs: 3 }, { ...rings, features: NetDriver.features.without(VIRTIO_NET_F_MQ) })
    await driver.setPromisc({ mode: 1 })
    expect(gets(to(others))).toEqual([true])
  })
})

describe('limits', () => {
  it('of what the guest sends: it gets its buffers back later', async () => {
    const timers = new FakeTimers()
    const { driver, backend } = await machine({ transmitLimiter: new RateLimiter({ operations: { perSecond: 10, burst: 2 }, timers }) })
    let done = 0
    for (let i = 0; i < 5; i++) void driver.transmit({}, plainFrame(60, { seed: i })).then(() => done++)
    await tick()
    expect([backend.frames.length, done]).toEqual([2, 2])
    timers.advance(100)
    await tick()
    expect([backend.frames.length, done]).toEqual([3, 3])
    timers.advance(1000)
    await tick()
    expect([backend.frames.length, done]).toEqual([5, 5])
    expect(backend.frames).toEqual(Array.from({ length: 5 }, (_, seed) => plainFrame(60, { seed })))
  })

  it('of what it receives: frames wait in their order', async () => {
    const timers = new FakeTimers()
    const { backend, packets } = await machine({ receiveLimiter: new RateLimiter({ bytes: { perSecond: 1000, burst: 100 }, timers }) })
    for (let seed = 0; seed < 4; seed++) backend.card.receive(plainFrame(100, { to: own, seed }))
    expect(packets).toHaveLength(1)
    timers.advance(100)
    expect(packets).toHaveLength(2)
    timers.advance(10_000)
    expect(packets.map(({ packet }) => packet)).toEqual(Array.from({ length: 4 }, (_, seed) => plainFrame(100, { to: own, seed })))
  })

  it('are counted once for a frame that waits for buffers', async () => {
    const timers = new FakeTimers()
    const backend = new Sink()
    const limiter = new RateLimiter({ operations: { perSecond: 1, burst: 1 }, timers })
    const net = testDevice(new Net(backend, { mac: '52:54:00:00:00:02', receiveLimiter: limiter }))
    backend.card.receive(to(own))
    expect((await net.request(chain().writable(200), 0)).written).toBe(72)
  })

  it('end with a reset', async () => {
    const timers = new FakeTimers()
    const limiter = () => new RateLimiter({ operations: { perSecond: 1, burst: 1 }, timers })
    const { driver, backend, device } = await machine({ transmitLimiter: limiter(), receiveLimiter: limiter() })
    const sent = [0, 1, 2].map(() => driver.transmit({}, to(others)).catch(() => 'cancelled'))
    for (let i = 0; i < 3; i++) backend.card.receive(to(own))
    await tick()
    expect([timers.pending, device.waiting]).toEqual([2, 2])
    await driver.close()
    expect([timers.pending, device.waiting, backend.frames.length]).toEqual([0, 0, 1])
    expect(await Promise.all(sent)).toEqual([undefined, 'cancelled', 'cancelled'])
  })
})

describe('a slow network', () => {
  it('slows the guest down: a buffer comes back when the backend says so', async () => {
    const { driver, backend, device } = await machine()
    let release = (): void => {}
    backend.result = () => new Promise((resolve) => (release = resolve))
    let done = false
    const sent = driver.transmit({}, to(others)).then(() => (done = true))
    await tick()
    expect([done, device.statistics.transmittedFrames]).toEqual([false, 0])
    release()
    await sent
    expect(device.statistics.transmittedFrames).toBe(1)
  })

  it.each([
    ['throws', () => expect.fail('not for the guest')],
    ['rejects', () => Promise.reject(new Error('not for the guest'))],
  ])('that %s loses a frame, and nothing else', async (_, result) => {
    const errors: unknown[] = []
    const { driver, backend, device, recorder } = await machine({ onError: (error) => errors.push(error) })
    backend.result = result
    await driver.transmit({}, to(others))
    backend.result = () => {}
    await driver.transmit({}, to(others))
    expect(errors).toMatchObject([{ message: 'not for the guest' }])
    expect(device.statistics).toMatchObject({ transmittedFrames: 1, transmitDropped: 1 })
    expect([recorder.errors, recorder.violations]).toEqual([[], []])
  })

  it('is told when there is room for more, also by a reset', async () => {
    const backend = new Sink()
    const net = testDevice(new Net(backend, { mac: '52:54:00:00:00:02', backlog: 8 }))
    const accepted = Array.from({ length: 6 }, () => backend.card.receive(to(own)))
    expect(accepted).toEqual([true, true, true, true, false, false])
    expect(backend.resumed).toBe(0)
    await net.reset()
    expect([backend.resumed, net.device.waiting, net.device.statistics.receiveDropped]).toEqual([1, 0, 6])
    // Nobody is there: nothing waits, and nobody is asked to.
    expect([backend.card.receive(to(own)), net.device.waiting]).toEqual([true, 0])
  })
})

describe('a guest that acts while it is interrupted', () => {
  it('sends what it has received, without end, and each frame arrives once and in order', async () => {
    const { driver, backend, packets } = await machine()
    driver.onPacket(({ packet }) => void driver.transmit({}, packet.slice()))
    for (let seed = 0; seed < 50; seed++) backend.card.receive(plainFrame(60 + seed, { to: own, seed }))
    await tick()
    const expected = Array.from({ length: 50 }, (_, seed) => plainFrame(60 + seed, { to: own, seed }))
    expect(backend.frames).toEqual(expected)
    expect(packets.map(({ packet }) => packet).length % 50).toBe(0)
  })

  it('sends a frame while another one is being sent, which stays as it is', async () => {
    const [first, second, third] = [1, 2, 3].map((seed) => plainFrame(100, { seed })) as [Uint8Array, Uint8Array, Uint8Array]
    const limiter = new RateLimiter({ operations: { perSecond: 1, burst: 1 }, timers: new FakeTimers() })
    const offer = (frame: Uint8Array) => net.driver(1).offer(chain().readable(new Uint8Array(12)).readable(frame))
    const frames: Uint8Array[] = []
    const network = {
      attach: () => {},
      send: (frame: Uint8Array) => {
        // Whoever gets the second frame makes the guest send the third, and looks at the second after that.
        if (frame[20] === second[20]) offer(third)
        frames.push(frame.slice())
      },
    }
    const net = testDevice(new Net(network, { transmitLimiter: limiter }))
    offer(first)
    offer(second)
    expect(frames).toEqual([first])
    limiter.dispose()
    expect(frames).toEqual([first, third, second])
  })

  it('gives buffers back at once, however many frames wait', async () => {
    const backend = new Sink()
    const { driver } = await testMachine(new Net(backend, { mac: '52:54:00:00:00:02', backlog: 30_000 }), NetDriver, { driverBytes: 0x10_0000 })
    for (let i = 0; i < 30_000; i++) backend.card.receive(to(own))
    let received = 0
    driver.onPacket(() => received++)
    await tick()
    expect(received).toBe(30_000)
  })

  it('and a network that answers while it is sent to', async () => {
    const { driver, backend, packets } = await machine()
    backend.result = () => void backend.card.receive(plainFrame(60, { to: own, seed: backend.frames.length }))
    await Promise.all(Array.from({ length: 20 }, (_, seed) => driver.transmit({}, plainFrame(60, { seed }))))
    expect(packets.map(({ packet }) => packet)).toEqual(Array.from({ length: 20 }, (_, i) => plainFrame(60, { to: own, seed: i + 1 })))
    expect(backend.frames).toEqual(Array.from({ length: 20 }, (_, seed) => plainFrame(60, { seed })))
  })
})

describe('one queue', () => {
  it('is reset, and others get its frames; where there is no other, they are dropped', async () => {
    const backend = new Sink()
    const device = new Net(backend, { mac: '52:54:00:00:00:02', pairs: 2 })
    const { control, connect } = transports[0]!.plug(device)
    const driver = await connect(NetDriver)
    const queues: number[] = []
    await driver.setVqPairs({ virtqueue_pairs: 2 })
    // Nobody listens yet: frames wait, on whatever queue.
    const frames = Array.from({ length: 8 }, (_, i) => tcpFrame({ version: 4, payload: bytesOf(1), port: 80 + i, to: own }).frame)
    for (const frame of frames) backend.card.receive(frame)
    expect(device.waiting).toBe(8)
    await control.resetQueue(2)
    driver.onPacket(({ queue }) => queues.push(queue))
    await tick()
    expect([queues, device.waiting]).toEqual([new Array(8).fill(0), 0])
    await control.resetQueue(0)
    for (const frame of frames) backend.card.receive(frame)
    expect([queues.length, device.waiting, device.statistics.receiveDropped]).toEqual([8, 0, 8])
  })
})

describe('a reset', () => {
  it('leaves nothing of what the driver has said', async () => {
    const { driver, device } = await machine({ pairs: 2 })
    for (const command of ['setPromisc', 'setAllmulti', 'setAlluni', 'setNomulti', 'setNouni', 'setNobcast'] as const)
      await driver[command]({ mode: 1 })
    await driver.setMacTable({ unicast: { entries: 1, macs: [mac(others)] }, multicast: { entries: 0, macs: [] } })
    await driver.addVlan({ vlan_id: 7 })
    await driver.setVqPairs({ virtqueue_pairs: 2 })
    await driver.setOffloads({ offloads: 0n })
    const fresh = new Net(new Sink(), { pairs: 2 }).saveState()
    expect(device.saveState()).not.toEqual(fresh)
    await driver.close()
    expect(device.saveState()).toEqual(fresh)
  })
})

describe('a snapshot', () => {
  const plug = (device: Net, memory: never) => new MmioDevice(device, { memory, interrupt: () => {} })

  it('has the filters, the offloads, the queues and the address', async () => {
    const first = await machine({ pairs: 2 })
    await first.driver.setAllmulti({ mode: 1 })
    await first.driver.setMacTable({ unicast: { entries: 1, macs: [mac(others)] }, multicast: { entries: 0, macs: [] } })
    await first.driver.addVlan({ vlan_id: 7 })
    await first.driver.setMacAddr({ mac: mac('52:54:0:0:0:3') })
    await first.driver.setVqPairs({ virtqueue_pairs: 2 })
    await first.driver.setOffloads({ offloads: 0n })
    const state = JSON.parse(JSON.stringify(saveMmioDevice(first.registers)))
    const backend = new Sink()
    const copy = new Net(backend, { mac: '52:54:00:00:00:02', pairs: 2 })
    const slot = plug(copy, first.registers.control.memory as never)
    restoreMmioDevice(slot, state)
    expect([copy.macText, copy.saveState()]).toEqual(['52:54:00:00:00:03', first.device.saveState()])
    const frames = [to('52:54:0:0:0:3'), to(own), to(others), to(group), tagged(7, '52:54:0:0:0:3'), tagged(8, '52:54:0:0:0:3')]
    for (const frame of frames) backend.card.receive(frame)
    expect(copy.statistics).toMatchObject({ receivedFrames: 4, filtered: 2 })
  })

  it('tells the guest where the link is another one', async () => {
    const first = await machine()
    const state = JSON.parse(JSON.stringify(saveMmioDevice(first.registers)))
    for (const up of [true, false]) {
      const copy = new Net(new Sink(), { mac: '52:54:00:00:00:02' })
      copy.setLink(up)
      let interrupts = 0
      const slot = new MmioDevice(copy, { memory: first.registers.control.memory, interrupt: (level) => void (level && interrupts++) })
      restoreMmioDevice(slot, state)
      expect([copy.config.fields?.status, interrupts]).toEqual(up ? [VIRTIO_NET_S_LINK_UP, 0] : [0, 1])
    }
  })

  it.each([
    ['null', null],
    ['no pairs', { pairs: 3, offloads: null, filter: { modes: [], table: [], vlans: [] } }],
    ['no offloads', { pairs: 1, offloads: 1, filter: { modes: [], table: [], vlans: [] } }],
    ['no modes', { pairs: 1, offloads: null, filter: { modes: ['x'], table: [], vlans: [] } }],
    ['no addresses', { pairs: 1, offloads: null, filter: { modes: [], table: [-1], vlans: [] } }],
    ['no VLANs', { pairs: 1, offloads: null, filter: { modes: [], table: [], vlans: [4096] } }],
    ['no filter', { pairs: 1, offloads: null }],
  ])('is refused: %s', (_, state) => {
    expect(() => new Net(new Sink(), { pairs: 2 }).restoreState(state)).toThrow(StateError)
  })
})
