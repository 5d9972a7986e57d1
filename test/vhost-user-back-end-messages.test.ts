/** What a front-end may say, and what not: each breach of the protocol ends its connection, unless it has asked whether the request was done. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { createEventfd, createMemfd, Poller, socketPair, UnixSocket, whyNoSystem } from 'virtgen/linux'
import { type vhost_user, vhost_user_backend } from 'virtgen/protocol/vhost-user'
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import {
  VHOST_USER_PROTOCOL_F_BACKEND_REQ,
  VHOST_USER_PROTOCOL_F_CONFIG,
  VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  vhost_user_request_id,
} from 'virtgen/wire/vhost-user'
import { describe, expect, it } from 'vitest'
import { MessageReader } from '../hosts/linux/vhost-user/message-reader.ts'
import { ProtocolError } from '../hosts/linux/vhost-user/protocol-error.ts'
import { FrontEnd, settle } from './support/vhost-user-front.ts'
import { add, atEnd, keepNothing, memorySize, prepared, type Started, serve, started, synchronized } from './support/vhost-user-session.ts'

const version1 = FeatureSet.of(VIRTIO_F_VERSION_1)
const ring = (index: number, invalid_fd = 0) => ({ ring: { u64: { index, invalid_fd } } })

/** What the back-end sends by itself. */
class Backchannel {
  readonly messages: string[] = []
  readonly socket: UnixSocket

  constructor(front: FrontEnd, fd: number) {
    this.socket = new UnixSocket(Poller.shared, fd)
    const reader = new MessageReader({ table: vhost_user_backend, context: () => front.context })
    this.socket.onReadable = () => {
      for (let found = reader.read(this.socket); found !== undefined; found = reader.read(this.socket)) {
        if (found instanceof ProtocolError) throw found
        const { state } = found.request as { state?: { index: number } }
        this.messages.push(state === undefined ? found.name : `${found.name} ${state.index}`)
      }
    }
    atEnd(() => this.socket.close())
  }

  static async open(front: FrontEnd): Promise<Backchannel> {
    const [ours, theirs] = socketPair()
    const channel = new Backchannel(front, ours)
    expect(await front.done('set_backend_req_fd', {}, [theirs])).toBe(true)
    front.keep(theirs)
    return channel
  }

  take(): string[] {
    return this.messages.splice(0)
  }
}

