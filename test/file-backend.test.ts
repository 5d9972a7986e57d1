/** A disk in a file: what the driver writes is there, by both ways of calling the system. */
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Blk, OverlayBackend } from 'virtgen/devices/blk'
import { BlkDriver } from 'virtgen/driver/blk'
import { FileBackend } from 'virtgen/node'
import { TestMemory, testDevice, testMachine } from 'virtgen/testing'
import { VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_WRITE_ZEROES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK } from 'virtgen/wire/blk'
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { pattern, readChain, writeChain } from './support/blk.ts'

const folder = fs.mkdtempSync(join(tmpdir(), 'virtgen-file-'))
const path = join(folder, 'disk.img')
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
let open: FileBackend[] = []

function file(options: ConstructorParameters<typeof FileBackend>[1] = {}, content = pattern(64)): FileBackend {
  fs.writeFileSync(path, content)
  const backend = new FileBackend(path, options)
  open.push(backend)
  return backend
}

beforeEach(() => {
  open = []
})
afterEach(() => {
  for (const backend of open) backend.close()
  vi.restoreAllMocks()
})
afterAll(() => fs.rmSync(folder, { recursive: true }))

describe.each([{ asynchronous: false }, { asynchronous: true }])('a file (asynchronous: $asynchronous)', (options) => {
  it('is what the driver reads and writes', async () => {
    const backend = file(options)
    const { driver } = await testMachine(new Blk(backend), BlkDriver)
    expect(sha256((await driver.read({ sector: 0 }, 64 * 512)).data)).toBe(sha256(pattern(64)))
    const writes = Array.from({ length: 16 }, (_, i) => driver.write({ sector: i * 4 }, pattern(4, 100 + i)))
    await Promise.all(writes)
    await driver.flush({})
    const expected = Uint8Array.from(Array.from({ length: 16 }, (_, i) => [...pattern(4, 100 + i)]).flat())
    expect(sha256(fs.readFileSync(path))).toBe(sha256(expected))
    await driver.writeZeroes({ segments: [{ sector: 1, num_sectors: 62, flags: { unmap: 1 } }] })
    expect(fs.readFileSync(path).equals(Buffer.from(expected.fill(0, 512, 63 * 512)))).toBe(true)
  })

  it('is read and written in pieces of any lengths, more of them than the system takes at once', async () => {
    const backend = file(options, pattern(16))
    const disk = testDevice(new Blk(backend, { queueSize: 4096 }), { size: 4096, maxChainLength: 4096 })
    const lengths = Array.from({ length: 2048 }, (_, i) => (i % 2 === 0 ? 1 : 3))
    const used = await disk.request(readChain(4, ...lengths))
    expect(sha256(used.bytes.subarray(0, 4096))).toBe(sha256(pattern(16).subarray(2048, 2048 + 4096)))
    const buffers = lengths.map((length, i) => pattern(8, 77).subarray(2 * i - (i % 2), 2 * i - (i % 2) + length))
    expect((await disk.request(writeChain(1, ...buffers))).bytes[0]).toBe(VIRTIO_BLK_S_OK)
    expect(
      fs
        .readFileSync(path)
        .subarray(512, 512 + 4096)
        .equals(Buffer.from(pattern(8, 77))),
    ).toBe(true)
  })

  it('is read into shared memory as well', async () => {
    const memory = new TestMemory()
    memory.replace([{ guestAddress: 0, size: 0x1_0000, source: new Uint8Array(new SharedArrayBuffer(0x1_0000)) }])
    const disk = testDevice(new Blk(file(options)), { memory })
    expect((await disk.request(readChain(5, 1024))).bytes.subarray(0, 1024)).toEqual(pattern(64).subarray(5 * 512, 7 * 512))
    expect((await disk.request(writeChain(0, pattern(1, 9)))).bytes[0]).toBe(VIRTIO_BLK_S_OK)
    expect(
      fs
        .readFileSync(path)
        .subarray(0, 512)
        .equals(Buffer.from(pattern(1, 9))),
    ).toBe(true)
  })

  it('that is shorter than it was says so with an error', async () => {
    const backend = file(options)
    const errors: unknown[] = []
    const disk = testDevice(new Blk(backend, { onError: (error) => errors.push(error) }))
    fs.truncateSync(path, 1000)
    expect((await disk.request(readChain(0, 1024))).writable.at(-1)).toBe(VIRTIO_BLK_S_IOERR)
    expect((await disk.request(readChain(0, 512))).writable.at(-1)).toBe(VIRTIO_BLK_S_OK)
    expect(errors.map(String)).toEqual(['Error: the file ends before the disk does, or has no room'])
  })

  it('that is closed says so with an error', async () => {
    const backend = file(options)
    const disk = testDevice(new Blk(backend))
    backend.close()
    backend.close()
    expect((await disk.request(readChain(0, 512))).writable.at(-1)).toBe(VIRTIO_BLK_S_IOERR)
  })

  it('gets larger', async () => {
    const backend = file(options)
    const { device, driver } = await testMachine(new Blk(backend), BlkDriver)
    backend.resize(128 * 512)
    device.updateCapacity()
    expect(driver.config.capacity).toBe(128)
    await driver.write({ sector: 127 }, pattern(1, 5))
    expect(fs.statSync(path).size).toBe(128 * 512)
  })

  it('lies under overlays, and stays as it is', async () => {
    const backend = file({ ...options, readOnly: true })
    const disks = [1, 2].map(() => new Blk(new OverlayBackend(backend, { clusterSize: 2048 })))
    const machines = await Promise.all(disks.map((disk) => testMachine(disk, BlkDriver)))
    await Promise.all(machines.map(({ driver }, i) => driver.write({ sector: 3 }, pattern(2, 50 + i))))
    for (const [i, { driver }] of machines.entries()) {
      const expected = pattern(64)
      expected.set(pattern(2, 50 + i), 3 * 512)
      expect(sha256((await driver.read({ sector: 0 }, 64 * 512)).data)).toBe(sha256(expected))
    }
    expect(sha256(fs.readFileSync(path))).toBe(sha256(pattern(64)))
  })
})

