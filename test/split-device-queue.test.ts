/** Device side of a split virtqueue: taking, completing, notifying, batching, resetting, saving. */
import fc from 'fast-check'
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE, VIRTQ_USED_F_NO_NOTIFY, VirtqDesc } from 'virtgen/wire/split-ring'
import { describe, expect, it } from 'vitest'
import type { Chain } from '../runtime/chain.ts'
import { GuestMemory } from '../runtime/memory.ts'
import { isEventDue } from '../runtime/split/event-index.ts'
import { deviceQueue, RawRing } from './support/raw-ring.ts'

const data = 0x8000

function simple(size = 8, bytes = 0x1_0000): RawRing {
  const ring = new RawRing(GuestMemory.of(new Uint8Array(bytes)), size)
  for (let i = 0; i < size; i++) ring.descriptor(i, { address: data + i * 16, length: 16, flags: VIRTQ_DESC_F_WRITE })
  return ring
}

function* numbers(seed: number): Generator<number, never> {
  for (let x = seed; ; ) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    yield x
  }
}

describe('a device queue', () => {
  it('takes chains in the order in which they became available and gives them back in any', () => {
    const ring = simple()
    ring.offer(5, 2, 7)
    const { queue, notified } = deviceQueue(ring)
    const chains = [queue.next()!, queue.next()!, queue.next()!]
    expect(chains.map((chain) => chain.head)).toEqual([5, 2, 7])
    expect(queue.next()).toBeUndefined()
    chains[1]!.complete(3)
    chains[2]!.complete(0)
    chains[0]!.complete(16)
    expect([0, 1, 2].map((i) => ring.used(i))).toEqual([
      { id: 2, len: 3 },
      { id: 7, len: 0 },
      { id: 5, len: 16 },
    ])
    expect([ring.usedIndex, notified()]).toEqual([3, 3])
  })

  it('goes on over the wrap of both indices', () => {
    const ring = simple(2)
    const { queue, violations } = deviceQueue(ring)
    for (let i = 0; i < 0x1_0010; i++) {
      ring.offer(i & 1)
      const chain = queue.next()!
      if (chain.head !== (i & 1)) expect.fail(`chain ${i}`)
      chain.complete(i & 15)
    }
    expect([ring.usedIndex, ring.used(1), queue.next(), violations]).toEqual([0x10, { id: 1, len: 15 }, undefined, []])
  })

  it('takes indirect tables at any address, alone and behind other descriptors, whatever their WRITE flag says', () => {
    for (const table of [0x2000, 0x2008, 0x2001, 0x2006]) {
      for (const flag of [0, VIRTQ_DESC_F_WRITE]) {
        const ring = simple()
        ring.descriptor(0, { address: data, length: 10, flags: VIRTQ_DESC_F_NEXT, next: 4 })
        ring.descriptor(4, { address: table, length: 3 * VirtqDesc.size, flags: VIRTQ_DESC_F_INDIRECT | flag })
        ring.chain(
          [0, 2, 1],
          [
            { address: data, length: 1 },
            { address: data, length: 2 },
            { address: data, length: 4, writable: true },
          ],
          table,
        )
        ring.offer(0, 4)
        const { queue } = deviceQueue(ring)
        const [mixed, alone] = [queue.next()!, queue.next()!]
        expect([mixed.readable.length, mixed.writable.length, mixed.readable.segments]).toEqual([13, 4, 3])
        expect([alone.head, alone.readable.length, alone.writable.length]).toEqual([4, 3, 4])
      }
    }
  })

  it('takes more descriptors than the queue has through an indirect table, up to 1024', () => {
    const ring = simple(2)
    const count = 1024
    ring.descriptor(0, { address: 0x1000, length: count * VirtqDesc.size, flags: VIRTQ_DESC_F_INDIRECT })
    ring.chain(
      Array.from({ length: count }, (_, i) => i),
      Array(count).fill({ address: data, length: 2 }),
      0x1000,
    )
    ring.offer(0)
    expect(deviceQueue(ring).queue.next()!.readable.length).toBe(2 * count)
  })

  it('lets an indirect table cross regions that touch', () => {
    const regions = [0, 0x1008, 0x1010].map((guestAddress, i) => ({
      guestAddress,
      size: [0x1008, 8, 0x1_0000][i]!,
      source: new Uint8Array(0x1_0000),
    }))
    const ring = new RawRing(new GuestMemory(regions), 4)
    ring.descriptor(0, { address: 0x1000, length: 2 * VirtqDesc.size, flags: VIRTQ_DESC_F_INDIRECT })
    ring.chain(
      [0, 1],
      [
        { address: 0x2000, length: 5 },
        { address: 0x3000, length: 6 },
      ],
      0x1000,
    )
    ring.offer(0)
    const { queue, violations } = deviceQueue(ring)
    expect([queue.next()?.readable.length, violations]).toEqual([11, []])
  })

  it('gives a chain without bytes where all descriptors have none', () => {
    const ring = simple()
    ring.descriptor(0, { address: 2 ** 60, length: 0 })
    ring.offer(0)
    const chain = deviceQueue(ring).queue.next()!
    expect([chain.readable.length, chain.writable.length, chain.readable.segments]).toEqual([0, 0, 0])
    chain.complete()
    expect(ring.used(0)).toEqual({ id: 0, len: 0 })
  })
})

