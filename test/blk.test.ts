/** The block device, request by request. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { Blk, type BlkBackend, type Done, OverlayBackend, RamBackend, ZeroBackend } from 'virtgen/devices/blk'
import { BlkDriver } from 'virtgen/driver/blk'
import { GuestMemory, RequestError, restoreDevice, StateError, saveDevice } from 'virtgen/runtime'
import { type ChainSpec, chain, forgedChains, TestMemory, testDevice, testMachine } from 'virtgen/testing'
import {
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_GEOMETRY,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SECURE_ERASE,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_SECURE_ERASE,
  VIRTIO_BLK_T_WRITE_ZEROES,
  VIRTIO_BLK_T_ZONE_REPORT,
  VirtioBlkConfig,
} from 'virtgen/wire/blk'
import { describe, expect, it } from 'vitest'
import { header, pattern, plainChain, readChain, sectorBytes, segmentsChain, writeChain } from './support/blk.ts'

const formats = [{ packed: false }, { packed: true }]
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Answers when it is told to, and writes down what it is asked. */
class Slow implements BlkBackend {
  readonly log: string[] = []
  readonly size = 64 * sectorBytes
  readonly ram = new RamBackend(this.size)
  readonly #pending: { resolve: () => void; reject: (error: unknown) => void }[] = []

  read(position: number, into: readonly Uint8Array[]): Done {
    return this.#later(`read ${position / sectorBytes}`, () => this.ram.read(position, into))
  }
  write(position: number, from: readonly Uint8Array[]): Done {
    return this.#later(`write ${position / sectorBytes}`, () => this.ram.write(position, from))
  }
  flush(): Done {
    return this.#later('flush', () => {})
  }
  #later(what: string, work: () => void): Promise<void> {
    this.log.push(what)
    return new Promise<void>((resolve, reject) => this.#pending.push({ resolve, reject })).then(work)
  }
  get pending(): number {
    return this.#pending.length
  }
  async finish(index = 0, error?: unknown): Promise<void> {
    const [{ resolve, reject }] = this.#pending.splice(index, 1) as [{ resolve: () => void; reject: (error: unknown) => void }]
    if (error === undefined) resolve()
    else reject(error)
    await tick()
  }
}

const statusOf = async (request: Promise<{ writable: Uint8Array }>): Promise<number> => (await request).writable.at(-1)!

