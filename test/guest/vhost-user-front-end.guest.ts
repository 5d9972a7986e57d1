/** Our drivers on devices that are not ours: the disk of qemu-storage-daemon, the network card of DPDK. No guest is needed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { BlkDriver } from 'virtgen/driver/blk'
import { NetDriver } from 'virtgen/driver/net'
import { connectVhostUser, type VhostUserDriverConnection } from 'virtgen/linux'
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKED } from 'virtgen/wire/content'
import { VIRTIO_NET_F_MRG_RXBUF } from 'virtgen/wire/net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { echoingBackEnd } from './vhost-user/dpdk.ts'
import { sha256 } from './vhost-user/files.ts'
import { because, noPeers, noStorageDaemon } from './vhost-user/skipped.ts'

const sector = 512
const blockSize = 65_536

let folder: string
let image: string
let daemon: ChildProcess | undefined
let connection: VhostUserDriverConnection<BlkDriver | NetDriver> | undefined

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtgen-front-end-'))
  image = join(folder, 'disk.img')
  writeFileSync(image, new Uint8Array(8 * 2 ** 20))
})
afterEach(async () => {
  await connection?.close().catch(() => {})
  connection = undefined
  await ended('SIGKILL')
  rmSync(folder, { recursive: true })
})

/** Ends the daemon. */
async function ended(signal: NodeJS.Signals): Promise<void> {
  const process = daemon
  daemon = undefined
  if (process === undefined || process.exitCode !== null || process.signalCode !== null) return
  const exit = new Promise((resolve) => process.once('exit', resolve))
  process.kill(signal)
  await exit
}

/** Serves the image, and says where. */
async function served(queues = 1): Promise<string> {
  const [socket, monitor] = [join(folder, 'disk.sock'), join(folder, 'monitor.sock')]
  for (const path of [socket, monitor]) rmSync(path, { force: true })
  daemon = spawn(
    'qemu-storage-daemon',
    [
      ...['--blockdev', `driver=file,filename=${image},node-name=disk`],
      ...['--chardev', `socket,id=monitor,path=${monitor},server=on,wait=off`, '--monitor', 'chardev=monitor'],
      ...['--export', `type=vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path=${socket},writable=on,num-queues=${queues}`],
    ],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  )
  await expect.poll(() => existsSync(socket) && existsSync(monitor), { timeout: 10_000 }).toBe(true)
  return socket
}

/** One command of QMP. */
function command(execute: string, values: object): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(join(folder, 'monitor.sock'))
    let text = ''
    socket.on('error', reject)
    socket.on('data', (chunk) => {
      text += chunk
      if (!text.includes('"return": {}}\r\n')) return
      if (text.split('"return": {}').length === 3) {
        socket.end()
        resolve()
      } else socket.write(`${JSON.stringify({ execute, arguments: values })}\n`)
      if (text.includes('"error"')) reject(new Error(text))
    })
    socket.write(`${JSON.stringify({ execute: 'qmp_capabilities' })}\n`)
  })
}

async function written(driver: BlkDriver, data: Uint8Array, queue: (i: number) => number = () => 0): Promise<void> {
  const blocks = Array.from({ length: data.length / blockSize }, (_, i) => data.subarray(i * blockSize, (i + 1) * blockSize))
  await Promise.all(blocks.map((block, i) => driver.write({ sector: (i * blockSize) / sector }, block, queue(i))))
  await driver.flush()
}

async function read(driver: BlkDriver, length: number): Promise<Uint8Array> {
  const blocks = await Promise.all(Array.from({ length: length / blockSize }, (_, i) => driver.read({ sector: (i * blockSize) / sector }, blockSize)))
  return Buffer.concat(blocks.map(({ data }) => data))
}

