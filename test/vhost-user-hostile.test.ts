/** The back-end of vhost-user against a front-end that means it no good, and at moments that it has not chosen. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { Rng } from 'virtgen/devices/rng'
import { countDescriptors, createMemfd, mappings, signalEventfd, VhostUserServer, type VhostUserServerOptions, whyNoSystem } from 'virtgen/linux'
import { vhost_user } from 'virtgen/protocol/vhost-user'
import type { Chain, VirtioDevice } from 'virtgen/runtime'
import { DEVICE_NEEDS_RESET, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { afterEach, describe, expect, it } from 'vitest'
import { encodeRequest } from '../hosts/linux/vhost-user/messages.ts'
import { HeldDevice } from './support/vhost-user-device.ts'
import { FrontEnd, FrontRing, settle } from './support/vhost-user-front.ts'

const size = 0x10_0000
const dataAt = 0x8_0000
const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

/** Lends memory of the guest to something that takes its time, as a read by the system in another thread does. */
class Lender extends HeldDevice {
  readonly lent: { readonly view: Uint8Array; readonly chain: Chain }[] = []

  override queueNotified(index: number): void {
    const queue = this.host?.queue(index)
    for (let chain = queue?.next(); chain !== undefined; chain = queue?.next()) this.lent.push({ view: chain.writable.piece(), chain })
  }

  end(): void {
    for (const { view, chain } of this.lent.splice(0)) {
      view.fill(1)
      chain.complete(view.length)
    }
  }
}

/** Keeps what it is given, and touches nothing of it. */
class Keeper extends HeldDevice {
  override queueNotified(index: number): void {
    const queue = this.host?.queue(index)
    for (let chain = queue?.next(); chain !== undefined; chain = queue?.next()) this.held.push(chain)
  }
}

/** Takes its time to reset. */
class SlowToReset extends HeldDevice {
  finishReset = (): void => {}

  override reset(): Promise<void> {
    super.reset()
    return new Promise((resolve) => {
      this.finishReset = resolve
    })
  }
}

async function until(isSo: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; !isSo(); await settle(1)) if (Date.now() > end) throw new Error(`it did not come about: ${isSo}`)
}

async function started<D extends VirtioDevice>(device: D, options: Partial<VhostUserServerOptions> = {}) {
  const errors: unknown[] = []
  const reasons: unknown[] = []
  const server = new VhostUserServer({
    device: () => device,
    onError: (error) => errors.push(error),
    onProtocolError: (error) => errors.push(error),
    onDisconnect: (_, reason) => reasons.push(reason),
    ...options,
  })
  const front = new FrontEnd((fd) => server.adopt(fd))
  ends.push(
    () => server.close(),
    () => front.close(),
  )
  await front.negotiate(undefined, FeatureSet.of(VIRTIO_F_VERSION_1))
  const piece = front.piece(0, size)
  expect(await front.done('set_mem_table', ...front.table([piece]))).toBe(true)
  const memory = front.memoryOf([piece])
  const ring = new FrontRing<number>(front, memory, 0, Math.min(64, device.queueSizes[0]!), 0x1000)
  ring.start(piece)
  return { server, device, front, piece, memory, ring, errors, reasons }
}

function add(ring: FrontRing<number>, token: number): void {
  expect(ring.queue.add([], [{ address: dataAt + token * 64, length: 64 }], token)).toBe(true)
  ring.queue.publish()
}

