/** Driver clients on devices of a vhost-user back-end: our own, in the same process, and others that misbehave. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { Blk, type BlkOptions, RamBackend } from 'virtgen/devices/blk'
import { Rng } from 'virtgen/devices/rng'
import { BlkDriver } from 'virtgen/driver/blk'
import { EntropyDriver } from 'virtgen/driver/entropy'
import {
  closeFd,
  connectVhostUser,
  countDescriptors,
  encodeReply,
  MessageReader,
  mappings,
  Poller,
  ProtocolError,
  type RequestMessage,
  SharedMemory,
  SystemError,
  socketPair,
  UnixSocket,
  type VhostUserDriverOptions,
  VhostUserFrontend,
  VhostUserServer,
  type VhostUserServerOptions,
  whyNoSystem,
} from 'virtgen/linux'
import { type Context, vhost_user } from 'virtgen/protocol/vhost-user'
import type { VirtioDevice } from 'virtgen/runtime'
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import {
  VHOST_USER_PROTOCOL_F_BACKEND_REQ,
  VHOST_USER_PROTOCOL_F_CONFIG,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VHOST_USER_PROTOCOL_F_RESET_DEVICE,
  VHOST_USER_PROTOCOL_F_STATUS,
} from 'virtgen/wire/vhost-user'
import { afterEach, describe, expect, it } from 'vitest'

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

const size = 2 ** 20
const sector = 512

function serve(device: VirtioDevice, options: Partial<VhostUserServerOptions> = {}): { server: VhostUserServer; errors: unknown[] } {
  const errors: unknown[] = []
  const note = (error: unknown): void => void errors.push(error)
  const server = new VhostUserServer({ device: () => device, onError: note, onProtocolError: note, onViolation: note, ...options })
  ends.push(() => server.close())
  return { server, errors }
}

/** A disk behind a back-end, and a client that drives it. */
async function disk(options: VhostUserDriverOptions = {}, serverOptions: Partial<VhostUserServerOptions> = {}, blkOptions: BlkOptions = {}) {
  const backend = new RamBackend(size)
  const device = new Blk(backend, blkOptions)
  const { server, errors } = serve(device, serverOptions)
  const [ours, theirs] = socketPair()
  server.adopt(theirs)
  const connection = await connectVhostUser(ours, BlkDriver, options)
  ends.push(() => connection.close().catch(() => {}))
  return { backend, device, server, errors, ...connection }
}

function pattern(seed: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (seed * 31 + i * 7 + (i >> 8)) & 0xff)
}

async function writesAndReads(driver: BlkDriver, rounds = 20): Promise<void> {
  const written = Array.from({ length: rounds }, (_, i) => pattern(i, sector * (1 + (i % 8))))
  await Promise.all(written.map((data, i) => driver.write({ sector: i * 8 }, data)))
  await driver.flush()
  const read = await Promise.all(written.map(({ length }, i) => driver.read({ sector: i * 8 }, length)))
  expect(read.map(({ data }) => data)).toEqual(written)
}

const all = [
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VHOST_USER_PROTOCOL_F_BACKEND_REQ,
  VHOST_USER_PROTOCOL_F_CONFIG,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  VHOST_USER_PROTOCOL_F_RESET_DEVICE,
  VHOST_USER_PROTOCOL_F_STATUS,
]

