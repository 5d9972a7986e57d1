/** What the driver side of a split virtqueue writes and reads: VIRTIO 1.4, Split Virtqueues. */
import fc from 'fast-check'
import {
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_F_NO_NOTIFY,
} from 'virtgen/wire/split-ring'
import { describe, expect, it } from 'vitest'
import { isEventDue } from '../runtime/split/event-index.ts'
import { makeDriver, piece, type Setting, small } from './support/driver-setup.ts'

const make = (setting: Setting = {}) => makeDriver('split', setting)

describe('a chain in the descriptor table', () => {
  it('is linked by next, and its head is in the available ring', () => {
    const { queue, device } = make()
    queue.add([piece(0x1_8000, 16), piece(0x12_3456_789a, 0xffff_0000)], [piece(0x1_9000, 512), piece(0x1_a000, 1)], 'a')
    expect(device.chain(device.availEntry(0)).map(({ addr, len, flags }) => [addr, len, flags])).toEqual([
      [0x1_8000, 16, VIRTQ_DESC_F_NEXT],
      [0x12_3456_789a, 0xffff_0000, VIRTQ_DESC_F_NEXT],
      [0x1_9000, 512, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE],
      [0x1_a000, 1, VIRTQ_DESC_F_WRITE],
    ])
    expect(device.availIndex).toBe(0)
    queue.publish()
    expect(device.availIndex).toBe(1)
  })

  it('may be an indirect table: one descriptor that goes nowhere, and one behind the other in the table', () => {
    const { queue, device } = make({ indirect: true })
    queue.add([...small, ...small], [piece(0x1_9000, 8)], 'a')
    const head = device.descriptor(device.availEntry(0))
    expect([head.flags, head.len, head.addr % 16]).toEqual([VIRTQ_DESC_F_INDIRECT, 3 * 16, 0])
    expect(device.chain(device.availEntry(0)).map(({ at, len, flags, next }) => [at, len, flags, next])).toEqual([
      [0, 4, VIRTQ_DESC_F_NEXT, 1],
      [1, 4, VIRTQ_DESC_F_NEXT, 2],
      [2, 8, VIRTQ_DESC_F_WRITE, 0],
    ])
  })

  it('lies in the order of the table with VIRTIO_F_IN_ORDER, from its end on at 0 again', () => {
    const { queue, device } = make({ size: 8, inOrder: true })
    let expected = 0
    for (let round = 0; round < 40; round++) {
      const lengths = [1 + (round % 3), 1 + (round % 5)]
      for (const length of lengths) queue.add(Array(length).fill(small[0]!), [], length)
      queue.publish()
      for (let i = 0; i < 2; i++) {
        const head = device.availEntry(2 * round + i)
        const places = device.chain(head).map(({ at }) => at)
        expect(places).toEqual(lengths.slice(i, i + 1).flatMap((length) => Array.from({ length }, (_, j) => (expected + j) % 8)))
        expected = (expected + lengths[i]!) % 8
      }
      const [a, b] = device.take().map(({ id }) => id)
      // In one batch and one by one.
      if (round % 2 === 0) device.use(b!, 0, [a!])
      else for (const id of [a!, b!]) device.use(id)
      expect([queue.completed(), queue.completed()]).toEqual(lengths)
    }
  })

  it('takes one descriptor after the other with VIRTIO_F_IN_ORDER where there are indirect tables too', () => {
    const { queue, device } = make({ size: 4, inOrder: true, indirect: true })
    for (let i = 1; i <= 13; i++) {
      queue.add(small, i % 2 === 0 ? small : [], i)
      queue.publish()
      expect(device.availEntry(i - 1)).toBe((i - 1) % 4)
      device.use(device.take()[0]!.id)
      expect(queue.completed()).toBe(i)
    }
  })
})

