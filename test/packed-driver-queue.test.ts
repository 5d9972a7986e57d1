/** What the driver side of a packed virtqueue writes and reads: VIRTIO 1.4, Packed Virtqueues. */
import fc from 'fast-check'
import {
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  RING_EVENT_FLAGS_ENABLE,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
} from 'virtgen/wire/packed-ring'
import { describe, expect, it } from 'vitest'
import { isOffsetDue } from '../runtime/packed/event-offset.ts'
import { makeDriver, piece, type Setting, small } from './support/driver-setup.ts'

const make = (setting: Setting = {}) => makeDriver('packed', setting)
/** In a lap whose wrap counter is 1, and in one with 0. */
const available = [VIRTQ_DESC_F_USED, VIRTQ_DESC_F_AVAIL] as const

/** Calls `body` and gives the Atomics calls on this buffer in the meantime. */
function recordAtomics(buffer: ArrayBufferLike, body: () => void): string[] {
  const calls: string[] = []
  const { load, store } = Atomics
  const place = (array: { buffer: ArrayBufferLike; byteOffset: number; BYTES_PER_ELEMENT: number }, at: number) => {
    return `${array.BYTES_PER_ELEMENT * 8} bits at 0x${(array.byteOffset + at * array.BYTES_PER_ELEMENT).toString(16)}`
  }
  Atomics.load = ((array: Uint32Array, at: number) => {
    if (array.buffer === buffer) calls.push(`load ${place(array, at)}`)
    return load(array, at)
  }) as typeof Atomics.load
  Atomics.store = ((array: Uint32Array, at: number, value: number) => {
    if (array.buffer === buffer) calls.push(`store ${place(array, at)}`)
    return store(array, at, value)
  }) as typeof Atomics.store
  try {
    body()
  } finally {
    Object.assign(Atomics, { load, store })
  }
  return calls
}

describe('a list in the descriptor ring', () => {
  it('has the id, and flags that agree with the wrap counter, in every descriptor, over the end of the ring', () => {
    const { queue, device } = make({ size: 5 })
    const seen: [number, number][] = []
    for (let i = 0; i < 4; i++) {
      queue.add([...small, ...small], small, i)
      queue.publish()
      for (let j = 0; j < 3; j++) {
        const { flags, id } = device.descriptor((3 * i + j) % 5)
        seen.push([flags, id])
      }
      device.use(device.take()[0]!.id)
      expect(queue.completed()).toBe(i)
    }
    const lap = (descriptor: number) => available[Math.floor(descriptor / 5) % 2 === 0 ? 1 : 0]
    expect(seen.map(([flags]) => flags)).toEqual(seen.map((_, i) => lap(i) | (i % 3 === 2 ? VIRTQ_DESC_F_WRITE : VIRTQ_DESC_F_NEXT)))
    expect(new Set(seen.map(([, id]) => id))).toEqual(new Set([0]))
  })

  it('may be an indirect table, in which WRITE is the only flag', () => {
    const { queue, device } = make({ indirect: true })
    queue.add([...small, ...small], [piece(0x1_9000, 8)], 'a')
    queue.publish()
    const head = device.descriptor(0)
    expect([head.flags, head.len, head.addr % 16]).toEqual([VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_INDIRECT, 3 * 16, 0])
    expect([0, 1, 2].map((i) => device.descriptor(i, head.addr)).map(({ len, flags, id }) => [len, flags, id])).toEqual([
      [4, 0, 0],
      [4, 0, 0],
      [8, VIRTQ_DESC_F_WRITE, 0],
    ])
  })

  it('becomes visible with all others of its batch by one store, of the flags of the very first descriptor', () => {
    const { queue, device, memory, setup } = make({ size: 7 })
    const { buffer } = memory.regions[0]!.u8
    for (let round = 0; round < 10; round++) {
      const first = device.position & 0x7fff
      const before = recordAtomics(buffer, () => {
        queue.add(small, small, 'a')
        queue.add(small, [], 'b')
        queue.add(small, small, 'c')
      })
      expect([before, device.take()]).toEqual([[], []])
      const flagsAt = setup.descriptorArea + 16 * first + 14
      // Then the wish of the device, both words in one load.
      expect(recordAtomics(buffer, () => queue.publish())).toEqual([
        `store 16 bits at 0x${flagsAt.toString(16)}`,
        `load 32 bits at 0x${setup.deviceArea.toString(16)}`,
      ])
      const found = device.take()
      expect(found.map(({ pieces }) => pieces.length)).toEqual([2, 1, 2])
      for (const { id } of found) device.use(id)
      expect(['a', 'b', 'c'].map(() => queue.completed())).toEqual(['a', 'b', 'c'])
    }
  })

  it('is not seen before its batch is published, whatever lay in the ring in the lap before', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.array(fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 })),
        (size, batches) => {
          const { queue, device } = make({ size })
          for (const batch of batches) {
            let count = 0
            for (const length of batch) if (length <= size && queue.add(Array(length).fill(small[0]!), [], 1)) count++
            expect(device.take()).toEqual([])
            queue.publish()
            const found = device.take()
            expect(found).toHaveLength(count)
            for (const { id } of found.reverse()) device.use(id)
            while (queue.completed() !== undefined);
            expect([queue.free, queue.broken]).toEqual([size, undefined])
          }
        },
      ),
    )
  })
})