describe.each(formats)('a disk (packed: $packed)', (rings) => {
  it('reads and writes sectors, in buffers of any lengths', async () => {
    const disk = testDevice(new Blk(new RamBackend(pattern(8))), rings)
    const bytes = pattern(2, 99)
    expect(await statusOf(disk.request(writeChain(3, bytes.subarray(0, 1), bytes.subarray(1, 700), bytes.subarray(700))))).toBe(VIRTIO_BLK_S_OK)
    const used = await disk.request(readChain(2, 3, 1021, 1024))
    expect(used.bytes).toEqual(Uint8Array.of(...pattern(8).subarray(1024, 1536), ...bytes, ...pattern(8).subarray(2560, 3072), VIRTIO_BLK_S_OK))
    disk.recorder.expectWritesCoverChanges(disk.memory)
    disk.memory.checkGuards()
  })

  it('refuses what does not lie in it, however large the numbers are', async () => {
    const ram = new RamBackend(pattern(8))
    const disk = testDevice(new Blk(ram), rings)
    for (const sector of [7, 8, 2 ** 32, 2 ** 44, 2 ** 53 - 1]) {
      expect(await statusOf(disk.request(readChain(sector, 1024)))).toBe(VIRTIO_BLK_S_IOERR)
      expect(await statusOf(disk.request(writeChain(sector, new Uint8Array(1024))))).toBe(VIRTIO_BLK_S_IOERR)
    }
    const far = header(0)
    new DataView(far.buffer).setBigUint64(8, 2n ** 64n - 1n, true)
    expect(await statusOf(disk.request(chain().readable(far).writable(512).writable(1)))).toBe(VIRTIO_BLK_S_IOERR)
    expect(ram.bytes).toEqual(pattern(8))
    expect(await statusOf(disk.request(readChain(6, 1024)))).toBe(VIRTIO_BLK_S_OK)
    expect(disk.recorder.violations).toEqual([])
  })

  it('has no sectors where there are none', async () => {
    const disk = testDevice(new Blk(new RamBackend(511)), rings)
    expect(disk.device.capacity).toBe(0)
    expect(await statusOf(disk.request(readChain(0, 512)))).toBe(VIRTIO_BLK_S_IOERR)
    expect(await statusOf(disk.request(readChain(0)))).toBe(VIRTIO_BLK_S_OK)
  })

  it('refuses parts of sectors', async () => {
    const disk = testDevice(new Blk(new RamBackend(4096)), rings)
    expect(await statusOf(disk.request(readChain(0, 511)))).toBe(VIRTIO_BLK_S_IOERR)
  })

  it('tells its serial', async () => {
    const disk = testDevice(new Blk(new RamBackend(512), { serial: 'disk 7' }), rings)
    const used = await disk.request(chain().readable(header(VIRTIO_BLK_T_GET_ID)).writable(20).writable(1))
    expect([new TextDecoder().decode(used.bytes.subarray(0, 20)), used.bytes[20]]).toEqual(['disk 7'.padEnd(20, '\0'), VIRTIO_BLK_S_OK])
  })

  it('knows no zones', async () => {
    const disk = testDevice(new Blk(new RamBackend(512)), rings)
    expect(await statusOf(disk.request(plainChain(VIRTIO_BLK_T_ZONE_REPORT)))).toBe(VIRTIO_BLK_S_UNSUPP)
  })

  it('fills ranges with zeroes, erases and discards them', async () => {
    const ram = new RamBackend(pattern(8))
    const overlay = new OverlayBackend(ram, { clusterSize: 1024 })
    const disk = testDevice(new Blk(overlay), rings)
    const status = await statusOf(
      disk.request(segmentsChain(VIRTIO_BLK_T_WRITE_ZEROES, { sector: 1, sectors: 1 }, { sector: 3, sectors: 3, flags: 1 })),
    )
    expect(status).toBe(VIRTIO_BLK_S_OK)
    expect(await statusOf(disk.request(segmentsChain(VIRTIO_BLK_T_DISCARD, { sector: 6, sectors: 2 })))).toBe(VIRTIO_BLK_S_OK)
    const expected = pattern(8)
    for (const [from, to] of [
      [1, 2],
      [3, 6],
      [6, 8],
    ] as const)
      expected.fill(0, from * sectorBytes, to * sectorBytes)
    expect((await disk.request(readChain(0, 4096))).bytes.subarray(0, 4096)).toEqual(expected)
    expect(ram.bytes).toEqual(pattern(8))

    const erased = testDevice(new Blk(ram), rings)
    expect(await statusOf(erased.request(segmentsChain(VIRTIO_BLK_T_SECURE_ERASE, { sector: 7, sectors: 1 })))).toBe(VIRTIO_BLK_S_OK)
    expect(ram.bytes.subarray(3584).every((byte) => byte === 0)).toBe(true)
  })

  it('answers flags that it does not know, and unmap where it is not allowed, with UNSUPP', async () => {
    const ram = new RamBackend(pattern(8))
    const disk = testDevice(new Blk(new OverlayBackend(ram)), rings)
    for (const flags of [2, 3, 0x8000_0000]) {
      const chain = segmentsChain(VIRTIO_BLK_T_WRITE_ZEROES, { sector: 0, sectors: 1 }, { sector: 0, sectors: 1, flags })
      expect(await statusOf(disk.request(chain))).toBe(VIRTIO_BLK_S_UNSUPP)
    }
    expect(await statusOf(disk.request(segmentsChain(VIRTIO_BLK_T_DISCARD, { sector: 0, sectors: 1, flags: 1 })))).toBe(VIRTIO_BLK_S_UNSUPP)
    expect((await disk.request(readChain(0, 512))).bytes.subarray(0, 512)).toEqual(pattern(1))
  })

  it.each([
    [
      'behind the end',
      [
        { sector: 0, sectors: 1 },
        { sector: 7, sectors: 2 },
      ],
    ],
    ['far behind the end', [{ sector: 2 ** 53 - 1, sectors: 2 ** 32 - 1 }]],
    ['longer than max_write_zeroes_sectors', [{ sector: 0, sectors: 5 }]],
    ['more segments than max_write_zeroes_seg', Array.from({ length: 4 }, () => ({ sector: 0, sectors: 1 }))],
    ['no segment', []],
  ])('refuses ranges: %s', async (_, segments) => {
    const ram = new RamBackend(pattern(8))
    const disk = testDevice(new Blk(ram, { writeZeroes: { sectors: 4, segments: 3 } }), rings)
    expect(await statusOf(disk.request(segmentsChain(VIRTIO_BLK_T_WRITE_ZEROES, ...segments)))).toBe(VIRTIO_BLK_S_IOERR)
    expect(ram.bytes).toEqual(pattern(8))
  })

  it('serves requests side by side, and completes them as they are done', async () => {
    const slow = new Slow()
    const disk = testDevice(new Blk(slow), rings)
    const order: number[] = []
    const requests = [0, 1, 2].map((sector) => disk.request(readChain(sector, 512)).then(() => order.push(sector)))
    expect(slow.log).toEqual(['read 0', 'read 1', 'read 2'])
    await slow.finish(2)
    await slow.finish(0)
    await slow.finish(0)
    await Promise.all(requests)
    expect(order).toEqual([2, 0, 1])
  })

  it('has no more at work than it is allowed to', async () => {
    const slow = new Slow()
    const disk = testDevice(new Blk(slow, { atOnce: 2 }), rings)
    const requests = [0, 1, 2, 3].map((sector) => disk.request(readChain(sector, 512)))
    expect(slow.log).toEqual(['read 0', 'read 1'])
    await slow.finish(1)
    expect(slow.log).toEqual(['read 0', 'read 1', 'read 2'])
    for (let i = 0; i < 3; i++) await slow.finish()
    expect(await Promise.all(requests.map(statusOf))).toEqual([0, 0, 0, 0])
  })
})