describe.skipIf(whyNoSystem() !== undefined)('a disk over vhost-user', () => {
  it.each([
    ['split', FeatureSet.of(VIRTIO_F_VERSION_1)],
    ['split with event indices', FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_EVENT_IDX)],
    ['packed', FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED)],
    ['packed with event indices', FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX)],
  ])('is written and read, %s', async (_, rings) => {
    const { driver, errors, backend } = await disk({ features: BlkDriver.features.union(rings), queueSize: 16 })
    expect(driver.host.features.has(VIRTIO_F_RING_PACKED)).toBe(rings.has(VIRTIO_F_RING_PACKED))
    await writesAndReads(driver)
    expect(backend.bytes.subarray(0, sector)).toEqual(pattern(0, sector))
    expect(errors).toEqual([])
  })

  it.each([
    ['all', all],
    ...all.map((one) => [`all but ${one}`, all.filter((bit) => bit !== one)] as const),
    ['only CONFIG', [VHOST_USER_PROTOCOL_F_CONFIG]],
  ] as const)('works with protocol features: %s', async (_, protocolFeatures) => {
    const { driver, errors, close, frontend } = await disk({ protocolFeatures })
    expect(frontend.backEnd.protocolFeatures).toEqual(protocolFeatures)
    // Without CONFIG nothing is known of the configuration.
    expect(driver.config.capacity).toBe(protocolFeatures.includes(VHOST_USER_PROTOCOL_F_CONFIG) ? size / sector : 0)
    await writesAndReads(driver, 5)
    await close()
    expect(errors).toEqual([])
  })

  it('says when its size has changed', async () => {
    const { driver, frontend, device, backend } = await disk()
    const before = frontend.configGeneration
    const changed = new Promise<void>((resolve) => driver.onConfigChange(resolve))
    backend.resize(2 * size)
    device.updateCapacity()
    await changed
    expect(frontend.configGeneration).toBeGreaterThan(before)
    expect(driver.config.capacity).toBe((2 * size) / sector)
  })

  it('takes memory while it works, and gives it back', async () => {
    const { driver, frontend, errors } = await disk()
    for (let round = 0; round < 3; round++) {
      const region = await frontend.addMemory(0x1_0000)
      const memory = frontend.memory.allocator(region)
      const buffer = memory.allocate(4096)
      buffer.bytes.set(pattern(round, 4096))
      await driver.write({ sector: round * 8 }, buffer)
      buffer.bytes.fill(0)
      await driver.read({ sector: round * 8 }, buffer)
      expect(buffer.bytes).toEqual(pattern(round, 4096))
      await expect(frontend.removeMemory(region)).rejects.toThrow('is in use')
      memory.free(buffer)
      await frontend.removeMemory(region)
      await expect(frontend.removeMemory(region)).rejects.toThrow(RangeError)
    }
    expect(errors).toEqual([])
  })

  it('writes the configuration space, and reads what the device makes of it', async () => {
    const { driver, frontend, device } = await disk()
    expect(driver.config.writeback).toBe(1)
    driver.writeConfig('writeback', 0)
    await frontend.settled()
    await expect.poll(() => driver.config.writeback).toBe(0)
    expect(device.config.fields?.writeback).toBe(0)
  })

  it('uses several queues', async () => {
    const { driver, frontend } = await disk({}, {}, { queues: 3 })
    expect(frontend.backEnd.queues).toBe(3)
    expect(driver.host.queues.length).toBe(3)
    await Promise.all([0, 1, 2].map((queue) => driver.write({ sector: queue }, pattern(queue, sector), queue)))
    for (const queue of [2, 1, 0]) expect((await driver.read({ sector: queue }, sector, (queue + 1) % 3)).data).toEqual(pattern(queue, sector))
    expect(frontend.findQueue(0)).toBe('in-use')
    expect(frontend.findQueue(3)).toBe(0)
  })

  it('resets one queue and goes on', async () => {
    const { driver, frontend, errors } = await disk()
    await writesAndReads(driver, 3)
    await driver.resetQueue(0)
    await frontend.settled()
    await writesAndReads(driver, 3)
    expect(errors).toEqual([])
  })

  it('leaves nothing behind', async () => {
    const { driver, close, server } = await disk()
    await writesAndReads(driver, 3)
    await close()
    await server.close()
    const before = { descriptors: countDescriptors(), mappings: mappings.count }
    for (let round = 0; round < 5; round++) {
      const next = await disk()
      await writesAndReads(next.driver, 3)
      if (round % 2 === 0) await next.close()
      await next.server.close()
      await next.close().catch(() => {})
    }
    expect({ descriptors: countDescriptors(), mappings: mappings.count }).toEqual(before)
  })

  it('can share memory that outlives the connection, and is that of others too', async () => {
    const memory = new SharedMemory(size)
    const free = memory.allocator().available
    const [one, other] = [await disk({ memory }), await disk({ memory })]
    await Promise.all([writesAndReads(one.driver), writesAndReads(other.driver)])
    expect(Buffer.compare(one.backend.bytes, other.backend.bytes)).toBe(0)
    await one.close()
    await writesAndReads(other.driver)
    await other.close()
    expect(memory.allocator().available).toBe(free)
    memory.close()
    expect(() => memory.allocator()).toThrow(RangeError)
  })
})