describe('a used descriptor', () => {
  it('without the WRITE flag need not have a length: what cannot be one is ignored, what can be is taken, as QEMU never sets the flag', () => {
    const { queue, device } = make()
    queue.add(small, [piece(0x1_9000, 8)], 'a')
    queue.add(small, [piece(0x1_9000, 8)], 'b')
    queue.add(small, [piece(0x1_9000, 8)], 'c')
    queue.publish()
    const [a, b, c] = device.take().map(({ id }) => id)
    device.forge(a!, 0xffff_ffff, 0)
    expect([queue.completed(), queue.written]).toEqual(['a', 0])
    device.use(a!, 0)
    device.forge(b!, 8, VIRTQ_DESC_F_WRITE)
    expect([queue.completed(), queue.written]).toEqual(['b', 8])
    device.use(b!, 8)
    device.forge(c!, 5, 0)
    expect([queue.completed(), queue.written]).toEqual(['c', 5])
    expect(queue.broken).toBeUndefined()
  })

  it('may have other flags, which are ignored', () => {
    const { queue, device } = make()
    queue.add([], small, 'a')
    queue.publish()
    device.forge(device.take()[0]!.id, 3, VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_INDIRECT | (1 << 3))
    expect([queue.completed(), queue.written]).toEqual(['a', 3])
  })

  it('is looked for behind the descriptors of the buffer before, in whatever order buffers are used', () => {
    const { queue, device } = make({ size: 7 })
    for (let round = 0; round < 20; round++) {
      for (const [token, length] of [
        ['a', 3],
        ['b', 1],
        ['c', 2],
      ] as const)
        queue.add(Array(length).fill(small[0]!), [], token)
      queue.publish()
      const [a, b, c] = device.take().map(({ id }) => id)
      device.use(c!)
      device.use(a!)
      expect([queue.completed(), queue.completed(), queue.completed()]).toEqual(['c', 'a', undefined])
      device.use(b!)
      expect([queue.completed(), queue.completed()]).toEqual(['b', undefined])
    }
  })

  it('is read once: flags, and what they say is there', () => {
    const { queue, device, memory, setup } = make()
    queue.add([], small, 'a')
    queue.publish()
    device.use(device.take()[0]!.id, 4)
    const calls = recordAtomics(memory.regions[0]!.u8.buffer, () => expect(queue.completed()).toBe('a'))
    expect(calls).toEqual([`load 16 bits at 0x${(setup.descriptorArea + 14).toString(16)}`])
  })

  it('stands for a batch with VIRTIO_F_IN_ORDER: the next one lies behind the descriptors of all of them', () => {
    const { queue, device } = make({ inOrder: true, size: 9 })
    for (let round = 0; round < 20; round++) {
      for (const [token, length] of [
        ['a', 2],
        ['b', 3],
        ['c', 1],
      ] as const)
        queue.add(Array(length - 1).fill(small[0]!), small, token)
      queue.publish()
      const [a, b, c] = device.take().map(({ id }) => id)
      device.use(b!, 3, [a!])
      device.use(c!, 2)
      expect(['a', 'b', 'c'].map(() => [queue.completed(), queue.written])).toEqual([
        ['a', 4],
        ['b', 3],
        ['c', 2],
      ])
      expect([queue.completed(), queue.free]).toEqual([undefined, 9])
    }
  })
})