describe('features', () => {
  const bare: BlkBackend = { size: 4096, read: () => {}, write: () => {} }
  it('are those of the storage', () => {
    expect(new Blk(bare).offered.bits).toEqual([VIRTIO_BLK_F_SEG_MAX])
    expect(new Blk(new ZeroBackend(512)).offered).toEqual(
      FeatureSet.of(VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_WRITE_ZEROES),
    )
    expect(new Blk(new RamBackend(512)).offered.has(VIRTIO_BLK_F_SECURE_ERASE)).toBe(true)
    expect(new Blk(new RamBackend(512), { readOnly: true }).offered).toEqual(FeatureSet.of(VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_FLUSH))
    expect(new Blk(new ZeroBackend(512), { discard: false, writeZeroes: false }).offered.has(VIRTIO_BLK_F_DISCARD)).toBe(false)
  })

  it('come with their configuration', () => {
    const device = new Blk(new OverlayBackend(new ZeroBackend(10_000), { clusterSize: 4096 }), {
      queues: 4,
      queueSize: 128,
      sizeMax: 65_536,
      blockSize: 4096,
      topology: { physical_block_exp: 1, opt_io_size: 16 },
      geometry: { cylinders: 2, heads: 3, sectors: 4 },
      cache: 'writethrough',
      discard: { sectors: 100 },
    })
    const asked = FeatureSet.of(VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_SIZE_MAX, VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_TOPOLOGY, VIRTIO_BLK_F_GEOMETRY)
    expect(asked.isSubsetOf(device.offered)).toBe(true)
    expect(device.queueSizes).toEqual([128, 128, 128, 128])
    expect(VirtioBlkConfig.decode(device.config.bytes)).toMatchObject({
      capacity: 16, // whole blocks of 4096 bytes
      size_max: 65_536,
      seg_max: 126,
      geometry: { cylinders: 2, heads: 3, sectors: 4 },
      blk_size: 4096,
      topology: { physical_block_exp: 1, alignment_offset: 0, min_io_size: 0, opt_io_size: 16 },
      writeback: 0,
      num_queues: 4,
      max_discard_sectors: 100,
      max_discard_seg: 16,
      discard_sector_alignment: 8,
      max_write_zeroes_sectors: 32_768,
      write_zeroes_may_unmap: 1,
    })
  })

  it.each([
    { queues: 0 },
    { queueSize: 2 },
    { segMax: 0 },
    { segMax: 255 },
    { sizeMax: 0 },
    { blockSize: 1000 },
    { blockSize: 256 },
    { serial: 'x'.repeat(21) },
    { serial: 'é' },
    { atOnce: 0 },
    { discard: { segments: 0 } },
    { copySize: 0 },
    { copySize: 1000 },
    { geometry: { cylinders: 70_000, heads: 1, sectors: 1 } },
  ])('cannot be %o', (options) => {
    expect(() => new Blk(new ZeroBackend(4096), options)).toThrow(RangeError)
  })

  it('have no cache mode that does not exist: a slip of the pen must not make writes volatile', () => {
    const options = { cache: 'writethrough ' as 'writethrough' }
    expect(() => new Blk(new ZeroBackend(4096), options)).toThrow('cache must be writethrough or writeback, not "writethrough "')
  })
})

