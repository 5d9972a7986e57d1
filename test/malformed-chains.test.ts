/** What a hostile driver does to a split virtqueue: each is a violation of its kind, once; no exception, no loop, no touch outside of what was offered. */
import fc from 'fast-check'
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE, VirtqDesc } from 'virtgen/wire/split-ring'
import { describe, expect, it } from 'vitest'
import { GuestMemory } from '../runtime/memory.ts'
import type { DeviceQueueOptions } from '../runtime/device-queue-options.ts'
import { deviceQueue, RawRing } from './support/raw-ring.ts'

const size = 8
const memorySize = 0x11_0000
const data = 0x1000
const table = 0x2000

function ringOver(ringSize = size): RawRing {
  return new RawRing(GuestMemory.of(new Uint8Array(memorySize)), ringSize)
}
function indirect(ring: RawRing, length: number, flags = 0, address: number | bigint = table): void {
  ring.descriptor(0, { address, length, flags: VIRTQ_DESC_F_INDIRECT | flags, next: 1 })
}

interface Case {
  title: string
  kind: string
  forge: (ring: RawRing) => void
  options?: Partial<DeviceQueueOptions>
  ringSize?: number
}

const cases: Case[] = [
  {
    title: 'a descriptor that is its own successor',
    kind: 'descriptor-loop',
    forge: (ring) => ring.descriptor(0, { address: data, length: 1, flags: VIRTQ_DESC_F_NEXT, next: 0 }),
  },
  {
    title: 'a loop over all descriptors',
    kind: 'descriptor-loop',
    forge: (ring) => {
      for (let i = 0; i < size; i++) ring.descriptor(i, { address: data, length: 1, flags: VIRTQ_DESC_F_NEXT, next: (i + 1) % size })
    },
  },
  {
    title: 'a loop of descriptors without bytes',
    kind: 'descriptor-loop',
    forge: (ring) => ring.descriptor(0, { address: data, length: 0, flags: VIRTQ_DESC_F_NEXT, next: 0 }),
  },
  {
    title: 'a loop in an indirect table',
    kind: 'descriptor-loop',
    forge: (ring) => {
      indirect(ring, 2 * VirtqDesc.size)
      ring.descriptor(0, { address: data, length: 1, flags: VIRTQ_DESC_F_NEXT, next: 1 }, table)
      ring.descriptor(1, { address: data, length: 1, flags: VIRTQ_DESC_F_NEXT, next: 0 }, table)
    },
  },
  {
    title: 'more descriptors than the bound',
    kind: 'chain-length',
    options: { maxChainLength: 20 },
    forge: (ring) => {
      indirect(ring, 21 * VirtqDesc.size)
      ring.chain(
        Array.from({ length: 21 }, (_, i) => i),
        Array(21).fill({ address: data, length: 1 }),
        table,
      )
    },
  },
  {
    title: 'more descriptors than the queue size, where the text is taken strictly',
    kind: 'chain-length',
    options: { maxChainLength: 'strict' },
    forge: (ring) => {
      indirect(ring, (size + 1) * VirtqDesc.size)
      ring.chain(
        Array.from({ length: size + 1 }, (_, i) => i),
        Array(size + 1).fill({ address: data, length: 1 }),
        table,
      )
    },
  },
  {
    title: 'a successor outside the table',
    kind: 'descriptor-index',
    forge: (ring) => ring.descriptor(0, { address: data, length: 1, flags: VIRTQ_DESC_F_NEXT, next: size }),
  },
  {
    title: 'a successor outside the indirect table, though inside the descriptor table',
    kind: 'descriptor-index',
    forge: (ring) => {
      indirect(ring, VirtqDesc.size)
      ring.descriptor(0, { address: data, length: 1, flags: VIRTQ_DESC_F_NEXT, next: 1 }, table)
      ring.descriptor(1, { address: data, length: 1 }, table)
    },
  },
  {
    title: 'a buffer that ends one byte behind memory',
    kind: 'descriptor-address',
    forge: (ring) => ring.descriptor(0, { address: memorySize - 15, length: 16 }),
  },
  {
    title: 'a buffer that begins where memory ends',
    kind: 'descriptor-address',
    forge: (ring) => ring.descriptor(0, { address: memorySize, length: 1 }),
  },
  { title: 'a buffer that wraps at 2^64', kind: 'descriptor-address', forge: (ring) => ring.descriptor(0, { address: 2n ** 64n - 8n, length: 16 }) },
  {
    title: 'a buffer at the last byte of 2^64',
    kind: 'descriptor-address',
    forge: (ring) => ring.descriptor(0, { address: 2n ** 64n - 1n, length: 1 }),
  },
  { title: 'a buffer above 2^53', kind: 'descriptor-address', forge: (ring) => ring.descriptor(0, { address: 2n ** 53n + 1n, length: 1 }) },
  {
    title: 'an address whose lower half alone would be inside',
    kind: 'descriptor-address',
    forge: (ring) => ring.descriptor(0, { address: 2n ** 32n + 64n, length: 1 }),
  },
  {
    title: 'a readable buffer behind a writable one',
    kind: 'descriptor-order',
    forge: (ring) => {
      ring.chain(
        [0, 1],
        [
          { address: data, length: 1, writable: true },
          { address: data, length: 1 },
        ],
      )
    },
  },
  {
    title: 'a readable buffer without bytes behind a writable one',
    kind: 'descriptor-order',
    forge: (ring) => {
      ring.chain(
        [0, 1],
        [
          { address: data, length: 1, writable: true },
          { address: data, length: 0 },
        ],
      )
    },
  },
  {
    title: 'a readable buffer in the indirect table behind a writable one in the descriptor table',
    kind: 'descriptor-order',
    forge: (ring) => {
      ring.descriptor(0, { address: data, length: 1, flags: VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_NEXT, next: 1 })
      ring.descriptor(1, { address: table, length: VirtqDesc.size, flags: VIRTQ_DESC_F_INDIRECT })
      ring.descriptor(0, { address: data, length: 1 }, table)
    },
  },
  {
    title: 'an indirect table in an indirect table',
    kind: 'indirect-nested',
    forge: (ring) => {
      indirect(ring, VirtqDesc.size)
      ring.descriptor(0, { address: data, length: VirtqDesc.size, flags: VIRTQ_DESC_F_INDIRECT }, table)
    },
  },
  {
    title: 'an indirect table in itself',
    kind: 'indirect-nested',
    forge: (ring) => {
      indirect(ring, VirtqDesc.size)
      ring.descriptor(0, { address: table, length: VirtqDesc.size, flags: VIRTQ_DESC_F_INDIRECT }, table)
    },
  },
  { title: 'the descriptor table as indirect table', kind: 'indirect-nested', forge: (ring) => indirect(ring, size * VirtqDesc.size, 0, 0) },
  { title: 'an indirect descriptor that goes on', kind: 'indirect-next', forge: (ring) => indirect(ring, VirtqDesc.size, VIRTQ_DESC_F_NEXT) },
  { title: 'an indirect table of 0 bytes', kind: 'indirect-table', forge: (ring) => indirect(ring, 0) },
  { title: 'an indirect table of less than a descriptor', kind: 'indirect-table', forge: (ring) => indirect(ring, 8) },
  { title: 'an indirect table of one and a half descriptors', kind: 'indirect-table', forge: (ring) => indirect(ring, 24) },
  { title: 'an indirect table of almost 4 GiB', kind: 'indirect-table', forge: (ring) => indirect(ring, 0xffff_fff0) },
  {
    title: 'an indirect table with more descriptors than next can name',
    kind: 'indirect-table',
    forge: (ring) => indirect(ring, 0x1_0001 * VirtqDesc.size),
  },
  {
    title: 'an indirect table that ends behind memory',
    kind: 'indirect-table',
    forge: (ring) => indirect(ring, 2 * VirtqDesc.size, 0, memorySize - 16),
  },
  { title: 'an indirect table near 2^64', kind: 'indirect-table', forge: (ring) => indirect(ring, VirtqDesc.size, 0, 2n ** 64n - 16n) },
  {
    title: 'an indirect table that was not negotiated',
    kind: 'indirect-not-negotiated',
    options: { indirect: false },
    forge: (ring) => indirect(ring, VirtqDesc.size),
  },
]

