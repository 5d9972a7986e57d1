/** What a driver can try at the edges of a device queue: between two of its own accesses, over a restore, around a cork. Each of these went wrong once. */
import type { Chain } from 'virtgen/runtime'
import { chain, type FakeDriver, testQueue } from 'virtgen/testing'
import { VIRTQ_DESC_F_AVAIL, VIRTQ_DESC_F_USED } from 'virtgen/wire/packed-ring'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { ringFormats } from './support/ring-formats.ts'

const simple = () => chain().writable(16)

describe.each(ringFormats)('a $format device queue', ({ packed }) => {
  const inOrder = true
  const offer = (driver: FakeDriver, count: number): void => {
    for (let i = 0; i < count; i++) driver.put(simple())
    driver.publish()
  }
  const used = (driver: FakeDriver): [number, number][] => driver.drain().map(({ id, written }) => [id, written])

  it('is saved with all that is complete, also where a hook completes more meanwhile', () => {
    const { memory, driver, queue } = testQueue({ packed })
    offer(driver, 3)
    const [first, second, third] = [queue.next()!, queue.next()!, queue.next()!]
    const others = [second, third]
    memory.onWrite = () => others.pop()?.complete(0)
    queue.cork()
    first.complete(0)
    const { inFlight } = queue.save()
    expect([inFlight, used(driver).length, queue.inspect().used]).toEqual([[], 3, queue.inspect().usedPublished])
  })

  describe('restored with VIRTIO_F_IN_ORDER', () => {
    it('uses what was complete already as soon as the one before it is', () => {
      const first = testQueue({ packed, inOrder })
      offer(first.driver, 3)
      const [, second, third] = [first.queue.next()!, first.queue.next()!, first.queue.next()!]
      second.complete(2)
      third.complete(3)
      const state = JSON.parse(JSON.stringify(first.queue.save()))
      const { queue, driver } = testQueue({ packed, driver: first.driver, state })
      queue.next()!.complete(1)
      expect(used(driver)).toEqual([
        [0, 1],
        [1, 2],
        [2, 3],
      ])
      expect(queue.next()).toBeUndefined()
    })

    it('takes over as many complete chains as a ring has', () => {
      const size = 32768
      const first = testQueue({ packed, inOrder, size })
      offer(first.driver, size)
      first.queue.next()
      for (let taken = first.queue.next(); taken !== undefined; taken = first.queue.next()) taken.complete(0)
      const { queue, driver } = testQueue({ packed, driver: first.driver, state: first.queue.save() })
      queue.next()!.complete(0)
      expect(driver.drain().length).toBe(size)
    })
  })

  it('with VIRTIO_F_IN_ORDER does not take a chain back when a later one is complete', () => {
    const { queue, driver } = testQueue({ packed, inOrder })
    offer(driver, 2)
    const [first, second] = [queue.next()!, queue.next()!]
    second.complete(2)
    expect(() => queue.putBack(first)).toThrow('taken last')
    first.complete(1)
    expect(used(driver)).toEqual([
      [0, 1],
      [1, 2],
    ])
  })

  it('can be asked for a chain by who is told that it was put back', () => {
    const { queue, driver, memory, recorder } = testQueue({ packed, inOrder })
    offer(driver, 2)
    const first = queue.next()!
    first.writable.fill(1)
    const taken: (Chain | undefined)[] = []
    memory.onWrite = () => taken.push(queue.next())
    queue.putBack(first)
    memory.onWrite = undefined
    expect(taken.map((each) => each?.head)).toEqual([0])
    queue.next()!.complete(2)
    taken[0]!.complete(1)
    expect([used(driver), recorder.violations]).toEqual([
      [
        [0, 1],
        [1, 2],
      ],
      [],
    ])
  })

  it('tells nobody of bytes that it could not write, as their memory was taken away', () => {
    const { queue, driver, memory, recorder } = testQueue({ packed })
    const [near, far] = [memory.regions[0]!, memory.regions.at(-1)!]
    driver.offer(chain().writable(8).element({ writable: true, at: far.guestAddress, length: 8 }))
    const taken = queue.next()!
    const sources = [near].map(({ guestAddress, size, u8 }) => ({ guestAddress, size, source: u8 }))
    memory.replace(sources)
    recorder.clear()
    taken.writable.fill(7)
    taken.complete()
    expect(recorder.writes.filter(({ address }) => address >= far.guestAddress)).toEqual([])
    expect([memory.contains(far.guestAddress, 1), recorder.writes.length > 0]).toEqual([false, true])
  })

  it('takes no entry twice that the driver cannot know to be used: available-index', () => {
    const { queue, driver, memory, recorder } = testQueue({ packed, size: 2 })
    offer(driver, 2)
    queue.cork()
    for (let i = 0; i < 2; i++) queue.next()!.complete(0)
    // A driver in another thread does not wait.
    if ('jumpTo' in driver) (driver as unknown as { jumpTo(index: number): void }).jumpTo(4)
    else driver.setDescriptor(0, { flags: VIRTQ_DESC_F_USED })
    expect(queue.next()).toBeUndefined()
    expect(recorder.violations).toMatchObject([{ kind: 'available-index', queue: 0 }])
    queue.uncork()
    for (const { address, length } of recorder.writes) expect(memory.holds(address, length)).toBe(true)
  })

  it.each([65_536, 65_540])('tells the driver of the entry it asked for among %i that became visible before', { timeout: 120_000 }, (count) => {
    const size = packed ? 5 : 4
    const { queue, driver, recorder } = testQueue({ packed, size, eventIndex: true })
    // Asked for once, and then the driver looks for itself.
    driver.ask(packed ? 3 : 11)
    queue.cork(true)
    for (let i = 0; i < count; i++) {
      driver.offer(simple())
      queue.next()!.complete(0)
      driver.used()
    }
    expect(recorder.notifications).toBe(0)
    queue.uncork()
    expect(recorder.notifications).toBe(1)
  })
})

describe('a packed device queue', () => {
  afterEach(() => void vi.restoreAllMocks())

  it('looks at a descriptor only a few times that another thread makes available and takes away again', () => {
    const { queue, driver } = testQueue({ packed: true })
    driver.offer(simple())
    expect(queue.next()!.head).toBe(0)
    let looks = 0
    const { load } = Atomics
    vi.spyOn(Atomics, 'load').mockImplementation(((array: Uint16Array, index: number) => {
      if (!(array instanceof Uint16Array)) return load(array as Uint16Array, index)
      looks++
      return looks % 2 === 0 ? VIRTQ_DESC_F_AVAIL : 0
    }) as typeof Atomics.load)
    expect(queue.next()).toBeUndefined()
    expect(looks).toBeLessThan(8)
  })
})
