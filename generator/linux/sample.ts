/** Values for a struct of the headers: a plain value as `encode` takes it, and the same numbers by the names of the header's fields. */
import { nodes } from '../evaluate.ts'
import { findStruct } from '../facts.ts'
import type { Member, Model, Part } from '../model.ts'
import { identifier } from '../names.ts'
import { isBigint, isBytes } from '../values.ts'
import type { Random } from './random.ts'
import { type SampleContext, Scope, sampleContext, type Value } from './scope.ts'
import type { HeaderStruct } from './structs.ts'

export type ValuePath = readonly (string | number)[]

/** A field of the header's struct that holds numbers of the value. */
export interface Leaf {
  /** Its name in C, from the struct on: `geometry.cylinders`, `zones[1].z_cap`. */
  c: string
  /** Our name, from the struct on. */
  name: string
  /** Index into `values` of the sample: the part. */
  part: number
  /** Where the value has it; of a bit container, the places of its fields and their lowest bits. */
  from: ValuePath | { path: ValuePath; bit: number; bits: number }[]
  /** Length of a byte array; undefined for an integer. */
  bytes?: number
  /** Bits without a name that have a fixed value. */
  constant?: bigint
}

export interface Sample {
  /** One value per part of the struct. */
  values: Value[]
  context: SampleContext
  leaves: Leaf[]
  /** True when the layout follows the values: any other bytes would be another layout. */
  steered: boolean
}

/** Elements that an open array gets, and bytes that an open payload gets. */
const openElements = 2
const openBytes = 5

/**
 * Makes up a value.
 *
 * @param has - whether the header has a field
 * @param round - which arm each union takes
 */
export function makeSample(model: Model, target: HeaderStruct, random: Random, round: number, has: (c: string) => boolean): Sample {
  const sample: Sample = { values: [], context: sampleContext(), leaves: [], steered: false }
  target.parts.forEach((part, index) => {
    const value: Value = {}
    sample.values.push(value)
    if (part === 'readable') sample.context.given.readable = value
    const members = target.struct.members.filter((member) => member.part === part)
    const builder = new Builder(model, sample, index, random, round, has)
    builder.members(members, { scope: new Scope(value, sample.context), value, path: [], c: '' })
  })
  return sample
}

interface Place {
  scope: Scope
  /** The object that the members stand in. */
  value: Value
  path: ValuePath
  /** Prefix of the C names, `geometry.`; null: the header has nothing of this. */
  c: string | null
}

class Builder {
  readonly #model: Model
  readonly #sample: Sample
  readonly #part: number
  readonly #random: Random
  readonly #round: number
  readonly #has: (c: string) => boolean

  constructor(model: Model, sample: Sample, part: number, random: Random, round: number, has: (c: string) => boolean) {
    this.#model = model
    this.#sample = sample
    this.#part = part
    this.#random = random
    this.#round = round
    this.#has = has
  }

  members(members: readonly Member[], place: Place): void {
    for (const member of members) this.#member(member, place)
  }