describe('a disk that is only read', () => {
  it.each([
    new Blk(new RamBackend(pattern(2)), { readOnly: true }),
    new Blk({ size: 1024, readOnly: true, read: () => {}, write: () => expect.fail() }),
  ])('writes nothing', async (device) => {
    const disk = testDevice(device)
    expect(await statusOf(disk.request(writeChain(0, new Uint8Array(512))))).toBe(VIRTIO_BLK_S_IOERR)
    expect(await statusOf(disk.request(segmentsChain(VIRTIO_BLK_T_WRITE_ZEROES, { sector: 0, sectors: 1 })))).toBe(VIRTIO_BLK_S_UNSUPP)
    expect(await statusOf(disk.request(readChain(0, 512)))).toBe(VIRTIO_BLK_S_OK)
  })
})

describe('the cache', () => {
  /** Counts flushes. */
  class Counted extends RamBackend {
    flushes = 0
    override flush(): void {
      this.flushes++
    }
  }
  const flush = plainChain(VIRTIO_BLK_T_FLUSH)

  it('is flushed when the driver says so, where it has accepted that', async () => {
    const ram = new Counted(4096)
    const disk = testDevice(new Blk(ram), { features: [VIRTIO_BLK_F_FLUSH] })
    await disk.request(writeChain(0, new Uint8Array(512)))
    expect(ram.flushes).toBe(0)
    expect(await statusOf(disk.request(flush))).toBe(VIRTIO_BLK_S_OK)
    expect(ram.flushes).toBe(1)
  })

  it('is flushed also where the driver includes data, which it only SHOULD NOT', async () => {
    const ram = new Counted(4096)
    const disk = testDevice(new Blk(ram), { features: [VIRTIO_BLK_F_FLUSH] })
    const withData = chain().readable(header(VIRTIO_BLK_T_FLUSH)).readable(new Uint8Array(512)).writable(1)
    expect(await statusOf(disk.request(withData))).toBe(VIRTIO_BLK_S_OK)
    expect(ram.flushes).toBe(1)
  })

  it('is flushed with each write of a driver that has not', async () => {
    const ram = new Counted(4096)
    const disk = testDevice(new Blk(ram), { features: [] })
    await disk.request(writeChain(0, new Uint8Array(512)))
    await disk.request(readChain(0, 512))
    expect(ram.flushes).toBe(1)
  })

  it('follows what the driver writes to the configuration, and is as before after a reset', async () => {
    const ram = new Counted(4096)
    const disk = testDevice(new Blk(ram))
    const at = VirtioBlkConfig.offsetOf.writeback
    expect(disk.control.readConfig(at, 1)).toBe(1)
    disk.control.writeConfig(at, 1, 0)
    await disk.request(writeChain(0, new Uint8Array(512)))
    expect(ram.flushes).toBe(1)
    disk.control.writeConfig(at, 1, 1)
    await disk.request(writeChain(0, new Uint8Array(512)))
    expect(ram.flushes).toBe(1)
    disk.control.writeConfig(at, 1, 0)
    await disk.reset()
    expect(disk.control.readConfig(at, 1)).toBe(1)
    expect(disk.recorder.configChanges).toBe(0)
  })

  it('writes through where the driver chose to control it, but cannot flush', async () => {
    const ram = new Counted(4096)
    const disk = testDevice(new Blk(ram), { features: [VIRTIO_BLK_F_CONFIG_WCE] })
    expect(disk.control.readConfig(VirtioBlkConfig.offsetOf.writeback, 1)).toBe(0)
    await disk.request(writeChain(0, new Uint8Array(512)))
    expect(ram.flushes).toBe(1)
  })

  it('is flushed before a write is complete, and a write that cannot be made stable fails', async () => {
    const slow = new Slow()
    const disk = testDevice(new Blk(slow, { cache: 'writethrough' }))
    const first = disk.request(writeChain(0, new Uint8Array(512)))
    await slow.finish()
    expect([slow.log, disk.recorder.notifications]).toEqual([['write 0', 'flush'], 0])
    await slow.finish()
    expect(await statusOf(first)).toBe(VIRTIO_BLK_S_OK)
    const second = disk.request(writeChain(0, new Uint8Array(512)))
    await slow.finish()
    await slow.finish(0, new Error('power'))
    expect(await statusOf(second)).toBe(VIRTIO_BLK_S_IOERR)
  })
})