describe('a file', () => {
  it('has no holes punched by Node, so no discard is offered', () => {
    const { offered, config } = new Blk(file())
    expect([offered.has(VIRTIO_BLK_F_DISCARD), offered.has(VIRTIO_BLK_F_WRITE_ZEROES)]).toEqual([false, true])
    expect(config.fields?.write_zeroes_may_unmap).toBe(0)
  })

  it('that is only read', async () => {
    const backend = file({ readOnly: true })
    const disk = testDevice(new Blk(backend))
    expect(disk.device.offered.has(VIRTIO_BLK_F_RO)).toBe(true)
    expect((await disk.request(writeChain(0, pattern(1)))).writable.at(-1)).toBe(VIRTIO_BLK_S_IOERR)
    expect((await disk.request(readChain(0, 512))).bytes.subarray(0, 512)).toEqual(pattern(1))
  })

  it('is made where a size is given', () => {
    const made = new FileBackend(join(folder, 'new.img'), { size: 1 << 20 })
    expect([made.size, fs.statSync(join(folder, 'new.img')).size]).toEqual([1 << 20, 1 << 20])
    made.close()
    const part = new FileBackend(join(folder, 'new.img'), { size: 4096 })
    expect([part.size, fs.statSync(join(folder, 'new.img')).size]).toEqual([4096, 1 << 20])
    part.close()
    expect(() => new FileBackend(join(folder, 'none.img'))).toThrow('ENOENT')
  })

  it('of a size that cannot be is not made', () => {
    const path = join(folder, 'never.img')
    for (const size of [-1, 0.5, Number.NaN]) expect(() => new FileBackend(path, { size })).toThrow(RangeError)
    expect(fs.existsSync(path)).toBe(false)
  })

  it('that is none must say how long it is', () => {
    expect(() => new FileBackend('/dev/zero')).toThrow(RangeError)
    const zero = new FileBackend('/dev/zero', { size: 1 << 20, readOnly: true })
    expect(new Blk(zero).capacity).toBe(2048)
    zero.close()
  })
})
