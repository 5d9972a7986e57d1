/** The back-end of vhost-user against a front-end in the same process: when rings start, stop and are called. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { countDescriptors, createEventfd, drainEventfd, Poller, signalEventfd, whyNoSystem } from 'virtgen/linux'
import { DRIVER_OK, FEATURES_OK, VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import {
  VHOST_USER_PROTOCOL_F_CONFIG,
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VHOST_USER_PROTOCOL_F_RESET_DEVICE,
  VHOST_USER_PROTOCOL_F_STATUS,
} from 'virtgen/wire/vhost-user'
import { describe, expect, it } from 'vitest'
import { HeldDevice } from './support/vhost-user-device.ts'
import { FrontRing, settle } from './support/vhost-user-front.ts'
import { add, bufferSize, dataAt, keepNothing, memorySize, prepared, ringAt, serve, started, synchronized } from './support/vhost-user-session.ts'

const version1 = FeatureSet.of(VIRTIO_F_VERSION_1)
const packed = version1.with(VIRTIO_F_RING_PACKED)
/** Without STATUS, as most front-ends. */
const usual = [VHOST_USER_PROTOCOL_F_MQ, VHOST_USER_PROTOCOL_F_REPLY_ACK, VHOST_USER_PROTOCOL_F_CONFIG, VHOST_USER_PROTOCOL_F_RESET_DEVICE]

/** Tells when it is about to take buffers. */
class WatchedDevice extends HeldDevice {
  begins = (_index: number): void => {}

  override queueNotified(index: number): void {
    this.begins(index)
    super.queueNotified(index)
  }
}

/** Takes buffers of ring 1 and answers each with one of ring 0. */
class AnsweringDevice extends HeldDevice {
  answered = (): void => {}
  /** It takes them when it is asked a second time, and has itself asked. */
  putsOff = false
  #isPutOff = false

  override queueNotified(index: number): void {
    const [replies, queue] = [this.host?.queue(0), this.host?.queue(1)]
    if (index !== 1 || replies === undefined) return
    this.#isPutOff = this.putsOff && !this.#isPutOff
    if (this.#isPutOff) {
      this.host?.serveLater(index)
      return
    }
    for (let chain = queue?.next(); chain !== undefined; chain = queue?.next()) {
      chain.complete(0)
      replies.next()?.complete(0)
      replies.showBatch()
      this.answered()
    }
  }
}