describe('event suppression structures', () => {
  it('ask for all, for none, or with VIRTIO_F_EVENT_IDX for the next used descriptor', () => {
    const { queue, device } = make({ size: 3, eventIndex: true })
    for (let i = 0; i < 7; i++) {
      queue.add(small, [], i)
      queue.publish()
      expect(queue.completed()).toBeUndefined()
      const { offset, wrap, flags } = device.driverEvent
      expect([offset | (wrap << 15), flags]).toEqual([device.usedPosition, RING_EVENT_FLAGS_DESC])
      queue.disableNotifications()
      expect(device.driverEvent.flags).toBe(RING_EVENT_FLAGS_DISABLE)
      queue.enableNotifications()
      device.use(device.take()[0]!.id)
      expect(queue.completed()).toBe(i)
    }
    const plain = make()
    plain.queue.disableNotifications()
    expect(plain.device.driverEvent).toEqual({ offset: 0, wrap: 0, flags: RING_EVENT_FLAGS_DISABLE })
    plain.queue.enableNotifications()
    expect(plain.device.driverEvent).toEqual({ offset: 0, wrap: 0, flags: RING_EVENT_FLAGS_ENABLE })
  })

  it('of the device that say something reserved, or not negotiated, do not let it wait', () => {
    for (const [flags, eventIndex] of [
      [3, true],
      [3, false],
      [RING_EVENT_FLAGS_DESC, false],
    ] as const) {
      const { queue, device, counts } = make({ eventIndex })
      device.deviceEvent(5, 0, flags)
      queue.add(small, [], 'a')
      queue.publish()
      expect(counts.notifications).toBe(1)
    }
  })

  it('may name a descriptor in the middle of a list', () => {
    for (let ahead = 0; ahead < 6; ahead++) {
      const { queue, device, counts } = make({ size: 7, eventIndex: true })
      device.wish({ ahead })
      queue.add([...small, ...small], small, 'a')
      queue.add(small, small, 'b')
      queue.publish()
      expect(counts.notifications).toBe(ahead < 5 ? 1 : 0)
    }
  })
})

describe('isOffsetDue', () => {
  /** The same by counting: walks over the new descriptors. */
  const naive = (event: number, now: number, count: number, size: number) => {
    let [at, wrap] = [now & 0x7fff, now >>> 15]
    for (let i = 0; i < count; i++) {
      if (at === 0) wrap ^= 1
      at = at === 0 ? size - 1 : at - 1
      if ((at | (wrap << 15)) === event) return true
    }
    return false
  }

  it('says of every event and every position what counting the new descriptors one by one says, for sizes that are no power of two too', () => {
    const wrong: string[] = []
    for (const size of [1, 2, 3, 5, 7, 8, 12, 13])
      for (let place = 0; place < 2 * size; place++)
        for (let count = 1; count <= size; count++)
          for (let at = 0; at < 2 * size; at++) {
            const [now, event] = [place, at].map((value) => (value % size) | (value < size ? 0 : 1 << 15)) as [number, number]
            if (isOffsetDue(event, now, count, size) !== naive(event, now, count, size)) wrong.push(`${event} at ${now}, ${count} of ${size}`)
          }
    expect(wrong).toEqual([])
  })

  it('says so for any size', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 32768 }), fc.nat(), fc.nat(), fc.nat(), fc.integer({ min: -2, max: 2 }), (size, n, e, c, near) => {
        const count = 1 + (c % Math.min(size, 500))
        const position = (value: number) => {
          const place = ((value % (2 * size)) + 2 * size) % (2 * size)
          return (place % size) | (place < size ? 0 : 1 << 15)
        }
        for (const event of [e, n + near, n - count + near]) {
          const [now, at] = [position(n), position(event)]
          expect(isOffsetDue(at, now, count, size)).toBe(naive(at, now, count, size))
        }
      }),
      { numRuns: 2000 },
    )
  })
})