describe.skipIf(noStorageDaemon !== undefined)(`our driver on qemu-storage-daemon${because(noStorageDaemon)}`, () => {
  it.each([1, 3])('writes blocks side by side, reads them back, and the file has the same SHA-256: %d queues', async (queues) => {
    const disk = await connectVhostUser(await served(queues), BlkDriver)
    connection = disk
    const { driver, frontend } = disk
    expect(driver.config.capacity).toBe(statSync(image).size / sector)
    expect(frontend.backEnd.queues).toBe(queues)
    const data = randomBytes(4 * 2 ** 20)
    await written(driver, data, (i) => i % queues)
    expect(sha256(await read(driver, data.length))).toBe(sha256(data))
    expect(sha256(readFileSync(image).subarray(0, data.length))).toBe(sha256(data))
    await driver.writeZeroes({ segments: [{ sector: 0, num_sectors: 128, flags: { unmap: 0 } }] })
    expect((await driver.read({ sector: 0 }, blockSize)).data.every((byte) => byte === 0)).toBe(true)
    await connection.close()
  })

  it('takes memory that comes and goes, and hears that the disk has grown', async () => {
    const disk = await connectVhostUser(await served(), BlkDriver)
    connection = disk
    const { driver, frontend } = disk
    const region = await frontend.addMemory(2 * blockSize)
    const memory = frontend.memory.allocator(region)
    const buffer = memory.allocate(blockSize)
    buffer.bytes.set(randomBytes(blockSize))
    const digest = sha256(buffer.bytes)
    await driver.write({ sector: 0 }, buffer)
    memory.free(buffer)
    await frontend.removeMemory(region)
    expect(sha256((await driver.read({ sector: 0 }, blockSize)).data)).toBe(digest)
    const grown = new Promise<void>((resolve) => driver.onConfigChange(resolve))
    await command('block_resize', { 'node-name': 'disk', size: 2 ** 24 })
    await grown
    expect(driver.config.capacity).toBe(2 ** 24 / sector)
  })

  it('fails what is out when it is killed, and a new connection finds all that was flushed', async () => {
    const data = randomBytes(2 ** 20)
    for (let round = 0; round < 3; round++) {
      const disk = await connectVhostUser(await served(), BlkDriver)
      connection = disk
      const { driver } = disk
      if (round > 0) expect(sha256(await read(driver, data.length))).toBe(sha256(data))
      data.set(randomBytes(blockSize), round * blockSize)
      await written(driver, data)
      const out = Array.from({ length: 30 }, () =>
        driver.read({ sector: 0 }, blockSize).then(
          () => 'done',
          ({ kind }) => kind,
        ),
      )
      await ended('SIGKILL')
      for (const kind of await Promise.all(out)) expect(['done', 'gone']).toContain(kind)
      await expect(driver.flush()).rejects.toMatchObject({ kind: 'gone' })
      await connection.close()
    }
  })
})

describe.skipIf(noPeers !== undefined)(`our driver on DPDK's network card${because(noPeers)}`, () => {
  it.each([
    ['split', FeatureSet.of(VIRTIO_NET_F_MRG_RXBUF)],
    ['packed', FeatureSet.of(VIRTIO_NET_F_MRG_RXBUF, VIRTIO_F_RING_PACKED)],
    ['packed with event indices', FeatureSet.of(VIRTIO_NET_F_MRG_RXBUF, VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX)],
  ])('gets back each frame that it sends, once and in order: %s', async (_, features) => {
    const path = join(folder, 'net.sock')
    const backEnd = await echoingBackEnd(path)
    try {
      const card = await connectVhostUser(path, NetDriver, { features })
      connection = card
      const { driver } = card
      expect(driver.host.features.has(VIRTIO_F_RING_PACKED)).toBe(features.has(VIRTIO_F_RING_PACKED))
      const frames = Array.from({ length: 2000 }, (__, i) => Buffer.alloc(64 + (i % 1000), i & 0xff))
      const received: Uint8Array[] = []
      driver.onPacket(({ packet }) => void received.push(packet.slice()))
      // Fewer on their way than there are buffers to receive: a card drops what does not fit.
      for (let at = 0; at < frames.length; at += 50) {
        await Promise.all(frames.slice(at, at + 50).map((frame) => driver.transmit({}, frame)))
        await expect.poll(() => received.length, { interval: 1, timeout: 5000 }).toBe(at + 50)
      }
      expect(received.every((frame, i) => Buffer.compare(frame, frames[i] as Buffer) === 0)).toBe(true)
      await card.close()
    } finally {
      await backEnd.end()
    }
  })
})
