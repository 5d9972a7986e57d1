/** Device side of a packed virtqueue: the words that it reads and writes. What holds for both formats is in device-queue.test.ts. */
import { chain, testQueue } from 'virtgen/testing'
import {
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  RING_EVENT_FLAGS_ENABLE,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
} from 'virtgen/wire/packed-ring'
import { describe, expect, it } from 'vitest'

const wrap = 0x8000
const used = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED

describe('a packed device queue', () => {
  it('writes one used descriptor for a list, over its first one, with the flags of the round', () => {
    const { driver, queue } = testQueue({ packed: true, size: 5 })
    const seen: unknown[] = []
    for (let round = 0; round < 4; round++) {
      const { id, descriptors } = driver.offer(chain().readable(1).readable(2).writable(3))
      const others = descriptors.slice(1).map((index) => driver.descriptor(index))
      const taken = queue.next()!
      taken.complete(round)
      const { length, last, flags } = driver.descriptor(descriptors[0]!)
      seen.push([descriptors[0], last === id, length, flags])
      expect(descriptors.slice(1).map((index) => driver.descriptor(index))).toEqual(others)
      expect(driver.used()?.written).toBe(round)
    }
    // The third and the fourth list end in another round than they begin.
    expect(seen).toEqual([
      [0, true, expect.any(Number), used],
      [3, true, 1, used | VIRTQ_DESC_F_WRITE],
      [1, true, 2, VIRTQ_DESC_F_WRITE],
      [4, true, 3, VIRTQ_DESC_F_WRITE],
    ])
  })

  it('takes nothing that is marked for another round', () => {
    const { driver, queue, recorder } = testQueue({ packed: true })
    for (const flags of [0, used, VIRTQ_DESC_F_USED]) {
      driver.setDescriptor(0, { length: 1, flags })
      expect(queue.next()).toBeUndefined()
    }
    driver.setDescriptor(0, { address: 64, length: 1, flags: VIRTQ_DESC_F_AVAIL })
    expect([queue.next()?.readable.length, recorder.violations]).toEqual([1, []])
  })

  it('asks for the next descriptor with VIRTIO_F_EVENT_IDX, and for any without', () => {
    for (const eventIndex of [false, true]) {
      const { driver, queue } = testQueue({ packed: true, eventIndex, size: 3 })
      const asked = Array.from({ length: 4 }, () => {
        driver.offer(chain().readable(1).readable(1))
        queue.next()!.complete(0)
        expect(queue.next()).toBeUndefined()
        driver.drain()
        return driver.deviceEvent
      })
      if (eventIndex) {
        expect(asked).toEqual([
          { offset: 2, wrap: 1, flags: RING_EVENT_FLAGS_DESC },
          { offset: 1, wrap: 0, flags: RING_EVENT_FLAGS_DESC },
          { offset: 0, wrap: 1, flags: RING_EVENT_FLAGS_DESC },
          { offset: 2, wrap: 1, flags: RING_EVENT_FLAGS_DESC },
        ])
      } else expect(asked.every(({ flags }) => flags === RING_EVENT_FLAGS_ENABLE)).toBe(true)
      queue.disableNotifications()
      expect(driver.deviceEvent.flags).toBe(RING_EVENT_FLAGS_DISABLE)
    }
  })

  it('notifies for the descriptor in the round that the driver names', () => {
    const { driver, queue, recorder } = testQueue({ packed: true, eventIndex: true, size: 3 })
    driver.driverEvent = { offset: 1, wrap: 0, flags: RING_EVENT_FLAGS_DESC }
    const counts = Array.from({ length: 7 }, () => {
      driver.offer(chain().readable(1))
      queue.next()!.complete(0)
      driver.memory.settle()
      // The wish stays as it is: `used` of the driver by hand would change it.
      driver.used()
      driver.driverEvent = { offset: 1, wrap: 0, flags: RING_EVENT_FLAGS_DESC }
      return recorder.notifications
    })
    expect(counts).toEqual([0, 0, 0, 0, 1, 1, 1])
  })

  it('notifies where the flags of the driver are the reserved ones, and ignores the reserved bits', () => {
    const { driver, queue, recorder } = testQueue({ packed: true, eventIndex: true })
    for (const [flags, expected] of [
      [3, 1],
      [0xfffc | RING_EVENT_FLAGS_DISABLE, 1],
      [0xfffc | RING_EVENT_FLAGS_ENABLE, 2],
    ] as const) {
      driver.driverEvent = { offset: 0x7fff, wrap: 0, flags }
      driver.offer(chain().readable(1))
      queue.next()!.complete(0)
      expect(recorder.notifications).toBe(expected)
    }
  })

  it('says where it is with the wrap counter in bit 15, and what it has in full', () => {
    const { driver, queue } = testQueue({ packed: true, size: 4 })
    const at = driver.memory.allocate(16)
    driver.offer(chain().readable(4, { at }).writable(5, { at }))
    driver.offer(chain().writable(16, { at }))
    driver.offer(chain().writable(3, { at }), { head: 9 })
    const [first] = [queue.next()!, queue.next()!.complete(0)]
    expect(queue.save()).toMatchObject({ available: 3 | wrap, used: 1 | wrap, inFlight: [{ head: first.head, slots: 2 }] })
    queue.next()!.complete(0)
    // The used descriptors were written over those of the first chain.
    const { inFlight } = queue.save()
    expect(inFlight).toEqual([
      {
        head: first.head,
        slots: 2,
        buffers: [
          [at, 4, 0],
          [at, 5, 1],
        ],
      },
    ])
    const again = testQueue({ driver, state: JSON.parse(JSON.stringify(queue.save())) })
    const chain1 = again.queue.next()!
    expect([chain1.head, chain1.readable.length, chain1.writable.length]).toEqual([first.head, 4, 5])
    chain1.complete(5)
    expect(driver.drain().map(({ id, written }) => [id, written])).toEqual([
      [1, 0],
      [9, 0],
      [0, 5],
    ])
    expect(again.queue.save()).toEqual({ available: 0, used: 0, inFlight: [] })
  })
})