describe('a storage that fails', () => {
  const errors: unknown[] = []
  const failing = (fail: () => Done): BlkBackend => ({ size: 4096, synchronous: true, read: fail, write: fail, flush: fail, writeZeroes: fail })
  it.each([
    [
      'throws',
      () => {
        throw new Error('bad sector')
      },
    ],
    ['rejects', () => Promise.reject(new Error('bad sector'))],
  ])('and %s: the request fails, and the next one is served', async (_, fail) => {
    errors.length = 0
    const disk = testDevice(new Blk(failing(fail as () => Done), { onError: (error) => errors.push(error) }))
    const requests: ChainSpec[] = [
      readChain(0, 512),
      writeChain(0, new Uint8Array(512)),
      plainChain(VIRTIO_BLK_T_FLUSH),
      segmentsChain(VIRTIO_BLK_T_WRITE_ZEROES, { sector: 0, sectors: 1 }),
    ]
    for (const request of requests) expect(await statusOf(disk.request(request))).toBe(VIRTIO_BLK_S_IOERR)
    expect(errors.map(String)).toEqual(requests.map(() => 'Error: bad sector'))
    expect(disk.needsReset).toBe(false)
  })

  it('in the middle of a read says nothing of what it has read', async () => {
    const half: BlkBackend = {
      size: 4096,
      synchronous: true,
      read: (_, [first]) => {
        first?.fill(1)
        throw new Error('the rest')
      },
      write: () => {},
    }
    const disk = testDevice(new Blk(half))
    const used = await disk.request(readChain(0, 512, 512))
    expect([used.written, used.writable.at(-1)]).toEqual([1, VIRTIO_BLK_S_IOERR])
    disk.recorder.expectWritesCoverChanges(disk.memory)
  })
})

