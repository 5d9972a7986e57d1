/** Guest memory: regions, bounds, views that are made anew. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GuestMemory } from '../runtime/memory.ts'

const page = 0x1_0000
const region = (guestAddress: number, size: number, byteOffset = 0) => ({ guestAddress, size, source: new Uint8Array(size + byteOffset), byteOffset })

describe('guest memory', () => {
  it('refuses regions that are empty, misaligned, outside their buffer, above 2^53 or over each other', () => {
    for (const wrong of [
      [region(0, 0)],
      [region(4, 64)],
      [region(-8, 64)],
      [region(0.5, 64)],
      [{ ...region(0, 64), size: 65 }],
      [{ ...region(0, 64), byteOffset: 8 }],
      [{ ...region(0, 64), byteOffset: 4, size: 32 }],
      [region(2 ** 53 - 8, 64)],
      [region(0, 64), region(56, 64)],
      [region(64, 64), region(0, 72)],
    ]) {
      expect(() => new GuestMemory(wrong)).toThrow(RangeError)
    }
  })

  it('holds nothing without regions, until it gets some', () => {
    const memory = new GuestMemory([])
    expect([memory.resolve(0, 1), memory.resolve(0, 0), memory.write(0, Uint8Array.of(1)), memory.holds(8, 8), memory.indexAt(0)]).toEqual([
      undefined,
      undefined,
      false,
      false,
      -1,
    ])
    memory.replace([region(0, 64)])
    expect(memory.write(0, Uint8Array.of(1))).toBe(true)
    memory.replace([])
    expect(memory.read(0, new Uint8Array(1))).toBe(false)
  })

  it('keeps regions ascending, and takes the place of a typed array in its buffer as its own', () => {
    const buffer = new ArrayBuffer(256)
    const memory = new GuestMemory([region(0x1000, 64), { guestAddress: 0, size: 64, source: new Uint8Array(buffer, 32, 64) }])
    expect(memory.regions.map((r) => r.guestAddress)).toEqual([0, 0x1000])
    memory.write(0, Uint8Array.of(7))
    expect(new Uint8Array(buffer)[32]).toBe(7)
    expect(memory.regions[0]!.u32[0]).toBe(7)
  })

  it('resolves what lies in one region up to its last byte, and nothing beyond', () => {
    const memory = new GuestMemory([region(0, 64), region(64, 64), region(0x1000, 61)])
    expect(memory.resolve(0x1000, 61)?.length).toBe(61)
    expect(memory.resolve(0x1000 + 60, 1)?.length).toBe(1)
    for (const [address, length] of [
      [0x1000, 62],
      [0x1000 + 61, 1],
      [63, 2],
      [128, 1],
      [0xfff, 1],
      [2 ** 53, 1],
      [2 ** 64 - 16, 32],
      [-1, 1],
      [Number.NaN, 1],
    ] as const) {
      expect(memory.resolve(address, length)).toBeUndefined()
    }
  })

  it('holds no bytes at the end of a region as well as inside, whatever was looked for before', () => {
    const memory = new GuestMemory([region(0, 64), region(0x1000, 64)])
    for (const before of [0, 0x1000]) {
      memory.resolve(before, 1)
      expect([64, 63, 65].map((address) => [memory.contains(address, 0), memory.holds(address, 0), memory.resolve(address, 0)?.length])).toEqual([
        [true, true, 0],
        [true, true, 0],
        [false, false, undefined],
      ])
    }
  })

  it('reads and writes across regions that touch, all or nothing', () => {
    const written: number[][] = []
    const memory = new GuestMemory([region(0, 64), region(64, 8), region(72, 64), region(0x1000, 8)], { onWrite: (...range) => written.push(range) })
    const bytes = Uint8Array.from({ length: 40 }, (_, i) => i + 1)
    expect(memory.write(50, bytes)).toBe(true)
    const back = new Uint8Array(40)
    expect(memory.read(50, back)).toBe(true)
    expect(back).toEqual(bytes)
    expect(memory.write(120, bytes)).toBe(false)
    expect(memory.read(120, back)).toBe(false)
    expect(back).toEqual(bytes)
    expect(memory.resolve(120, 16)).toEqual(new Uint8Array(16))
    expect(written).toEqual([[50, 40]])
  })

  it('agrees with a flat list of bytes for random regions and ranges', () => {
    const layout = fc.array(fc.record({ gap: fc.constantFrom(0, 0, 8, 64), size: fc.integer({ min: 1, max: 8 }) }), { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(layout, fc.array(fc.tuple(fc.nat(400), fc.nat(120)), { maxLength: 30 }), (parts, ranges) => {
        let address = 0
        const present = new Set<number>()
        const regions = parts.map(({ gap, size }) => {
          address += gap
          const made = region(address, size * 8)
          for (let i = 0; i < size * 8; i++) present.add(address + i)
          address += size * 8
          return made
        })
        const memory = new GuestMemory(regions)
        for (const [at, length] of ranges) {
          const there = Array.from({ length }, (_, i) => present.has(at + i)).every(Boolean)
          if (length > 0) expect(memory.read(at, new Uint8Array(length))).toBe(there)
          const one = regions.findIndex((r) => at >= r.guestAddress && at + length <= r.guestAddress + r.size)
          if (length > 0) expect(memory.indexOf(at, length)).toBe(one)
        }
      }),
    )
  })

  it('makes its views anew when a WebAssembly memory grew, and says so by its version', () => {
    const source = new WebAssembly.Memory({ initial: 1 })
    const memory = new GuestMemory([{ guestAddress: 0x1000, size: page, source }])
    memory.write(0x1000, Uint8Array.of(1, 2, 3))
    const before = memory.version
    expect(memory.refresh()).toBe(false)
    source.grow(1)
    expect(memory.refresh()).toBe(true)
    expect(memory.version).not.toBe(before)
    expect(memory.refresh()).toBe(false)
    expect([...memory.resolve(0x1000, 3)!]).toEqual([1, 2, 3])
    source.grow(1)
    expect([...memory.resolve(0x1000, 3)!]).toEqual([1, 2, 3])
  })

  it('says that views are new also where the buffer of another source is too short', () => {
    const sources = [{ buffer: new ArrayBuffer(64) }, { buffer: new ArrayBuffer(64) }]
    const memory = new GuestMemory(sources.map((source, i) => ({ guestAddress: 64 * i, size: 64, source })))
    const before = memory.version
    for (const [i, length] of [128, 63].entries()) sources[i]!.buffer = new ArrayBuffer(length)
    expect(() => memory.refresh()).toThrow('a region of 64 bytes at offset 0 does not fit into a buffer of 63 bytes')
    expect(memory.version).not.toBe(before)
  })

  it('never looks at the buffer of a typed array again', () => {
    let looked = 0
    const bytes = new Uint8Array(64)
    Object.defineProperty(bytes, 'buffer', {
      get: () => {
        looked++
        return bytes.subarray().buffer
      },
    })
    const memory = GuestMemory.of(bytes)
    const once = looked
    for (let i = 0; i < 10; i++) memory.refresh()
    expect(looked).toBe(once)
  })

  it('keeps the old regions when the new ones are wrong', () => {
    const memory = new GuestMemory([region(0, 64)])
    expect(() => memory.replace([region(0, 64), region(32, 64)])).toThrow(RangeError)
    expect(memory.resolve(0, 64)?.length).toBe(64)
    memory.replace([region(0x1000, 64)])
    expect(memory.resolve(0, 1)).toBeUndefined()
    expect(memory.resolve(0x1000, 64)?.length).toBe(64)
  })
})
