/** Device side of a virtqueue, whatever the format of its ring: taking, completing, notifying, batching, resetting, saving. */
import type { Chain } from 'virtgen/runtime'
import { chain, randomNumbers, TestMemory, type TestQueue, testQueue } from 'virtgen/testing'
import { VIRTQ_DESC_F_INDIRECT, VirtqDesc } from 'virtgen/wire/split-ring'
import { describe, expect, it } from 'vitest'
import { ringFormats } from './support/ring-formats.ts'

/** A device-writable buffer of 16 bytes. */
const simple = () => chain().writable(16)

describe.each(ringFormats)('a $format device queue', ({ packed }) => {
  /** With so many simple chains available. */
  function offered(count: number, options: Parameters<typeof testQueue>[0] = {}): TestQueue {
    const test = testQueue({ ...options, packed })
    for (let i = 0; i < count; i++) test.driver.put(simple())
    test.driver.publish()
    return test
  }
  const take = ({ queue }: TestQueue, count: number): Chain[] => Array.from({ length: count }, () => queue.next()!)

  it('takes chains in the order in which they became available and gives them back in any', () => {
    const { driver, queue, recorder } = testQueue({ packed })
    for (const head of [5, 2, 7]) driver.offer(simple(), { head })
    const chains = [queue.next()!, queue.next()!, queue.next()!]
    expect(chains.map(({ head }) => head)).toEqual([5, 2, 7])
    expect(queue.next()?.head).toBeUndefined()
    chains[1]!.complete(3)
    chains[2]!.complete(0)
    chains[0]!.complete(16)
    expect(driver.drain().map(({ id, written }) => [id, written])).toEqual([
      [2, 3],
      [7, 0],
      [5, 16],
    ])
    expect(recorder.notifications).toBe(3)
  })

  it.each([1, 2, 4, 8, ...(packed ? [3, 5, 7] : [])])('goes round a ring of %i entries', (size) => {
    const position = packed ? { available: 0x8000, used: 0x8000 } : { available: 0xffe0, used: 0xffe0 }
    const test = testQueue({ packed, size, position })
    const { driver, queue, recorder } = test
    const random = randomNumbers(size)
    let sent = 0
    const out: Chain[] = []
    for (let i = 0; i < 300; i++) {
      const length = 1 + Math.floor(random() * size)
      if (driver.free >= length) {
        const spec = chain()
        for (let j = 0; j < length; j++) spec.writable(2)
        driver.offer(spec)
        out.push(queue.next()!)
        sent++
      }
      const [taken] = out.splice(Math.floor(random() * out.length), random() < 0.6 ? 1 : 0)
      if (taken === undefined) continue
      const value = i & 0xff
      const { head, writable } = taken
      const bytes = writable.length
      writable.fill(value)
      taken.complete()
      expect(driver.drain().map((used) => [used.id, used.written, used.bytes.every((byte) => byte === value)])).toEqual([[head, bytes, true]])
    }
    expect([sent > 50, recorder.violations, queue.next()?.head]).toEqual([true, [], undefined])
  })

  it('lets an indirect table cross regions that touch, also a whole one', () => {
    const regions = [0, 0x1008, 0x1010].map((guestAddress, i) => ({ guestAddress, size: [0x1008, 8, 0x1000][i]! }))
    const { driver, queue, recorder } = testQueue({ packed, memory: new TestMemory({ regions }), size: 4 })
    driver.offer(chain().indirect({ at: 0x1000 }).readable(5).readable(6))
    expect([queue.next()?.readable.length, recorder.violations]).toEqual([11, []])
  })

  it('gives no chain while there is none, and takes none twice', () => {
    const { driver, queue } = testQueue({ packed })
    expect(queue.next()?.head).toBeUndefined()
    driver.put(simple())
    expect(queue.next()?.head).toBeUndefined()
    driver.publish()
    expect([queue.next()?.writable.length, queue.next()]).toEqual([16, undefined])
  })

  it('gives back what it was given back, in the place of the next one', () => {
    const test = offered(3)
    const { driver, queue } = test
    const [first, second] = take(test, 2)
    const heads = [first!.head, second!.head]
    expect(() => queue.putBack(first!)).toThrow()
    queue.putBack(second!)
    const again = take(test, 2)
    expect([again[0]!.head, again[0]!.writable.length, queue.next()?.head]).toEqual([heads[1], 16, undefined])
    for (const taken of [again[1]!, again[0]!, first!]) taken.complete(0)
    expect(driver.drain()).toHaveLength(3)
  })

  describe('with VIRTIO_F_IN_ORDER', () => {
    it('uses chains in the order in which they were taken, whatever the order in which they are complete', () => {
      const test = testQueue({ packed, inOrder: true, size: 4 })
      const { driver, recorder } = test
      for (let round = 0; round < 20; round++) {
        for (let i = 0; i < 4; i++) driver.put(i % 2 === 0 ? chain().writable(16) : chain().readable(3))
        driver.publish()
        const heads = driver.out.map(({ id }) => id)
        const [a, b, c, d] = take(test, 4)
        c!.complete(7)
        b!.complete(0)
        expect(driver.used()).toBeUndefined()
        a!.complete(5)
        expect(driver.drain().map(({ id, written }) => [id, written])).toEqual([
          [heads[0], 5],
          [heads[1], 0],
          [heads[2], 7],
        ])
        d!.complete(0)
        expect(driver.drain().map(({ id }) => id)).toEqual([heads[3]])
      }
      expect(recorder.violations).toEqual([])
    })

    it('tells of chains without a device-writable part in a batch, with one entry', () => {
      const test = testQueue({ packed, inOrder: true })
      const { driver, queue } = test
      for (let i = 0; i < 3; i++) driver.put(chain().readable(3))
      driver.publish()
      queue.cork()
      for (const taken of take(test, 3)) taken.complete(0)
      queue.uncork()
      expect(driver.drain().map(({ skipped }) => skipped)).toEqual([true, true, false])
    })
  })

  describe('used buffer notifications', () => {
    it.each([false, true])('are left out while the driver wants none (event index: %s)', (eventIndex) => {
      const test = testQueue({ packed, eventIndex })
      const { driver, recorder } = test
      driver.ask('never')
      for (const expected of [0, 1]) {
        driver.offer(simple())
        test.queue.next()!.complete(0)
        driver.drain()
        expect(recorder.notifications).toBe(expected)
        driver.ask('always')
      }
    })

    it('come for the entry that the driver asks for and no other, round and round', () => {
      const test = testQueue({ packed, eventIndex: true })
      const { driver, queue, recorder } = test
      for (let round = 0; round < 20; round++) {
        driver.ask(4)
        const counts = Array.from({ length: 6 }, () => {
          driver.offer(simple())
          queue.next()!.complete(0)
          return recorder.notifications
        })
        driver.drain()
        expect(counts).toEqual([0, 0, 0, 1, 1, 1])
        recorder.clear()
      }
    })

    it('come once for a batch, when it becomes visible', () => {
      const test = offered(3, { eventIndex: true })
      const { driver, queue, recorder } = test
      driver.ask(2)
      queue.cork()
      queue.cork()
      for (let i = 0; i < 3; i++) queue.next()!.complete(i)
      queue.uncork()
      expect([driver.used(), recorder.notifications]).toEqual([undefined, 0])
      queue.uncork()
      expect([driver.drain().map(({ written }) => written), recorder.notifications]).toEqual([[0, 1, 2], 1])
      expect(() => queue.uncork()).toThrow('queue 0 is not corked')
    })

    it('come once for a batch whose chains become visible at once', () => {
      const test = offered(3)
      const { driver, queue, recorder } = test
      queue.cork(true)
      const seen = take(test, 3).map((taken) => {
        taken.complete(0)
        return [driver.drain().length, recorder.notifications]
      })
      expect(seen).toEqual([
        [1, 0],
        [1, 0],
        [1, 0],
      ])
      queue.uncork()
      expect(recorder.notifications).toBe(1)
    })
  })

  describe('available buffer notifications', () => {
    it.each([false, true])('are asked for before next finds nothing, so that a simple device misses nothing (event index: %s)', (eventIndex) => {
      const test = offered(2, { eventIndex })
      const { driver, queue } = test
      for (let round = 0; round < 20; round++) {
        for (let taken = queue.next(); taken !== undefined; taken = queue.next()) taken.complete(0)
        driver.drain()
        driver.offer(simple())
        expect(driver.deviceWantsNotification).toBe(true)
      }
    })

    it.each([false, true])('that come too late are made up for: what became available while asking is told of (event index: %s)', (eventIndex) => {
      const { driver, queue, memory } = offered(1, { eventIndex })
      queue.next()!.complete(0)
      // The driver makes a buffer available at the very moment in which the device asks.
      let asked = false
      memory.onWrite = (address) => {
        if (asked || address < driver.setup.deviceArea) return
        asked = true
        driver.offer(chain().writable(3))
      }
      const taken = queue.next()
      // Who has asked from the beginning on need not ask again.
      expect(taken?.writable.length).toBe(asked ? 3 : undefined)
      asked = true
      queue.disableNotifications()
      asked = false
      expect(queue.enableNotifications()).toBe(asked)
      expect(queue.next()?.writable.length).toBe(asked ? 3 : undefined)
    })

    it.each([false, true])('can be disabled, and enabling tells of what came in between (event index: %s)', (eventIndex) => {
      const { driver, queue } = testQueue({ packed, eventIndex })
      for (let round = 0; round < 20; round++) {
        queue.disableNotifications()
        driver.offer(simple())
        // With VIRTIO_F_EVENT_IDX a split device leaves the index where it is, so that one more may come.
        if (!eventIndex || packed) expect(driver.deviceWantsNotification).toBe(false)
        expect(queue.enableNotifications()).toBe(true)
        queue.next()!.complete(0)
        driver.drain()
        queue.disableNotifications()
        expect(queue.next()?.head).toBeUndefined()
        expect(queue.enableNotifications()).toBe(false)
        driver.offer(simple())
        expect(driver.deviceWantsNotification).toBe(true)
        queue.next()!.complete(0)
        driver.drain()
      }
    })
  })

  describe('onWrite', () => {
    it('hears of payload before the driver sees the chain used, and of all that was written', () => {
      const test = testQueue({ packed })
      const { driver, queue, memory, recorder } = test
      const [first, second] = [memory.allocate(8), memory.allocate(8)]
      driver.offer(chain().readable(4).writable(8, { at: first }).writable(8, { at: second }))
      const heard: unknown[] = []
      const note = memory.onWrite!
      memory.onWrite = (address, length) => {
        note(address, length)
        const payload = [first, second].find((begin) => address >= begin && address < begin + 8)
        if (payload !== undefined) heard.push([payload === first ? 1 : 2, address - payload, length, driver.used()])
      }
      const taken = queue.next()!
      taken.writable.skip(2).bytes(0)
      taken.writable.copyFrom(Uint8Array.of(1, 2))
      taken.writable.putAt(12, Uint8Array.of(9))
      taken.complete(4)
      expect(heard).toEqual([
        [1, 2, 6, undefined],
        [2, 0, 5, undefined],
      ])
      expect([driver.used()?.written, recorder.events.at(-1)]).toEqual([4, { event: 'notify', queue: 0 }])
      recorder.expectWritesCoverChanges(memory)
    })

    it('hears at a reset of what was written, and again at the end of the work of what was given out', async () => {
      const { driver, queue, memory, recorder } = testQueue({ packed })
      const places = [memory.allocate(16), memory.allocate(16)]
      for (const at of places) driver.offer(chain().writable(16, { at }))
      const [copied, lent] = [queue.next()!, queue.next()!]
      recorder.clear()
      copied.writable.skip(4).copyFrom(Uint8Array.of(1, 2))
      const { writable } = lent
      writable.skip(8)
      const view = writable.bytes(0)
      const ending = queue.reset()
      const heard = [
        { address: places[0]! + 4, length: 2 },
        { address: places[1]! + 8, length: 8 },
      ]
      expect(recorder.writes).toEqual(heard)
      view.fill(1)
      copied.complete()
      lent.complete()
      await ending
      expect(recorder.writes).toEqual([...heard, heard[1]])
    })

    it('hears of used entries on both sides of the end of the ring', () => {
      const test = testQueue({ packed, size: 4 })
      const { driver, queue, memory, recorder } = test
      for (let round = 0; round < 10; round++) {
        for (let i = 0; i < 3; i++) driver.put(simple())
        driver.publish()
        memory.settle()
        recorder.clear()
        queue.cork()
        for (const taken of take(test, 3)) taken.complete(0)
        queue.uncork()
        recorder.expectWritesCoverChanges(memory)
        expect([memory.changes().length > 0, driver.drain().length]).toEqual([true, 3])
      }
    })

    it('may let guest memory grow at any time', () => {
      const source = new WebAssembly.Memory({ initial: 1 })
      const memory = new TestMemory({ regions: [{ guestAddress: 0, size: 0x1_0000, source }] })
      const { driver, queue, recorder } = testQueue({ packed, memory, eventIndex: true, size: 4 })
      const note = memory.onWrite!
      memory.onWrite = (address, length) => {
        note(address, length)
        source.grow(1)
      }
      driver.ask(2)
      for (let i = 0; i < 4; i++) {
        driver.offer(chain().writable(4))
        const taken = queue.next()!
        source.grow(1)
        taken.writable.copyFrom(Uint8Array.of(i, i, i, i))
        taken.complete()
        expect(queue.next()?.head).toBeUndefined()
      }
      expect(driver.drain().map(({ bytes }) => [...bytes])).toEqual([0, 1, 2, 3].map((i) => [i, i, i, i]))
      expect([recorder.violations, recorder.notifications]).toEqual([[], 1])
    })

    it('may complete other chains or reset the queue', () => {
      const test = offered(3)
      const { driver, queue, memory } = test
      const [first, second, third] = take(test, 3)
      const heads = [second!.head, first!.head]
      let nested: Chain | undefined = second
      memory.onWrite = () => {
        const inner = nested
        nested = undefined
        inner?.complete(0)
      }
      first!.writable.fill(1)
      first!.complete()
      expect(driver.drain().map(({ id, written }) => [id, written])).toEqual([
        [heads[0], 0],
        [heads[1], 16],
      ])
      memory.onWrite = () => {
        queue.reset()
      }
      third!.writable.fill(1)
      third!.complete()
      expect([driver.used(), third!.cancelled]).toEqual([undefined, true])
    })
  })

  describe('hundreds of parked chains', () => {
    const size = 512

    it('are completed in random order without any allocation after the first rounds', () => {
      const { driver, queue, recorder } = testQueue({ packed, size })
      const random = randomNumbers(1)
      const parked: Chain[] = []
      let allocations = 0
      for (let round = 0; round < 40; round++) {
        while (parked.length < 300) {
          driver.offer(chain().writable(32))
          parked.push(queue.next()!)
        }
        for (let i = 0; i < 150; i++) {
          const [taken] = parked.splice(Math.floor(random() * parked.length), 1)
          const { head } = taken!
          taken!.writable.fill(head & 0xff)
          taken!.complete()
          const used = driver.used()!
          expect([used.id, used.written, used.bytes.every((byte) => byte === (head & 0xff))]).toEqual([head, 32, true])
        }
        if (round === 30) allocations = queue.inspect().allocations
      }
      expect(recorder.violations).toEqual([])
      // By then each of them was used: one object for each, and a few arrays.
      expect(queue.inspect().allocations).toBe(allocations)
      expect(allocations).toBeLessThan(size + 16)
    })

    it('are cancelled by a reset, after which nothing is written', async () => {
      const test = offered(300, { size })
      const { queue, memory, recorder } = test
      const chains = take(test, 300)
      for (const taken of chains.splice(0, 100)) taken.complete(0)
      queue.cork()
      for (const taken of chains.splice(0, 50)) taken.complete(0)
      const count = recorder.notifications
      for (const taken of chains.slice(0, 10)) taken.writable.bytes(0)
      memory.settle()
      let over = false
      const ending = queue.reset()?.then(() => {
        over = true
      })
      expect(ending).toBeDefined()
      queue.uncork()
      for (const taken of chains.toReversed()) {
        expect([over, taken.cancelled]).toEqual([false, true])
        const { writable } = taken
        expect(writable.copyFrom(Uint8Array.of(1, 2, 3))).toBe(0)
        expect(writable.fill(1)).toBe(0)
        expect(writable.bytes(0).length).toBe(0)
        writable.putAt(0, Uint8Array.of(1))
        taken.complete()
        expect(() => taken.complete()).toThrow('completed')
        await undefined
      }
      await ending
      expect([over, memory.changes()]).toEqual([true, []])
      expect([recorder.notifications, queue.next(), queue.reset(), queue.inspect().inFlight]).toEqual([count, undefined, undefined, []])
    })
  })

  describe('the bound of segments', () => {
    it('holds chains back until others are completed, and then the queue is served again', () => {
      const size = 4096
      const count = 512
      let resumed = 0
      const { driver, queue, recorder, memory } = testQueue({ packed, size, eventIndex: true, resume: () => resumed++ })
      const table = memory.allocate(count * VirtqDesc.size, 16)
      const byte = memory.allocate(1)
      // The first chain writes the table, the others use it as well.
      const first = chain().indirect({ at: table })
      for (let i = 0; i < count; i++) first.element({ writable: false, length: 1, at: byte })
      driver.put(first)
      for (let i = 1; i < size; i++)
        driver.put(
          chain().element({ writable: false, length: 0, at: table, amend: { length: count * VirtqDesc.size, flags: VIRTQ_DESC_F_INDIRECT } }),
        )
      driver.publish()
      const parked: Chain[] = []
      let done = 0
      const drain = (): void => {
        for (let taken = queue.next(); taken !== undefined; taken = queue.next()) parked.push(taken)
      }
      drain()
      expect(parked.length).toBeLessThan(size)
      expect([queue.starved, queue.enableNotifications()]).toEqual([true, false])
      while (parked.length > 0) {
        const before = resumed
        parked.pop()!.complete()
        done++
        if (resumed > before) drain()
      }
      expect([done, recorder.violations, queue.next()]).toEqual([size, [], undefined])
    })

    it('holds back a chain as well that is wrong where there was no room to read it, and finds out when there is', () => {
      const source = new Uint8Array(0x2_0000)
      const pieces = 1600
      // Each chain takes more than a third of the room.
      const small = Array.from({ length: pieces }, (_, i) => ({ at: 0x1_0000 + 8 * i, size: 8 }))
      const memory = new TestMemory({
        regions: [{ at: 0, size: 0x1_0000 }, ...small].map(({ at, size }) => ({ guestAddress: at, size, source, byteOffset: at })),
      })
      let resumed = 0
      const { driver, queue, recorder } = testQueue({ packed, memory, size: 4, maxChainLength: 'strict', resume: () => resumed++ })
      const nowhere = 0x10_0000
      driver.offer(chain().writable(8 * pieces, { at: 0x1_0000 }))
      driver.offer(
        chain()
          .writable(8 * pieces, { at: 0x1_0000 })
          .writable(8, { at: nowhere }),
      )
      const one = queue.next()!
      expect([queue.next(), queue.starved, recorder.violations]).toEqual([undefined, true, []])
      one.complete(1)
      expect([resumed, queue.starved, queue.next()]).toEqual([1, false, undefined])
      expect(recorder.violations.map(({ kind }) => kind)).toEqual(['descriptor-address'])
    })

    it('holds saved chains back as well, and nobody finds them until then who asks for notifications', () => {
      const source = new Uint8Array(0x2_0000)
      const memory = new TestMemory({ regions: [{ guestAddress: 0, size: source.length, source }] })
      const pieces = 1600
      const first = testQueue({ packed, memory, size: 2 })
      for (let i = 0; i < 2; i++) first.driver.offer(chain().writable(8 * pieces, { at: 0x1_0000 }))
      take(first, 2)
      const state = first.queue.save()
      // Each chain takes more than a third of the room now.
      const small = Array.from({ length: pieces }, (_, i) => ({ at: 0x1_0000 + 8 * i, size: 8 }))
      memory.replace([{ at: 0, size: 0x1_0000 }, ...small].map(({ at, size }) => ({ guestAddress: at, size, source, byteOffset: at })))
      let resumed = 0
      const { driver, queue, recorder } = testQueue({ driver: first.driver, state, maxChainLength: 'strict', resume: () => resumed++ })
      const one = queue.next()!
      expect([queue.next(), queue.starved, queue.enableNotifications()]).toEqual([undefined, true, false])
      queue.putBack(one)
      expect([queue.starved, queue.enableNotifications(), queue.next()?.head, queue.next()]).toEqual([false, true, one.head, undefined])
      one.complete(1)
      expect([resumed, queue.starved]).toEqual([1, false])
      queue.next()!.complete(2)
      expect([driver.drain().map(({ written }) => written), recorder.violations]).toEqual([[1, 2], []])
    })
  })

  describe('a saved state', () => {
    it('delivers again what was in flight, in the order in which it was taken, and goes on behind', () => {
      const first = offered(5)
      const chains = take(first, 4)
      const heads = chains.map(({ head }) => head)
      chains[1]!.complete(1)
      first.queue.cork()
      chains[2]!.complete(2)
      const state = JSON.parse(JSON.stringify(first.queue.save()))
      expect(first.driver.drain().map(({ id, written }) => [id, written])).toEqual([
        [heads[1], 1],
        [heads[2], 2],
      ])
      first.queue.reset()
      const { driver, queue, recorder } = testQueue({ driver: first.driver, state })
      const again = [queue.next()!]
      expect([again[0]!.head, queue.save()]).toEqual([heads[0], state])
      again.push(queue.next()!, queue.next()!)
      expect([again[1]!.head, again[2]!.writable.length, queue.next()]).toEqual([heads[3], 16, undefined])
      for (const taken of again) {
        taken.writable.fill(1)
        taken.complete()
      }
      expect([driver.drain().map(({ written }) => written), recorder.violations]).toEqual([[16, 16, 16], []])
    })

    it.each(['always', 'never'] as const)('asks the driver anew whether it wants to hear: %s', (wish) => {
      const first = offered(2)
      take(first, 1)[0]!.complete(1)
      const state = first.queue.save()
      first.queue.reset()
      first.driver.ask(wish)
      const { queue, recorder } = testQueue({ driver: first.driver, state })
      queue.next()!.complete(1)
      expect(recorder.notifications).toBe(wish === 'always' ? 1 : 0)
    })

    it('that cannot be is refused', () => {
      const state = testQueue({ packed }).queue.save()
      for (const wrong of [{ available: 65536 }, { used: -1 }, { inFlight: [8] }, { inFlight: [1, 1] }, { inFlight: [0.5] }])
        expect(() => testQueue({ packed, state: { ...state, ...wrong } }), JSON.stringify(wrong)).toThrow(RangeError)
      for (const maxChainLength of [0, 65537, 1.5]) expect(() => testQueue({ packed, maxChainLength })).toThrow(RangeError)
    })
  })

  describe('other regions', () => {
    it('keep what is out, where they hold it, and break a queue whose ring is gone', () => {
      const source = new Uint8Array(0x1_0000)
      const memory = new TestMemory({ regions: [{ guestAddress: 0, size: 0x1_0000, source }] })
      const { driver, queue, recorder } = testQueue({ packed, memory })
      for (const at of [0x8000, 0x9000, 0x8000]) driver.offer(chain().writable(16, { at }))
      const [kept, lost] = [queue.next()!, queue.next()!]
      // What was one region is two now, and the second one ends before the second buffer.
      memory.replace([0, 0x8000].map((at) => ({ guestAddress: at, size: at === 0 ? 0x8000 : 0x1000, source, byteOffset: at })))
      kept.writable.copyFrom(Uint8Array.of(1, 2, 3))
      kept.complete()
      expect([[...source.subarray(0x8000, 0x8004)], driver.used()?.written]).toEqual([[1, 2, 3, 0], 3])
      const { writable } = lost
      expect([writable.copyFrom(Uint8Array.of(1, 2, 3)), writable.bytes(0).length]).toEqual([3, 0])
      lost.complete()
      expect(source[0x9000]).toBe(0)
      const late = queue.next()!
      memory.replace([{ guestAddress: 0x10_0000, size: 8, source: new Uint8Array(8) }])
      expect(queue.next()?.head).toBeUndefined()
      late.complete()
      expect(recorder.violations).toMatchObject([{ kind: 'queue-address' }])
    })
  })
})