  #member(member: Member, place: Place): void {
    if (member.when && [...nodes(member.when.tree)].some(({ op }) => op === 'field')) this.#sample.steered = true
    if (!place.scope.satisfy(member.when)) return
    const { type } = member
    if (type.kind === 'group') this.members(type.members, { ...place, c: prefix(this.#cName(member, place)) })
    else if (type.kind === 'union') this.#union(member, place)
    else if (type.kind === 'bits' && member.dims.length === 0) this.#bits(member, place)
    else this.#named(member, place)
  }

  #named(member: Member, place: Place): void {
    const { type } = member
    if (member.reserved || type.kind === 'body' || member.stride || member.until) return
    // A list of heads is a list of other structs; it stays empty.
    if (type.kind === 'struct' && member.dims.length > 0 && findStruct(this.#model, type)?.head) return
    if (member.framed) {
      place.scope.context.caller[`${identifier(member.name)}_length`] = 0
      return
    }
    const key = identifier(member.name)
    const c = this.#cName(member, place)
    const lengths = this.#lengths(member, place, c)
    if (lengths === undefined) return
    place.value[key] = this.#elements(member, lengths, { ...place, path: [...place.path, key] }, c, place.value[key])
  }

  /** The member's name in C; null when the headers do not have it. `_` stands for what the member is in: its prefix, or for an integer the field. */
  #cName(member: Member, place: Place): string | null {
    const { name } = member.linux
    if (place.c === null || name === null) return null
    if (name !== '_') return place.c + name
    return member.type.kind === 'integer' || member.type.kind === 'bits' ? place.c.replace(/\.$/, '') : place.c
  }

  /** Lengths of an array, `[]` for a single thing; undefined where they cannot be told. */
  #lengths(member: Member, { scope }: Place, c: string | null): number[] | undefined {
    const lengths: number[] = []
    const open = c !== null && this.#has(c)
    // A size in the header: there the list has so many elements, and what follows stands behind them.
    const fixed = member.linux.size === undefined ? undefined : member.linux.size / (elementSize(member) ?? 1)
    for (const { count, length } of member.dims) {
      if (count !== null) lengths.push(count)
      else {
        this.#sample.steered = true
        const pick = (): number => (length && fixed !== undefined ? scope.valueFor(length, fixed) : 1 + this.#random.below(3))
        const found = length === undefined ? (open ? (fixed ?? openElements) : 0) : scope.length(length, pick)
        if (found === undefined) return undefined
        lengths.push(found)
      }
    }
    if (member.type.kind === 'bytes') {
      this.#sample.steered = true
      lengths.push(member.area ? (scope.length(member.area, () => 1 + this.#random.below(3)) ?? 0) : open ? openBytes : 0)
    }
    return lengths
  }

  #elements(member: Member, lengths: readonly number[], place: Place, c: string | null, before: unknown): unknown {
    const [length, ...inner] = lengths
    if (length === undefined) return this.#one(member, place, c, before)
    if (inner.length === 0 && isBytes(member)) {
      if (!this.#isInHeader(c)) return new Uint8Array(length)
      if (length > 0) this.#leaf(c as string, place.path, length)
      return this.#random.bytes(length)
    }
    return Array.from({ length }, (_, index) =>
      this.#elements(member, inner, { ...place, path: [...place.path, index] }, c === null ? null : `${c}[${index}]`, undefined),
    )
  }

  /** A single integer, struct or bit container. What the header does not have stays zero. */
  #one(member: Member, place: Place, c: string | null, before: unknown): unknown {
    const { type } = member
    if (type.kind === 'struct') {
      const struct = findStruct(this.#model, type)
      const value = (before ?? {}) as Value
      const scope = new Scope(value, this.#sample.context, { scope: place.scope, bindings: member.with })
      const part: Part | undefined = struct?.twoPart ? member.part : undefined
      this.members(struct?.members.filter((inner) => part === undefined || inner.part === part) ?? [], {
        scope,
        value,
        path: place.path,
        c: prefix(c),
      })
      return value
    }
    if (type.kind !== 'integer') return {}
    if (this.#isInHeader(c)) this.#leaf(c as string, place.path)
    // A field on which a length before it depends has its value already.
    if (before !== undefined) return isBigint(member) ? BigInt(before as number) : Number(before)
    if (member.const !== undefined) return isBigint(member) ? BigInt(member.const) : Number(member.const)
    if (!this.#isInHeader(c)) return isBigint(member) ? 0n : 0
    const value = this.#random.integer(type.bytes * 8)
    return isBigint(member) ? value : Number(type.bytes === 8 ? value & 0x1f_ffff_ffff_ffffn : value)
  }

  #bits(member: Member, place: Place): void {
    const { type } = member
    if (type.kind !== 'bits') return
    const key = identifier(member.name)
    const c = this.#cName(member, place)
    const inHeader = c !== '' && this.#isInHeader(c)
    if (member.name !== '') place.value[key] ??= {}
    const value = member.name === '' ? place.value : (place.value[key] as Value)
    const path = member.name === '' ? place.path : [...place.path, key]
    const from: { path: ValuePath; bit: number; bits: number }[] = []
    let end = 0
    let constant = 0n
    for (const field of type.fields) {
      if (field.name === '' && field.const !== undefined) constant |= BigInt(field.const) << BigInt(field.bit)
      // Of bits that stand in for each other the first ones are taken.
      if (field.reserved || field.name === '' || field.bit < end || !place.scope.satisfy(field.when)) continue
      end = field.bit + field.bits
      const name = identifier(field.name)
      value[name] ??= field.const !== undefined ? Number(field.const) : inHeader ? Number(this.#random.integer(Math.min(field.bits, 32))) : 0
      from.push({ path: [...path, name], bit: field.bit, bits: field.bits })
    }
    if (inHeader) this.#sample.leaves.push({ c: c as string, name: dotted(path) || (c as string), part: this.#part, from, constant })
  }

  /** One arm; with a deciding field that field selects it. */
  #union(member: Member, place: Place): void {
    const { type } = member
    if (type.kind !== 'union') return
    const c = this.#cName(member, place)
    if (type.by || type.arms.some((arm) => arm.when || hasFixedBits(arm))) this.#sample.steered = true
    const arms = type.arms.filter((arm) => c !== null && arm.linux.name !== null)
    for (let attempt = 0; attempt < arms.length; attempt++) {
      const arm = arms[(this.#round + attempt) % arms.length] as Member
      if (type.by && !(arm.is ?? []).some(({ value }) => place.scope.assign(type.by as NonNullable<typeof type.by>, BigInt(value)))) continue
      this.#arm(member, arm, place, c)
      return
    }
  }

  #arm(member: Member, arm: Member, place: Place, c: string | null): void {
    const inner: Place = { ...place, c: prefix(c) }
    if (member.name === '') {
      this.#member(arm, inner)
      return
    }
    const key = identifier(member.name)
    const value: Value = member.type.kind === 'union' && member.type.by ? { arm: identifier(arm.name) } : {}
    place.value[key] = value
    this.#member(arm, { ...inner, value, path: [...place.path, key] })
  }

  #isInHeader(c: string | null): boolean {
    return c !== null && this.#has(c)
  }

  #leaf(c: string, path: ValuePath, bytes?: number): void {
    this.#sample.leaves.push({ c, name: dotted(path), part: this.#part, from: path, ...(bytes === undefined ? {} : { bytes }) })
  }
}

function elementSize({ type }: Member): number | undefined {
  return type.kind === 'integer' ? type.bytes : type.kind === 'struct' ? (type.size ?? undefined) : undefined
}

/** True of a view that other bytes do not have. */
function hasFixedBits({ type }: Member): boolean {
  return type.kind === 'bits' && type.fields.some((field) => field.const !== undefined)
}

/** `zones[1].z_cap` */
function dotted(path: ValuePath): string {
  return path
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`))
    .join('')
    .replace(/^\./, '')
}

/** C names of what stands inside. */
function prefix(c: string | null): string | null {
  return c === null || c === '' || c.endsWith('.') ? c : `${c}.`
}

/** The number or bytes that a leaf has in the values of a sample, or in decoded ones. */
export function leafValue(leaf: Leaf, values: readonly unknown[]): bigint | Uint8Array | undefined {
  const at = (path: ValuePath): unknown =>
    path.reduce<unknown>((value, step) => (value as Record<string | number, unknown> | undefined)?.[step], values[leaf.part])
  if (leaf.bytes !== undefined) return at(leaf.from as ValuePath) as Uint8Array | undefined
  if (!isBitPlaces(leaf.from)) return toBigint(at(leaf.from))
  let value = 0n
  for (const { path, bit } of leaf.from) {
    const part = toBigint(at(path))
    if (part === undefined) return undefined
    value |= part << BigInt(bit)
  }
  return value
}

/** Paths of the values that a leaf holds. */
export function leafPaths({ from }: Leaf): ValuePath[] {
  return isBitPlaces(from) ? from.map(({ path }) => path) : [from]
}

/** Bits of a leaf that the value has; the others are reserved. */
export function leafMask(leaf: Leaf): bigint | undefined {
  return isBitPlaces(leaf.from) ? leaf.from.reduce((mask, { bit, bits }) => mask | (((1n << BigInt(bits)) - 1n) << BigInt(bit)), 0n) : undefined
}

function isBitPlaces(from: Leaf['from']): from is { path: ValuePath; bit: number; bits: number }[] {
  return Array.isArray(from) && typeof from[0] === 'object'
}

function toBigint(value: unknown): bigint | undefined {
  return typeof value === 'number' || typeof value === 'bigint' ? BigInt(value) : undefined
}
