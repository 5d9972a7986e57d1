/** Limits of operations and bytes per second: what is let through, and when. */

import fc from 'fast-check'
import { Blk, RamBackend } from 'virtgen/devices/blk'
import { RateLimiter } from 'virtgen/devices/rate-limiter'
import { Rng } from 'virtgen/devices/rng'
import { chain, testDevice } from 'virtgen/testing'
import { describe, expect, it } from 'vitest'
import { pattern, readChain, writeChain } from './support/blk.ts'
import { FakeTimers } from './support/fake-timers.ts'

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const never = (): void => expect.fail('was called')

/** Takes as often as it can, whenever it is called, and notes when. */
function taker(limiter: RateLimiter, timers: FakeTimers, bytes: number, count = Number.POSITIVE_INFINITY) {
  const times: number[] = []
  const pump = (): void => {
    while (times.length < count && limiter.take(bytes, pump)) times.push(timers.now())
  }
  return { times, pump }
}

describe('a limit', () => {
  it('lets a burst through, and then so many per second', () => {
    const timers = new FakeTimers(0)
    const limiter = new RateLimiter({ operations: { perSecond: 100, burst: 3 }, timers })
    const { times, pump } = taker(limiter, timers, 0)
    pump()
    expect(times).toEqual([0, 0, 0])
    timers.advance(25)
    expect(times).toEqual([0, 0, 0, 10, 20])
  })

  it('of bytes counts bytes', () => {
    const timers = new FakeTimers(0)
    const limiter = new RateLimiter({ bytes: { perSecond: 1000, burst: 500 }, timers })
    const { times, pump } = taker(limiter, timers, 250)
    pump()
    timers.advance(500)
    expect(times).toEqual([0, 0, 250, 500])
  })

  it('lets through what is larger than a burst, from a full bucket and on credit', () => {
    const timers = new FakeTimers(0)
    const limiter = new RateLimiter({ bytes: { perSecond: 1000, burst: 100 }, timers })
    const { times, pump } = taker(limiter, timers, 1000)
    pump()
    timers.advance(2100)
    expect(times).toEqual([0, 1000, 2000])
  })

  it('of both waits for the slower one', () => {
    const timers = new FakeTimers(0)
    const limiter = new RateLimiter({ operations: { perSecond: 1000, burst: 1 }, bytes: { perSecond: 1000, burst: 100 }, timers })
    const { times, pump } = taker(limiter, timers, 50)
    pump()
    timers.advance(100)
    expect(times).toEqual([0, 1, 50, 100])
  })

  it('saves nothing up beyond a burst', () => {
    const timers = new FakeTimers(0)
    const limiter = new RateLimiter({ operations: { perSecond: 1000, burst: 2 }, timers })
    timers.advance(1_000_000)
    const { times, pump } = taker(limiter, timers, 0)
    pump()
    expect(times).toHaveLength(2)
  })

  it('does not drift, however late timers are', () => {
    const timers = new FakeTimers(123.456)
    const limiter = new RateLimiter({ operations: { perSecond: 333, burst: 50 }, timers })
    timers.late = 7.7
    const { times, pump } = taker(limiter, timers, 0)
    pump()
    for (let i = 0; i < 1000; i++) timers.advance(60)
    // One minute, and the burst.
    expect(times.length).toBeGreaterThan(333 * 60 + 50 - 10)
    expect(times.length).toBeLessThanOrEqual(333 * 60 + 50)
  })

  it('never lets more through than its rate and a burst, in any span of time', () => {
    const step = fc.record({ wait: fc.double({ min: 0, max: 300, noNaN: true }), bytes: fc.integer({ min: 1, max: 900 }) })
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5000 }),
        fc.integer({ min: 1, max: 2000 }),
        fc.array(step, { maxLength: 60 }),
        (perSecond, burst, steps) => {
          const timers = new FakeTimers(0)
          const limiter = new RateLimiter({ bytes: { perSecond, burst }, timers })
          const taken: { at: number; bytes: number }[] = []
          for (const { wait, bytes } of steps) {
            timers.advance(wait)
            if (limiter.take(bytes, () => {})) taken.push({ at: timers.now(), bytes })
          }
          for (const [i, from] of taken.entries()) {
            let sum = 0
            for (const to of taken.slice(i)) {
              // What is larger than a burst goes on credit: before it, the rule holds.
              const most = burst + ((to.at - from.at) * perSecond) / 1000
              expect(sum + Math.min(to.bytes, burst)).toBeLessThanOrEqual(most + 1e-6)
              sum += to.bytes
            }
          }
        },
      ),
    )
  })

  it('is shared fairly: a large one is not overtaken for ever by small ones', () => {
    const timers = new FakeTimers(0)
    const limiter = new RateLimiter({ bytes: { perSecond: 1000, burst: 1000 }, timers })
    const small = taker(limiter, timers, 10)
    const large = taker(limiter, timers, 1000, 5)
    small.pump()
    large.pump()
    for (let i = 0; i < 10_000; i++) {
      timers.advance(1)
      small.pump()
    }
    expect(large.times).toHaveLength(5)
    expect(small.times.length).toBeGreaterThan(100)
  })

  it('has one timer, and none when nobody waits', () => {
    const timers = new FakeTimers(0)
    const limiter = new RateLimiter({ operations: { perSecond: 1, burst: 1 }, timers })
    expect([limiter.take(0, never), timers.pending]).toEqual([true, 0])
    const waiting = (): void => {}
    for (let i = 0; i < 3; i++) expect(limiter.take(0, waiting)).toBe(false)
    expect([limiter.take(0, () => {}), timers.pending]).toEqual([false, 1])
    timers.advance(5000)
    expect(timers.pending).toBe(0)
    limiter.take(0, waiting)
    limiter.take(0, waiting)
    limiter.forget(waiting)
    expect(timers.pending).toBe(0)
  })

  it('waits longer than a timer can', () => {
    const timers = new FakeTimers(0)
    const limiter = new RateLimiter({ operations: { perSecond: 1e-7, burst: 1 }, timers })
    const { times, pump } = taker(limiter, timers, 0, 2)
    pump()
    timers.advance(1e10 + 1)
    expect(times).toEqual([0, 1e10])
  })

  it('changes, and goes', () => {
    const timers = new FakeTimers(0)
    const limiter = new RateLimiter({ operations: { perSecond: 1, burst: 1 }, timers })
    const { times, pump } = taker(limiter, timers, 0, 10)
    pump()
    limiter.limit({ operations: { perSecond: 1, burst: 2 } })
    expect(times).toHaveLength(3)
    expect(() => limiter.limit({ operations: { perSecond: 0 } })).toThrow(RangeError)
    expect(times).toHaveLength(3)
    limiter.dispose()
    expect([times.length, timers.pending]).toEqual([10, 0])
  })

  it('outlives who throws when called', () => {
    const timers = new FakeTimers(0)
    const limiter = new RateLimiter({ operations: { perSecond: 1000, burst: 1 }, timers })
    const { times, pump } = taker(limiter, timers, 0, 2)
    limiter.take(0, never)
    limiter.take(0, () => {
      throw new Error('mine')
    })
    pump()
    expect(() => timers.advance(10)).toThrow('mine')
    timers.advance(10)
    expect(times).toHaveLength(2)
  })

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])('of %d is none', (perSecond) => {
    expect(() => new RateLimiter({ bytes: { perSecond } })).toThrow(RangeError)
    expect(() => new RateLimiter({ bytes: { perSecond: 1, burst: perSecond } })).toThrow(RangeError)
  })
})