describe('a reset', () => {
  it.each(formats)('waits for writes, forgets what waits, and begins anew (packed: $packed)', async (rings) => {
    const slow = new Slow()
    const disk = testDevice(new Blk(slow, { atOnce: 2 }), rings)
    const requests = [0, 1, 2].map((sector) => disk.request(writeChain(sector, pattern(1))))
    const rejected = Promise.allSettled(requests)
    let over = false
    const reset = disk.reset().then(() => (over = true))
    await slow.finish()
    expect(over).toBe(false)
    await slow.finish()
    await reset
    expect((await rejected).every(({ status }) => status === 'rejected')).toBe(true)
    // The third one was never begun.
    expect(slow.log).toEqual(['write 0', 'write 1'])
    disk.start()
    const read = disk.request(readChain(0, 512))
    await slow.finish()
    expect((await read).bytes.subarray(0, 512)).toEqual(pattern(1))
    expect(disk.recorder.violations).toEqual([])
  })

  it('of one queue leaves the other alone', async () => {
    const slow = new Slow()
    const disk = testDevice(new Blk(slow, { queues: 2, atOnce: 1 }))
    const other = disk.request(writeChain(0, pattern(1)), 1)
    void disk.request(writeChain(1, pattern(1)), 0).catch(() => {})
    const kept = disk.request(writeChain(2, pattern(1)), 1)
    disk.control.setQueueReady(0, false)
    await tick()
    expect(disk.control.queueReady(0)).toBe(false)
    await slow.finish()
    await slow.finish()
    expect([await statusOf(other), await statusOf(kept), slow.log]).toEqual([0, 0, ['write 0', 'write 2']])
  })
})

describe('memory of the guest', () => {
  /** A memory that moves whenever it is told to, as that of WebAssembly does. */
  function moving() {
    const memory = new TestMemory()
    const source = { buffer: new ArrayBuffer(0x1_0000) as ArrayBuffer }
    memory.replace([{ guestAddress: 0, size: 0x1_0000, source }])
    return { memory, move: () => (source.buffer = source.buffer.slice(0)) }
  }

  it('is given to a storage in place where it stays', async () => {
    const given: Uint8Array[] = []
    const backend: BlkBackend = { size: 4096, read: async (_, into) => void given.push(...into), write: () => {} }
    const disk = testDevice(new Blk(backend))
    await disk.request(readChain(0, 512, 1024))
    expect(given.map((piece) => [piece.length, piece.buffer === disk.memory.buffer])).toEqual([
      [512, true],
      [1024, true],
    ])
  })

  it('may move while a storage is at work: it gets copies, piece by piece', async () => {
    const ram = new RamBackend(pattern(8))
    const calls: number[] = []
    const { memory, move } = moving()
    const backend: BlkBackend = {
      size: ram.size,
      async read(position, into) {
        calls.push(position)
        move()
        await tick()
        ram.read(position, into)
        move()
      },
      async write(position, from) {
        await tick()
        move()
        ram.write(position, from)
      },
    }
    expect([GuestMemory.of(new Uint8Array(8)).mayMove, memory.mayMove]).toEqual([false, true])
    const disk = testDevice(new Blk(backend, { copySize: 1024 }), { memory })
    const used = await disk.request(readChain(1, 700, 1860))
    expect(used.bytes.subarray(0, 2560)).toEqual(pattern(8).subarray(512, 3072))
    expect(calls).toEqual([512, 1536, 2560])
    expect(await statusOf(disk.request(writeChain(0, pattern(3, 5), pattern(2, 50))))).toBe(VIRTIO_BLK_S_OK)
    expect(ram.bytes.subarray(0, 2560)).toEqual(Uint8Array.of(...pattern(3, 5), ...pattern(2, 50)))
  })

  it('that moves is written and read no more after a reset, which waits for what changes the storage', async () => {
    const slow = new Slow()
    const { memory } = moving()
    const disk = testDevice(new Blk(slow, { copySize: 512 }), { memory })
    for (const request of [writeChain(0, pattern(2)), readChain(8, 1024)]) void disk.request(request).catch(() => {})
    memory.poke(0x8000, Uint8Array.of(1))
    let over = false
    const reset = disk.reset().then(() => (over = true))
    await tick()
    expect(over).toBe(false)
    await slow.finish()
    await reset
    const before = [...memory.peek(0, 0x1_0000)]
    await slow.finish()
    // Of each, the first half had been begun.
    expect([slow.log, slow.pending]).toEqual([['write 0', 'read 8'], 0])
    expect([...memory.peek(0, 0x1_0000)]).toEqual(before)
  })

  it('that moves is given in place to a storage that is done at once', async () => {
    const { memory, move } = moving()
    const disk = testDevice(new Blk(new RamBackend(pattern(8))), { memory })
    for (let i = 0; i < 3; i++) {
      move()
      expect((await disk.request(readChain(i, 512))).bytes.subarray(0, 512)).toEqual(pattern(8).subarray(i * 512, i * 512 + 512))
    }
  })
})

