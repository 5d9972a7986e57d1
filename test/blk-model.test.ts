/** Any requests, right and wrong, against a disk that is an array: every storage, both formats of rings, whatever the buffers look like. */

import fc from 'fast-check'
import { Blk, type BlkBackend, type BlkOptions, OverlayBackend, RamBackend, ZeroBackend } from 'virtgen/devices/blk'
import { RateLimiter } from 'virtgen/devices/rate-limiter'
import { type ChainDescription, chain, type TestDevice, TestMemory, testDevice } from 'virtgen/testing'
import {
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
  VirtioBlkConfig,
} from 'virtgen/wire/blk'
import { describe, expect, it } from 'vitest'
import { header, Later, pattern, sectorBytes, segmentsChain } from './support/blk.ts'

const sectors = 24

const ram = (): RamBackend => new RamBackend(pattern(sectors))
const storages: readonly { title: string; make: () => BlkBackend; options?: BlkOptions; moves?: boolean }[] = [
  { title: 'RAM', make: ram },
  { title: 'RAM, later', make: () => new Later(ram()), options: { atOnce: 2 } },
  { title: 'RAM, later, memory that moves', make: () => new Later(ram()), options: { copySize: 1024 }, moves: true },
  { title: 'an overlay over RAM', make: () => new OverlayBackend(ram(), { clusterSize: 2048 }) },
  { title: 'an overlay over RAM, later', make: () => new OverlayBackend(new Later(ram()), { clusterSize: 512 }) },
  {
    title: 'an overlay over an overlay that is longer than what is below',
    make: () => {
      const first = new OverlayBackend(new RamBackend(pattern(sectors).subarray(0, 10 * sectorBytes)), {
        clusterSize: 1024,
        size: sectors * sectorBytes,
      })
      first.write(10 * sectorBytes, [pattern(sectors).subarray(10 * sectorBytes)])
      return new OverlayBackend(first, { clusterSize: 4096 })
    },
  },
  { title: 'RAM, with a limit', make: ram, options: { limiter: new RateLimiter({ operations: { perSecond: 1e9 }, bytes: { perSecond: 1e9 } }) } },
]

/** Lengths of buffers. */
const pieces = fc.array(fc.integer({ min: 1, max: 1500 }), { maxLength: 4 })
const place = fc.record({ sector: fc.oneof(fc.integer({ min: 0, max: sectors }), fc.constant(2 ** 40)), count: fc.integer({ min: 0, max: 8 }) })
const step = fc.oneof(
  fc.record({ kind: fc.constant('read' as const), place, pieces, extra: fc.constantFrom(0, 0, 0, 1) }),
  fc.record({ kind: fc.constant('write' as const), place, pieces, seed: fc.integer({ min: 0, max: 255 }) }),
  fc.record({
    kind: fc.constantFrom('zeroes' as const, 'discard' as const),
    places: fc.array(place, { minLength: 1, maxLength: 3 }),
    unmap: fc.boolean(),
  }),
  fc.record({ kind: fc.constantFrom('flush' as const, 'through' as const, 'back' as const, 'reset' as const) }),
)
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

/** The disk as it should be; `known` where its bytes are, as those that were discarded may be anything. */
class Model {
  readonly bytes = pattern(sectors)
  readonly known = new Uint8Array(sectors * sectorBytes).fill(1)

  holds({ sector, count }: { sector: number; count: number }): boolean {
    return sector + count <= sectors
  }
  set(sector: number, bytes: Uint8Array): void {
    this.bytes.set(bytes, sector * sectorBytes)
    this.known.fill(1, sector * sectorBytes, sector * sectorBytes + bytes.length)
  }
  forget({ sector, count }: { sector: number; count: number }): void {
    this.known.fill(0, sector * sectorBytes, (sector + count) * sectorBytes)
  }
  expectAt(sector: number, found: Uint8Array): void {
    const start = sector * sectorBytes
    const expected = found.map((byte, i) => (this.known[start + i] === 1 ? (this.bytes[start + i] as number) : byte))
    expect(Buffer.from(found).equals(Buffer.from(expected))).toBe(true)
  }
}

function split(description: ChainDescription, length: number, lengths: readonly number[], add: (from: number, to: number) => void): ChainDescription {
  let at = 0
  for (const piece of [...lengths, length]) {
    const end = Math.min(length, at + piece)
    if (end > at) add(at, end)
    at = end
  }
  return description
}