describe('a malformed chain', () => {
  it.each(cases)('$title: $kind', ({ kind, forge, options, ringSize }) => {
    const ring = ringOver(ringSize)
    forge(ring)
    ring.offer(0)
    const { queue, violations, notified } = deviceQueue(ring, options)
    const before = ring.memory.regions[0]!.u8.slice()
    expect(queue.next()).toBeUndefined()
    expect(violations).toMatchObject([{ kind, queue: 0, head: 0 }])
    expect(queue.broken).toBe(violations[0])
    ring.offer(1)
    expect(queue.next()).toBeUndefined()
    expect(queue.enableNotifications()).toBe(false)
    expect(violations.length).toBe(1)
    expect(notified()).toBe(0)
    before.set(ring.memory.regions[0]!.u8.subarray(ring.setup.driverArea, ring.setup.deviceArea), ring.setup.driverArea)
    expect(Buffer.compare(ring.memory.regions[0]!.u8, before)).toBe(0)
  })

  it('of more than 2^32 bytes: chain-bytes; of 2^32 bytes it is none', () => {
    // Pages that nobody writes cost nothing.
    const length = 2 ** 29
    const memory = GuestMemory.of(new Uint8Array(length))
    for (const extra of [0, 1]) {
      const ring = new RawRing(memory, 16)
      ring.chain(
        [0, 1, 2, 3, 4, 5, 6, 7, 8],
        [{ address: 0, length }, ...Array(7).fill({ address: 0, length, writable: true }), { address: 0, length: extra, writable: true }],
      )
      ring.offer(0)
      const { queue, violations } = deviceQueue(ring)
      const chain = queue.next()
      if (extra > 0) expect(violations).toMatchObject([{ kind: 'chain-bytes', head: 0 }])
      expect(chain?.writable.length).toBe(extra > 0 ? undefined : 2 ** 32 - length)
      chain?.complete()
    }
  })

  it('of 2^32 writable bytes is none, and is used with the largest length that an entry can tell', () => {
    const length = 2 ** 29
    const ring = new RawRing(GuestMemory.of(new Uint8Array(length)), 16)
    ring.chain([0, 1, 2, 3, 4, 5, 6, 7], Array(8).fill({ address: 0, length, writable: true }))
    ring.offer(0)
    deviceQueue(ring)
      .queue.next()!
      .complete(2 ** 32)
    expect(ring.used(0)).toEqual({ id: 0, len: 0xffff_ffff })
  })

  it('breaks its queue and no other one', () => {
    const memory = GuestMemory.of(new Uint8Array(memorySize))
    const bad = new RawRing(memory, size, 0, 0)
    const good = new RawRing(memory, size, 0x800, 1)
    bad.descriptor(0, { address: data, length: 1, flags: VIRTQ_DESC_F_NEXT, next: 0 })
    good.descriptor(0, { address: data, length: 1 })
    bad.offer(0)
    good.offer(0)
    const first = deviceQueue(bad)
    const second = deviceQueue(good)
    expect(first.queue.next()).toBeUndefined()
    expect(second.queue.next()?.readable.length).toBe(1)
    expect([first.violations.length, second.violations.length]).toEqual([1, 0])
  })

  it('is told of where the device already has others, which can still be completed', () => {
    const ring = ringOver()
    ring.descriptor(0, { address: data, length: 4, flags: VIRTQ_DESC_F_WRITE })
    ring.descriptor(1, { address: memorySize, length: 4 })
    ring.offer(0, 1)
    const { queue, violations } = deviceQueue(ring)
    const chain = queue.next()!
    expect(queue.next()).toBeUndefined()
    expect(violations).toMatchObject([{ kind: 'descriptor-address', head: 1 }])
    chain.writable.copyFrom(Uint8Array.of(1, 2))
    chain.complete()
    expect([ring.usedIndex, ring.used(0)]).toEqual([1, { id: 0, len: 2 }])
  })
})