describe.skipIf(whyNoSystem() !== undefined)('a back-end that vanishes', () => {
  it('fails what is out with a DriverError, and everything after it', async () => {
    const { driver, server, close } = await disk()
    const out = Array.from({ length: 10 }, () =>
      driver.read({ sector: 0 }, sector).then(
        () => 'done',
        (error) => error.kind,
      ),
    )
    await server.close()
    for (const kind of await Promise.all(out)) expect(['done', 'gone']).toContain(kind)
    await expect(driver.read({ sector: 0 }, sector)).rejects.toMatchObject({ name: 'DriverError', kind: 'gone' })
    await close()
  })

  it('is connected to again', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'virtgen-'))
    ends.push(() => rmSync(folder, { recursive: true }))
    const path = join(folder, 'disk.sock')
    const backend = new RamBackend(size)
    await expect(connectVhostUser(path, BlkDriver)).rejects.toThrow(SystemError)
    for (let round = 0; round < 3; round++) {
      const { server } = serve(new Blk(backend))
      server.listen(path)
      const { driver, close } = await connectVhostUser(path, BlkDriver)
      if (round > 0) expect((await driver.read({ sector: round - 1 }, sector)).data).toEqual(pattern(round - 1, sector))
      await driver.write({ sector: round }, pattern(round, sector))
      await server.close()
      await expect(driver.flush()).rejects.toMatchObject({ kind: 'gone' })
      await close()
    }
  })

  it('is no reason to hang: connecting fails when it does not answer', async () => {
    const [ours, theirs] = socketPair()
    const silent = await VhostUserFrontend.adopt(ours, { timeout: 30 }).catch((error) => error)
    expect(silent).toMatchObject({ kind: 'gone', message: expect.stringContaining('no answer in 30 ms'), cause: { kind: 'late' } })
    ends.push(() => closeFd(theirs))
  })
})

describe.skipIf(whyNoSystem() !== undefined)('another device', () => {
  it('gives random bytes, without a configuration space', async () => {
    const { server } = serve(new Rng())
    const [ours, theirs] = socketPair()
    server.adopt(theirs)
    const { driver, close } = await connectVhostUser(ours, EntropyDriver, { queueSize: 4 })
    const { data } = await driver.read(64)
    expect(data.length).toBe(64)
    expect(data.some((byte) => byte !== 0)).toBe(true)
    await close()
  })
})

/** A back-end that answers as a test says. */
class Peer {
  readonly seen: string[] = []
  /** Payloads, by the names of their requests. */
  readonly payloads = new Map<string, Uint8Array>()
  readonly #socket: UnixSocket
  readonly #reader: MessageReader<typeof vhost_user>

  /** @param answer - the bytes of the reply, which would be these; undefined: none */
  constructor(fd: number, answer: (name: string, bytes: Uint8Array) => Uint8Array | undefined) {
    const context: Context = { features: FeatureSet.empty, caller: { protocol_features: 0xf_ffff & ~(1 << 17), postcopy: 0 } }
    this.#socket = new UnixSocket(Poller.shared, fd)
    this.#reader = new MessageReader({ table: vhost_user, context: () => context })
    this.#socket.onReadable = () => {
      for (let message = this.#reader.read(this.#socket); message !== undefined; message = this.#reader.read(this.#socket)) {
        if (message instanceof ProtocolError) throw message
        message.fds.forEach(closeFd)
        this.seen.push(message.name)
        this.payloads.set(message.name, message.bytes.subarray(12))
        const value = this.#answers[message.name] ?? (message.needReply ? { result: 0n } : undefined)
        if (value === undefined) continue
        const reply = answer(message.name, encodeReply(message as RequestMessage, value, context))
        if (reply !== undefined) this.#socket.send(reply)
      }
    }
  }

  readonly #answers: Readonly<Record<string, object>> = {
    get_features: { features: (1n << 30n) | (1n << 32n) },
    get_protocol_features: { protocol_features: BigInt(all.reduce((bits, bit) => bits + 2 ** bit, 0)) },
    get_queue_num: { queue_num: 1n },
    get_max_mem_slots: { max_mem_slots: 32n },
    get_config: { config: { offset: 0, size: 8, flags: 0, payload: new Uint8Array(8) } },
    get_status: { device_status: 0xfn },
    get_vring_base: { base: { index: 0, avail_idx: 0 } },
  }

  close(): void {
    this.#reader.close()
    this.#socket.close()
  }
}