async function run(disk: TestDevice<Blk>, model: Model, one: Step): Promise<void> {
  const status = async (spec: ChainDescription): Promise<number> => (await disk.request(spec)).writable.at(-1) as number
  const at = VirtioBlkConfig.offsetOf.writeback
  switch (one.kind) {
    case 'read': {
      const { sector, count } = one.place
      const length = count * sectorBytes + one.extra
      const spec = chain().readable(header(VIRTIO_BLK_T_IN, sector))
      split(spec, length, one.pieces, (from, to) => void spec.writable(to - from)).writable(1)
      const used = await disk.request(spec)
      const isRight = model.holds(one.place) && one.extra === 0
      expect(used.writable.at(-1)).toBe(isRight ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR)
      expect(used.written).toBe(isRight ? length + 1 : 1)
      if (isRight) model.expectAt(sector, used.bytes.subarray(0, length))
      return
    }
    case 'write': {
      const { sector, count } = one.place
      const bytes = pattern(count, one.seed)
      const spec = chain().readable(header(VIRTIO_BLK_T_OUT, sector))
      split(spec, bytes.length, one.pieces, (from, to) => void spec.readable(bytes.subarray(from, to))).writable(1)
      expect(await status(spec)).toBe(model.holds(one.place) ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR)
      if (model.holds(one.place)) model.set(sector, bytes)
      return
    }
    case 'zeroes':
    case 'discard': {
      const isDiscard = one.kind === 'discard'
      if (isDiscard && disk.device.backend.discard === undefined) return
      const flags = isDiscard || !one.unmap ? 0 : 1
      const type = isDiscard ? VIRTIO_BLK_T_DISCARD : VIRTIO_BLK_T_WRITE_ZEROES
      const isRight = one.places.every((each) => model.holds(each))
      const spec = segmentsChain(type, ...one.places.map(({ sector, count }) => ({ sector, sectors: count, flags })))
      expect(await status(spec)).toBe(isRight ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR)
      for (const each of isRight ? one.places : []) {
        if (isDiscard) model.forget(each)
        else model.set(each.sector, new Uint8Array(each.count * sectorBytes))
      }
      return
    }
    case 'flush':
      expect(await status(chain().readable(header(VIRTIO_BLK_T_FLUSH)).writable(1))).toBe(VIRTIO_BLK_S_OK)
      return
    case 'through':
    case 'back':
      disk.control.writeConfig(at, 1, one.kind === 'back' ? 1 : 0)
      return
    case 'reset':
      await disk.reset()
      disk.start()
  }
}

/** The default regions, in a buffer that is another one after each request. */
function memoryOf(moves: boolean | undefined): { memory: TestMemory; move: () => void } {
  const memory = new TestMemory()
  if (!moves) return { memory, move: () => {} }
  const source = { buffer: new ArrayBuffer(0x4_0000) as ArrayBuffer }
  memory.replace([{ guestAddress: 0, size: 0x4_0000, source }])
  const move = (): void => {
    source.buffer = source.buffer.slice(0)
  }
  return { memory, move }
}

describe.each(storages)('a disk in $title', ({ make, options, moves }) => {
  it.each([{ packed: false }, { packed: true }])('is what was written to it (packed: $packed)', async (rings) => {
    const steps = fc.array(step, { minLength: 1, maxLength: 25 })
    await fc.assert(
      fc.asyncProperty(steps, async (list) => {
        const { memory, move } = memoryOf(moves)
        const disk = testDevice(new Blk(make(), options), { ...rings, memory })
        const model = new Model()
        for (const one of list) {
          await run(disk, model, one)
          move()
        }
        await run(disk, model, { kind: 'read', place: { sector: 0, count: sectors }, pieces: [], extra: 0 })
        expect(disk.recorder.violations).toEqual([])
        if (!moves) disk.memory.checkGuards()
      }),
      { numRuns: 40 },
    )
  })
})