describe.skipIf(whyNoSystem() !== undefined)('a front-end', () => {
  keepNothing()

  it('reads and writes the configuration space', async () => {
    const { front, device } = await prepared()
    const read = async (offset: number, size: number): Promise<number[] | undefined> => {
      const { reply } = await front.ask('get_config', { config: { offset, size, flags: 0, payload: new Uint8Array(size) } })
      return reply.config && [...reply.config.payload]
    }
    expect(await read(0, 16)).toEqual(Array.from({ length: 16 }, (_, at) => at))
    expect(await read(3, 4)).toEqual([3, 4, 5, 6])
    // What this device does not have yet, a later one does: zeros.
    expect(await read(12, 8)).toEqual([12, 13, 14, 15, 0, 0, 0, 0])
    expect(await read(17, 1)).toBeUndefined()
    const write = (offset: number, payload: number[]): Promise<boolean> =>
      front.done('set_config', { config: { offset, size: payload.length, flags: 0, payload: Uint8Array.from(payload) } })
    expect(await write(2, [0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88])).toBe(true)
    // Only what a driver may write.
    expect([...device.config.bytes.subarray(0, 10)]).toEqual([0, 1, 2, 3, 0x44, 0x55, 0x66, 0x77, 8, 9])
    expect(await write(12, [1, 2, 3, 4, 5])).toBe(false)
    expect(front.closed).toBe(false)
  })

  it('is told of a change of the configuration, and again when the device starts: it did not listen before', async () => {
    const { front, device, ring, piece } = await prepared()
    const channel = await Backchannel.open(front)
    await front.ask('get_config', { config: { offset: 0, size: 4, flags: 0, payload: new Uint8Array(4) } })
    device.config.update(() => undefined)
    await settle()
    expect(channel.take()).toEqual([])
    ring.start(piece)
    front.send('set_status', { device_status: 0xfn })
    await synchronized(front)
    await settle()
    expect(channel.take()).toEqual(['backend_config_change_msg'])
    await front.ask('get_config', { config: { offset: 0, size: 4, flags: 0, payload: new Uint8Array(4) } })
    const base = await ring.stop()
    ring.start(piece, base)
    await synchronized(front)
    await settle()
    expect(channel.take()).toEqual([])
    device.config.update(() => undefined)
    await settle()
    expect(channel.take()).toEqual(['backend_config_change_msg'])
    // It has not asked what it is.
    ring.start(piece, await ring.stop())
    await synchronized(front)
    await settle()
    expect(channel.take()).toEqual(['backend_config_change_msg'])
  })

  it('may close the way back, or send something there, without any harm', async () => {
    const { front, device } = await started(
      {},
      { protocolFeatures: [VHOST_USER_PROTOCOL_F_BACKEND_REQ, VHOST_USER_PROTOCOL_F_REPLY_ACK, VHOST_USER_PROTOCOL_F_CONFIG] },
    )
    const channel = await Backchannel.open(front)
    const fd = createEventfd()
    channel.socket.send(new Uint8Array(100), [front.keep(fd)])
    await settle()
    channel.socket.close()
    await settle()
    device.config.update(() => undefined)
    await synchronized(front)
    expect(front.closed).toBe(false)
    const other = await Backchannel.open(front)
    device.config.update(() => undefined)
    await settle()
    expect(other.take()).toEqual(['backend_config_change_msg'])
  })

  it('notifies and is called through messages, where it has no eventfds', async () => {
    const inband = [VHOST_USER_PROTOCOL_F_BACKEND_REQ, VHOST_USER_PROTOCOL_F_REPLY_ACK, VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS]
    const { front, ring: vring, piece, memory } = await prepared({}, { protocolFeatures: inband })
    const channel = await Backchannel.open(front)
    vring.kicking = false
    front.send('set_vring_num', { state: { index: 0, num: 64 } })
    front.send('set_vring_addr', { addr: { index: 0, ...vring.addresses(piece) } })
    front.send('set_vring_enable', { state: { index: 0, num: 1 } })
    add(vring, 1)
    await synchronized(front)
    expect(vring.queue.completed()).toBeUndefined()
    front.send('vring_kick', { state: { index: 0, num: 0 } })
    expect(await vring.completed()).toBe(1)
    await settle()
    // Once for the start, once for the buffer.
    expect(channel.take()).toEqual(['backend_vring_call 0', 'backend_vring_call 0'])
    // Who looks by himself needs no message.
    front.send('set_vring_call', ring(0, 1))
    add(vring, 2)
    front.send('vring_kick', { state: { index: 0, num: 0 } })
    expect(await vring.completed()).toBe(2)
    await settle()
    expect(channel.take()).toEqual([])
    new DataView(memory.resolve(0, memorySize)!.buffer).setUint16(vring.setup.driverArea + 2, 1000, true)
    front.send('vring_kick', { state: { index: 0, num: 0 } })
    await synchronized(front)
    await settle()
    expect(channel.take()).toContain('backend_vring_err 0')
  })

  describe('that asks for what cannot be gets no, and goes on, where it asked for an answer; otherwise that is its end:', () => {
    type Ask = (front: FrontEnd, all: Started) => [name: keyof typeof vhost_user, value: object, fds?: number[]]
    const cases: [string, string, Ask][] = [
      ['features that are not offered', 'value', () => ['set_features', { features: 1n << 63n }]],
      ['other features while a ring works', 'unexpected', () => ['set_features', { features: BigInt(version1.with(VIRTIO_F_EVENT_IDX).toString()) }]],
      ['protocol features that are not offered', 'value', () => ['set_protocol_features', { protocol_features: (1n << 8n) | (1n << 3n) }]],
      [
        'messages in place of eventfds without a way for them',
        'value',
        () => ['set_protocol_features', { protocol_features: (1n << 14n) | (1n << 3n) }],
      ],
      ['a queue that there is not', 'ring', () => ['set_vring_num', { state: { index: 2, num: 64 } }]],
      ['a queue far away', 'ring', () => ['set_vring_enable', { state: { index: 0xffff_ffff, num: 1 } }]],
      [
        'an address of a queue that there is not',
        'ring',
        () => ['set_vring_addr', { addr: { index: 9, flags: 0, descriptor: 0, used: 0, available: 0, log: 0 } }],
      ],
      ['a base of a queue that there is not', 'ring', () => ['set_vring_base', { base: { index: 9, avail_idx: 0 } }]],
      ['a kick for a queue that there is not', 'ring', (front) => ['set_vring_kick', ring(200), [front.keep(createEventfd())]]],
      ['a call for a queue that there is not', 'ring', (front) => ['set_vring_call', ring(200), [front.keep(createEventfd())]]],
      ['an err for a queue that there is not', 'ring', (front) => ['set_vring_err', ring(200), [front.keep(createEventfd())]]],
      ['no entries', 'ring', () => ['set_vring_num', { state: { index: 1, num: 0 } }]],
      ['too many entries', 'ring', () => ['set_vring_num', { state: { index: 1, num: 257 } }]],
      ['another size while the ring works', 'unexpected', () => ['set_vring_num', { state: { index: 0, num: 128 } }]],
      ['another base while the ring works', 'unexpected', () => ['set_vring_base', { base: { index: 0, avail_idx: 5 } }]],
      [
        'another place while the ring works',
        'unexpected',
        (_, { ring, piece }) => ['set_vring_addr', { addr: { index: 0, ...ring.addresses(piece), used: piece.region.user_address } }],
      ],
      [
        'a place in no region',
        'ring',
        (_, { ring, piece }) => ['set_vring_addr', { addr: { index: 1, ...ring.addresses(piece), descriptor: 0x1000 } }],
      ],
      ['a ring half enabled', 'value', () => ['set_vring_enable', { state: { index: 0, num: 2 } }]],
      ['to be called through memory', 'descriptors', (front) => ['set_vring_call', ring(0), [front.keep(createMemfd('none', 0x1000))]]],
      ['to notify through a socket', 'descriptors', (front) => ['set_vring_kick', ring(0), [front.socket.fd]]],
      ['requests through memory', 'descriptors', (front) => ['set_backend_req_fd', {}, [front.keep(createMemfd('none', 0x1000))]]],
      [
        'a region to go that there is not',
        'memory',
        () => ['rem_mem_reg', { mem_reg: { region: { guest_address: 8, size: 8, user_address: 8, mmap_offset: 0 } } }],
      ],
      [
        'an inflight area while a ring works',
        'unexpected',
        (front) => [
          'set_inflight_fd',
          { inflight: { mmap_size: 0x1000, mmap_offset: 0, num_queues: 1, queue_size: 8 } },
          [front.keep(createMemfd('area', 0x1000))],
        ],
      ],
    ]

    it.each(cases)('%s', async (_, kind, ask) => {
      const all = await started()
      const { front, errors } = all
      const [name, value, fds] = ask(front, all)
      expect(await front.done(name, value, fds)).toBe(false)
      expect(errors.map(({ kind }) => kind)).toEqual([kind])
      // Nothing has changed.
      add(all.ring, 1)
      expect(await all.ring.completed()).toBe(1)
      front.send(name, value as never, fds)
      await settle(20)
      expect(front.closed).toBe(true)
      expect(errors.map(({ kind }) => kind)).toEqual([kind, kind])
    })
  })

  describe('whose message is none is sent away:', () => {
    const header = (request: number, flags: number, size: number): Uint8Array => new Uint8Array(Uint32Array.of(request, flags, size).buffer)
    const joined = (...parts: Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap((part) => [...part]))
    const {
      VHOST_USER_GET_FEATURES,
      VHOST_USER_SET_FEATURES,
      VHOST_USER_IOTLB_MSG,
      VHOST_USER_GPU_SET_SOCKET,
      VHOST_USER_SET_VRING_CALL,
      VHOST_USER_SET_MEM_TABLE,
      VHOST_USER_SEND_RARP,
    } = vhost_user_request_id
    it.each<[string, string, Uint8Array, number]>([
      ['a request that there is not', 'unknown-request', header(99, 1, 0), 0],
      ['another version', 'header', header(VHOST_USER_GET_FEATURES, 2, 0), 0],
      ['a reply', 'header', header(VHOST_USER_GET_FEATURES, 5, 0), 0],
      ['too long', 'size', joined(header(VHOST_USER_GET_FEATURES, 1, 8), new Uint8Array(8)), 0],
      ['too short', 'size', joined(header(VHOST_USER_SET_FEATURES, 1, 4), new Uint8Array(4)), 0],
      ['absurdly long', 'size', header(VHOST_USER_SET_FEATURES, 1, 0xffff_ffff), 0],
      ['more regions than descriptors', 'descriptors', joined(header(VHOST_USER_SET_MEM_TABLE, 1, 40), Uint8Array.of(1), new Uint8Array(39)), 0],
      ['more regions than bytes', 'size', joined(header(VHOST_USER_SET_MEM_TABLE, 1, 40), Uint8Array.of(2), new Uint8Array(39)), 0],
      ['descriptors that nobody expects', 'descriptors', header(VHOST_USER_GET_FEATURES, 1, 0), 1],
      ['too many descriptors', 'descriptors', header(VHOST_USER_GET_FEATURES, 1, 0), 20],
      ['no descriptor though it says so', 'descriptors', joined(header(VHOST_USER_SET_VRING_CALL, 1, 8), new Uint8Array(8)), 0],
      [
        'a descriptor though it says there is none',
        'descriptors',
        joined(header(VHOST_USER_SET_VRING_CALL, 1, 8), Uint8Array.of(0, 1, 0, 0, 0, 0, 0, 0)),
        1,
      ],
      ['what was not negotiated', 'not-negotiated', joined(header(VHOST_USER_SEND_RARP, 1, 8), new Uint8Array(8)), 0],
      ['translations', 'not-negotiated', joined(header(VHOST_USER_IOTLB_MSG, 1, 32), new Uint8Array(32)), 0],
      ['a screen', 'not-negotiated', header(VHOST_USER_GPU_SET_SOCKET, 1, 0), 1],
    ])('%s', async (_, kind, bytes, count) => {
      const { front, errors, server, failures } = await started()
      const fds = Array.from({ length: count }, () => front.keep(createEventfd()))
      front.socket.send(bytes, fds)
      front.send('get_features', {})
      await settle(20)
      expect(errors.map(({ kind }) => kind)).toEqual([kind])
      expect([front.closed, server.connections.length, failures.length]).toEqual([true, 0, 0])
    })
  })

  it('may vanish at any byte, with any message begun', async () => {
    const { front: model } = serve()
    const fd = model.keep(createMemfd('memory', memorySize))
    const messages = [
      model.encoded('get_features', {}),
      model.encoded('set_owner', {}),
      model.encoded('set_mem_table', {
        memory: { num_regions: 1, regions: [{ guest_address: 0, size: memorySize, user_address: 0, mmap_offset: 0 }] },
      }),
      model.encoded('set_vring_num', { state: { index: 0, num: 8 } }),
    ]
    const stream = Uint8Array.from(messages.flatMap((bytes) => [...bytes]))
    const table = messages[0]!.length + messages[1]!.length
    const { server } = serve()
    for (let end = 1; end <= stream.length; end++) {
      const front = new FrontEnd((fd) => server.adopt(fd))
      if (end <= table) front.socket.send(stream.subarray(0, end))
      else {
        front.socket.send(stream.subarray(0, table))
        front.socket.send(stream.subarray(table, end), [fd])
      }
      front.socket.close()
      front.close()
      if (end % 32 === 0) await settle()
    }
    await settle(20)
    expect(server.connections.length).toBe(1)
  })

  it('that never stops asking and never reads is sent away, and others live', async () => {
    const { front, server } = serve()
    const other = new FrontEnd((fd) => server.adopt(fd))
    atEnd(() => other.close())
    front.socket.onReadable = undefined
    const bytes = Uint8Array.from(Array.from({ length: 2000 }, () => [...front.encoded('get_features', {})]).flat())
    let turns = 0
    while (!front.closed && turns++ < 500) {
      if (front.socket.queued < 0x8_0000) front.socket.send(bytes)
      await other.ask('get_features')
    }
    expect(server.connections.length).toBe(1)
  })
})
