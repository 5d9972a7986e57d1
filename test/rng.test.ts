/** The entropy device: an answer is never empty, whatever its source does. */
import { type EntropySource, Rng } from 'virtgen/devices/rng'
import { EntropyDriver } from 'virtgen/driver/entropy'
import { chain, forgedChains, testDevice, testMachine } from 'virtgen/testing'
import { describe, expect, it } from 'vitest'
import { FakeTimers } from './support/fake-timers.ts'

const formats = [{ packed: false }, { packed: true }]
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
/** Counts. */
const counting = (): EntropySource => {
  let next = 0
  return (into) => {
    for (let i = 0; i < into.length; i++) into[i] = ++next
  }
}

describe.each(formats)('the entropy device (packed: $packed)', (rings) => {
  it('fills a buffer of any pieces', async () => {
    const rng = testDevice(new Rng({ source: counting() }), rings)
    const used = await rng.request(chain().writable(3).writable(1).writable(4))
    expect([...used.bytes]).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    rng.recorder.expectWritesCoverChanges(rng.memory)
  })

  it('has random bytes by default, in chunks that the host gives', async () => {
    const rng = testDevice(new Rng({ most: 200_000 }), rings)
    const used = await rng.request(chain().writable(30_000).writable(30_000).writable(10_000))
    expect(used.written).toBe(70_000)
    // 256 bytes without any that differs from its neighbour do not come by chance.
    for (let at = 0; at + 256 <= 70_000; at += 256) expect(new Set(used.bytes.subarray(at, at + 256)).size).toBeGreaterThan(64)
  })

  it('gives no more at a time than it is to', async () => {
    const rng = testDevice(new Rng({ source: counting(), most: 5 }), rings)
    expect([...(await rng.request(chain().writable(8))).bytes]).toEqual([1, 2, 3, 4, 5])
  })

  it('takes a buffer of no bytes for a mistake', async () => {
    const rng = testDevice(new Rng(), rings)
    await expect(rng.request(chain().readable(4))).rejects.toThrow('request-size')
  })
})

describe('a source', () => {
  it('may take its time; others are served meanwhile', async () => {
    const pending: (() => void)[] = []
    const rng = testDevice(
      new Rng({
        source: (into) =>
          new Promise((resolve) => {
            pending.push(() => resolve(void into.fill(pending.length)))
          }),
      }),
    )
    const first = rng.request(chain().writable(2))
    const second = rng.request(chain().writable(2))
    expect(pending).toHaveLength(2)
    pending[1]?.()
    expect([...(await second).bytes]).toEqual([2, 2])
    pending[0]?.()
    expect([...(await first).bytes]).toEqual([2, 2])
  })

  it('may have less: the answer is short', async () => {
    const rng = testDevice(new Rng({ source: (into) => into.fill(9, 0, 1) && 1 }))
    expect([...(await rng.request(chain().writable(4))).bytes]).toEqual([9])
    const later = testDevice(new Rng({ source: async (into) => into.fill(8, 0, 3) && 3 }))
    expect([...(await later.request(chain().writable(4))).bytes]).toEqual([8, 8, 8])
  })

  it.each<[string, EntropySource]>([
    ['has nothing', () => 0],
    ['has nothing, later', async () => 0],
    [
      'throws',
      () => {
        throw new Error('none')
      },
    ],
    ['rejects', () => Promise.reject(new Error('none'))],
    ['lies', () => 99],
    ['lies, later', async () => -1],
  ])('that %s is asked again after a while', async (what, nothing) => {
    const timers = new FakeTimers()
    const errors: unknown[] = []
    let calls = 0
    const source: EntropySource = (into) => (++calls < 3 ? nothing(into) : void into.fill(7))
    const rng = testDevice(new Rng({ source, timers, retryAfter: 50, onError: (error) => errors.push(error) }))
    const request = rng.request(chain().writable(4))
    await tick()
    timers.advance(49)
    await tick()
    expect(calls).toBe(1)
    timers.advance(1)
    await tick()
    expect(calls).toBe(2)
    timers.advance(50)
    expect([...(await request).bytes]).toEqual([7, 7, 7, 7])
    expect(errors).toHaveLength(what.startsWith('has') ? 0 : 2)
    expect([timers.pending, rng.needsReset]).toEqual([0, false])
  })

  it('never sees memory of the guest, and what it gives does not stay with us', async () => {
    const seen: Uint8Array[] = []
    const rng = testDevice(
      new Rng({
        source: (into) => {
          seen.push(into)
          into.fill(5)
        },
      }),
    )
    await rng.request(chain().writable(16))
    expect(seen.map((bytes) => [bytes.buffer === rng.memory.buffer, ...bytes])).toEqual([[false, ...new Uint8Array(16)]])
  })

  it('that has nothing is left in peace after a reset', async () => {
    const timers = new FakeTimers()
    let calls = 0
    const source = (): number => {
      calls++
      return 0
    }
    const rng = testDevice(new Rng({ source, timers }))
    void rng.request(chain().writable(4)).catch(() => {})
    await tick()
    expect(timers.pending).toBe(1)
    await rng.reset()
    await tick()
    expect([timers.pending, calls]).toEqual([0, 1])
  })
})

it('serves its driver', async () => {
  const { driver } = await testMachine(new Rng({ source: counting() }), EntropyDriver)
  expect((await driver.read(4)).data).toEqual(Uint8Array.of(1, 2, 3, 4))
})

const forged = forgedChains.filter(({ violation, before }) => violation.split !== undefined && before === undefined)
it.each(forged)('finds $title', ({ forge, violation, needs }) => {
  const rng = testDevice(new Rng(), { size: 8, ...needs })
  forge(rng.driver())
  expect(rng.recorder.violations).toMatchObject([{ kind: violation.split, queue: 0 }])
  rng.memory.checkGuards()
})