describe('the size', () => {
  it('changes while the driver looks', async () => {
    const ram = new RamBackend(4096)
    const { device, driver, recorder } = await testMachine(new Blk(ram), BlkDriver)
    await expect(driver.read({ sector: 8 }, 512)).rejects.toThrow(RequestError)
    ram.resize(8192)
    device.updateCapacity()
    device.updateCapacity()
    expect(recorder.notifications).toBeGreaterThan(0)
    expect(driver.config.capacity).toBe(16)
    expect((await driver.read({ sector: 15 }, 512)).data).toEqual(new Uint8Array(512))
    ram.resize(512)
    await expect(driver.read({ sector: 1 }, 512)).rejects.toThrow('VIRTIO_BLK_S_IOERR')
    device.updateCapacity()
    expect(driver.config.capacity).toBe(1)
  })
})

describe('a saved state', () => {
  it('goes on elsewhere, with what was at work', async () => {
    const slow = new Slow()
    const disk = testDevice(new Blk(slow))
    disk.control.writeConfig(VirtioBlkConfig.offsetOf.writeback, 1, 0)
    void disk.request(writeChain(5, pattern(1, 3))).catch(() => {})
    const state = JSON.parse(JSON.stringify(saveDevice(disk.control)))

    const ram = new RamBackend(64 * sectorBytes)
    const copy = testDevice(new Blk(ram), { memory: disk.memory })
    await copy.reset()
    restoreDevice(copy.control, state)
    await tick()
    expect(ram.bytes.subarray(5 * 512, 6 * 512)).toEqual(pattern(1, 3))
    expect(copy.control.readConfig(VirtioBlkConfig.offsetOf.writeback, 1)).toBe(0)
    expect(copy.device.capacity).toBe(64)
  })

  it('is refused by a disk that is smaller', async () => {
    const state = saveDevice(testDevice(new Blk(new RamBackend(4096))).control)
    const small = testDevice(new Blk(new RamBackend(2048)))
    await small.reset()
    expect(() => restoreDevice(small.control, state)).toThrow(StateError)
    expect(VirtioBlkConfig.decode(small.device.config.bytes).capacity).toBe(4)
  })
})

const forged = forgedChains.filter(({ violation, before }) => violation.split !== undefined && before === undefined)
it.each(forged)('finds $title', ({ forge, violation, needs }) => {
  const disk = testDevice(new Blk(new RamBackend(4096)), { size: 8, ...needs })
  forge(disk.driver())
  expect(disk.recorder.violations).toMatchObject([{ kind: violation.split, queue: 0 }])
  expect([disk.needsReset, disk.recorder.errors]).toEqual([true, []])
  disk.memory.checkGuards()
})
