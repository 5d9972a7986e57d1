/** Stream sockets: frames in pieces, peers that lie, come and go; and two peers that are not ours, passt and QEMU. */
import { spawn, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import * as sockets from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { NetDriver } from 'virtgen/driver/net'
import { connectMmio } from 'virtgen/mmio'
import { StreamBackend } from 'virtgen/node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FrameReader, packFrame } from '../hosts/node/frame-stream.ts'
import { plainFrame, Sink } from './support/net.ts'
import { NetGuest, readUdp } from './support/net-guest.ts'
import { QemuMachine, skipped as qemuSkipped } from './support/qemu/machine.ts'

const others = '52:54:0:0:0:9'
const longest = 69_632
let folder: string
const ends: (() => unknown)[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtgen-net-'))
})
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
  rmSync(folder, { recursive: true })
})

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))
async function until(condition: () => boolean, milliseconds = 10_000): Promise<void> {
  for (const end = Date.now() + milliseconds; !condition(); await pause(5))
    if (Date.now() > end) throw new Error(`not within ${milliseconds} ms: ${condition}`)
}

describe('frames in a stream', () => {
  it('are found whatever the pieces, and however often the reader is told to wait', () => {
    const lengths = fc.array(fc.oneof(fc.integer({ min: 0, max: 80 }), fc.integer({ min: 0, max: longest })), { maxLength: 8 })
    fc.assert(
      fc.property(lengths, fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1 }), fc.infiniteStream(fc.boolean()), (lengths, cuts, says) => {
        const frames = lengths.map((length, seed) => plainFrame(length, { seed }))
        const stream = Buffer.concat(frames.map(packFrame))
        const reader = new FrameReader(longest)
        const found: Uint8Array[] = []
        for (let at = 0, i = 0; at < stream.length; i++) {
          const piece = stream.subarray(at, at + cuts[i % cuts.length]!)
          let more = true
          const taken = reader.read(piece, (frame) => {
            expect(more).toBe(true)
            found.push(frame.slice())
            more = says.next().value === true
            return more
          })
          expect(taken === piece.length || !more).toBe(true)
          at += taken
        }
        // Frames without any byte are none.
        expect(found.map((frame) => Buffer.from(frame).toString('base64'))).toEqual(
          frames.filter(({ length }) => length > 0).map((frame) => Buffer.from(frame).toString('base64')),
        )
      }),
    )
  })

  it('are no longer than they may be', () => {
    const reader = new FrameReader(100)
    expect(() => reader.read(Buffer.from([0, 0, 0, 101]), () => true)).toThrow(RangeError)
    expect(() => new FrameReader(longest).read(Buffer.from([0xff, 0xff, 0xff, 0xff]), () => true)).toThrow(RangeError)
  })
})

describe('two backends', () => {
  it.each([
    ['a path', () => ({ path: join(folder, 'net') })],
    ['a port', () => ({ host: '127.0.0.1', port: 0 })],
  ])('join two guests through %s', async (_, address) => {
    const listener = StreamBackend.listen(address())
    ends.push(() => listener.close())
    await listener.listening
    const one = await NetGuest.on(listener, { mac: '52:54:00:00:00:01' })
    expect(one.net.linkUp).toBe(false)
    const caller = StreamBackend.connect({ ...address(), ...(listener.port !== undefined && { port: listener.port }) } as never)
    ends.push(() => caller.close())
    const two = await NetGuest.on(caller, { mac: '52:54:00:00:00:02' })
    await Promise.all([one.linked(), two.linked()])
    const frames = Array.from({ length: 200 }, (_, seed) => plainFrame(60 + 43 * seed, { to: '52:54:0:0:0:2', seed }))
    await Promise.all(frames.map((frame) => one.send(frame)))
    await until(() => two.received.length === 200)
    expect(two.received).toEqual(frames)
    const back = plainFrame(1514, { to: '52:54:0:0:0:1' })
    await two.send(back)
    expect(await one.wait((frame) => frame)).toEqual(back)
  })

  it('come and go: links follow, and the connection is made again', async () => {
    const path = join(folder, 'net')
    let listener = StreamBackend.listen({ path })
    await listener.listening
    const errors: Error[] = []
    const caller = StreamBackend.connect({ path }, { reconnectAfter: 20, onError: (error) => errors.push(error) })
    ends.push(() => caller.close())
    const guest = await NetGuest.on(caller, { mac: '52:54:00:00:00:02' })
    const card = new Sink()
    for (let round = 0; round < 3; round++) {
      listener.attach({ mac: new Uint8Array(6), setCarrier: () => {}, receive: (frame) => card.frames.push(Uint8Array.from(frame)) > 0 })
      await guest.linked()
      await guest.send(plainFrame(60, { to: others, seed: round }))
      await until(() => card.frames.length === round + 1)
      await listener.close()
      await until(() => !guest.net.linkUp)
      await guest.send(plainFrame(60, { to: others }))
      listener = StreamBackend.listen({ path })
      await listener.listening
    }
    await listener.close()
    expect(card.frames).toEqual([0, 1, 2].map((seed) => plainFrame(60, { to: others, seed })))
    expect(guest.net.statistics.transmitDropped).toBe(3)
  })

  it('a second caller is refused while one is there, and taken afterwards', async () => {
    const path = join(folder, 'net')
    const listener = StreamBackend.listen({ path })
    ends.push(() => listener.close())
    await listener.listening
    const first = sockets.connect({ path })
    await until(() => listener.connected)
    const second = sockets.connect({ path })
    await new Promise((resolve) => second.once('close', resolve))
    expect(listener.connected).toBe(true)
    first.destroy()
    await until(() => !listener.connected)
    const third = sockets.connect({ path })
    ends.push(() => third.destroy())
    await until(() => listener.connected)
  })

  it('says why it cannot listen', async () => {
    const errors: Error[] = []
    const listener = StreamBackend.listen({ path: join(folder, 'none', 'net') }, { onError: (error) => errors.push(error) })
    await expect(listener.listening).rejects.toThrow(/EACCES|ENOENT/)
    expect(errors).toHaveLength(1)
    await listener.close()
  })
})

