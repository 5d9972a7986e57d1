/** The memory of a front-end: it comes, moves and goes while rings work, and its end is the end of all writes. */
import { ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import {
  createMemfd,
  drainEventfd,
  mappings,
  mapShared,
  Poller,
  signalEventfd,
  UnixListener,
  UnixSocket,
  VhostUserServer,
  whyNoSystem,
} from 'virtgen/linux'
import { VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { VHOST_F_LOG_ALL, vhost_user_limits } from 'virtgen/wire/vhost-user'
import { describe, expect, it } from 'vitest'
import { HeldDevice } from './support/vhost-user-device.ts'
import { FrontEnd, FrontRing, settle } from './support/vhost-user-front.ts'
import {
  add,
  atEnd,
  bufferSize,
  dataAt,
  keepNothing,
  memorySize,
  prepared,
  ringAt,
  serve,
  started,
  synchronized,
} from './support/vhost-user-session.ts'

const version1 = FeatureSet.of(VIRTIO_F_VERSION_1)
const { VHOST_LOG_PAGE: page } = vhost_user_limits

describe.skipIf(whyNoSystem() !== undefined)('memory', () => {
  keepNothing()

  it.each([
    ['split', version1],
    ['packed', version1.with(VIRTIO_F_RING_PACKED)],
  ])('moves while a %s ring works: what is at work is used first, then all goes on elsewhere', async (_, features) => {
    const { device, front, ring, memory } = await started({}, { features })
    add(ring, 0)
    await ring.completed()
    device.holds = true
    add(ring, 1)
    await settle()
    // The same contents in other memory.
    const moved = front.piece(0, memorySize)
    let isDone = false
    const done = front.done('set_mem_table', ...front.table([moved])).then((result) => {
      isDone = result
    })
    await settle()
    add(ring, 2)
    await settle(20)
    expect([isDone, device.held.length]).toEqual([false, 1])
    const copy = (): void => moved.mapping.windows[0]!.set(memory.resolve(0, memorySize)!)
    device.finish()
    copy()
    await done
    copy()
    const old = memory.resolve(0, memorySize)!.slice()
    expect(mappings.count).toBe(3)
    device.holds = false
    device.fill = 0x11
    device.finish()
    // The ring of the driver lies in the old memory still: another one goes on with the new one.
    await settle(20)
    expect(moved.mapping.windows[0]!.subarray(dataAt + 2 * bufferSize, dataAt + 3 * bufferSize).every((byte) => byte === 0x11)).toBe(true)
    expect(Buffer.compare(memory.resolve(0, memorySize)!, old)).toBe(0)
  })

  it('holds a ring where the front-end has it, also when that is elsewhere for the guest', async () => {
    const { front, piece, device } = await prepared()
    const rings = front.piece(0x2000_0000, 0x1_0000)
    await front.done('set_mem_table', ...front.table([piece, rings]))
    const memory = front.memoryOf([piece, rings])
    const ring = new FrontRing<number>(front, memory, 0, 64, 0x2000_0000)
    ring.start(rings)
    add(ring, 1)
    await ring.completed()
    const region = { ...rings.region, guest_address: 0x3000_0000 }
    await front.done('set_mem_table', { memory: { num_regions: 2, regions: [piece.region, region] } }, [piece.fd, rings.fd])
    add(ring, 2)
    expect(await ring.completed()).toBe(2)
    expect([device.resets, device.stopped]).toEqual([0, [0]])
    expect(await ring.stop()).toBe(2)
  })

  it('comes and goes in slots, while a ring works', async () => {
    const { front, ring, memory } = await started()
    expect((await front.ask('get_max_mem_slots')).reply.max_mem_slots).toBe(512n)
    const plugged = front.piece(0x1000_0000, 0x1_0000)
    expect(await front.done('add_mem_reg', { mem_reg: { region: plugged.region } }, [plugged.fd])).toBe(true)
    ring.queue.add([], [{ address: 0x1000_0000, length: 64 }], 7)
    ring.queue.publish()
    expect(await ring.completed()).toBe(7)
    expect(plugged.mapping.windows[0]!.subarray(0, 64).every((byte) => byte === 0xa5)).toBe(true)
    expect(await front.done('rem_mem_reg', { mem_reg: { region: plugged.region } })).toBe(true)
    add(ring, 1)
    expect(await ring.completed()).toBe(1)
    expect(memory.resolve(dataAt + bufferSize, 1)).toEqual(Uint8Array.of(0xa5))
    // A descriptor that comes with it is of no use.
    expect(await front.done('add_mem_reg', { mem_reg: { region: plugged.region } }, [plugged.fd])).toBe(true)
    front.socket.send(front.encoded('rem_mem_reg', { mem_reg: { region: plugged.region } }), [plugged.fd])
    await synchronized(front)
    expect(await front.done('rem_mem_reg', { mem_reg: { region: plugged.region } })).toBe(false)
  })

  it('goes under a ring: what it has is used first, then the ring is broken, and nothing else', async () => {
    const { device, front, ring, piece, violations } = await started()
    ring.setError()
    device.holds = true
    add(ring, 1)
    await settle()
    let isDone = false
    const done = front.done('rem_mem_reg', { mem_reg: { region: piece.region } }).then((result) => {
      isDone = result
    })
    await settle(20)
    expect([isDone, mappings.count]).toEqual([false, 2])
    device.finish()
    await done
    expect([isDone, mappings.count]).toEqual([true, 1])
    expect(await ring.completed()).toBe(1)
    expect(violations.map(({ kind }) => kind)).toEqual(['queue-address'])
    expect(drainEventfd(ring.error)).toBe(true)
    signalEventfd(ring.kick)
    await settle(20)
    expect(front.closed).toBe(false)
    expect(await ring.stop()).toBe(1)
  })

  it('goes under a buffer that is at work: it is kept until that is over, also where the ring is broken', async () => {
    const { device, front, ring, piece, memory, violations } = await started()
    device.holds = true
    add(ring, 1)
    await settle()
    new DataView(memory.resolve(0, memorySize)!.buffer).setUint16(ring.setup.driverArea + 2, 1000, true)
    signalEventfd(ring.kick)
    await settle(20)
    expect(violations.length).toBe(1)
    let isDone = false
    const done = front.done('rem_mem_reg', { mem_reg: { region: piece.region } }).then(() => {
      isDone = true
    })
    await settle(20)
    expect([isDone, mappings.count]).toEqual([false, 2])
    device.finish()
    await done
    expect(mappings.count).toBe(1)
  })

  it('is not touched by who ends: the peer vanishes with requests out, and what it had is given back when they are over', async () => {
    const { device, front, ring, server } = await started()
    device.holds = true
    add(ring, 1)
    add(ring, 2)
    await settle()
    front.socket.close()
    await settle(20)
    expect([device.resets, mappings.count, server.connections.length]).toEqual([1, 2, 1])
    device.finish()
    await settle(20)
    expect([mappings.count, server.connections.length]).toEqual([1, 0])
    expect(ring.queue.completed()).toBeUndefined()
  })

  it('is left alone when the server is closed, and all that was taken is used before', async () => {
    const { device, ring, server, memory, front } = await started()
    device.holds = true
    add(ring, 1)
    add(ring, 2)
    await settle()
    let isClosed = false
    void server.close().then(() => {
      isClosed = true
    })
    add(ring, 3)
    await settle(20)
    expect([isClosed, front.closed]).toEqual([false, false])
    expect(ring.called).toBe(true)
    device.finish()
    await settle(20)
    expect([isClosed, front.closed]).toEqual([true, true])
    expect(ring.called).toBe(true)
    expect([ring.queue.completed(), ring.queue.completed(), ring.queue.completed()]).toEqual([1, 2, undefined])
    const after = memory.resolve(0, memorySize)!.slice()
    device.holds = false
    signalEventfd(ring.kick)
    device.finish()
    await settle(20)
    expect(Buffer.compare(memory.resolve(0, memorySize)!, after)).toBe(0)
    expect(() => server.adopt(0)).toThrow('closed')
  })

  it('may change while the server is closed: nothing is taken after that', async () => {
    const { device, ring, server, piece, front } = await started()
    device.holds = true
    add(ring, 1)
    await settle()
    const [table, fds] = front.table([piece])
    front.send('set_mem_table', table, fds)
    await settle()
    const closed = server.close()
    add(ring, 2)
    await settle()
    device.finish()
    await settle(20)
    expect(device.held).toEqual([])
    await closed
    expect([ring.queue.completed(), ring.queue.completed()]).toEqual([1, undefined])
  })

  it('waits no longer than it is told to for what is at work, except where that could write', async () => {
    const { device, ring, server, front } = await started({ drainTimeout: 20 })
    device.holds = true
    add(ring, 1)
    await settle()
    const closed = server.close()
    await new Promise((resolve) => setTimeout(resolve, 60))
    expect([front.closed, mappings.count]).toEqual([true, 2])
    device.finish()
    await closed
    expect(mappings.count).toBe(1)
    expect(ring.queue.completed()).toBeUndefined()
  })

  it('of a front-end that connects again is not used before its former connection is at rest', async () => {
    const devices = [new HeldDevice(), new HeldDevice()]
    let count = 0
    const { server, front, ring, piece } = await started({ device: () => devices[count++]! })
    devices[0]!.holds = true
    add(ring, 1)
    await settle()
    front.socket.close()
    await settle()
    const again = new FrontEnd((fd) => server.adopt(fd))
    atEnd(() => again.close())
    await again.negotiate(undefined, version1)
    let isDone = false
    const done = again.done('set_mem_table', ...again.table([piece])).then((result) => {
      isDone = result
    })
    await settle(20)
    expect(isDone).toBe(false)
    devices[0]!.finish()
    await done
    expect(isDone).toBe(true)
    // Other memory has nothing to wait for.
    expect(server.connections.length).toBe(1)
  })

  it('keeps chains in flight for the next back-end: none is lost, and none is used twice', async () => {
    const devices = [new HeldDevice(), new HeldDevice()]
    let count = 0
    const { server, front, ring, piece } = await prepared({ device: () => devices[count++]! })
    const { reply, fds } = await front.ask('get_inflight_fd', { inflight: { mmap_size: 0, mmap_offset: 0, num_queues: 2, queue_size: 64 } })
    const { mmap_size, mmap_offset } = reply.inflight
    const inflight = { mmap_size, mmap_offset, num_queues: 2, queue_size: 64 }
    expect(await front.done('set_inflight_fd', { inflight }, fds)).toBe(true)
    ring.start(piece)
    devices[0]!.holds = true
    for (let token = 0; token < 6; token++) add(ring, token)
    await settle()
    devices[0]!.finish(2, true)
    await settle()
    const used = [ring.queue.completed(), ring.queue.completed()]
    front.socket.close()
    devices[0]!.finish()
    await settle()
    const again = new FrontEnd((fd) => server.adopt(fd))
    atEnd(() => again.close())
    await again.negotiate(undefined, version1)
    expect(await again.done('set_inflight_fd', { inflight }, fds)).toBe(true)
    expect(await again.done('set_mem_table', ...again.table([piece]))).toBe(true)
    again.send('set_vring_num', { state: { index: 0, num: 64 } })
    again.send('set_vring_base', { base: { index: 0, avail_idx: 2 } })
    again.send('set_vring_addr', { addr: { index: 0, ...ring.addresses(piece) } })
    again.send('set_vring_kick', { ring: { u64: { index: 0, invalid_fd: 0 } } }, [ring.kick])
    again.send('set_vring_enable', { state: { index: 0, num: 1 } })
    signalEventfd(ring.kick)
    for (let left = 0; left < 4; left++) used.push(await ring.completed())
    expect(used.toSorted()).toEqual([0, 1, 2, 3, 4, 5])
    await settle()
    expect(ring.queue.completed()).toBeUndefined()
  })

  it('refuses an inflight area of an impossible shape, and one that is too small', async () => {
    const { front } = await prepared()
    const shape = { mmap_size: 0, mmap_offset: 0, num_queues: 2, queue_size: 64 }
    const fd = front.keep(createMemfd('area', 0x1000))
    expect(await front.done('set_inflight_fd', { inflight: { ...shape, mmap_size: 64 } }, [fd])).toBe(false)
    expect(await front.done('set_inflight_fd', { inflight: { ...shape, mmap_size: 0x4000, queue_size: 256 } }, [fd])).toBe(false)
    expect(await front.done('set_inflight_fd', { inflight: { ...shape, mmap_size: 0x1000, num_queues: 3 } }, [fd])).toBe(false)
    expect(await front.done('set_inflight_fd', { inflight: { ...shape, mmap_size: 0x1000, queue_size: 0 } }, [fd])).toBe(false)
    await expect(front.ask('get_inflight_fd', { inflight: { ...shape, num_queues: 9 } })).rejects.toThrow()
  })

  it('is logged, page by page, while the guest moves: on and off as rings work', async () => {
    const { front, ring, piece } = await started()
    const size = memorySize / page / 8
    const fd = front.keep(createMemfd('log', 0x1000))
    const log = mapShared(fd, { size: 0x1000 })
    atEnd(() => log.unmap())
    const bits = log.windows[0]!
    add(ring, 0)
    await ring.completed()
    expect((await front.ask('set_log_base', { log: { log_size: size, log_offset: 0 } }, [fd])).reply.result).toBe(0n)
    expect(bits.every((byte) => byte === 0)).toBe(true)
    front.features = front.features.with(VHOST_F_LOG_ALL)
    front.send('set_features', { features: BigInt(front.features.toString()) })
    front.send('set_vring_addr', { addr: { index: 0, ...ring.addresses(piece), flags: 1, log: ring.setup.deviceArea } })
    await synchronized(front)
    ring.queue.add([], [{ address: dataAt + 5 * page - 8, length: 16 }], 1)
    ring.queue.publish()
    expect(await ring.completed()).toBe(1)
    const dirty = (at: number): boolean => ((bits[Math.floor(at / page / 8)]! >> (Math.floor(at / page) % 8)) & 1) === 1
    expect([dirty(dataAt + 4 * page), dirty(dataAt + 5 * page), dirty(ring.setup.deviceArea), dirty(dataAt), dirty(dataAt + 6 * page)]).toEqual([
      true,
      true,
      true,
      false,
      false,
    ])
    front.features = front.features.without(VHOST_F_LOG_ALL)
    front.send('set_features', { features: BigInt(front.features.toString()) })
    await synchronized(front)
    bits.fill(0)
    add(ring, 3)
    expect(await ring.completed()).toBe(3)
    expect(bits.every((byte) => byte === 0)).toBe(true)
    expect(front.closed).toBe(false)
  })

  describe('that cannot be is refused, with nothing mapped:', () => {
    it.each<[string, (front: FrontEnd) => [object[], number[]]]>([
      ['regions over each other', (front) => twice(front, 0x1000, 0x9000_0000)],
      ['regions that the front-end has at one address', (front) => twice(front, 0x2_0000, 0x1000)],
      ['an empty region', (front) => one(front, { size: 0 })],
      ['a region at a crooked address', (front) => one(front, { guest_address: 4 })],
      ['a region at a crooked offset', (front) => one(front, { mmap_offset: 12 })],
      ['a region that goes round', (front) => one(front, { guest_address: 2 ** 53 - 8 })],
      ['a size beyond the end of the file', (front) => one(front, { size: 0x2_0000 })],
      ['an offset beyond the end of the file', (front) => one(front, { mmap_offset: 0x1_0000 })],
      ['an absurd size', (front) => one(front, { size: 2 ** 52 })],
    ])('%s', async (_, regions) => {
      const { front } = await prepared()
      const now = mappings.count
      const [values, fds] = regions(front)
      expect(await front.done('set_mem_table', { memory: { num_regions: values.length, regions: values as never } }, fds)).toBe(false)
      expect(mappings.count).toBe(now + front.pieces.length - 1)
    })

    it('something else than memory', async () => {
      const { front } = await prepared()
      const [values] = one(front, {})
      expect(await front.done('set_mem_table', { memory: { num_regions: 1, regions: values as never } }, [front.socket.fd])).toBe(false)
      expect(
        await front.done('set_mem_table', { memory: { num_regions: 1, regions: values as never } }, [front.keep(openSync('/dev/zero', 'r+'))]),
      ).toBe(false)
    })

    it('memory that could become shorter, where the program says so', async () => {
      const { front } = serve({ sealedMemory: true })
      await front.negotiate(undefined)
      const fd = front.keep(createMemfd('loose', 0x1_0000, { seal: false }))
      const region = { guest_address: 0, size: 0x1_0000, user_address: 0, mmap_offset: 0 }
      expect(await front.done('set_mem_table', { memory: { num_regions: 1, regions: [region] } }, [fd])).toBe(false)
      const sealed = front.piece(0, 0x1_0000)
      expect(await front.done('set_mem_table', ...front.table([sealed]))).toBe(true)
    })

    it('more slots than there are', async () => {
      const { front } = await prepared()
      const piece = front.piece(0x1_0000_0000, 0x1000)
      for (let slot = 1; slot <= 512; slot++) {
        const region = { guest_address: slot * 2 ** 32, size: 0x1000, user_address: slot * 2 ** 32, mmap_offset: 0 }
        expect(await front.done('add_mem_reg', { mem_reg: { region } }, [piece.fd])).toBe(slot < 512)
      }
    })
  })

  it('of files is taken as well', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'virtgen-'))
    atEnd(() => rmSync(folder, { recursive: true }))
    const path = join(folder, 'memory')
    writeFileSync(path, '')
    const { front } = serve()
    await front.negotiate(undefined)
    const fd = front.keep(openSync(path, 'r+'))
    ftruncateSync(fd, 0x1_0000)
    const region = { guest_address: 0, size: 0x8000, user_address: 0, mmap_offset: 0x8000 }
    expect(await front.done('set_mem_table', { memory: { num_regions: 1, regions: [region] } }, [fd])).toBe(true)
  })

  it('of each connection is its own: several front-ends, and one that waits at a path for the back-end', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'virtgen-'))
    atEnd(() => rmSync(folder, { recursive: true }))
    const path = join(folder, 'socket')
    const ended: unknown[] = []
    const server = new VhostUserServer({ device: () => new HeldDevice(), maxConnections: 3, onDisconnect: (_, reason) => ended.push(reason) })
    atEnd(() => server.close())
    server.listen(path)
    const fronts = [0, 1].map(() => new FrontEnd(() => undefined, UnixSocket.connect(Poller.shared, path)))
    const waiting = join(folder, 'front-end')
    const listener = new UnixListener(Poller.shared, waiting, { onConnection: (socket) => fronts.push(new FrontEnd(() => undefined, socket)) })
    server.connect(waiting)
    await settle(20)
    expect(fronts.length).toBe(3)
    expect(() => server.connect(join(folder, 'nobody'))).toThrow('ENOENT')
    const rings = []
    for (const front of fronts) {
      atEnd(() => front.close())
      await front.negotiate(undefined)
      const piece = front.piece(0, memorySize)
      expect(await front.done('set_mem_table', ...front.table([piece]))).toBe(true)
      const ring = new FrontRing<number>(front, front.memoryOf([piece]), 0, 64, ringAt)
      ring.start(piece)
      rings.push(ring)
    }
    expect(server.connections.length).toBe(3)
    // No place for another one.
    const late = new FrontEnd(() => undefined, UnixSocket.connect(Poller.shared, path))
    await settle(20)
    expect(late.closed).toBe(true)
    for (const [index, ring] of rings.entries()) add(ring, index)
    for (const [index, ring] of rings.entries()) expect(await ring.completed()).toBe(index)
    // One that breaks the rules ends alone.
    fronts[0]!.socket.send(new Uint8Array(12).fill(0xff))
    await settle(20)
    expect(fronts.map(({ closed }) => closed)).toEqual([true, false, false])
    expect(ended).toEqual([expect.objectContaining({ kind: 'unknown-request' })])
    add(rings[1]!, 5)
    expect(await rings[1]!.completed()).toBe(5)
    listener.close()
    await server.close()
    await settle()
    expect(ended.length).toBe(3)
    expect(fronts.every(({ closed }) => closed)).toBe(true)
  })

  it('lets a front-end that connects again wait for its place', async () => {
    const devices: HeldDevice[] = []
    const device = (): HeldDevice => {
      devices.push(new HeldDevice())
      return devices.at(-1)!
    }
    const { server, front, ring } = await started({ device, maxConnections: 1 })
    devices[0]!.holds = true
    add(ring, 1)
    await settle()
    front.socket.close()
    await settle()
    const again = new FrontEnd((fd) => server.adopt(fd))
    atEnd(() => again.close())
    let answered = false
    const answer = again.ask('get_features').then(() => {
      answered = true
    })
    await settle(20)
    expect([answered, devices.length]).toEqual([false, 1])
    devices[0]!.finish()
    await answer
    expect(devices.length).toBe(2)
  })
})

const region = { guest_address: 0, size: 0x1_0000, user_address: 0, mmap_offset: 0 }

function one(front: FrontEnd, change: Partial<typeof region>): [object[], number[]] {
  const { fd } = front.piece(0x4000_0000, 0x1_0000)
  return [[{ ...region, ...change }], [fd]]
}

function twice(front: FrontEnd, guest_address: number, user_address: number): [object[], number[]] {
  const { fd } = front.piece(0x4000_0000, 0x1_0000)
  return [
    [region, { ...region, guest_address, user_address }],
    [fd, fd],
  ]
}