/** A client on a peer, or why there is none. */
async function against(answer: (name: string, bytes: Uint8Array) => Uint8Array | undefined, timeout = 10_000) {
  const [ours, theirs] = socketPair()
  const peer = new Peer(theirs, answer)
  ends.push(() => peer.close())
  const connection = await connectVhostUser(ours, BlkDriver, { timeout, queueSize: 4 }).catch((error) => error as Error)
  if (!(connection instanceof Error)) ends.push(() => connection.close().catch(() => {}))
  return { peer, connection }
}

describe.skipIf(whyNoSystem() !== undefined)('a back-end that misbehaves', () => {
  it('is used while it behaves', async () => {
    const { connection, peer } = await against((_, bytes) => bytes)
    expect(connection).not.toBeInstanceOf(Error)
    expect(peer.seen.slice(0, 6)).toEqual([
      'get_features',
      'get_protocol_features',
      'set_protocol_features',
      'get_queue_num',
      'get_max_mem_slots',
      'set_owner',
    ])
  })

  it('is told where a packed ring begins: both wrap counters are 1', async () => {
    const { connection, peer } = await against((name, bytes) => {
      if (name === 'get_features') bytes[16] = 0b101
      return bytes
    })
    expect(connection).not.toBeInstanceOf(Error)
    expect(peer.payloads.get('set_vring_base')).toEqual(Uint8Array.of(0, 0, 0, 0, 0, 0x80, 0, 0x80))
  })

  it('may have gone before anybody listens for it', async () => {
    const [ours, theirs] = socketPair()
    const peer = new Peer(theirs, (_, bytes) => bytes)
    const frontend = await VhostUserFrontend.adopt(ours)
    ends.push(() => frontend.close())
    peer.close()
    await expect.poll(() => frontend.failure?.kind).toBe('gone')
    const told: unknown[] = []
    frontend.onInterrupt = (vector) => told.push(vector)
    expect(told).toEqual([undefined])
  })

  it.each([
    ['refuses', 'set_features', 12, 1, 'VHOST_USER_SET_FEATURES: the back-end refuses it (1)'],
    ['answers something else', 'get_queue_num', 0, 1, 'VHOST_USER_GET_QUEUE_NUM: a reply to request 1 stands in its place'],
    ['answers with a request', 'get_features', 4, 1, 'VHOST_USER_GET_FEATURES: this is no reply'],
    ['answers too much', 'get_features', 8, 200, 'VHOST_USER_GET_FEATURES: a payload of 200 bytes cannot be'],
    ['does not work with the features', 'get_status', 12, 3, 'the device does not work with the features'],
  ])('is given up where it %s (%s)', async (_, name, at, value, message) => {
    const { connection } = await against((request, bytes) => {
      if (request === name) bytes[at] = value
      return bytes
    })
    expect(connection).toMatchObject({ name: 'DriverError', message: expect.stringContaining(message) })
  })

  it.each(['get_features', 'get_config', 'set_vring_kick', 'set_vring_enable'])('is given up where it does not answer %s', async (name) => {
    const { connection } = await against((request, bytes) => (request === name ? undefined : bytes), 50)
    expect(connection).toMatchObject({ kind: 'gone', cause: { kind: expect.stringMatching('late|unexpected') } })
  })

  it('does no harm, whatever its answers are', async () => {
    const before = countDescriptors()
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ reply: fc.nat(25), at: fc.nat(40), byte: fc.nat(255) }), { minLength: 1, maxLength: 3 }),
        async (changes) => {
          let count = 0
          const { connection, peer } = await against((_, bytes) => {
            for (const { reply, at, byte } of changes) if (reply === count) bytes[at % bytes.length] = byte
            count++
            return bytes
          })
          if (connection instanceof Error) expect(connection.name).toBe('DriverError')
          else await connection.close().catch((error) => expect(error.name).toBe('DriverError'))
          peer.close()
        },
      ),
      { numRuns: 40 },
    )
    expect(countDescriptors()).toBe(before)
  })
})