describe('a peer', () => {
  async function withPeer(options: Parameters<typeof NetGuest.on>[1] = {}) {
    const errors: Error[] = []
    const path = join(folder, 'net')
    const backend = StreamBackend.listen({ path }, { onError: (error) => errors.push(error) })
    ends.push(() => backend.close())
    await backend.listening
    const guest = await NetGuest.on(backend, { mac: '52:54:00:00:00:02', ...options })
    const peer = sockets.connect({ path })
    ends.push(() => peer.destroy())
    await guest.linked()
    return { backend, guest, peer, errors }
  }

  it('that lies about a length is cut off, and the guest is none the worse', async () => {
    const { guest, peer, errors } = await withPeer()
    const frame = plainFrame(60, { to: '52:54:0:0:0:2' })
    peer.write(Buffer.concat([packFrame(frame), Buffer.from([0x7f, 0xff, 0xff, 0xff, 1, 2, 3])]))
    await new Promise((resolve) => peer.once('close', resolve))
    await until(() => !guest.net.linkUp)
    expect(guest.received).toEqual([frame])
    expect(errors).toMatchObject([{ message: expect.stringContaining('2147483647 bytes') }])
    const next = sockets.connect({ path: join(folder, 'net') })
    ends.push(() => next.destroy())
    await guest.linked()
    // Nothing is left of what the other one has begun.
    next.write(packFrame(frame))
    await until(() => guest.received.length === 2)
  })

  it('that leaves in the middle of a frame leaves nothing behind', async () => {
    const { guest, peer } = await withPeer()
    peer.end(Buffer.from([0, 0, 0, 100, 1, 2, 3]))
    await until(() => !guest.net.linkUp)
    const next = sockets.connect({ path: join(folder, 'net') })
    ends.push(() => next.destroy())
    const frame = plainFrame(100, { to: '52:54:0:0:0:2' })
    next.write(packFrame(frame))
    await until(() => guest.received.length === 1)
    expect(guest.received).toEqual([frame])
  })

  it('that does not read slows the guest down, and nothing is lost', async () => {
    const { guest, peer } = await withPeer()
    peer.pause()
    const frames = Array.from({ length: 300 }, (_, seed) => plainFrame(9000, { to: others, seed }))
    let sent = 0
    const sending = Promise.all(frames.map((frame) => guest.send(frame).then(() => sent++)))
    await pause(100)
    expect(sent).toBeLessThan(300)
    const reader = new FrameReader(longest)
    const found: Uint8Array[] = []
    peer.resume()
    peer.on('data', (bytes: Buffer) => reader.read(bytes, (frame) => found.push(frame.slice()) > 0))
    await sending
    await until(() => found.length === 300)
    expect(found.every((frame, i) => Buffer.compare(frame, frames[i]!) === 0)).toBe(true)
  })

  it('that sends faster than the guest takes is not read meanwhile, and nothing is lost', async () => {
    const path = join(folder, 'net')
    const backend = StreamBackend.listen({ path })
    ends.push(() => backend.close())
    await backend.listening
    const peer = sockets.connect({ path })
    ends.push(() => peer.destroy())
    const taken: Uint8Array[] = []
    let room = 10
    backend.attach({ mac: new Uint8Array(6), setCarrier: () => {}, receive: (frame) => taken.push(frame.slice()) > 0 && --room > 0 })
    const frames = Array.from({ length: 2000 }, (_, seed) => plainFrame(1000, { seed }))
    peer.write(Buffer.concat(frames.map(packFrame)))
    while (taken.length < 2000) {
      const before = taken.length
      await until(() => room <= 0)
      await pause(2)
      expect(taken.length - before).toBeLessThanOrEqual(25)
      room = Math.min(20, 2000 - taken.length)
      if (room > 0) backend.resume()
      if (taken.length < 2000 && room > 0) await until(() => room <= 0)
    }
    expect(taken.every((frame, i) => Buffer.compare(frame, frames[i]!) === 0)).toBe(true)
  })
})