it('requests side by side do not mix', async () => {
  const request = fc.record({ isRead: fc.boolean(), slot: fc.integer({ min: 0, max: 5 }), seed: fc.integer({ min: 0, max: 255 }) })
  await fc.assert(
    fc.asyncProperty(fc.array(request, { maxLength: 12 }), fc.integer({ min: 1, max: 4 }), async (list, atOnce) => {
      const disk = testDevice(new Blk(new Later(ram()), { atOnce }), { size: 64 })
      // Whatever one slot of 4 sectors is read as, it was once there whole: requests of a test may overtake each other, sectors are not torn among slots.
      const written = Array.from({ length: 6 }, (_, slot) => [pattern(sectors).subarray(slot * 2048, slot * 2048 + 2048)])
      await Promise.all(
        list.map(async ({ isRead, slot, seed }) => {
          if (isRead) {
            const { bytes } = await disk.request(
              chain()
                .readable(header(VIRTIO_BLK_T_IN, slot * 4))
                .writable(2048)
                .writable(1),
            )
            expect(written[slot]?.some((possible) => Buffer.from(bytes.subarray(0, 2048)).equals(Buffer.from(possible)))).toBe(true)
          } else {
            const bytes = pattern(4, seed)
            written[slot]?.push(bytes)
            await disk.request(
              chain()
                .readable(header(VIRTIO_BLK_T_OUT, slot * 4))
                .readable(bytes)
                .writable(1),
            )
          }
        }),
      )
    }),
    { numRuns: 40 },
  )
})

describe('an overlay', () => {
  it('tells what differs from below', () => {
    const overlay = new OverlayBackend(ram(), { clusterSize: 1024 })
    overlay.write(3 * 512, [pattern(2, 9)])
    overlay.writeZeroes(12 * 512, 3 * 512)
    const copy = ram()
    for (const { position, bytes } of overlay.changes()) copy.write(position, [bytes])
    const expected = pattern(sectors)
    expected.set(pattern(2, 9), 3 * 512)
    expected.fill(0, 12 * 512, 15 * 512)
    expect(copy.bytes).toEqual(expected)
    expect([...overlay.changes()].map(({ position, bytes }) => [position / 512, bytes.length / 512])).toEqual([
      [3, 1],
      [4, 1],
      [12, 2],
      [14, 1],
    ])
    overlay.clear()
    expect([[...overlay.changes()], overlay.allocated]).toEqual([[], 0])
  })

  it('takes no more memory than it may', async () => {
    const overlay = new OverlayBackend(new ZeroBackend(1 << 20), { clusterSize: 4096, limit: 3 * 4096 })
    for (let cluster = 0; cluster < 3; cluster++) overlay.write(cluster * 4096, [pattern(8)])
    expect(() => overlay.write(3 * 4096, [pattern(1)])).toThrow('the overlay is full')
    const disk = testDevice(new Blk(overlay))
    const refused = await disk.request(chain().readable(header(VIRTIO_BLK_T_OUT, 80)).readable(pattern(1)).writable(1))
    expect(refused.bytes[0]).toBe(VIRTIO_BLK_S_IOERR)
    overlay.discard(0, 2 * 4096)
    overlay.write(3 * 4096, [pattern(1)])
    // Notes of zeroes take memory, too.
    expect(() => {
      for (let at = 0; at < 1 << 20; at += 4096) overlay.writeZeroes(at, 4096)
    }).toThrow('the overlay is full')
    overlay.discard(0, 1 << 20)
    expect(overlay.allocated).toBeLessThanOrEqual(3 * 4096)
  })

  it('forgets what is cut off', () => {
    const overlay = new OverlayBackend(ram(), { clusterSize: 2048 })
    const read = (sector: number): Uint8Array => {
      const bytes = new Uint8Array(512)
      overlay.read(sector * 512, [bytes])
      return bytes
    }
    overlay.write(9 * 512, [pattern(4, 40)])
    overlay.resize(10 * 512)
    expect(() => read(10)).toThrow(RangeError)
    overlay.resize(30 * 512)
    expect(read(9)).toEqual(pattern(1, 40))
    for (const sector of [10, 11, 12, 13, 23, 24, 29]) expect(read(sector), `sector ${sector}`).toEqual(new Uint8Array(512))
  })

  it.each([[{ clusterSize: 1000 }], [{ clusterSize: 256 }], [{ size: -1 }], [{ limit: 0.5 }]])('cannot be %o', (options) => {
    expect(() => new OverlayBackend(ram(), options)).toThrow(RangeError)
  })
})
