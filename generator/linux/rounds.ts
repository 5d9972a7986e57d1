/** Bytes that the header's structs make of given values, and the values they find in given bytes, against `encode` and `decode`. */
import { type CodecContext, decodeStruct, encodeStruct } from '../codec.ts'
import type { Model, Reference } from '../model.ts'
import { className } from '../names.ts'
import { Random } from './random.ts'
import type { LinuxItem } from './report.ts'
import { type Leaf, leafMask, leafPaths, leafValue, makeSample, type Sample } from './sample.ts'
import type { SampleContext, Value } from './scope.ts'
import type { HeaderStruct } from './structs.ts'

/** Generated modules by chapter: `{blk: await import('virtgen/wire/blk')}`. */
export type WireModules = Readonly<Record<string, Readonly<Record<string, unknown>>>>

/** What the generated modules take for a set of features. */
export interface FeatureBits {
  has(bit: number): boolean
}

/** One struct with one value. */
export interface Round {
  target: HeaderStruct
  sample: Sample
  /** What `encode` makes of the sample. */
  encoded: Uint8Array
  /** Bytes for `decode`, and where each part ends in them. */
  given: Uint8Array
  ends: number[]
}

/** What the C program printed of a round. */
export interface RoundOutput {
  written: Uint8Array
  /** By index of the leaf. */
  read: Map<number, bigint | Uint8Array>
}

/** The two calls of a codec. */
interface Codec {
  /** Whose it is, for the report. */
  name: string
  encode(part: number, value: Value, context: SampleContext): Uint8Array
  decode(part: number, bytes: Uint8Array, context: SampleContext): unknown
}

export class Rounds {
  readonly #model: Model
  readonly #wire: WireModules | undefined
  readonly #features: FeatureBits
  readonly #featureNames: ReadonlySet<string>
  readonly #random: Random
  readonly mismatches: LinuxItem[] = []

  constructor(model: Model, seed: number, wire: WireModules | undefined, features: FeatureBits) {
    this.#model = model
    this.#random = new Random(seed)
    this.#wire = wire
    this.#features = features
    this.#featureNames = new Set(model.chapters.flatMap((chapter) => chapter.features.map(({ name }) => name)))
  }

  /** Expressions that compile when the headers have the fields that the rounds would fill. */
  *probes(targets: readonly HeaderStruct[], count: number): Generator<string> {
    const random = new Random(0)
    for (const target of targets) {
      const probes = new Set<string>()
      const has = (c: string): boolean => probes.add(offsetOf(target, c)).size > 0
      for (let round = 0; round < count; round++) makeSample(this.#model, target, random, round, has)
      yield* probes
    }
  }

  /**
   * Makes up the rounds of a struct. A value that cannot be encoded is a mismatch.
   *
   * @param present - those of the probes that compile
   */
  make(target: HeaderStruct, count: number, present: ReadonlySet<string>): Round[] {
    const rounds: Round[] = []
    // What is declared to lie elsewhere in the header's struct has other bytes there.
    if (target.fields.some(({ checks }) => checks.some(({ ours, expected }) => ours !== expected))) return rounds
    const codec = this.#modelCodec(target)
    const has = (c: string): boolean => present.has(offsetOf(target, c))
    for (let index = 0; index < count; index++) {
      const sample = makeSample(this.#model, target, this.#random, index, has)
      if (sample.leaves.length === 0) return rounds
      try {
        const parts = encodeParts(codec, sample)
        const encoded = joined(parts)
        // Where the layout follows the values, other bytes would be another layout.
        const given = sample.steered ? encoded : this.#random.bytes(encoded.length)
        let end = 0
        rounds.push({ target, sample, encoded, given, ends: parts.map((part) => (end += part.length)) })
      } catch (error) {
        this.#mismatch(target, 'encoded', target.whole.item.name, undefined, {
          ours: String(error),
          why: `${codec.name} cannot encode a value of it`,
        })
        return rounds
      }
    }
    return rounds
  }