describe('a used index', () => {
  const out = (setting: Setting = {}) => {
    const made = make(setting)
    made.queue.add([], [piece(0x1_8000, 100)], 'a')
    made.queue.add(small, [], 'b')
    made.queue.publish()
    made.device.take()
    return made
  }

  it('that jumps over what is out breaks the queue', () => {
    for (const index of [3, 9, 0x8000, 0xffff]) {
      const { queue, device, violations } = out()
      device.usedIndex = index
      expect(queue.completed()).toBeUndefined()
      expect(violations).toMatchObject([{ kind: 'used-index', queue: 3, detail: expect.stringContaining(`${index}`) }])
    }
  })

  it('that moves back breaks the queue', () => {
    const { queue, device, violations } = out()
    device.use(device.ids[1]!)
    expect(queue.completed()).toBe('b')
    device.usedIndex = 0
    expect(queue.completed()).toBeUndefined()
    expect(violations).toMatchObject([{ kind: 'used-index' }])
  })

  it('stands for a batch with VIRTIO_F_IN_ORDER: the next element lies as many places further', () => {
    const { queue, device } = make({ inOrder: true })
    for (const token of ['a', 'b', 'c']) queue.add([], small, token)
    queue.publish()
    const [a, b, c] = device.take().map(({ id }) => id)
    device.use(b!, 3, [a!])
    // Noise where no element is.
    device.element(1, 0xffff_ffff, 0xffff_ffff)
    device.use(c!, 2)
    expect(['a', 'b', 'c'].map(() => [queue.completed(), queue.written])).toEqual([
      ['a', 4],
      ['b', 3],
      ['c', 2],
    ])
  })

  it('names a descriptor that begins no buffer: the queue is broken', () => {
    const { queue, device, violations } = make()
    queue.add([...small, ...small], [], 'a')
    queue.publish()
    const second = device.descriptor(device.take()[0]!.id).next
    device.use(second)
    expect(queue.completed()).toBeUndefined()
    expect(violations).toMatchObject([{ kind: 'used-id', head: second }])
  })
})

describe('words for notifications', () => {
  it('are flags without VIRTIO_F_EVENT_IDX', () => {
    const { queue, device, counts } = make()
    device.availEvent = 100
    device.wish('none')
    queue.add(small, [], 'a')
    queue.publish()
    expect(counts.notifications).toBe(0)
    queue.disableNotifications()
    expect(device.availFlags).toBe(VIRTQ_AVAIL_F_NO_INTERRUPT)
    queue.enableNotifications()
    expect([device.availFlags, device.usedEvent]).toEqual([0, 0])
  })

  it('are events with it: the flag of the device is ignored, that of the driver stays 0', () => {
    const { queue, device, counts } = make({ eventIndex: true })
    device.wish('none')
    queue.add(small, [], 'a')
    queue.publish()
    expect([VIRTQ_USED_F_NO_NOTIFY, counts.notifications]).toEqual([1, 1])
    device.use(device.take()[0]!.id)
    queue.completed()
    queue.disableNotifications()
    // Far away: the device has to use half of all indices before it notifies.
    expect([device.usedEvent, device.availFlags]).toEqual([1 + 0x8000, 0])
    queue.enableNotifications()
    expect(device.usedEvent).toBe(1)
  })

  it('follow the text for every avail_event', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 1, max: 8 }), fc.integer({ min: 0, max: 40 }), (event, count, start) => {
        const { queue, device, counts } = make({ eventIndex: true })
        for (let i = 0; i < start; i++) {
          queue.add(small, [], i)
          queue.publish()
          device.use(device.take()[0]!.id)
          queue.completed()
        }
        device.availEvent = event
        const before = counts.notifications
        for (let i = 0; i < count; i++) queue.add(small, [], i)
        queue.publish()
        expect(counts.notifications - before).toBe(event >= start && event < start + count ? 1 : 0)
      }),
    )
  })
})

describe('isEventDue', () => {
  it('says of every index, all the way round, what counting the new entries one by one says', () => {
    const counts = [1, 2, 3, 255, 256, 32768]
    const wrong: string[] = []
    for (let before = 0; before < 0x1_0000; before++) {
      const count = counts[before % counts.length]!
      const now = (before + count) & 0xffff
      // Round both ends of what is new, and anywhere.
      for (const event of [before - 2, before - 1, before, before + 1, now - 2, now - 1, now, now + 1, before + 0x8000, before * 31 + 7]) {
        const isNew = ((event - before + 0x1_0000) & 0xffff) < count
        if (isEventDue(event & 0xffff, now, before) !== isNew) wrong.push(`${event} of ${before} to ${now}`)
      }
    }
    expect(wrong).toEqual([])
  })

  it('says so for any event, against a naive walk', () => {
    const index = fc.nat(0xffff)
    fc.assert(
      fc.property(index, index, fc.integer({ min: 1, max: 300 }), fc.integer({ min: -3, max: 303 }), (before, anywhere, count, near) => {
        for (const event of [anywhere, (before + near) & 0xffff]) {
          let isDue = false
          for (let i = 0; i < count; i++) if (((before + i) & 0xffff) === event) isDue = true
          expect(isEventDue(event, (before + count) & 0xffff, before)).toBe(isDue)
        }
      }),
    )
  })
})