describe.skipIf(whyNoSystem() !== undefined)('the back-end', () => {
  keepNothing()

  describe.each([
    ['split', version1],
    ['packed', packed],
  ])('in %s rings', (format, features) => {
    const position = (count: number): number => (format === 'split' ? count : (count % 64) | (((Math.floor(count / 64) + 1) % 2) << 15))

    it('serves what the driver adds, and says where the ring stands when it stops', async () => {
      const { ring, memory, errors } = await started({}, { features })
      for (let token = 0; token < 300; token++) {
        add(ring, token % 50)
        expect(await ring.completed()).toBe(token % 50)
        expect(ring.queue.written).toBe(bufferSize)
      }
      expect(memory.resolve(dataAt, bufferSize)!.every((byte) => byte === 0xa5)).toBe(true)
      expect((await ring.stop()) & 0xffff).toBe(position(300))
      expect(errors).toEqual([])
    })

    it('waits with the answer until all that it has taken is used, and writes nothing afterwards', async () => {
      const { device, ring, memory, front } = await started({}, { features })
      device.holds = true
      for (let token = 0; token < 5; token++) add(ring, token)
      await settle()
      expect(device.held.length).toBe(5)
      let base: number | undefined
      void ring.stop().then((answer) => {
        base = answer
      })
      await settle(20)
      expect(base).toBeUndefined()
      // Not in the order in which they came.
      device.finish(3, true)
      await settle(20)
      expect(base).toBeUndefined()
      device.finish()
      await settle(20)
      expect(base! & 0xffff).toBe(position(5))
      const after = memory.resolve(0, memorySize)!.slice()
      device.holds = false
      // The eventfd is the front-end's again, and the driver may go on to add.
      add(ring, 5)
      const added = memory.resolve(0, memorySize)!.slice()
      signalEventfd(ring.kick)
      await settle(20)
      expect(Buffer.compare(memory.resolve(0, memorySize)!, added)).toBe(0)
      expect(Buffer.compare(added.subarray(dataAt), after.subarray(dataAt))).toBe(0)
      // From there it goes on.
      ring.start(front.pieces[0]!, base)
      const tokens = []
      for (let count = 0; count < 6; count++) tokens.push(await ring.completed())
      expect(tokens.toSorted()).toEqual([0, 1, 2, 3, 4, 5])
    })
  })

  it('starts and stops as QEMU has it: SeaBIOS drives the disk first, then Linux with other features', async () => {
    const { device, front, piece, ring, memory, violations } = await prepared({}, { protocolFeatures: usual })
    front.setFeatures(version1)
    front.setFeatures(version1)
    ring.start(piece)
    add(ring, 1)
    expect(await ring.completed()).toBe(1)
    expect(await front.done('set_vring_enable', { state: { index: 0, num: 0 } })).toBe(true)
    expect(await ring.stop()).toBe(1)
    // The guest is started by now, and has other features.
    front.setFeatures(version1.with(VIRTIO_F_EVENT_IDX))
    front.setFeatures(version1.with(VIRTIO_F_EVENT_IDX))
    await front.ask('set_mem_table', ...front.table([piece]))
    memory.resolve(ringAt, 0x1000)!.fill(0)
    const linux = new FrontRing<number>(front, memory, 0, 64, ringAt)
    linux.start(piece)
    add(linux, 2)
    expect(await linux.completed()).toBe(2)
    expect([device.activations, device.resets]).toEqual([2, 1])
    expect(violations).toEqual([])
  })

  it('does not reset a device that starts again with the same features', async () => {
    const { device, piece, ring } = await started({}, { protocolFeatures: usual })
    add(ring, 1)
    await ring.completed()
    ring.start(piece, await ring.stop())
    add(ring, 2)
    expect(await ring.completed()).toBe(2)
    expect([device.activations, device.resets, device.stopped]).toEqual([1, 0, [0]])
  })

  it('answers for the base of a ring that has not started', async () => {
    const { ring, front } = await prepared()
    expect(await ring.stop()).toBe(0)
    ring.setBase(17)
    expect(await ring.stop()).toBe(17)
    front.send('set_vring_enable', { state: { index: 1, num: 1 } })
    expect(front.closed).toBe(false)
  })

  it('takes eventfds before anything else and again and again, and closes those before', async () => {
    const { front } = serve()
    const ring = { ring: { u64: { index: 1, invalid_fd: 0 } } }
    const fd = front.keep(createEventfd())
    front.send('set_vring_call', ring, [fd])
    front.send('set_vring_err', ring, [fd])
    await synchronized(front)
    const open = countDescriptors()
    for (let count = 0; count < 20; count++) {
      front.send('set_vring_call', ring, [fd])
      front.send('set_vring_err', ring, [fd])
      front.send('set_vring_kick', ring, [fd])
    }
    await synchronized(front)
    expect(countDescriptors()).toBe(open + 1)
  })

  it('interrupts once when a ring starts, and when it gets another eventfd: an interrupt may have been lost', async () => {
    const { ring, front } = await started()
    expect(ring.called).toBe(true)
    expect(ring.called).toBe(false)
    add(ring, 1)
    await ring.completed()
    await settle()
    expect(ring.called).toBe(true)
    ring.setCall()
    await synchronized(front)
    expect(ring.called).toBe(true)
  })

  it('takes nothing from a ring that is kicked and not enabled, nor from one that is not kicked', async () => {
    const { ring, piece, front, device } = await prepared()
    const { index } = ring.setup
    front.send('set_vring_num', { state: { index, num: 64 } })
    front.send('set_vring_addr', { addr: { index, ...ring.addresses(piece) } })
    ring.setKick()
    ring.setCall()
    add(ring, 1)
    await synchronized(front)
    await settle()
    expect(device.activations).toBe(0)
    expect(ring.queue.completed()).toBeUndefined()
    front.send('set_vring_enable', { state: { index, num: 1 } })
    expect(await ring.completed()).toBe(1)
    await ring.stop()
    // Enabled, but no kick.
    const again = new FrontRing<number>(front, front.memoryOf([piece]), 1, 64, 0x4000)
    again.kicking = false
    front.send('set_vring_enable', { state: { index: 1, num: 1 } })
    front.send('set_vring_num', { state: { index: 1, num: 64 } })
    front.send('set_vring_addr', { addr: { index: 1, ...again.addresses(piece) } })
    again.setKick()
    add(again, 2)
    await synchronized(front)
    await settle()
    expect(again.queue.completed()).toBeUndefined()
    signalEventfd(again.kick)
    expect(await again.completed()).toBe(2)
  })

  it('takes nothing from a ring while it is disabled, finishes what it has, and makes up for it', async () => {
    const { ring, front, device } = await started()
    device.holds = true
    add(ring, 1)
    await settle()
    expect(await front.done('set_vring_enable', { state: { index: 0, num: 0 } })).toBe(true)
    device.holds = false
    device.finish()
    expect(await ring.completed()).toBe(1)
    add(ring, 2)
    await settle(20)
    expect(ring.queue.completed()).toBeUndefined()
    expect(await front.done('set_vring_enable', { state: { index: 0, num: 1 } })).toBe(true)
    expect(await ring.completed()).toBe(2)
  })

  it('spinning, shows what is used of a ring before it takes buffers of the next one', async () => {
    const { device, piece, front, memory, ring } = await started({ spin: 100_000 }, { device: new WatchedDevice() })
    const next = new FrontRing<number>(front, memory, 1, 64, ringAt + 0x4000)
    next.start(piece)
    await synchronized(front)
    for (let token = 0; token < 5; token++) {
      const buffers = [{ address: dataAt + token * bufferSize, length: bufferSize }]
      expect([ring.queue.add([], buffers, token), next.queue.add([], buffers, token)]).toEqual([true, true])
    }
    /** When the device begins with ring 1. */
    const seen: number[] = []
    ;(device as WatchedDevice).begins = (index) => {
      if (index !== 1) return
      let used = 0
      while (ring.queue.completed() !== undefined) used++
      seen.push(used)
    }
    ring.queue.publish()
    next.queue.publish()
    await settle()
    expect(seen[0]).toBe(5)
  })

  it.each(['at once', 'put off', 'spinning'])(
    'shows answers in another ring in batches while it takes buffers, and the rest in the end: %s',
    async (mode) => {
      const device = new AnsweringDevice()
      device.putsOff = mode === 'put off'
      const { piece, front, memory, ring: answers } = await started({ spin: mode === 'spinning' ? 100_000 : 0 }, { device })
      const ring = new FrontRing<number>(front, memory, 1, 64, ringAt + 0x4000)
      const buffers = 20
      for (let token = 0; token < buffers; token++) add(answers, token)
      await settle()
      expect(answers.called).toBe(true)
      const seen: number[] = []
      const called: boolean[] = []
      let got = 0
      device.answered = () => {
        while (answers.queue.completed() !== undefined) got++
        seen.push(got)
        called.push(answers.called)
      }
      ring.start(piece)
      await synchronized(front)
      for (let token = 0; token < buffers; token++)
        expect(ring.queue.add([], [{ address: dataAt + (64 + token) * bufferSize, length: bufferSize }], token)).toBe(true)
      ring.queue.publish()
      await settle()
      // The driver always waits, so that it hears of each eight.
      expect(seen).toEqual(Array.from({ length: buffers }, (_, before) => Math.floor((before + 1) / 8) * 8))
      expect(called).toEqual(seen.map((_, before) => before === 7 || before === 15))
      device.answered()
      expect([got, called.at(-1)]).toEqual([buffers, true])
    },
  )

  it('looks at a ring that nobody kicks, and calls nobody where the front-end looks by itself', async () => {
    const { ring, piece, front } = await prepared()
    const { index } = ring.setup
    ring.kicking = false
    ring.setCall()
    front.send('set_vring_num', { state: { index, num: 64 } })
    front.send('set_vring_addr', { addr: { index, ...ring.addresses(piece) } })
    front.send('set_vring_kick', { ring: { u64: { index, invalid_fd: 1 } } })
    front.send('set_vring_enable', { state: { index, num: 1 } })
    for (let token = 1; token < 5; token++) {
      add(ring, token)
      await new Promise((resolve) => setTimeout(resolve, 10))
      expect(ring.queue.completed()).toBe(token)
    }
    expect(ring.called).toBe(true)
    front.send('set_vring_call', { ring: { u64: { index, invalid_fd: 1 } } })
    add(ring, 5)
    await new Promise((resolve) => setTimeout(resolve, 10))
    expect(ring.queue.completed()).toBe(5)
    expect(ring.called).toBe(false)
    expect(await ring.stop()).toBe(5)
    add(ring, 6)
    await new Promise((resolve) => setTimeout(resolve, 10))
    expect(ring.queue.completed()).toBeUndefined()
  })

  it('enables all rings at once for a front-end without protocol features', async () => {
    const { ring, piece, front } = await prepared()
    front.send('set_features', { features: BigInt(version1.toString()) })
    front.send('set_vring_num', { state: { index: 0, num: 64 } })
    front.send('set_vring_addr', { addr: { index: 0, ...ring.addresses(piece) } })
    ring.setKick()
    add(ring, 1)
    expect(await ring.completed()).toBe(1)
  })

  it('follows the status of a front-end that directs it', async () => {
    const { ring, piece, front, device } = await prepared()
    const status = async (): Promise<bigint> => (await front.ask('get_status')).reply.device_status
    expect(await status()).toBe(0n)
    front.send('set_status', { device_status: BigInt(FEATURES_OK) })
    expect(await status()).toBe(BigInt(FEATURES_OK))
    expect(device.activations).toBe(0)
    // QEMU never says DRIVER_OK for devices that it knows nothing of (entropy, vsock …): a kick is enough.
    ring.start(piece)
    add(ring, 1)
    expect(await ring.completed()).toBe(1)
    expect(device.activations).toBe(1)
    front.send('set_status', { device_status: 0xfn })
    expect(await status()).toBe(0xfn)
    expect(device.activations).toBe(1)
    const base = await ring.stop()
    front.send('set_status', { device_status: 0n })
    expect(await status()).toBe(0n)
    expect(device.resets).toBe(1)
    front.setFeatures(version1.with(VIRTIO_F_EVENT_IDX))
    front.send('set_status', { device_status: BigInt(FEATURES_OK) })
    ring.start(piece, base)
    front.send('set_status', { device_status: 0xfn })
    add(ring, 2)
    expect(await ring.completed()).toBe(2)
    expect(Number(await status()) & DRIVER_OK).toBe(DRIVER_OK)
  })

  it('is reset by a front-end: before there are rings, and while they work', async () => {
    const { ring, piece, front, device, memory } = await prepared({}, { protocolFeatures: usual })
    expect(await front.done('reset_device')).toBe(true)
    expect(device.resets).toBe(0)
    ring.start(piece)
    device.holds = true
    add(ring, 1)
    await synchronized(front)
    await settle()
    expect(device.held.length).toBe(1)
    let isDone = false
    const done = front.done('reset_device').then((result) => {
      isDone = result
    })
    await settle(20)
    // Who works on a buffer may still write there.
    expect(isDone).toBe(false)
    const before = memory.resolve(0, memorySize)!.slice()
    device.finish()
    await done
    expect(isDone).toBe(true)
    add(ring, 2)
    const added = memory.resolve(0, memorySize)!.slice()
    await settle(20)
    expect(Buffer.compare(memory.resolve(0, memorySize)!, added)).toBe(0)
    expect(Buffer.compare(added.subarray(dataAt), before.subarray(dataAt))).toBe(0)
    expect(device.resets).toBe(1)
  })

  it('handles messages in their order, also where a ring that starts has to wait for a reset', async () => {
    const { ring, piece, front, device } = await started({}, { protocolFeatures: usual })
    add(ring, 1)
    await ring.completed()
    device.resetting = new Promise((resolve) => {
      device.endReset = resolve
    })
    const base = await ring.stop()
    front.setFeatures(version1.with(VIRTIO_F_EVENT_IDX))
    ring.start(piece, base)
    const answers: string[] = []
    const ask = (name: string, work: Promise<unknown>): void => void work.then(() => answers.push(name))
    await settle(20)
    ask('stop', ring.stop())
    ask('table', front.done('set_mem_table', ...front.table([piece])))
    ask('features', front.ask('get_features'))
    await settle(20)
    expect(answers).toEqual([])
    device.endReset?.()
    await settle(20)
    expect(answers).toEqual(['stop', 'table', 'features'])
    expect([device.activations, device.resets]).toEqual([2, 1])
  })

  it('tells through the eventfd for errors that the driver broke the rules, and works again after the next start', async () => {
    const { ring, piece, front, device, violations, memory } = await started({}, { protocolFeatures: usual })
    ring.setError()
    await synchronized(front)
    // The available index jumps.
    new DataView(memory.resolve(0, memorySize)!.buffer).setUint16(ring.setup.driverArea + 2, 1000, true)
    signalEventfd(ring.kick)
    await settle(20)
    expect(violations.map(({ kind, queue }) => [kind, queue])).toEqual([['available-index', 0]])
    expect(drainEventfd(ring.error)).toBe(true)
    expect(front.closed).toBe(false)
    await ring.stop()
    memory.resolve(ringAt, 0x1000)!.fill(0)
    const again = new FrontRing<number>(front, memory, 0, 64, ringAt)
    again.start(piece)
    add(again, 3)
    expect(await again.completed()).toBe(3)
    expect(device.resets).toBe(1)
  })

  it('reports features with which no ring can work, when the first one starts', async () => {
    const { ring, piece, front, violations, device } = await prepared({}, { features: FeatureSet.empty })
    ring.start(piece)
    await synchronized(front)
    for (let count = 0; count < 5; count++) {
      signalEventfd(ring.kick)
      await settle()
    }
    // Once, not at each kick.
    expect(violations.map(({ kind }) => kind)).toEqual(['features'])
    expect(device.activations).toBe(0)
    expect(await ring.stop()).toBe(0)
  })

  it('spins: buffers come without any kick until it rests, and afterwards with one', async () => {
    const { ring } = await started({ spin: 20_000 })
    add(ring, 0)
    await ring.completed()
    ring.kicks = 0
    for (let token = 1; token < 50; token++) {
      add(ring, token)
      expect(await ring.completed()).toBe(token)
    }
    expect(ring.kicks).toBeLessThan(10)
    await new Promise((resolve) => setTimeout(resolve, 60))
    const { kicks } = ring
    add(ring, 50)
    expect(ring.kicks).toBe(kicks + 1)
    expect(await ring.completed()).toBe(50)
  })

  it.each([
    ['one buffer', 1, undefined, true],
    ['a heap of them', 8, undefined, false],
    ['a heap of them where it shall not', 8, 0, true],
  ])('wants to be told of the next buffer behind %s', async (_, count, spin, wanted) => {
    const { ring } = await started(spin === undefined ? {} : { spin })
    for (let token = 0; token < 2; token++) {
      add(ring, token)
      await ring.completed()
    }
    await settle()
    for (let token = 0; token < count; token++) ring.queue.add([], [{ address: dataAt, length: bufferSize }], token)
    ring.queue.publish()
    // At once, so that nothing else gets its turn before the next buffer.
    Poller.shared.poll()
    const { kicks } = ring
    add(ring, count)
    expect(ring.kicks > kicks).toBe(wanted)
    for (let token = 0; token <= count; token++) expect(await ring.completed()).toBe(token)
  })

  it('refuses options that cannot be', () => {
    expect(() => serve({ onError: undefined as never, protocolFeatures: [8] })).toThrow(RangeError)
    expect(() => serve({ onError: undefined as never, spin: -1 })).toThrow(RangeError)
    expect(() => serve({ onError: undefined as never, spin: 1.5 }, new HeldDevice())).toThrow(RangeError)
  })

  it('has queues, status and memory slots to tell of only where that is in use', async () => {
    const { front } = await prepared(
      {},
      { device: new HeldDevice({ queues: 7, config: 0 }), protocolFeatures: [VHOST_USER_PROTOCOL_F_MQ, VHOST_USER_PROTOCOL_F_REPLY_ACK] },
    )
    expect((await front.ask('get_queue_num')).reply.queue_num).toBe(7n)
    const offered = Number((await front.ask('get_protocol_features')).reply.protocol_features)
    // Nobody is to wait for a configuration space that there is not.
    expect(offered & (1 << VHOST_USER_PROTOCOL_F_CONFIG)).toBe(0)
    expect(offered & (1 << VHOST_USER_PROTOCOL_F_STATUS)).not.toBe(0)
  })
})
