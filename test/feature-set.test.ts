import fc from 'fast-check'
import { FeatureSet, featureNames, featuresFromBitString, featuresFromHex, featuresFromWords } from 'virtgen/codegen/v1/wire'
import { describe, expect, it } from 'vitest'

const bits = fc.uniqueArray(fc.integer({ min: 0, max: 127 }))

describe('FeatureSet', () => {
  it('holds bits 0 to 127, those at the edges of its words included', () => {
    const edges = [0, 31, 32, 63, 64, 95, 96, 127]
    const set = FeatureSet.of(...edges)
    expect(set.bits).toEqual(edges)
    expect(edges.map((bit) => set.has(bit))).toEqual(edges.map(() => true))
    expect([1, 30, 33, 62, 126].some((bit) => set.has(bit))).toBe(false)
  })

  it('gives words as unsigned numbers, as transports move them', () => {
    const set = FeatureSet.of(31, 32, 127)
    expect([0, 1, 2, 3].map((index) => set.word(index))).toEqual([0x8000_0000, 1, 0, 0x8000_0000])
    expect(set.word(4)).toBe(0)
  })

  it('refuses bits and words that do not exist, with the value and the range', () => {
    expect(() => FeatureSet.of(128)).toThrow('a feature bit must be an integer from 0 to 127, not 128')
    expect(() => FeatureSet.of(-1)).toThrow(RangeError)
    expect(() => FeatureSet.empty.has(1.5)).toThrow(RangeError)
    expect(() => featuresFromWords([2 ** 32])).toThrow(RangeError)
    expect(() => featuresFromWords([0, 0, 0, 0, 0])).toThrow('at most 4 words')
  })

  it('reads the bit string of Linux, bit 0 first', () => {
    const console_ = '0100000000000000000000000000110010000000100000000000000000000000'
    expect(featuresFromBitString(console_).bits).toEqual([1, 28, 29, 32, 40])
    expect(() => featuresFromBitString('012')).toThrow(RangeError)
  })

  it('reads and prints hexadecimal numbers of 128 bits', () => {
    expect(featuresFromHex('0x10130000002').bits).toEqual([1, 28, 29, 32, 40])
    expect(FeatureSet.of(64).toString()).toBe('0x10000000000000000')
    expect(FeatureSet.empty.toString()).toBe('0x0')
    expect(() => featuresFromHex(`1${'0'.repeat(32)}`)).toThrow('more than 128 bits')
    expect(() => featuresFromHex('0xg')).toThrow('not a hexadecimal number')
  })

  it('comes back from each of its forms', () => {
    fc.assert(
      fc.property(bits, (list) => {
        const set = FeatureSet.of(...list)
        const string = Array.from({ length: 128 }, (_, bit) => (list.includes(bit) ? '1' : '0')).join('')
        expect(set.bits).toEqual([...list].sort((a, b) => a - b))
        for (const other of [
          featuresFromHex(set.toString()),
          featuresFromBitString(string),
          featuresFromWords([0, 1, 2, 3].map((index) => set.word(index))),
          featuresFromHex(JSON.parse(JSON.stringify({ set })).set),
        ]) {
          expect(other.equals(set)).toBe(true)
        }
      }),
    )
  })

  it('behaves like a set of numbers', () => {
    fc.assert(
      fc.property(bits, bits, (a, b) => {
        const [one, two] = [FeatureSet.of(...a), FeatureSet.of(...b)]
        const sorted = (list: Iterable<number>): number[] => [...new Set(list)].sort((x, y) => x - y)
        expect(one.union(two).bits).toEqual(sorted([...a, ...b]))
        expect(one.intersection(two).bits).toEqual(sorted(a.filter((bit) => b.includes(bit))))
        expect(one.difference(two).bits).toEqual(sorted(a.filter((bit) => !b.includes(bit))))
        expect(one.isSubsetOf(one.union(two))).toBe(true)
        expect(one.isSubsetOf(two)).toBe(a.every((bit) => b.includes(bit)))
        expect(one.with(...b).without(...b).bits).toEqual(one.difference(two).bits)
        expect(one.isEmpty).toBe(a.length === 0)
      }),
    )
  })

  it('names its bits from tables and says which it does not know', () => {
    const table = [{ name: 'VIRTIO_X_F_A', bit: 3 }]
    expect(featureNames(FeatureSet.of(3, 90), table)).toEqual(['VIRTIO_X_F_A', 'bit 90'])
  })
})
