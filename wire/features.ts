import { checkInteger } from './integers.ts'

/** What is known of a feature bit. */
export interface FeatureInfo {
  readonly name: string
  readonly bit: number
  /** True when it exists on the legacy interface only. */
  readonly legacy?: true
}

/** A requirement that a set of features breaks. */
export interface FeatureProblem {
  /** The feature that is in the set although what it needs is not. */
  readonly feature: string
  /** What it requires, in the words of the description. */
  readonly requires: string
}

const words = 4
const bits = words * 32
const bitName = 'a feature bit'

/**
 * A set of feature bits 0–127: four 32-bit words, the form in which every transport moves them (VIRTIO 1.4, Basic Facilities of a Virtio Device / Feature Bits).
 * Sets are values: operations give new ones.
 */
export class FeatureSet {
  readonly #words: readonly [number, number, number, number]

  private constructor(values: readonly number[]) {
    this.#words = [(values[0] ?? 0) >>> 0, (values[1] ?? 0) >>> 0, (values[2] ?? 0) >>> 0, (values[3] ?? 0) >>> 0]
  }

  static readonly empty = new FeatureSet([])

  /** The set of the given bits. Throws RangeError for a bit that is not 0–127. */
  static of(...features: readonly number[]): FeatureSet {
    const values = [0, 0, 0, 0]
    for (const bit of features) {
      checkInteger(bit, 0, bits - 1, bitName)
      values[bit >>> 5] = (values[bit >>> 5] as number) | (1 << (bit & 31))
    }
    return new FeatureSet(values)
  }

  /** True when the bit is in the set. */
  has(bit: number): boolean {
    checkInteger(bit, 0, bits - 1, bitName)
    return (((this.#words[bit >>> 5] as number) >>> (bit & 31)) & 1) === 1
  }

  /** Word 0–3 as an unsigned number; 0 for any further one, as transports read words that do not exist. */
  word(index: number): number {
    return this.#words[index as 0] ?? 0
  }

  with(...features: readonly number[]): FeatureSet {
    return this.union(FeatureSet.of(...features))
  }

  without(...features: readonly number[]): FeatureSet {
    return this.difference(FeatureSet.of(...features))
  }

  /** This set with one word replaced; a word beyond the fourth changes nothing. */
  withWord(index: number, value: number): FeatureSet {
    return new FeatureSet(this.#words.map((word, at) => (at === index ? value : word)))
  }

  union(other: FeatureSet): FeatureSet {
    return new FeatureSet(this.#words.map((word, index) => word | other.word(index)))
  }

  intersection(other: FeatureSet): FeatureSet {
    return new FeatureSet(this.#words.map((word, index) => word & other.word(index)))
  }

  difference(other: FeatureSet): FeatureSet {
    return new FeatureSet(this.#words.map((word, index) => word & ~other.word(index)))
  }

  isSubsetOf(other: FeatureSet): boolean {
    return this.#words.every((word, index) => (word & ~other.word(index)) === 0)
  }

  equals(other: FeatureSet): boolean {
    return this.#words.every((word, index) => word === other.word(index))
  }

  get isEmpty(): boolean {
    return this.#words.every((word) => word === 0)
  }

  /** The bits of the set, ascending. */
  get bits(): number[] {
    return Array.from({ length: bits }, (_, bit) => bit).filter((bit) => this.has(bit))
  }

  /** `0x130006e54`. */
  toString(): string {
    const digits = [...this.#words]
      .reverse()
      .map((word) => word.toString(16).padStart(8, '0'))
      .join('')
    return `0x${digits.replace(/^0+(?=.)/, '')}`
  }

  toJSON(): string {
    return this.toString()
  }
}

/** Names from tables of features; a bit that no table has is `bit N`. */
export function featureNames(set: FeatureSet, ...tables: readonly (readonly FeatureInfo[])[]): string[] {
  const known = tables.flat()
  return set.bits.map((bit) => known.find((feature) => feature.bit === bit)?.name ?? `bit ${bit}`)
}

/** The set whose words are given, least significant first. Throws RangeError for more than four words or a word outside 32 bits. */
export function featuresFromWords(values: readonly number[]): FeatureSet {
  if (values.length > words) throw new RangeError(`a feature set has at most ${words} words, not ${values.length}`)
  return values.reduce<FeatureSet>((set, value, index) => set.withWord(index, checkInteger(value, 0, 0xffff_ffff, 'a word')), FeatureSet.empty)
}

/** Parses hexadecimal digits, with or without `0x`. Throws RangeError for anything else or more than 128 bits. */
export function featuresFromHex(text: string): FeatureSet {
  const digits = text.trim().replace(/^0x/i, '').replaceAll('_', '')
  if (!/^[0-9a-f]+$/i.test(digits)) throw new RangeError(`"${text}" is not a hexadecimal number`)
  const trimmed = digits.replace(/^0+(?=.)/, '')
  if (trimmed.length > bits / 4) throw new RangeError(`"${text}" has more than ${bits} bits`)
  const padded = trimmed.padStart(bits / 4, '0')
  return featuresFromWords([24, 16, 8, 0].map((at) => Number.parseInt(padded.slice(at, at + 8), 16)))
}

/** Parses the string of zeros and ones, bit 0 first, of Linux's `/sys/bus/virtio/devices/*\/features`. */
export function featuresFromBitString(text: string): FeatureSet {
  const digits = text.trim()
  if (!/^[01]*$/.test(digits) || digits.length > bits) throw new RangeError(`"${text}" is not a string of at most ${bits} zeros and ones`)
  return FeatureSet.of(...[...digits].flatMap((digit, bit) => (digit === '1' ? [bit] : [])))
}