describe('used buffer notifications', () => {
  it('are left out while the driver has set the flag', () => {
    const ring = simple()
    const { queue, notified } = deviceQueue(ring)
    ring.offer(0, 1)
    ring.availableFlags = 1
    queue.next()!.complete(0)
    expect(notified()).toBe(0)
    ring.availableFlags = 0
    queue.next()!.complete(0)
    expect(notified()).toBe(1)
  })

  it('come for the entry that used_event names and no other, over the wrap, and the flag is ignored', () => {
    const ring = simple()
    ring.available = 0xfffe
    const state = { available: 0xfffe, used: 0xfffe, inFlight: [] }
    const { queue, notified } = deviceQueue(ring, { eventIndex: true, state })
    ring.availableFlags = 1
    const counts = []
    ring.usedEvent = 1
    for (let i = 0; i < 6; i++) {
      ring.offer(i)
      queue.next()!.complete(0)
      counts.push(notified())
    }
    // The first one after a restore comes in any case: the driver may have asked for one that was lost on the way.
    expect(counts).toEqual([1, 1, 1, 2, 2, 2])
  })

  it('come once for a batch, when it becomes visible', () => {
    const ring = simple()
    const { queue, notified } = deviceQueue(ring, { eventIndex: true })
    ring.usedEvent = 1
    ring.offer(0, 1, 2)
    queue.cork()
    queue.cork()
    for (let i = 0; i < 3; i++) queue.next()!.complete(i)
    queue.uncork()
    expect([ring.usedIndex, notified()]).toEqual([0, 0])
    queue.uncork()
    expect([ring.usedIndex, notified(), ring.used(2)]).toEqual([3, 1, { id: 2, len: 2 }])
    expect(() => queue.uncork()).toThrow('queue 0 is not corked')
  })

  it('are due exactly when the entry asked for is among the new ones, for all distances and wraps', () => {
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

describe('available buffer notifications', () => {
  it('are asked for before next finds nothing, so that a simple device misses nothing', () => {
    const ring = simple()
    const { queue } = deviceQueue(ring, { eventIndex: true })
    ring.offer(0, 1)
    queue.next()
    queue.next()
    expect(queue.next()).toBeUndefined()
    expect(ring.availEvent).toBe(2)
  })

  it('that come too late are made up for: what became available while asking is taken', () => {
    const ring = simple()
    // The guest makes a buffer available at the very moment in which the device asks.
    const memory = ring.memory
    memory.onWrite = (address) => {
      if (address < ring.setup.deviceArea) return
      memory.onWrite = undefined
      ring.offer(3)
    }
    const { queue } = deviceQueue(ring, { eventIndex: true })
    expect(queue.next()?.head).toBe(3)
  })

  it('are disabled by the flag without VIRTIO_F_EVENT_IDX, and enabling tells of what came in between', () => {
    const ring = simple()
    const { queue } = deviceQueue(ring)
    queue.disableNotifications()
    expect(ring.usedFlags).toBe(VIRTQ_USED_F_NO_NOTIFY)
    expect(queue.next()).toBeUndefined()
    expect(ring.usedFlags).toBe(VIRTQ_USED_F_NO_NOTIFY)
    expect(queue.enableNotifications()).toBe(false)
    expect(ring.usedFlags).toBe(0)
    queue.disableNotifications()
    ring.offer(0)
    expect(queue.enableNotifications()).toBe(true)
  })

  it('are disabled by an avail_event that stays behind with it, and the flag stays 0', () => {
    const ring = simple()
    const { queue } = deviceQueue(ring, { eventIndex: true })
    queue.disableNotifications()
    ring.offer(0)
    queue.next()
    queue.next()
    expect([ring.usedFlags, ring.availEvent]).toEqual([0, 0])
    expect(queue.enableNotifications()).toBe(false)
    expect(ring.availEvent).toBe(1)
    ring.offer(1)
    expect(queue.enableNotifications()).toBe(true)
  })
})

describe('onWrite', () => {
  it('hears of payload before the driver sees the chain used, then of the used entry, the used index and the event word', () => {
    const heard: string[] = []
    const bytes = new Uint8Array(0x1_0000)
    const ring = new RawRing(GuestMemory.of(bytes), 4)
    ring.chain(
      [0, 1, 2],
      [
        { address: data, length: 4 },
        { address: data + 0x100, length: 8, writable: true },
        { address: data + 0x200, length: 8, writable: true },
      ],
    )
    ring.offer(0)
    const { queue } = deviceQueue(ring, { eventIndex: true, notify: () => heard.push('notify') })
    const names = (address: number): string => (address >= data ? (address - data).toString(16) : `used+${address - ring.setup.deviceArea}`)
    ring.memory.onWrite = (address, length) => heard.push(`${names(address)},${length},${ring.usedIndex}`)
    const chain = queue.next()!
    chain.writable.skip(2).bytes(0)
    chain.writable.copyFrom(Uint8Array.of(1, 2))
    chain.writable.putAt(12, Uint8Array.of(9))
    chain.complete(4)
    expect(queue.next()).toBeUndefined()
    expect(heard).toEqual(['102,6,0', '200,5,0', 'used+4,8,1', 'used+2,2,1', 'notify', 'used+36,2,1'])
  })

  it('hears at a reset of what was written, and again at the end of the work of what was given out', async () => {
    const ring = simple()
    ring.offer(0, 1)
    const { queue } = deviceQueue(ring)
    const [copied, lent] = [queue.next()!, queue.next()!]
    const heard: number[][] = []
    ring.memory.onWrite = (address, length) => heard.push([address - data, length])
    copied.writable.skip(4).copyFrom(Uint8Array.of(1, 2))
    lent.writable.skip(8)
    const view = lent.writable.bytes(0)
    const ending = queue.reset()
    expect(heard).toEqual([
      [4, 2],
      [24, 8],
    ])
    view.fill(1)
    copied.complete()
    lent.complete()
    await ending
    expect(heard.slice(2)).toEqual([[24, 8]])
  })

  it('hears of used entries on both sides of the end of the ring', () => {
    const ring = simple(4)
    ring.available = 3
    const { queue } = deviceQueue(ring, { state: { available: 3, used: 3, inFlight: [] } })
    ring.offer(0, 1)
    queue.cork()
    for (let i = 0; i < 2; i++) queue.next()!.complete(0)
    const heard: number[][] = []
    ring.memory.onWrite = (address, length) => heard.push([address - ring.setup.deviceArea, length])
    queue.uncork()
    expect(heard).toEqual([
      [28, 8],
      [4, 8],
      [2, 2],
    ])
  })

  it('may let guest memory grow at any time', () => {
    const source = new WebAssembly.Memory({ initial: 1 })
    const memory = new GuestMemory([{ guestAddress: 0, size: 0x1_0000, source }])
    const ring = new RawRing(memory, 4)
    memory.onWrite = () => source.grow(1)
    const { queue, violations, notified } = deviceQueue(ring, { eventIndex: true })
    ring.usedEvent = 1
    for (let i = 0; i < 4; i++) {
      ring.descriptor(i, { address: data, length: 4, flags: VIRTQ_DESC_F_WRITE })
      ring.offer(i)
      const chain = queue.next()!
      source.grow(1)
      chain.writable.copyFrom(Uint8Array.of(i, i, i, i))
      chain.complete()
      expect([...memory.resolve(data, 4)!]).toEqual([i, i, i, i])
      expect([ring.usedIndex, ring.used(i)]).toEqual([i + 1, { id: i, len: 4 }])
      expect(queue.next()).toBeUndefined()
    }
    expect([violations, notified()]).toEqual([[], 1])
  })

  it('may complete other chains or reset the queue', () => {
    const ring = simple()
    ring.offer(0, 1, 2)
    const { queue } = deviceQueue(ring)
    const [first, second, third] = [queue.next()!, queue.next()!, queue.next()!]
    let nested: Chain | undefined = second
    ring.memory.onWrite = () => {
      const chain = nested
      nested = undefined
      chain?.complete(0)
    }
    first.writable.fill(1)
    first.complete()
    expect([ring.usedIndex, ring.used(0), ring.used(1)]).toEqual([2, { id: 1, len: 0 }, { id: 0, len: 16 }])
    ring.memory.onWrite = () => {
      queue.reset()
    }
    third.writable.fill(1)
    third.complete()
    expect([ring.usedIndex, third.cancelled]).toEqual([2, true])
  })
})

describe('hundreds of parked chains', () => {
  it('are completed in random order without any allocation after the first rounds', () => {
    const size = 512
    const ring = new RawRing(GuestMemory.of(new Uint8Array(0x10_0000)), size)
    const { queue, violations } = deviceQueue(ring)
    const random = numbers(1)
    const at = (head: number): number => 0x4_0000 + head * 64
    for (let i = 0; i < size; i++) ring.descriptor(i, { address: at(i), length: 32, flags: VIRTQ_DESC_F_WRITE })
    const parked: Chain[] = []
    const free = Array.from({ length: size }, (_, i) => i)
    let allocations = 0
    for (let round = 0; round < 40; round++) {
      while (parked.length < 300) {
        const [head] = free.splice(random.next().value % free.length, 1)
        ring.offer(head!)
        parked.push(queue.next()!)
      }
      for (let i = 0; i < 150; i++) {
        const [chain] = parked.splice(random.next().value % parked.length, 1)
        const { head } = chain!
        chain!.writable.fill(head & 0xff)
        const before = ring.usedIndex
        chain!.complete()
        expect(ring.used(before)).toEqual({ id: head, len: 32 })
        expect(ring.memory.resolve(at(head), 32)!.every((byte) => byte === (head & 0xff))).toBe(true)
        free.push(head)
      }
      if (round === 30) allocations = queue.inspect().allocations
    }
    expect(violations).toEqual([])
    // By then each head was used: one object for each, and a few arrays.
    expect(queue.inspect().allocations).toBe(allocations)
    expect(allocations).toBeLessThan(size + 8)
  })

  it('are cancelled by a reset, after which nothing is written', async () => {
    const size = 512
    const bytes = new Uint8Array(0x10_0000)
    const ring = new RawRing(GuestMemory.of(bytes), size)
    for (let i = 0; i < size; i++) ring.descriptor(i, { address: 0x4_0000 + i * 64, length: 32, flags: VIRTQ_DESC_F_WRITE })
    ring.offer(...Array.from({ length: 300 }, (_, i) => i))
    const { queue, notified } = deviceQueue(ring)
    const chains = Array.from({ length: 300 }, () => queue.next()!)
    for (const chain of chains.splice(0, 100)) chain.complete(0)
    queue.cork()
    for (const chain of chains.splice(0, 50)) chain.complete(0)
    const count = notified()
    const lent = chains.slice(0, 10)
    for (const chain of lent) chain.writable.bytes(0)
    const before = bytes.slice()
    let over = false
    const ending = queue.reset()?.then(() => {
      over = true
    })
    expect(ending).toBeDefined()
    queue.uncork()
    for (const chain of chains.toReversed()) {
      expect([over, chain.cancelled]).toEqual([false, true])
      expect(chain.writable.copyFrom(Uint8Array.of(1, 2, 3))).toBe(0)
      expect(chain.writable.fill(1)).toBe(0)
      expect(chain.writable.bytes(0).length).toBe(0)
      chain.writable.putAt(0, Uint8Array.of(1))
      chain.complete()
      expect(() => chain.complete()).toThrow('completed')
      await undefined
    }
    await ending
    expect(over).toBe(true)
    expect(Buffer.compare(bytes, before)).toBe(0)
    expect([notified(), queue.next(), queue.reset(), queue.inspect().inFlight]).toEqual([count, undefined, undefined, []])
  })
})

describe('the bound of segments', () => {
  it('holds chains back until others are completed, and then the queue is served again', () => {
    const size = 4096
    const count = 512
    const ring = new RawRing(GuestMemory.of(new Uint8Array(0x10_0000)), size)
    const table = 0x8_0000
    ring.chain(
      Array.from({ length: count }, (_, i) => i),
      Array(count).fill({ address: table, length: 1 }),
      table,
    )
    const heads = Array.from({ length: size }, (_, i) => i)
    for (const head of heads) ring.descriptor(head, { address: table, length: count * VirtqDesc.size, flags: VIRTQ_DESC_F_INDIRECT })
    ring.offer(...heads)
    let resumed = 0
    const { queue, violations } = deviceQueue(ring, { eventIndex: true, resume: () => resumed++ })
    const parked: Chain[] = []
    let done = 0
    const drain = (): void => {
      for (let chain = queue.next(); chain !== undefined; chain = queue.next()) parked.push(chain)
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
    expect([done, violations, queue.next()]).toEqual([size, [], undefined])
  })
})

describe('a saved state', () => {
  it('delivers again what was in flight, in the order in which it was taken, and goes on behind', () => {
    const ring = simple()
    ring.offer(5, 2, 7, 0, 1)
    const first = deviceQueue(ring).queue
    const chains = [first.next()!, first.next()!, first.next()!, first.next()!]
    chains[1]!.complete(1)
    first.cork()
    chains[2]!.complete(2)
    const state = JSON.parse(JSON.stringify(first.save()))
    expect(state).toEqual({ available: 4, used: 2, inFlight: [5, 0] })
    expect(ring.usedIndex).toBe(2)
    first.reset()
    const second = deviceQueue(ring, { state })
    expect(second.queue.next()!.head).toBe(5)
    expect(second.queue.save()).toEqual(state)
    expect([second.queue.next()!.head, second.queue.next()!.head, second.queue.next()]).toEqual([0, 1, undefined])
    expect(second.violations).toEqual([])
  })

  it('that cannot be is refused', () => {
    for (const wrong of [{ available: 65536 }, { used: -1 }, { inFlight: [8] }, { inFlight: [1, 1] }, { inFlight: [0.5] }]) {
      expect(() => deviceQueue(simple(), { state: { available: 0, used: 0, inFlight: [], ...wrong } })).toThrow(RangeError)
    }
    for (const maxChainLength of [0, 65537, 1.5]) expect(() => deviceQueue(simple(), { maxChainLength })).toThrow(RangeError)
  })
})

describe('other regions', () => {
  it('keep what is out, where they hold it, and break a queue whose ring is gone', () => {
    const bytes = new Uint8Array(0x1_0000)
    const ring = new RawRing(GuestMemory.of(bytes), 8)
    for (let i = 0; i < 3; i++) ring.descriptor(i, { address: [data, 0x9000, data][i]!, length: 16, flags: VIRTQ_DESC_F_WRITE })
    ring.offer(0, 1, 2)
    const { queue, violations } = deviceQueue(ring)
    const [kept, lost] = [queue.next()!, queue.next()!]
    // What was one region is two now, and the second one ends before the second buffer.
    const halves = [0, data].map((at) => ({ guestAddress: at, size: at === 0 ? data : 0x1000, source: bytes, byteOffset: at }))
    ring.memory.replace(halves)
    kept.writable.copyFrom(Uint8Array.of(1, 2, 3))
    kept.complete()
    expect([...bytes.subarray(data, data + 4), ring.used(0).len]).toEqual([1, 2, 3, 0, 3])
    expect([lost.writable.copyFrom(Uint8Array.of(1, 2, 3)), lost.writable.bytes(0).length]).toEqual([3, 0])
    lost.complete()
    expect(bytes[0x9000]).toBe(0)
    const late = queue.next()!
    ring.memory.replace([{ guestAddress: 0x10_0000, size: 8, source: new Uint8Array(8) }])
    expect(queue.next()).toBeUndefined()
    late.complete()
    expect(violations).toMatchObject([{ kind: 'queue-address' }])
  })
})