describe('a malformed ring', () => {
  it.each([0, 3, 12, 32769, 65536, 2 ** 31, 2 ** 32, -1, 0.5, Number.NaN])('of %d entries: queue-size', (wrong) => {
    const { queue, violations } = deviceQueue(ringOver(), {}, { size: wrong })
    expect(violations).toMatchObject([{ kind: 'queue-size', queue: 0 }])
    expect(queue.next()).toBeUndefined()
    expect(queue.enableNotifications()).toBe(false)
    queue.disableNotifications()
    expect(queue.reset()).toBeUndefined()
  })

  it.each([
    { descriptorArea: 8 },
    { driverArea: 1 },
    { deviceArea: 2 },
    { descriptorArea: memorySize - 112 },
    { driverArea: memorySize - 20 },
    { deviceArea: memorySize - 68 },
    { deviceArea: 2 ** 53 },
    { driverArea: 2 ** 64 },
  ])('at %o: queue-address', (wrong) => {
    const { queue, violations } = deviceQueue(ringOver(), {}, wrong)
    expect(violations).toMatchObject([{ kind: 'queue-address', queue: 0 }])
    expect(queue.next()).toBeUndefined()
  })

  it('whose parts end exactly where memory ends is none', () => {
    const ring = ringOver()
    for (const setup of [{ descriptorArea: memorySize - 128 }, { driverArea: memorySize - 22 }, { deviceArea: memorySize - 72 }]) {
      expect(deviceQueue(ring, {}, setup).violations).toEqual([])
    }
  })

  it('that begins a chain outside the table: descriptor-index', () => {
    for (const head of [size, 0xffff]) {
      const ring = ringOver()
      ring.offer(head)
      const { queue, violations } = deviceQueue(ring)
      expect(queue.next()).toBeUndefined()
      expect(violations).toMatchObject([{ kind: 'descriptor-index', head }])
    }
  })

  it('whose available index jumps: available-index', () => {
    for (const index of [size + 1, 0x8000, 0xffff]) {
      const ring = ringOver()
      ring.publish(index)
      const { queue, violations } = deviceQueue(ring)
      expect(queue.next()).toBeUndefined()
      expect(violations).toMatchObject([{ kind: 'available-index', queue: 0 }])
    }
  })

  it('that has as many buffers available as entries, over the wrap of the index, is none', () => {
    const ring = ringOver()
    ring.available = 0xfffc
    for (let i = 0; i < size; i++) ring.descriptor(i, { address: data, length: 1 })
    ring.offer(0, 1, 2, 3, 4, 5, 6, 7)
    const { queue, violations } = deviceQueue(ring, { state: { available: 0xfffc, used: 0, inFlight: [] } })
    expect(Array.from({ length: 9 }, () => queue.next()?.head)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, undefined])
    expect(violations).toEqual([])
  })

  it('that takes the available index back: available-index', () => {
    const ring = ringOver()
    ring.descriptor(0, { address: data, length: 1 })
    ring.offer(0)
    const { queue, violations } = deviceQueue(ring)
    queue.next()!.complete(0)
    ring.publish(0)
    expect(queue.next()).toBeUndefined()
    expect(violations).toMatchObject([{ kind: 'available-index' }])
  })

  it('that makes a chain available again while the device has it: available-index, and the chain stays as it was', () => {
    const ring = ringOver()
    ring.descriptor(3, { address: data, length: 4 })
    ring.memory.write(data, Uint8Array.of(1, 2, 3, 4))
    ring.offer(3)
    const { queue, violations } = deviceQueue(ring)
    const chain = queue.next()!
    ring.descriptor(3, { address: data + 100, length: 100, flags: VIRTQ_DESC_F_WRITE })
    ring.offer(3)
    expect(queue.next()).toBeUndefined()
    expect(violations).toMatchObject([{ kind: 'available-index', head: 3 }])
    expect([chain.readable.length, chain.writable.length]).toEqual([4, 0])
    const bytes = new Uint8Array(4)
    chain.readable.copyTo(bytes)
    expect([...bytes]).toEqual([1, 2, 3, 4])
    chain.complete()
  })

  it('whose descriptors change after the chain was taken changes nothing', () => {
    const ring = ringOver()
    indirect(ring, 2 * VirtqDesc.size)
    ring.chain(
      [0, 1],
      [
        { address: data, length: 4 },
        { address: data + 8, length: 4, writable: true },
      ],
      table,
    )
    ring.offer(0)
    const { queue } = deviceQueue(ring)
    const chain = queue.next()!
    ring.descriptor(0, { address: memorySize, length: 0xffff_ffff, flags: VIRTQ_DESC_F_NEXT, next: 0xffff }, table)
    ring.descriptor(1, { address: memorySize - 1, length: 99 }, table)
    indirect(ring, 7)
    expect([chain.readable.length, chain.writable.length]).toEqual([4, 4])
    chain.writable.fill(9)
    chain.complete()
    expect([...ring.memory.resolve(data, 16)!]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9, 0, 0, 0, 0])
    expect(ring.used(0)).toEqual({ id: 0, len: 4 })
  })

  it('of random words is a chain or a violation, never an exception, a hang, or a write outside of what was offered', () => {
    const word = fc.oneof(fc.nat(0xffff_ffff), fc.constantFrom(0, 1, 16, 32, 0x1000, 0x2000, 0xffff_fff0, memorySize - 16))
    const descriptor = fc.record({
      low: word,
      high: fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, word),
      length: word,
      flags: fc.nat(7),
      next: fc.nat(9),
    })
    fc.assert(
      fc.property(fc.array(descriptor, { minLength: 16, maxLength: 16 }), fc.array(fc.nat(9), { maxLength: 8 }), (descriptors, heads) => {
        const ring = new RawRing(GuestMemory.of(new Uint8Array(0x4000)), size)
        const raw = { address: 0, length: 0 }
        descriptors.forEach(({ low, high, length, flags, next }, i) => {
          Object.assign(raw, { address: (BigInt(high) << 32n) | BigInt(low), length, flags, next })
          ring.descriptor(i % size, raw, i < size ? ring.setup.descriptorArea : table)
        })
        ring.offer(...heads)
        const { queue, violations } = deviceQueue(ring)
        for (let chain = queue.next(); chain !== undefined; chain = queue.next()) {
          chain.readable.copyTo(new Uint8Array(chain.readable.length))
          chain.complete(0)
        }
        expect(violations.length).toBeLessThanOrEqual(1)
      }),
      { numRuns: 300 },
    )
  })
})