  /** Compares what the C program printed with every codec. */
  compare(round: Round, output: RoundOutput): void {
    const codecs = [this.#modelCodec(round.target)]
    const generated = this.#wireCodec(round.target)
    if (generated) codecs.push(generated)
    for (const codec of codecs) {
      this.#guard(codec, round, 'encoded', () => this.#compareWritten(codec, round, output))
      this.#guard(codec, round, 'decoded', () => this.#compareRead(codec, round, output))
    }
  }

  #compareWritten(codec: Codec, round: Round, { written }: RoundOutput): void {
    const ours = joined(encodeParts(codec, round.sample))
    const length = Math.max(ours.length, written.length)
    for (let at = 0; at < length; at++) {
      if ((ours[at] ?? 0) === (written[at] ?? 0)) continue
      const leaf = this.#leafAt(round, at)
      const [from, to] = leaf ? leaf.range : [at, at + 1]
      const value = leaf && leafValue(leaf.leaf, round.sample.values)
      const what = value === undefined ? `byte ${at}` : `the bytes of ${show(value)}`
      this.#mismatch(round.target, 'encoded', leaf?.leaf.name, leaf?.leaf.c, {
        ours: hex(ours.subarray(from, to)),
        theirs: hex(written.subarray(from, to)),
        why: `${what}, by ${codec.name}`,
      })
      return
    }
  }

  #compareRead(codec: Codec, round: Round, { read }: RoundOutput): void {
    const decoded = round.target.parts.map((_, part) =>
      codec.decode(part, round.given.subarray(round.ends[part - 1] ?? 0, round.ends[part]), round.sample.context),
    )
    for (const [index, leaf] of round.sample.leaves.entries()) {
      const theirs = read.get(index)
      const ours = leafValue(leaf, decoded)
      if (theirs === undefined || same(ours, theirs, leafMask(leaf))) continue
      const why = `read from ${hex(round.given)}, by ${codec.name}`
      this.#mismatch(round.target, 'decoded', leaf.name, leaf.c, { ours: ours === undefined ? 'nothing' : show(ours), theirs: show(theirs), why })
      return
    }
  }

  /** The leaf that a byte belongs to, as the model's codec places it. */
  #leafAt({ target, sample, encoded, ends }: Round, at: number): { leaf: Leaf; range: [number, number] } | undefined {
    for (const [part, name] of target.parts.entries()) {
      const start = ends[part - 1] ?? 0
      const { fields } = decodeStruct(this.#model, referenceTo(target), encoded.subarray(start, ends[part]), this.#codecContext(sample.context), name)
      for (const leaf of sample.leaves.filter((candidate) => candidate.part === part)) {
        const paths = leafPaths(leaf).map((path) => path.join('.'))
        const field = fields.find(({ path, offset, size }) => paths.includes(pathKey(path)) && at >= start + offset && at < start + offset + size)
        if (field) return { leaf, range: [start + field.offset, start + field.offset + field.size] }
      }
    }
    return undefined
  }

  #codecContext(context: SampleContext): CodecContext {
    return { ...context, features: this.#featureNames }
  }

  #guard(codec: Codec, round: Round, property: 'encoded' | 'decoded', compare: () => void): void {
    try {
      compare()
    } catch (error) {
      this.#mismatch(round.target, property, undefined, undefined, { ours: String(error), why: `${codec.name} refuses what Linux's struct can hold` })
    }
  }

  #mismatch(
    target: HeaderStruct,
    property: 'encoded' | 'decoded',
    name: string | undefined,
    c: string | undefined,
    found: Pick<LinuxItem, 'ours' | 'theirs' | 'why'>,
  ): void {
    const { item } = target.whole
    const label = name === undefined ? item.name : `${item.name}.${name}`
    // One value that goes wrong says it; the further rounds say the same.
    if (this.mismatches.some((other) => other.name === label && other.property === property)) return
    this.mismatches.push({
      ...item,
      ...found,
      property,
      name: label,
      linux: c === undefined ? item.linux : `${item.linux}.${c}`,
      ...(name === undefined ? {} : { kind: 'field' }),
    })
  }

  #modelCodec(target: HeaderStruct): Codec {
    const reference = referenceTo(target)
    const { parts } = target
    return {
      name: 'the description',
      encode: (part, value, context) => encodeStruct(this.#model, reference, value, this.#codecContext(context), parts[part]),
      decode: (part, bytes, context) => decodeStruct(this.#model, reference, bytes, this.#codecContext(context), parts[part]).value,
    }
  }

  /** The generated classes; registers have none. */
  #wireCodec({ chapter, struct, parts }: HeaderStruct): Codec | undefined {
    const module = this.#wire?.[chapter.name]
    if (module === undefined || struct.role === 'registers' || struct.role === 'foreign') return undefined
    const classOf = (part: number): WireClass => {
      const suffix = parts[part] === undefined ? '' : parts[part] === 'readable' ? 'Readable' : 'Writable'
      const name = className(struct.name) + suffix
      const found = module[name] as Partial<WireClass> | undefined
      if (found?.encode === undefined || found.decode === undefined) throw new TypeError(`virtgen/wire/${chapter.name} exports no class ${name}`)
      return found as WireClass
    }
    return {
      name: `the generated ${className(struct.name)}`,
      encode: (part, value, context) => classOf(part).encode(value, { ...context, features: this.#features }),
      decode: (part, bytes, context) => classOf(part).decode(bytes, { ...context, features: this.#features }),
    }
  }
}

interface WireClass {
  encode(value: Value, context: unknown): Uint8Array
  decode(bytes: Uint8Array, context: unknown): unknown
}

function referenceTo({ chapter, struct }: HeaderStruct): Reference {
  return { chapter: chapter.name, name: struct.name }
}

/** Of an array the first element stands for all. */
function offsetOf(target: HeaderStruct, c: string): string {
  return `__builtin_offsetof(${target.type}, ${c.replaceAll(/\[\d+\]/g, '[0]')})`
}

function encodeParts(codec: Codec, { values, context }: Sample): Uint8Array[] {
  return values.map((value, part) => codec.encode(part, value, context))
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}

/** A number above 2^53 that is no bigint is the nearest one JavaScript has. */
function same(ours: bigint | Uint8Array | undefined, theirs: bigint | Uint8Array, mask: bigint | undefined): boolean {
  if (typeof theirs !== 'bigint') return ours instanceof Uint8Array && hex(ours) === hex(theirs)
  if (typeof ours !== 'bigint') return false
  return ours === (mask === undefined ? theirs : theirs & mask) || ours === BigInt(Number(theirs))
}

/** The path of a decoded field as that of its value: members of what has no name stand at their parent's level. */
function pathKey(path: string): string {
  return path
    .replaceAll(/\[(\d+)\]/g, '.$1')
    .replaceAll(/(^|\.)_(?=\.)/g, '')
    .replace(/^\./, '')
}

function show(value: bigint | Uint8Array): string {
  return typeof value === 'bigint' ? `0x${value.toString(16)}` : hex(value)
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