describe('a disk with a limit', () => {
  const limited = (options: ConstructorParameters<typeof RateLimiter>[0]) => {
    const timers = new FakeTimers(0)
    const limiter = new RateLimiter({ timers, ...options })
    const disk = testDevice(new Blk(new RamBackend(pattern(8)), { limiter }))
    return { timers, limiter, disk }
  }

  it('serves requests in order, as fast as it may', async () => {
    const { timers, disk } = limited({ operations: { perSecond: 10, burst: 2 } })
    const done: string[] = []
    for (let i = 0; i < 4; i++) void disk.request(readChain(i, 512)).then(() => done.push(`${i} at ${timers.now()}`))
    await tick()
    for (let i = 0; i < 3; i++) {
      timers.advance(100)
      await tick()
    }
    expect(done).toEqual(['0 at 0', '1 at 0', '2 at 100', '3 at 200'])
  })

  it('lets no small request overtake a large one', async () => {
    const { timers, disk } = limited({ bytes: { perSecond: 1024, burst: 1024 } })
    const done: number[] = []
    const read = (length: number): void => void disk.request(readChain(0, length)).then(() => done.push(length))
    read(512)
    read(1024)
    read(0)
    // Enough for the fourth one, not for the second.
    timers.advance(400)
    read(512)
    await tick()
    // Nothing is to be read for the third one.
    expect(done).toEqual([512, 0])
    timers.advance(600)
    await tick()
    expect(done).toEqual([512, 0, 1024, 512])
  })

  it('counts bytes of reads and writes', async () => {
    const { timers, disk } = limited({ bytes: { perSecond: 1024, burst: 1024 } })
    await disk.request(readChain(0, 512))
    await disk.request(writeChain(0, new Uint8Array(512)))
    let done = false
    const third = disk.request(readChain(0, 512)).then(() => (done = true))
    timers.advance(499)
    await tick()
    expect(done).toBe(false)
    timers.advance(1)
    expect(await third).toBe(true)
  })

  it('forgets what waits at a reset, and leaves no timer', async () => {
    const { timers, disk } = limited({ operations: { perSecond: 1, burst: 1 } })
    const requests = [0, 1].map((sector) => disk.request(readChain(sector, 512)))
    const settled = Promise.allSettled(requests)
    await disk.reset()
    expect([timers.pending, (await settled).map(({ status }) => status)]).toEqual([0, ['fulfilled', 'rejected']])
    disk.start()
    const read = disk.request(readChain(0, 512))
    timers.advance(1000)
    expect((await read).bytes.subarray(0, 512)).toEqual(pattern(1))
  })

  it('shares it with an entropy device', async () => {
    const { timers, limiter, disk } = limited({ bytes: { perSecond: 1000, burst: 1000 } })
    const rng = testDevice(new Rng({ limiter }))
    await disk.request(readChain(0, 512))
    let done = false
    const request = rng.request(chain().writable(1000)).then(() => (done = true))
    timers.advance(511)
    await tick()
    expect(done).toBe(false)
    timers.advance(1)
    expect(await request).toBe(true)
  })
})
