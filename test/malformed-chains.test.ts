/** A driver that breaks the rules, beyond the catalogue of forged-chains.test.ts: what the device keeps nevertheless, wrong queues, and random words. */
import fc from 'fast-check'
import { chain, TestMemory, testQueue } from 'virtgen/testing'
import { VIRTQ_DESC_F_NEXT, VirtqDesc } from 'virtgen/wire/split-ring'
import { describe, expect, it } from 'vitest'
import { warm } from './support/offers.ts'
import { ringFormats } from './support/ring-formats.ts'

describe.each(ringFormats)('a $format device queue', ({ packed }) => {
  it.each([false, true])('takes 2^32 bytes and no more, and tells of them with the largest length that an entry has (after others: %s)', (isWarm) => {
    // Pages that nobody writes cost nothing.
    const length = 2 ** 29
    const memory = new TestMemory({
      regions: [
        { guestAddress: 0, size: length },
        { guestAddress: length, size: 0x1_0000 },
      ],
    })
    const areas = { descriptorArea: length, driverArea: length + 0x1000, deviceArea: length + 0x2000 }
    const whole = { writable: true, length, at: 0 }
    for (const extra of [0, 1]) {
      const { driver, queue, recorder } = testQueue({ packed, memory, areas, size: 16 })
      // The ring of the round before is still there.
      memory.poke(length, new Uint8Array(0x1_0000))
      if (isWarm) warm({ driver, queue, recorder, memory })
      const spec = chain()
      for (let i = 0; i < 8; i++) spec.element(whole)
      driver.offer(spec.element({ ...whole, length: extra }))
      const taken = queue.next()
      if (extra > 0) expect(recorder.violations).toMatchObject([{ kind: 'chain-bytes' }])
      else taken!.complete(2 ** 32)
      expect(driver.used()?.written).toBe(extra > 0 ? undefined : 0xffff_ffff)
    }
  })

  it('takes no indirect table of more descriptors than an index of 16 bits reaches, though all of it is there', () => {
    const memory = new TestMemory({ regions: [{ guestAddress: 0, size: 1 << 21 }] })
    const { driver, queue, recorder } = testQueue({ packed, memory, maxChainLength: 0x1_0000 })
    const length = 0x1_0001 * VirtqDesc.size
    driver.offer(
      chain()
        .indirect({ at: memory.allocate(length, 16), amend: { length } })
        .readable(1),
    )
    expect(queue.next()?.head).toBeUndefined()
    expect(recorder.violations).toMatchObject([{ kind: 'indirect-table' }])
  })

  it('breaks without any other one', () => {
    const memory = new TestMemory()
    const bad = testQueue({ packed, memory })
    const good = testQueue({ packed, memory, index: 1 })
    bad.driver.offer(chain().writable(1).readable(1))
    good.driver.offer(chain().readable(1))
    expect([bad.queue.next()?.head, good.queue.next()?.readable.length]).toEqual([undefined, 1])
    expect([bad.recorder.violations.length, good.recorder.violations.length]).toEqual([1, 0])
  })

  it('still completes what it had before', () => {
    const { driver, queue, recorder } = testQueue({ packed })
    driver.offer(chain().writable(4))
    const { id } = driver.offer(chain().writable(1).readable(1))
    const taken = queue.next()!
    expect(queue.next()?.head).toBeUndefined()
    // The buffer id stands in the last descriptor of a list, which was not come to.
    expect(recorder.violations).toMatchObject([{ kind: 'descriptor-order', queue: 0, ...(packed ? {} : { head: id }) }])
    taken.writable.copyFrom(Uint8Array.of(1, 2))
    taken.complete()
    expect([...driver.used()!.bytes]).toEqual([1, 2])
  })

  it('keeps a chain as it was when the driver changes its descriptors', () => {
    const { driver, queue, memory } = testQueue({ packed })
    const [source, target, table] = [memory.allocate(4), memory.allocate(4), memory.allocate(2 * VirtqDesc.size, 16)]
    const { descriptors } = driver.offer(chain().indirect({ at: table }).readable([1, 2, 3, 4], { at: source }).writable(4, { at: target }))
    const taken = queue.next()!
    const nonsense = { address: 2 ** 40, length: 0xffff_ffff, flags: VIRTQ_DESC_F_NEXT, next: 0xffff, id: 0xffff }
    for (const index of [0, 1]) driver.setDescriptor(index, nonsense, table)
    driver.setDescriptor(descriptors[0]!, { address: 1, length: 7 })
    expect([taken.readable.length, taken.writable.length]).toEqual([4, 4])
    const bytes = new Uint8Array(4)
    taken.readable.copyTo(bytes)
    taken.writable.fill(9)
    taken.complete()
    expect([[...bytes], [...driver.used()!.bytes], memory.changes().some(({ address }) => address === target)]).toEqual([
      [1, 2, 3, 4],
      [9, 9, 9, 9],
      true,
    ])
  })

  it('takes as many buffers as the ring has entries', () => {
    const position = packed ? { available: 3, used: 3 } : { available: 0xfffc, used: 0xfffc }
    const { driver, queue, recorder } = testQueue({ packed, size: 8, position })
    for (let i = 0; i < 8; i++) driver.put(chain().readable(i))
    driver.publish()
    expect(Array.from({ length: 9 }, () => queue.next()?.readable.length)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, undefined])
    expect(recorder.violations).toEqual([])
  })

  const wrongSizes = [0, ...(packed ? [] : [3, 12]), 32769, 65536, 2 ** 31, 2 ** 32, -1, 0.5, Number.NaN]
  it.each(wrongSizes)('of %d entries is none: queue-size', (size) => {
    const { queue, recorder } = testQueue({ packed, setup: { size } })
    expect(recorder.violations).toMatchObject([{ kind: 'queue-size', queue: 0 }])
    expect(queue.next()).toBeUndefined()
    expect(queue.enableNotifications()).toBe(false)
    queue.disableNotifications()
    expect(queue.reset()).toBeUndefined()
  })

  /** What the areas of eight entries take, and how they must be aligned. */
  const areas = packed
    ? ({ descriptorArea: [128, 16], driverArea: [4, 4], deviceArea: [4, 4] } as const)
    : ({ descriptorArea: [128, 16], driverArea: [22, 2], deviceArea: [72, 4] } as const)
  const end = 0x8_0000

  it.each(Object.entries(areas))('whose %s is misaligned or outside of memory is none: queue-address', (area, [length, alignment]) => {
    // One that ends a byte behind memory cannot be aligned everywhere; the next aligned one then.
    const over = Math.floor((end - length) / alignment) * alignment + alignment
    for (const address of [alignment / 2, over, end, 2 ** 53, 2 ** 64]) {
      const { queue, recorder } = testQueue({ packed, setup: { [area]: address } })
      expect(recorder.violations).toMatchObject([{ kind: 'queue-address', queue: 0 }])
      expect(queue.next()).toBeUndefined()
    }
  })

  it.each(Object.entries(areas))('whose %s ends where memory ends is one', (area, [length, alignment]) => {
    const setup = { [area]: Math.floor((end - length) / alignment) * alignment }
    expect(testQueue({ packed, setup }).recorder.violations).toEqual([])
  })

  it('of random words gives chains or a violation, never an exception, a hang, or a write outside of what was offered', () => {
    const near = fc.constantFrom(0, 1, 16, 32, 0x1000, 0x2000, 0xffff_fff0, 0x8_0000 - 16)
    const word = fc.oneof(fc.nat(0xffff_ffff), near, fc.nat(0x4000))
    const high = fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, word)
    // Such flags as make a packed descriptor available in the first round come often enough.
    const flags = fc.tuple(fc.nat(7), fc.constantFrom(0x80, 0x80, 0x80, 0, 0x8000)).map(([bits, marks]) => (packed ? bits | marks : bits))
    const small = fc.nat(0x1000)
    const descriptor = fc.record({ low: fc.oneof(small, word), high, length: fc.oneof(small, word), flags, last: fc.nat(9) })
    const heads = fc.array(fc.nat(9), { maxLength: 8 })
    let taken = 0
    fc.assert(
      fc.property(fc.array(descriptor, { minLength: 16, maxLength: 16 }), heads, fc.boolean(), (descriptors, chosen, isWarm) => {
        const table = 0x2000
        const ring = { descriptorArea: 0x3000, driverArea: 0x3800, deviceArea: 0x3c00 }
        const memory = new TestMemory({ regions: [{ guestAddress: 0, size: 0x4000 }], guard: 64 })
        const { driver, queue, recorder } = testQueue({ packed, memory, areas: ring })
        // A queue that has served others reads chains in another way.
        if (isWarm) warm({ driver, queue, recorder, memory })
        memory.settle()
        recorder.clear()
        descriptors.forEach(({ low, high: above, length, flags: bits, last }, i) => {
          const words = { address: (BigInt(above) << 32n) | BigInt(low), length, flags: bits, next: last, id: last }
          driver.setDescriptor(i % 8, words, i < 8 ? ring.descriptorArea : table)
        })
        if ('putHeads' in driver) (driver.putHeads as (...heads: number[]) => void)(...chosen)
        driver.publish()
        for (let next = queue.next(); next !== undefined; next = queue.next()) {
          taken++
          next.readable.copyTo(new Uint8Array(Math.min(next.readable.length, 0x1_0000)))
          next.complete(0)
        }
        expect(recorder.violations.length).toBeLessThanOrEqual(1)
        // The device has nothing to say to the driver but that.
        const own = packed ? [ring.descriptorArea, ring.deviceArea] : [ring.deviceArea]
        for (const { address } of memory.changes()) expect(own.some((area) => address >= area && address < area + 128)).toBe(true)
        memory.checkGuards()
        recorder.expectWritesCoverChanges(memory)
      }),
      { numRuns: 300 },
    )
    expect(taken).toBeGreaterThan(5)
  })
})