describe.skipIf(whyNoSystem() !== undefined)('a connection that ends', () => {
  it('says why', async () => {
    const { front, reasons, errors } = await started(new HeldDevice())
    front.send('set_vring_num', { state: { index: 200, num: 3 } })
    await until(() => front.closed && reasons.length > 0)
    expect(errors).toHaveLength(1)
    expect(reasons).toEqual(errors)
  })

  it.each([
    ['', false],
    [', also where its ring is broken', true],
  ])('keeps memory mapped that something still writes to%s', async (_, breaks) => {
    const before = mappings.count
    const { front, ring, memory, server, device } = await started(new Lender())
    add(ring, 1)
    await until(() => device.lent.length === 1)
    const { view } = device.lent[0]!
    if (breaks) {
      memory.resolve(ring.setup.driverArea + 2, 2)!.set([0xff, 0x7f])
      signalEventfd(ring.kick)
      await until(() => server.connections[0]?.control.inspectQueue(0)?.broken !== undefined)
    }
    front.socket.close()
    await settle(50)
    expect([server.connections.length, view.length]).toEqual([1, 64])
    device.end()
    await until(() => server.connections.length === 0)
    // That of the front-end itself is left.
    expect([view.length, mappings.count - before]).toEqual([0, 1])
  })

  it.each(['set_mem_table', 'rem_mem_reg'] as const)('while %s waits leaves nothing mapped, and unmaps nothing that is written to', async (name) => {
    const before = [mappings.count, countDescriptors()]
    const { front, ring, piece, server, device } = await started(new Lender())
    const other = front.piece(2 * size, size)
    expect(await front.done('add_mem_reg', { mem_reg: { region: other.region } }, [other.fd])).toBe(true)
    add(ring, 1)
    await until(() => device.lent.length === 1)
    const { view } = device.lent[0]!
    if (name === 'set_mem_table') front.ask(name, ...front.table([other])).catch(() => {})
    else front.ask(name, { mem_reg: { region: piece.region } }).catch(() => {})
    await settle(20)
    const closed = server.connections.map((connection) => connection.close(1))
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(view.length).toBe(64)
    device.end()
    await Promise.all(closed)
    front.close()
    expect([mappings.count, countDescriptors()]).toEqual(before)
  })
})