describe('a backend', () => {
  it('that has no card yet does not read what comes', async () => {
    const path = join(folder, 'net')
    const backend = StreamBackend.listen({ path })
    ends.push(() => backend.close())
    await backend.listening
    const peer = sockets.connect({ path })
    ends.push(() => peer.destroy())
    await until(() => backend.connected)
    const frames = Array.from({ length: 4000 }, (_, seed) => plainFrame(9000, { seed }))
    peer.write(Buffer.concat(frames.map(packFrame)))
    await pause(100)
    // Most of it is still at the peer.
    expect(peer.writableLength).toBeGreaterThan(30_000_000)
    let taken = 0
    backend.attach({ mac: new Uint8Array(6), setCarrier: () => {}, receive: () => ++taken > 0 })
    await until(() => taken === 4000)
  })

  it('that is closed while it looks for its address does not listen afterwards', async () => {
    const backend = StreamBackend.listen({ host: 'localhost', port: 0 })
    await backend.close()
    await pause(50)
    expect(backend.port).toBeUndefined()
  })
})

const passtMissing = spawnSync('passt', ['--version']).error !== undefined
if (passtMissing) console.warn('StreamBackend is not tested with passt: it is not installed (apt-get install passt)')

describe.skipIf(passtMissing && !process.env.CI)('passt', () => {
  it('gives a guest an address, and carries its datagrams to a socket of the host and back', async () => {
    const path = join(folder, 'passt')
    // As root it becomes nobody, who must be able to make the socket.
    chmodSync(folder, 0o777)
    const passt = spawn('passt', ['--foreground', '--socket', path, '--one-off', '--ipv4-only'], { stdio: 'ignore' })
    ends.push(() => passt.kill())
    await until(() => existsSync(path))
    const backend = StreamBackend.connect({ path }, { reconnectAfter: 50 })
    ends.push(() => backend.close())
    const guest = await NetGuest.on(backend)
    await guest.linked()
    const { address, router, from } = await guest.dhcp()

    const echo = createSocket('udp4')
    ends.push(() => echo.close())
    echo.on('message', (message, { address, port }) => echo.send(message.reverse(), port, address))
    await new Promise<void>((resolve) => echo.bind(0, '127.0.0.1', resolve))
    // What is sent to the router arrives at the host's own address.
    for (const length of [1, 100, 1400]) {
      const payload = Uint8Array.from({ length }, (_, i) => i + length)
      await guest.sendUdp(address, 4000 + length, router, echo.address().port, payload, from)
      const answer = await guest.wait((frame) => {
        const udp = readUdp(frame)
        return udp?.port === 4000 + length ? udp : undefined
      })
      expect([answer.source, answer.payload]).toEqual([router, payload.toReversed()])
    }
  })
})

describe.skipIf(qemuSkipped !== undefined)('QEMU', () => {
  it('with -netdev stream carries frames between its own card and ours', async () => {
    const path = join(folder, 'net')
    const backend = StreamBackend.listen({ path })
    ends.push(() => backend.close())
    await backend.listening
    const guest = await NetGuest.on(backend, { mac: '52:54:00:00:00:01' })
    const options = ['-netdev', `stream,id=net,server=off,addr.type=unix,addr.path=${path}`]
    options.push('-global', 'virtio-mmio.force-legacy=false', '-device', 'virtio-net-device,netdev=net,mac=52:54:00:00:00:02')
    const machine = await QemuMachine.start({ machine: 'microvm,ioapic2=off,pit=off', options })
    ends.push(() => machine.stop())
    await guest.linked()
    // The last of eight slots.
    const connection = await connectMmio(machine.bus(0xfeb0_0e00), NetDriver, { memory: machine.memory, queueSize: 16 })
    const interrupt = (): void => {
      if (machine.raised.has(16 + 7)) connection.interrupt()
    }
    const { driver } = connection
    const received: Uint8Array[] = []
    driver.onPacket(({ packet }) => received.push(packet.slice()))
    for (const [length, seed] of [
      [60, 1],
      [1514, 2],
      [300, 3],
    ] as const) {
      const forth = plainFrame(length, { to: '52:54:0:0:0:1', from: '52:54:0:0:0:2', seed })
      await machine.run(driver.transmit({}, forth), interrupt)
      expect(
        await machine.run(
          guest.wait((frame) => frame),
          interrupt,
        ),
      ).toEqual(forth)
      const back = plainFrame(length, { to: '52:54:0:0:0:2', from: '52:54:0:0:0:1', seed: seed + 10 })
      await guest.send(back)
      await machine.run(
        until(() => received.length > 0),
        interrupt,
      )
      expect(received.shift()).toEqual(back)
    }
  })
})
