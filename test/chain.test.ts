/** Chains and their cursors: what a device reads and writes through them is what the driver's buffers hold. */
import fc from 'fast-check'
import type { Chain } from 'virtgen/runtime'
import { type ChainDescription, chain as describeChain, TestMemory, type TestQueue, testQueue } from 'virtgen/testing'
import { VirtqDesc } from 'virtgen/wire/split-ring'
import { describe, expect, it } from 'vitest'
import { warm } from './support/offers.ts'
import { queueStates } from './support/ring-formats.ts'

/** Readable buffers of 3, 4 and 5 bytes: 1 to 12. Writable ones of 6, 1 and 7 bytes. */
function twoParts(): ChainDescription {
  const description = describeChain()
  let value = 0
  for (const length of [3, 4, 5]) description.readable(Array.from({ length }, () => ++value))
  for (const length of [6, 1, 7]) description.writable(length)
  return description
}

describe.each(queueStates)('on a $state $format queue,', ({ packed, isWarm }) => {
  const taken = (test: TestQueue, spec: ChainDescription): Chain => {
    if (isWarm) warm(test)
    test.memory.settle()
    test.recorder.clear()
    test.driver.offer(spec)
    return test.queue.next()!
  }

  interface SetUp extends TestQueue {
    chain: Chain
    /** The bytes of the writable part. */
    written: () => number[]
  }

  function setUp(): SetUp {
    const test = testQueue({ packed })
    const chain = taken(test, twoParts())
    const { placed } = test.driver.out[0]!
    return { ...test, chain, written: () => [...placed.content()] }
  }

  describe('a readable cursor', () => {
    it('copies what remains and has room, and moves on', () => {
      const { chain } = setUp()
      const target = new Uint8Array(10)
      expect(chain.readable.copyTo(target, 1, 6)).toBe(5)
      expect([...target]).toEqual([0, 1, 2, 3, 4, 5, 0, 0, 0, 0])
      expect([chain.readable.position, chain.readable.remaining]).toEqual([5, 7])
      expect(chain.readable.copyTo(target)).toBe(7)
      expect([...target]).toEqual([6, 7, 8, 9, 10, 11, 12, 0, 0, 0])
      expect(chain.readable.copyTo(target)).toBe(0)
      expect(chain.readable.rewind().skip(11).copyTo(target)).toBe(1)
      expect(target[0]).toBe(12)
    })

    it('shows a window alone', () => {
      const { chain } = setUp()
      const target = new Uint8Array(12)
      const { readable } = chain
      expect([readable.window(2, 9).length, readable.position, readable.segments]).toEqual([7, 0, 3])
      expect([0, 1, 2].map((i) => [...readable.bytes(i)])).toEqual([[3], [4, 5, 6, 7], [8, 9]])
      expect(() => readable.bytes(3)).toThrow('piece must be an integer from 0 to 2, not 3')
      readable.skip(2)
      expect([0, 1].map((i) => [...readable.bytes(i)])).toEqual([
        [5, 6, 7],
        [8, 9],
      ])
      expect([readable.copyTo(target), [...target.subarray(0, 5)]]).toEqual([5, [5, 6, 7, 8, 9]])
      expect([readable.segments, readable.rewind().position, readable.window(7, 7).segments, readable.window(12, 12).remaining]).toEqual([0, 0, 0, 0])
      expect([readable.window(0, 12).copyTo(target), [...target]]).toEqual([12, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]])
    })

    it('gives a cursor of its own over the next bytes', () => {
      const { chain } = setUp()
      const taken = chain.readable.skip(2).take(4)
      const target = new Uint8Array(4)
      expect([taken.length, chain.readable.position]).toEqual([4, 6])
      expect([taken.copyTo(target), [...target], taken.rewind().take(2).remaining]).toEqual([4, [3, 4, 5, 6], 2])
    })

    it('knows how far a descriptor goes, also where it crosses regions', () => {
      const { chain } = setUp()
      expect([0, 2, 3, 6, 7, 11].map((position) => chain.readable.descriptorLength(position))).toEqual([3, 1, 4, 1, 5, 1])
      expect(() => chain.readable.descriptorLength(12)).toThrow('position must be an integer from 0 to 11, not 12')
      expect(chain.readable.window(2, 5).descriptorLength(1)).toBe(2)
      const regions = [0, 0x1000, 0x1008].map((guestAddress, i) => ({ guestAddress, size: [0x1000, 8, 0x1000][i]! }))
      const memory = new TestMemory({ regions })
      const description = describeChain()
      for (const [at, length] of [
        [0xff0, 40],
        [0x1008, 4],
      ] as const)
        description.element({ writable: false, at, length })
      const crossing = taken(testQueue({ packed, memory, size: 4 }), description).readable
      expect([crossing.segments, crossing.length]).toEqual([4, 44])
      expect([0, 16, 24, 39, 40].map((position) => crossing.descriptorLength(position))).toEqual([40, 24, 16, 1, 4])
    })

    it('puts a struct over a copy that the guest cannot change, and keeps each until the end', () => {
      const test = testQueue({ packed, size: 4 })
      const places = [test.memory.allocate(7), test.memory.allocate(150)] as const
      const encoded = VirtqDesc.encode({ addr: 1, len: 2, flags: 3, next: 4 })
      const rest = new Uint8Array(150)
      rest.set(encoded.subarray(7))
      const chain = taken(test, describeChain().readable(encoded.subarray(0, 7), { at: places[0] }).readable(rest, { at: places[1] }))
      const first = chain.readable.struct(new VirtqDesc())
      const others = Array.from({ length: 8 }, () => chain.readable.struct(new VirtqDesc()))
      for (const [i, length] of [7, 150].entries()) test.memory.poke(places[i]!, new Uint8Array(length).fill(0xff))
      expect(first.$get()).toEqual({ addr: 1, len: 2, flags: 3, next: 4 })
      expect(others.every((other) => other.len === 0)).toBe(true)
      expect([chain.readable.remaining]).toEqual([13])
      expect(() => chain.readable.struct(new VirtqDesc())).toThrow(RangeError)
    })
  })

  describe('a writable cursor', () => {
    it('writes into the buffers and knows how far', () => {
      const { chain, written } = setUp()
      expect(chain.writable.written).toBe(0)
      expect(chain.writable.copyFrom(Uint8Array.of(9, 1, 2, 3, 4, 5, 6, 7), 1)).toBe(7)
      expect(chain.writable.written).toBe(7)
      expect(chain.writable.fill(8, 2)).toBe(2)
      expect(chain.writable.skip(1).written).toBe(10)
      expect(chain.writable.copyFrom(new Uint8Array(50).fill(7))).toBe(4)
      expect(written()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 8, 0, 7, 7, 7, 7])
      expect(chain.writable.rewind().written).toBe(14)
    })

    it('counts what its window holds, and completes with what the whole part has', () => {
      const { driver, chain, written } = setUp()
      chain.writable.window(4, 13).fill(5, 3)
      chain.writable.putAt(13, Uint8Array.of(1, 2, 3), 1, 2)
      expect([chain.writable.written, chain.writable.position]).toEqual([3, 3])
      chain.writable.written = 2
      chain.complete()
      expect(driver.used()?.written).toBe(6)
      expect(written()).toEqual([0, 0, 0, 0, 5, 5, 5, 0, 0, 0, 0, 0, 0, 2])
    })

    it('counts pieces that it gave out, until told otherwise', () => {
      const { chain } = setUp()
      chain.writable.skip(1).bytes(1)
      expect(chain.writable.written).toBe(7)
      chain.writable.written = 3
      expect(chain.writable.written).toBe(3)
      expect(() => {
        chain.writable.written = 15
      }).toThrow('written must be an integer from 0 to 14, not 15')
    })

    it('counts of a cursor of its own what that one wrote', () => {
      const { driver, chain, written } = setUp()
      const taken = chain.writable.skip(2).take(6)
      expect(chain.writable.written).toBe(2)
      expect(taken.copyFrom(Uint8Array.of(1, 2, 3))).toBe(3)
      expect([taken.written, chain.writable.written, chain.writable.position]).toEqual([3, 5, 8])
      chain.complete()
      expect([driver.used()?.written, written().slice(0, 6)]).toEqual([5, [0, 0, 1, 2, 3, 0]])
      expect(() => taken.fill(0)).toThrow('completed')
    })
  })

  it('copies from and to an array that grows between two copies', () => {
    const test = testQueue({ packed })
    const buffer = new (ArrayBuffer as unknown as new (length: number, options: object) => ArrayBuffer & { resize(length: number): void })(16, {
      maxByteLength: 64,
    })
    const bytes = new Uint8Array(buffer)
    for (const length of [16, 16, 64]) {
      buffer.resize(length)
      bytes.fill(length)
      test.driver.offer(describeChain().readable(new Uint8Array(64).fill(3)).writable(64))
      const chain = test.queue.next()!
      expect([chain.writable.copyFrom(bytes), chain.readable.copyTo(bytes)]).toEqual([length, length])
      chain.complete()
      expect([test.driver.used()?.bytes, bytes]).toEqual([new Uint8Array(length).fill(length), new Uint8Array(length).fill(3)])
    }
  })

  describe('a chain', () => {
    it('refuses wrong calls with the value and the range', () => {
      const { chain } = setUp()
      const bytes = new Uint8Array(4)
      for (const wrong of [
        () => chain.readable.window(-1, 3),
        () => chain.readable.window(3, 2),
        () => chain.readable.window(0, 13),
        () => chain.readable.skip(13),
        () => chain.readable.skip(-1),
        () => chain.readable.take(0.5),
        () => chain.readable.bytes(-1),
        () => chain.readable.bytes(Number.NaN),
        () => chain.readable.copyTo(bytes, 0, 5),
        () => chain.readable.copyTo(bytes, 3, 2),
        () => chain.writable.copyFrom(bytes, -1),
        () => chain.writable.fill(256),
        () => chain.writable.fill(0, 15),
        () => chain.writable.putAt(11, bytes),
        () => chain.writable.putAt(-1, bytes),
        () => chain.storage(-1),
        () => chain.complete(15),
        () => chain.complete(-1),
        () => chain.complete(Number.NaN),
      ]) {
        expect(wrong).toThrow(RangeError)
      }
      chain.complete(14)
    })

    it('refuses every use after its completion', () => {
      const { chain } = setUp()
      const { head } = chain
      chain.complete(0)
      const { readable, writable } = chain
      for (const wrong of [
        () => readable.length,
        () => readable.position,
        () => readable.remaining,
        () => readable.segments,
        () => readable.window(0, 0),
        () => readable.bytes(0),
        () => readable.skip(0),
        () => readable.rewind(),
        () => readable.take(0),
        () => readable.descriptorLength(0),
        () => readable.copyTo(new Uint8Array(1)),
        () => readable.struct(new VirtqDesc()),
        () => writable.copyFrom(new Uint8Array(1)),
        () => writable.fill(0),
        () => writable.putAt(0, new Uint8Array(1)),
        () => writable.written,
        () => chain.storage(1),
        () => chain.complete(),
      ]) {
        expect(wrong).toThrow(`the chain at descriptor ${head} is completed`)
      }
    })

    it('is the same object for the next request at the same descriptor, told apart by its generation', () => {
      const { driver, chain, queue } = setUp()
      const { generation } = chain
      const taken = chain.readable.take(2)
      chain.writable.fill(3)
      chain.complete()
      driver.drain()
      driver.offer(twoParts())
      expect(queue.next() === chain).toBe(true)
      expect(chain.generation).not.toBe(generation)
      expect([chain.readable.position, chain.writable.position, chain.writable.written]).toEqual([0, 0, 0])
      expect(() => taken.length).toThrow('completed')
    })

    it('has storage of its own that grows and stays', () => {
      const { chain } = setUp()
      const storage = chain.storage(10)
      expect([storage.length, chain.storage(10)]).toEqual([10, storage])
      storage.fill(7)
      expect(chain.storage(100).subarray(0, 11)).toEqual(Uint8Array.of(7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0))
      expect(chain.storage(100).buffer.byteLength).toBe(128)
    })

    it('copies structs into the same storage for request after request', () => {
      const { driver, chain, queue } = setUp()
      const accessor = new VirtqDesc()
      chain.complete(0)
      const buffers = new Set<ArrayBufferLike>()
      for (let i = 0; i < 50; i++) {
        driver.drain()
        driver.offer(describeChain().readable(64))
        const next = queue.next()!
        buffers.add(next.readable.struct(accessor).$view.buffer)
        next.complete()
      }
      expect(buffers.size).toBe(1)
    })

    it('reads zeros of what was cancelled, through a struct as well', () => {
      const { chain, queue } = setUp()
      chain.readable.bytes(0)
      expect(queue.reset()).toBeInstanceOf(Promise)
      const target = new Uint8Array(12).fill(9)
      expect([chain.readable.copyTo(target), target[0], chain.readable.position]).toEqual([0, 9, 0])
      expect(chain.readable.bytes(0).length).toBe(0)
      chain.complete(99)
    })
  })

  describe('random scatter', () => {
    // Regions that touch, so that a buffer may cross the first three; one whose addresses differ from theirs in the upper 32 bits alone; one in which these change.
    const places = [
      { guestAddress: 0, size: 0x3000 },
      { guestAddress: 0x3000, size: 0x18 },
      { guestAddress: 0x3018, size: 0x1005 },
      { guestAddress: 0x1_0000_0000, size: 0x1000 },
      { guestAddress: 0x1_ffff_f800, size: 0x1000 },
    ]
    const address = fc.oneof(
      fc.integer({ min: 0x2000, max: 0x3900 }),
      fc.integer({ min: 0x2fe0, max: 0x3020 }),
      fc.integer({ min: 2 ** 32, max: 2 ** 32 + 0xe00 }),
      fc.integer({ min: 2 ** 33 - 0x700, max: 2 ** 33 + 0x600 }),
    )
    const buffer = fc.record({ address, length: fc.oneof(fc.nat(20), fc.nat(300)) })
    const shape = fc.record({
      readable: fc.array(buffer, { maxLength: 5 }),
      writable: fc.array(buffer, { maxLength: 5 }),
      direct: fc.nat(4),
      indirect: fc.boolean(),
      table: fc.integer({ min: 0x1000, max: 0x1400 }),
      cuts: fc.array(fc.nat(200), { maxLength: 8 }),
    })

    it('copies exactly the bytes of the buffers, in order, in any portions', () => {
      const tally = { segments: 0, indirect: 0 }
      fc.assert(
        fc.property(shape, ({ readable, writable, direct, indirect, table, cuts }) => {
          if (readable.length + writable.length === 0) return
          const memory = new TestMemory({ regions: places })
          const noise = (at: number): number => (Math.imul(at, 2654435761) >>> 13) & 0xff
          for (const { guestAddress, size } of places) {
            const from = Math.max(guestAddress, 0x1800)
            memory.poke(
              from,
              Uint8Array.from({ length: guestAddress + size - from }, (_, i) => noise(from + i)),
            )
          }
          const test = testQueue({ packed, memory, size: 16 })
          const description = describeChain()
          const buffers = [...readable.map((one) => ({ ...one, writable: false })), ...writable.map((one) => ({ ...one, writable: true }))]
          // The lists of a packed ring have a table or none.
          const inRing = indirect ? (packed ? 0 : Math.min(direct, buffers.length - 1)) : buffers.length
          buffers.forEach(({ address: at, length, writable }, i) => {
            if (i === inRing) description.indirect({ at: table })
            description.element({ at, length, writable })
          })
          if (indirect) tally.indirect++
          const chain = taken(test, description)
          expect(test.recorder.violations).toEqual([])

          const flat = readable.flatMap(({ address, length }) => Array.from({ length }, (_, i) => noise(address + i)))
          tally.segments = Math.max(tally.segments, chain.readable.segments - readable.length)
          const pieces = Array.from({ length: chain.readable.segments }, (_, i) => [...chain.readable.bytes(i)])
          expect(pieces.flat()).toEqual(flat)
          const read = new Uint8Array(flat.length)
          let done = 0
          for (const cut of [...cuts, flat.length]) done += chain.readable.copyTo(read, done, Math.min(done + cut, flat.length))
          expect([...read]).toEqual(flat)

          const total = writable.reduce((sum, { length }) => sum + length, 0)
          expect(chain.writable.length).toBe(total)
          const source = Uint8Array.from({ length: total }, (_, i) => i + 1)
          done = 0
          for (const cut of [...cuts, total]) done += chain.writable.copyFrom(source, done, Math.min(done + cut, total))
          // Where buffers lie over each other the later one wins.
          const model = new Map<number, number>()
          let i = 0
          for (const { address, length } of writable) for (let at = address; at < address + length; at++) model.set(at, source[i++]!)
          for (const { guestAddress, size } of places) {
            const now = new Uint8Array(size)
            memory.read(guestAddress, now)
            const from = Math.max(guestAddress, 0x1800)
            for (let at = from; at < guestAddress + size; at++) {
              if (now[at - guestAddress] !== (model.get(at) ?? noise(at))) expect.fail(`byte 0x${at.toString(16)}`)
            }
          }
          chain.complete()
          expect(test.driver.used()?.written).toBe(total)
          memory.checkGuards()
          test.recorder.expectWritesCoverChanges(memory)
        }),
        { numRuns: 400 },
      )
      expect(tally.indirect).toBeGreaterThan(10)
      expect(tally.segments).toBeGreaterThan(0)
    })

    it('puts bytes at any position and moves to any', () => {
      fc.assert(
        fc.property(
          fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 }),
          fc.array(fc.tuple(fc.nat(60), fc.nat(9)), { maxLength: 12 }),
          (lengths, puts) => {
            const test = testQueue({ packed })
            const description = describeChain()
            for (const length of lengths) description.writable(length)
            const { writable } = taken(test, description)
            const total = lengths.reduce((sum, length) => sum + length, 0)
            const model = new Uint8Array(total)
            puts.forEach(([at, length], i) => {
              const from = Math.min(at, total)
              const source = new Uint8Array(Math.min(length, total - from)).fill(i + 1)
              model.set(source, from)
              if (i % 2 === 0) writable.putAt(from, source)
              else expect(writable.window(from, total).copyFrom(source)).toBe(source.length)
            })
            expect([...test.driver.out[0]!.placed.content()]).toEqual([...model])
          },
        ),
      )
    })
  })
})