describe.skipIf(whyNoSystem() !== undefined)('a front-end', () => {
  it('gets its answers in order, also behind a reset that a kick has begun', async () => {
    const { front, ring, device, piece } = await started(new SlowToReset())
    add(ring, 1)
    expect(await ring.completed()).toBe(1)
    await ring.stop()
    // Other features: the device is reset when the ring starts.
    front.setFeatures(FeatureSet.of(VIRTIO_F_VERSION_1).with(28))
    device.holds = true
    add(ring, 2)
    ring.start(piece, 1)
    await settle(20)
    expect(device.resets).toBe(1)
    const order: string[] = []
    const stopped = ring.stop().then(() => order.push('stopped'))
    const asked = front.ask('get_features').then(() => order.push('features'))
    device.finishReset()
    await until(() => device.held.length > 0)
    await settle(20)
    expect(order).toEqual([])
    device.holds = false
    device.finish()
    await Promise.all([stopped, asked])
    expect(order).toEqual(['stopped', 'features'])
    device.finishReset()
    setTimeout(() => device.finishReset(), 50)
  })

  it.each(['is stopped', 'gets other memory', 'is closed'])('waits for no buffer that a device has given up on, when a ring %s', async (how) => {
    const { front, ring, piece, server } = await started(new Rng())
    // The text forbids it, and the specification has no status for that: the device needs a reset.
    ring.queue.add([{ address: dataAt, length: 16 }], [], 1)
    ring.queue.publish()
    await until(() => ((server.connections[0]?.control.status ?? 0) & DEVICE_NEEDS_RESET) !== 0)
    if (how === 'is stopped') expect(await ring.stop()).toBe(0)
    else if (how === 'gets other memory') expect(await front.done('set_mem_table', ...front.table([piece]))).toBe(true)
    else await server.close()
  })

  it('gets its answer when the device fails while it is waited for', async () => {
    const { front, ring, device, memory, errors } = await started(new Keeper())
    for (const token of [1, 2]) add(ring, token)
    await until(() => device.held.length === 2)
    const stopped = ring.stop()
    await settle(20)
    device.host?.fail({ kind: 'device-failed', queue: 0, detail: 'it gave up' })
    expect(await stopped).toBe(0)
    // Too late.
    device.finish()
    expect(memory.resolve(dataAt, 256)?.every((byte) => byte === 0)).toBe(true)
    expect([front.closed, errors]).toEqual([false, []])
  })

  it.each(['set_owner', 'get_vring_base'] as const)('that never stops sending %s leaves others their turn', async (name) => {
    const folder = mkdtempSync(join(tmpdir(), 'virtgen-vhost-'))
    const path = join(folder, 'socket')
    const server = new VhostUserServer({ device: () => new HeldDevice() })
    server.listen(path)
    const context = { features: FeatureSet.empty, caller: { protocol_features: 0, postcopy: 0 } }
    const message = Buffer.from(encodeRequest(vhost_user[name], { state: { index: 0, num: 0 } } as never, context))
    const program = `const socket = require('node:net').connect(process.argv[1])
      const many = Buffer.concat(new Array(2000).fill(Buffer.from(process.argv[2], 'hex')))
      const send = () => { while (socket.write(many)); }
      socket.on('connect', send).on('drain', send).resume().on('error', () => {})`
    const child = spawn(process.execPath, ['-e', program, path, message.toString('hex')], { stdio: 'inherit' })
    ends.push(
      () => server.close(),
      () => rmSync(folder, { recursive: true, force: true }),
      () => child.kill('SIGKILL'),
    )
    await until(() => server.connections.length === 1)
    let turns = 0
    for (const end = Date.now() + 500; Date.now() < end; turns++) await new Promise((resolve) => setTimeout(resolve, 1))
    expect(turns).toBeGreaterThan(20)
    expect(server.connections).toHaveLength(1)
  })

  it('is not given an inflight area in which numbers lie across others', async () => {
    const { front, ring } = await started(new HeldDevice())
    await ring.stop()
    const fd = front.keep(createMemfd('inflight', 0x1_0000))
    const area = (mmap_offset: number) => ({ inflight: { mmap_size: 0x8000, mmap_offset, num_queues: 1, queue_size: 64 } })
    expect(await front.done('set_inflight_fd', area(3), [fd])).toBe(false)
    expect(await front.done('set_inflight_fd', area(64), [fd])).toBe(true)
  })

  it('shares no more memory than it may, whatever its files pretend to be', async () => {
    const { front } = await started(new HeldDevice(), { maxMemory: 3 * size })
    const before = mappings.count
    const huge = front.keep(createMemfd('huge', 2 ** 44))
    const region = (guest_address: number, size: number) => ({ guest_address, user_address: guest_address, size, mmap_offset: 0 })
    const added = (guest_address: number, size: number) => front.done('add_mem_reg', { mem_reg: { region: region(guest_address, size) } }, [huge])
    expect(await added(2 ** 40, 2 ** 44)).toBe(false)
    expect(await added(2 ** 40, 2 * size)).toBe(true)
    expect(await added(2 ** 42, 8)).toBe(false)
    const table = (count: number) => Array.from({ length: count }, (_, index) => region(index * 2 ** 40, size))
    for (const [count, isTaken] of [
      [4, false],
      [3, true],
    ] as const)
      expect(await front.done('set_mem_table', { memory: { num_regions: count, regions: table(count) } }, new Array(count).fill(huge))).toBe(isTaken)
    expect(mappings.count - before).toBe(2)
  })

  it('gives no memory that it could make shorter, where that is asked for', async () => {
    const { front, ring } = await started(new HeldDevice(), { sealedMemory: true })
    await ring.stop()
    const loose = front.keep(createMemfd('loose', size, { seal: false }))
    const sealed = front.keep(createMemfd('sealed', size))
    for (const [fd, isTaken] of [
      [loose, false],
      [sealed, true],
    ] as const) {
      const inflight = { mmap_size: 0x8000, mmap_offset: 0, num_queues: 1, queue_size: 64 }
      expect(await front.done('set_inflight_fd', { inflight }, [fd])).toBe(isTaken)
      const region = { guest_address: 2 ** 32, user_address: 2 ** 32, size, mmap_offset: 0 }
      expect(await front.done('add_mem_reg', { mem_reg: { region } }, [fd])).toBe(isTaken)
    }
  })
})
