/** The log of a migration. vhost-user, Migration. */
import fc from 'fast-check'
import { VHOST_LOG_PAGE } from 'virtgen/wire/vhost-user'
import { describe, expect, it } from 'vitest'
import { DirtyLog } from '../hosts/linux/vhost-user/dirty-log.ts'
import { createDeviceQueue } from '../runtime/device-queue.ts'
import { chain, PackedFakeDriver, SplitFakeDriver, TestMemory } from '../runtime/testing/index.ts'

const page = VHOST_LOG_PAGE

/** Pages whose bits are set. */
function pages(...windows: readonly Uint8Array[]): number[] {
  const bits = windows.flatMap((window) => [...window])
  return bits.flatMap((byte, place) => [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => (byte >> bit) & 1).map((bit) => place * 8 + bit))
}

describe('a log', () => {
  it('has a bit for each page that a range touches', () => {
    const bits = new Uint8Array(8)
    const log = new DirtyLog([bits])
    log.mark(3 * page + 10, 1)
    log.mark(9 * page - 1, 2)
    log.mark(20 * page, 0)
    expect(pages(bits)).toEqual([3, 8, 9])
    expect(log.covers).toBe(64 * page)
  })

  it('marks the same pages as one that goes byte by byte, and none beyond its end', () => {
    fc.assert(
      fc.property(fc.nat(40 * page), fc.oneof(fc.nat(3), fc.nat(20 * page)), fc.nat(4), (address, length, split) => {
        const bits = new Uint8Array(4)
        new DirtyLog([bits.subarray(0, split), bits.subarray(split)]).mark(address, length)
        const expected = new Set<number>()
        for (let at = address; at < address + length; at += at % page === 0 || at === address ? page - (at % page) : 1)
          expected.add(Math.floor(at / page))
        expect(pages(bits)).toEqual([...expected].filter((each) => each < 32))
      }),
    )
  })

  it('keeps bits that are set, and covers memory beyond 2^53 with nothing', () => {
    const bits = new Uint8Array(1).fill(0x81)
    const log = new DirtyLog([bits])
    log.mark(page, 1)
    log.mark(Number.MAX_SAFE_INTEGER - 1, 1)
    expect(pages(bits)).toEqual([0, 1, 7])
    expect(() => new DirtyLog([]).mark(0, 100)).not.toThrow()
  })

  it('has the device area of a ring at another address as well, where the front-end wants that', () => {
    const bits = new Uint8Array(8)
    const log = new DirtyLog([bits])
    log.setRing(0, { address: 2 * page, length: page, log: 20 * page })
    log.mark(2 * page + 4, 8)
    log.mark(3 * page, 8)
    expect(pages(bits)).toEqual([2, 3, 20])
    log.setRing(0, undefined)
    bits.fill(0)
    log.mark(2 * page + 4, 8)
    expect(pages(bits)).toEqual([2])
  })
})

describe.each([
  ['split', SplitFakeDriver, false],
  ['packed', PackedFakeDriver, true],
] as const)('over a %s ring it tells of', (_format, Driver, packed) => {
  /** Pages that the device wrote while it did something, with the log and as memory itself shows. */
  function written(eventIndex: boolean): { logged: number[]; changed: number[] } {
    const bits = new Uint8Array(0x10_0000 / page / 8)
    const log = new DirtyLog([bits])
    const memory = new TestMemory({ regions: [{ guestAddress: 0, size: 0x8_0000 }] })
    memory.onWrite = (address, length) => log.mark(address, length)
    const areas = { descriptorArea: 0x1_0000, driverArea: 0x2_0000, deviceArea: 0x3_0000 }
    const driver = new Driver(memory, { size: 8, eventIndex, areas })
    const queue = createDeviceQueue(memory, driver.setup, { packed, eventIndex, notify: () => {}, fail: () => {} })
    for (let i = 0; i < 10; i++) {
      driver.offer(
        chain()
          .readable(16, { at: 0x4_0000 })
          .writable(3 * page, { at: 0x5_0800 }),
      )
      const taken = queue.next()!
      taken.writable.fill(1)
      taken.complete()
      expect(queue.next()).toBeUndefined()
      driver.drain()
    }
    const changed = memory.changes().flatMap(({ address, length }) => {
      const first = Math.floor(address / page)
      return Array.from({ length: Math.floor((address + length - 1) / page) - first + 1 }, (_, i) => first + i)
    })
    return { logged: pages(bits), changed: [...new Set(changed)].toSorted((a, b) => a - b) }
  }

  it.each([false, true])('payload, used entries and event words, and of what is only read not (event index: %s)', (eventIndex) => {
    const { logged, changed } = written(eventIndex)
    for (const each of changed) expect(logged).toContain(each)
    expect(logged).toEqual(expect.arrayContaining([0x50, 0x51, 0x52, 0x53, packed ? 0x10 : 0x30]))
    expect(logged).not.toContain(0x40)
    expect(logged).not.toContain(0x20)
  })
})
