/** Device side of a split virtqueue: the words that it reads and writes. What holds for both formats is in device-queue.test.ts. */
import fc from 'fast-check'
import { chain, testQueue } from 'virtgen/testing'
import { VIRTQ_USED_F_NO_NOTIFY, VirtqUsed, VirtqUsedElem } from 'virtgen/wire/split-ring'
import { describe, expect, it } from 'vitest'
import { isEventDue } from '../runtime/split/event-index.ts'

describe('a split device queue', () => {
  it('goes on over the wrap of both indices', () => {
    const { driver, queue, recorder } = testQueue({ size: 2 })
    for (let i = 0; i < 0x1_0010; i++) {
      driver.offer(chain().writable(16))
      queue.next()!.complete(i & 15)
      if (driver.used()!.written !== (i & 15)) expect.fail(`chain ${i}`)
    }
    expect([driver.usedIndex, driver.usedElement(15).len, queue.next(), recorder.violations]).toEqual([0x10, 15, undefined, []])
  })

  it('notifies for the entry that used_event names and no other, over the wrap, and ignores the flag', () => {
    const { driver, queue, recorder } = testQueue({ eventIndex: true, position: { available: 0xfffe, used: 0xfffe } })
    driver.availableFlags = 1
    driver.usedEvent = 1
    const counts = Array.from({ length: 6 }, () => {
      driver.offer(chain().writable(16))
      queue.next()!.complete(0)
      return recorder.notifications
    })
    // The first one after a restore comes in any case: the driver may have asked for one that was lost on the way.
    expect(counts).toEqual([1, 1, 1, 2, 2, 2])
  })

  it('asks in avail_event for the next buffer; disabled, it leaves the event where it is, and the flag 0', () => {
    const { driver, queue } = testQueue({ eventIndex: true })
    for (let i = 0; i < 2; i++) driver.offer(chain().writable(16))
    queue.next()
    queue.next()
    queue.next()
    expect(driver.availEvent).toBe(2)
    driver.offer(chain().writable(16))
    queue.next()
    queue.disableNotifications()
    driver.offer(chain().writable(16))
    queue.next()
    queue.next()
    expect([driver.usedFlags, driver.availEvent]).toEqual([0, 2])
    expect([queue.enableNotifications(), driver.availEvent]).toEqual([false, 4])
  })

  it('sets the flag without VIRTIO_F_EVENT_IDX, and clears it', () => {
    const { driver, queue } = testQueue()
    queue.disableNotifications()
    expect([driver.usedFlags, queue.next(), driver.usedFlags]).toEqual([VIRTQ_USED_F_NO_NOTIFY, undefined, VIRTQ_USED_F_NO_NOTIFY])
    expect([queue.enableNotifications(), driver.usedFlags]).toEqual([false, 0])
  })

  it('tells onWrite of the used entry, the used index and the event word, on both sides of the end of the ring', () => {
    const { driver, queue, recorder } = testQueue({ size: 4, eventIndex: true, position: { available: 3, used: 3 } })
    for (let i = 0; i < 2; i++) driver.offer(chain().readable(1))
    recorder.clear()
    queue.cork()
    for (let taken = queue.next(); taken !== undefined; taken = queue.next()) taken.complete(0)
    queue.uncork()
    const { ring, idx } = VirtqUsed.offsetOf
    const { size } = VirtqUsedElem
    expect(recorder.writes.map(({ address, length }) => [address - driver.setup.deviceArea, length])).toEqual([
      [ring + 4 * size, 2],
      [ring + 3 * size, size],
      [ring, size],
      [idx, 2],
    ])
  })

  it('says where it is with free-running indices', () => {
    const { driver, queue } = testQueue()
    for (const head of [5, 2, 7, 0, 1]) driver.offer(chain().writable(16), { head })
    const chains = [queue.next()!, queue.next()!, queue.next()!, queue.next()!]
    chains[1]!.complete(1)
    queue.cork()
    chains[2]!.complete(2)
    expect(JSON.parse(JSON.stringify(queue.save()))).toEqual({ available: 4, used: 2, inFlight: [5, 0] })
    expect([driver.usedIndex, driver.usedElement(0), driver.usedElement(1)]).toEqual([2, { id: 2, len: 1 }, { id: 7, len: 2 }])
  })
})

describe('the event index', () => {
  it('is due exactly when the entry asked for is among the new ones, for all distances and wraps', () => {
    const byWalking = (event: number, now: number, before: number): boolean => {
      for (let i = before; i !== now; i = (i + 1) & 0xffff) if (i === event) return true
      return false
    }
    const index = fc.oneof(fc.nat(0xffff), fc.constantFrom(0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff))
    fc.assert(
      fc.property(index, fc.nat(600), fc.integer({ min: -3, max: 603 }), (before, count, offset) => {
        const now = (before + count) & 0xffff
        expect(isEventDue((before + offset) & 0xffff, now, before)).toBe(byWalking((before + offset) & 0xffff, now, before))
      }),
      { numRuns: 2000 },
    )
    for (let before = 0; before < 0x1_0000; before++) {
      const now = (before + 3) & 0xffff
      const due = [-1, 0, 1, 2, 3].map((offset) => isEventDue((before + offset) & 0xffff, now, before))
      if (due.join() !== 'false,true,true,true,false') expect.fail(`${before}: ${due}`)
    }
  })
})
