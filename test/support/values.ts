/**
 * Random values of any struct that `encode` takes and `decode` gives back as they are: lengths fit their arrays, selectors their arms, heads their elements.
 * Driven by the model alone, so that a new struct is tested as soon as it is described.
 */
import * as fc from 'fast-check'
import { enumBits, headSelector, heldStructs, presentArms, selectArm, type UnionType } from '../../generator/codec/choice.ts'
import { extentOf, isByteArray, isFixedUnion, isOpen, naturalExtent, typeExtent, unionExtent } from '../../generator/codec/extent.ts'
import { namesOf, valueName } from '../../generator/codec/names.ts'
import {
  areaOf,
  declarationAt,
  evaluated,
  evaluatedIfKnown,
  findField,
  groupScope,
  holds,
  isPresent,
  type Outer,
  outerOf,
  type Scope,
  toLength,
  usesContent,
  walk,
} from '../../generator/codec/scope.ts'
import { membersOf, Session } from '../../generator/codec/session.ts'
import { Writer } from '../../generator/codec/writer.ts'
import { nodes } from '../../generator/evaluate.ts'
import type { BitField, CodecContext, Expression, IntegerType, Member, Model, Part, Struct, Tree } from '../../generator/index.ts'
import { identifier } from '../../generator/names.ts'
import { isBigint } from '../../generator/values.ts'
import { type Hint, type Hints, hintsOf } from './hints.ts'

type Plain = Record<string, unknown>
type Random = fc.GeneratorValue

/** A struct's value with everything its layout depends on. */
export interface Sample {
  context: CodecContext
  value: Plain
}

/** Bits of a field that have a given value. */
export interface Fixed {
  path: readonly string[]
  value: bigint
  /** All of them where it is left out. */
  bits?: bigint
}

/**
 * Values of a struct in a context, of one part of it where it has two.
 *
 * @param fixed - fields that are given
 * @param isInRange - numbers keep the ranges that the description gives, as far as lengths allow
 */
export function arbitraryValue(
  model: Model,
  struct: Struct,
  context: CodecContext,
  part?: Part,
  fixed: readonly Fixed[] = [],
  isInRange = false,
): fc.Arbitrary<Plain> {
  return fc.gen().map((random) => new Maker(model, context, random, fixed, isInRange).whole(struct, part))
}

/** Contexts in which a struct can be read and written: some of the features, values of the configuration space, what is given and what the program knows. */
export function arbitraryContext(model: Model, struct: Struct, part?: Part): fc.Arbitrary<CodecContext> {
  return fc.gen().map((random) => makeContext(model, struct, part, random))
}

/** Contexts and values in them. */
export function arbitrarySample(model: Model, struct: Struct, part?: Part): fc.Arbitrary<Sample> {
  return fc.gen().map((random) => {
    const context = makeContext(model, struct, part, random)
    return { context, value: new Maker(model, context, random).whole(struct, part) }
  })
}

/** True where several views of the same bytes come back though one was given. */
export function hasViews(session: Session, members: readonly Member[]): boolean {
  return members.some(({ type }) => {
    if (type.kind === 'union') return type.by === undefined || hasViews(session, type.arms)
    if (type.kind === 'group') return hasViews(session, type.members)
    return type.kind === 'struct' && hasViews(session, session.struct(type).members)
  })
}

// --- contexts -------------------------------------------------------------------------------------------------------------------------------

function makeContext(model: Model, struct: Struct, part: Part | undefined, random: Random): CodecContext {
  const chapters = model.chapters.filter(
    ({ name, kind }) => name === struct.chapter || kind === 'common' || chapterOf(model, struct).uses.includes(name),
  )
  const features = chapters.flatMap((chapter) => chapter.features.map(({ name }) => name)).filter(() => random(fc.boolean))
  const context: CodecContext = { features: new Set(features), queueSize: random(fc.integer, { min: 0, max: 4 }), caller: {}, given: {} }
  const lengths = framedMembers(struct.members).map(({ name }) => `${identifier(name)}_length`)
  const names = chapters.flatMap(({ lets }) => lets.filter(({ value }) => value === undefined).map(({ name }) => name))
  for (const name of [...names, ...lengths]) (context.caller as Plain)[name] = 2 ** random(fc.integer, { min: 0, max: 4 })
  ;(context.caller as Plain).device_id = random(fc.constantFrom<number>, 0, ...model.chapters.flatMap(({ id }) => id ?? []))
  const owner = chapters.find(({ config }) => config !== undefined && struct.name !== config)
  const session = new Session(model, {})
  if (owner)
    context.config = new Maker(model, context, random).whole(session.struct({ chapter: owner.name, name: owner.config as string }), undefined)
  for (const { name, struct: reference } of givenNames(session, struct)) {
    const value = reference ? new Maker(model, context, random).whole(session.struct(reference), undefined) : random(fc.integer, { min: 0, max: 64 })
    ;(context.given as Plain)[identifier(name)] = value
  }
  if (part === 'writable' && struct.twoPart) (context.given as Plain).readable = new Maker(model, context, random).whole(struct, 'readable')
  return context
}

function chapterOf(model: Model, struct: Struct) {
  return model.chapters.find(({ name }) => name === struct.chapter) as Model['chapters'][number]
}

function framedMembers(members: readonly Member[]): Member[] {
  return members.flatMap((member) => (member.type.kind === 'group' ? framedMembers(member.type.members) : member.framed ? [member] : []))
}

/** What a struct, or one inside it, needs from the caller. */
function givenNames(session: Session, struct: Struct): Struct['given'] {
  const inside = (members: readonly Member[]): Struct['given'] =>
    members.flatMap((member) => {
      const { type } = member
      if (type.kind === 'group') return inside(type.members)
      if (type.kind === 'union') return inside(type.arms)
      if (type.kind !== 'struct') return []
      const nested = session.struct(type)
      const bound = typeof member.with === 'object' ? Object.entries(member.with).flatMap(([name, to]) => (to === 'caller' ? [] : [name])) : []
      return givenNames(session, nested).filter(({ name }) => !bound.includes(name))
    })
  return [...struct.given, ...inside(struct.members)]
}

// --- values ---------------------------------------------------------------------------------------------------------------------------------

/** A member at the level of its struct, groups around it taken apart. */
interface Leaf {
  member: Member
  scope: MakerScope
  /** Conditions of the groups around it. */
  groups: Member[]
}

interface MakerScope extends Scope {
  leaves: Leaf[]
}

/** Elements of an open array, bytes of an open payload. */
const mostElements = 3
const mostBytes = 6

class Maker {
  readonly #session: Session
  readonly #random: Random
  readonly #hints: Hints
  readonly #made = new Set<Leaf>()
  readonly #wanted: readonly Fixed[]
  readonly #isInRange: boolean
  /** What is given, by the member or bit-field. */
  readonly #fixed = new Map<object, Fixed>()

  constructor(model: Model, context: CodecContext, random: Random, fixed: readonly Fixed[] = [], isInRange = false) {
    this.#session = new Session(model, context)
    this.#random = random
    this.#hints = hintsOf(model)
    this.#wanted = fixed
    this.#isInRange = isInRange
  }

  whole(struct: Struct, part: Part | undefined): Plain {
    for (const fixed of this.#wanted) {
      const found = findField(this.#session, membersOf(struct, part), fixed.path)
      if (found) this.#fixed.set(found.field ?? found.member, fixed)
    }
    const value = this.#struct(
      struct,
      { session: this.#session, part, bindings: undefined, readable: this.#session.context.given?.readable },
      undefined,
    )
    return struct.role === 'foreign' ? { bytes: value } : (value as Plain)
  }

  /** `room`: bytes that the struct takes up exactly, where something around it says so. */
  #struct(struct: Struct, outer: Outer, room: number | undefined): unknown {
    if (struct.role === 'foreign') return this.#bytes(struct.size ?? 0)
    const value: Plain = {}
    const scope: MakerScope = {
      ...outer,
      struct,
      members: membersOf(struct, outer.part),
      value,
      here: value,
      absent: (path) => this.#onDemand(scope, path),
      leaves: [],
    }
    scope.leaves.push(...leavesOf(scope.members, scope, []))
    for (const leaf of scope.leaves) this.#leaf(leaf, room)
    if (struct.length) this.#solve(struct.length, scope, this.#measure({ ...struct, length: undefined } as never, value, outer))
    return value
  }

  /** Something asks for a field that has not been made yet. */
  #onDemand(scope: MakerScope, path: readonly string[]): unknown {
    const leaf = scope.leaves.find(({ member }) => provides(member, path[0] as string))
    if (leaf === undefined || this.#made.has(leaf)) return 0
    this.#leaf(leaf, undefined)
    return walk(scope.value, path) ?? 0
  }

  #leaf(leaf: Leaf, room: number | undefined): void {
    if (this.#made.has(leaf)) return
    this.#made.add(leaf)
    const { member, scope, groups } = leaf
    if (groups.every((group) => isPresent(group, scope)) && isPresent(member, scope)) this.#member(member, scope, this.#roomOf(leaf, room))
  }

  /** An open member takes what the others leave. */
  #roomOf({ member, scope }: Leaf, room: number | undefined): number | undefined {
    if (room === undefined || !isOpen(member, scope)) return undefined
    const others = scope.leaves.filter((leaf) => leaf.member !== member && leaf.groups.every((group) => isPresent(group, scope)))
    return Math.max(0, room - others.reduce((sum, leaf) => sum + (extentOf(leaf.member, leaf.scope).size ?? 0), 0))
  }

  #member(member: Member, scope: MakerScope, room: number | undefined): void {
    const { type } = member
    const name = valueName(member)
    if (member.reserved) return
    const area = this.#area(member, scope) ?? room
    if (member.dims.length === 0 && type.kind === 'bits') this.#bits(member, scope)
    else if (member.dims.length === 0 && type.kind === 'union') this.#union(member, type, scope, area)
    else if (type.kind === 'group')
      for (const inner of type.members) this.#leaf({ member: inner, scope: groupScope(member, scope), groups: [] }, undefined)
    else scope.here[name] = this.#elements(member, member.dims.length, scope, area)
  }

  /** The length of an area; one that the content says is made to hold what must be in it. */
  #area(member: Member, scope: MakerScope): number | undefined {
    if (member.area !== undefined && usesContent(member.area)) {
      const needed = this.#leastInside(member, scope)
      if (toLength(evaluated(member.area, scope)) < needed) this.#solve(member.area, scope, needed + this.#below(3))
    }
    return areaOf(member, scope)
  }

  #leastInside(member: Member, scope: MakerScope): number {
    if (member.type.kind !== 'union' || member.type.by === undefined) return naturalExtent(member, scope).least
    const arm = selectArm(member.type, scope)
    return arm ? extentOf(arm, scope).least : 0
  }

  #elements(member: Member, dims: number, scope: MakerScope, room: number | undefined): unknown {
    if (dims === 0) return this.#element(member, scope, room)
    const { type } = member
    const dim = member.dims[member.dims.length - dims] as Member['dims'][number]
    const head = type.kind === 'struct' ? this.#session.struct(type) : undefined
    if (head?.head && dims === member.dims.length) return this.#heads(member, head, scope, room)
    const claimed = dim.count ?? (dim.length === undefined ? undefined : toLength(evaluated(dim.length, scope)))
    const inner = dims === 1 ? typeExtent(member, scope).size : extentOf({ ...member, dims: member.dims.slice(1), framed: false }, scope).size
    const filling =
      room === undefined || !inner ? this.#below(dims === 1 && isByteArray(member) ? mostBytes : mostElements) : Math.floor(room / inner)
    const count = claimed ?? filling
    if (dims === 1 && isByteArray(member)) return this.#bytes(count)
    return Array.from({ length: count }, () => this.#elements(member, dims - 1, scope, undefined))
  }

  #element(member: Member, scope: MakerScope, room: number | undefined): unknown {
    const { type } = member
    switch (type.kind) {
      case 'integer':
        return this.#integer(member, type, scope)
      case 'struct': {
        const struct = this.#session.struct(type)
        return this.#struct(struct, outerOf(member, struct, scope), room)
      }
      case 'bits': {
        const here: Plain = {}
        this.#bits({ ...member, name: '' }, { ...scope, here })
        return here
      }
      case 'union': {
        const here: Plain = {}
        this.#union({ ...member, name: 'element' }, type, { ...scope, here }, room)
        return here.element
      }
      default:
        return this.#bytes(room ?? this.#below(mostBytes))
    }
  }

  // --- numbers ------------------------------------------------------------------------------------------------------------------------------

  #integer(member: Member, type: IntegerType, scope: MakerScope): number | bigint {
    const isBig = isBigint(member)
    const most = type.bytes === 8 && !isBig ? BigInt(Number.MAX_SAFE_INTEGER) : (1n << BigInt(type.bytes * 8)) - 1n
    const value =
      member.const === undefined
        ? this.#ranged(member, this.#number(most, this.#hints.get(member), enumBits(this.#session.model, { member }), this.#fixed.get(member)), scope)
        : BigInt(member.const)
    return isBig ? value : Number(value)
  }

  #ranged({ range }: Member, value: bigint, scope: MakerScope): bigint {
    if (!this.#isInRange || range === undefined) return value
    const [least = 0n, most = 0n] = range.map((bound) => evaluatedIfKnown(bound, scope))
    return value < least ? least : value > most ? most : value
  }

  #bits(member: Member, scope: MakerScope): void {
    const { fields } = member.type as Extract<Member['type'], { kind: 'bits' }>
    const own: Plain = member.name === '' ? scope.here : {}
    if (member.name !== '') scope.here[identifier(member.name)] = own
    let taken = 0n
    for (const field of fields) {
      const mask = ((1n << BigInt(field.bits)) - 1n) << BigInt(field.bit)
      // Of views of the same bits one is given.
      if (field.name === '' || field.reserved || !isPresent(field, scope) || (taken & mask) !== 0n) continue
      taken |= mask
      own[identifier(field.name)] = this.#bitValue(field)
    }
  }

  #bitValue(field: BitField): number {
    if (field.const !== undefined) return Number(field.const)
    const all = (1n << BigInt(field.bits)) - 1n
    const most = all > BigInt(Number.MAX_SAFE_INTEGER) ? BigInt(Number.MAX_SAFE_INTEGER) : all
    return Number(this.#number(most, this.#hints.get(field), undefined, this.#fixed.get(field)))
  }

  #number(most: bigint, hint: Hint | undefined, mask: bigint | undefined, fixed: Fixed | undefined): bigint {
    if (fixed) return fixed.value | (fixed.bits === undefined ? 0n : this.#number(most, hint, mask, undefined) & ~fixed.bits)
    const any = (): bigint => this.#random(fc.bigInt, { min: 0n, max: most })
    if (hint && hint.choices.length > 0 && this.#below(5) > 0) {
      const choice = hint.choices[this.#below(hint.choices.length)] as bigint
      const flags = mask !== undefined && this.#random(fc.boolean) ? any() & ~mask : 0n
      return (choice | flags) & most
    }
    if (hint?.length)
      return BigInt(this.#random(fc.integer, { min: hint.length.min, max: Number(BigInt(hint.length.max) > most ? most : hint.length.max) }))
    const edge = this.#below(8)
    return edge === 0 ? 0n : edge === 1 ? most : any()
  }

  #below(limit: number): number {
    return this.#random(fc.nat, { max: limit - 1 })
  }

  #bytes(length: number): Uint8Array {
    return this.#random(fc.uint8Array, { minLength: length, maxLength: length })
  }

  // --- unions -------------------------------------------------------------------------------------------------------------------------------

  #union(member: Member, type: UnionType, scope: MakerScope, room: number | undefined): void {
    if (type.by === undefined) {
      const views = presentArms(type, scope).filter((arm) => !arm.reserved)
      const here = this.#unionValue(member, scope, {})
      if (views.length > 0) this.#arm(views[this.#below(views.length)] as Member, { ...scope, here }, room)
      return
    }
    const arm = selectArm(type, scope)
    if (arm === undefined) {
      const size = room ?? (isFixedUnion(type) ? unionExtent(type, scope).size : undefined) ?? this.#below(mostBytes)
      this.#unionValue(member, scope, member.name === '' ? {} : { arm: undefined, bytes: this.#bytes(size) })
      return
    }
    const here = this.#unionValue(member, scope, { arm: identifier(arm.name) })
    this.#arm(arm, { ...scope, here }, room)
  }

  #arm(arm: Member, scope: MakerScope, room: number | undefined): void {
    if (arm.type.kind !== 'group') this.#member(arm, scope, room)
    else for (const inner of arm.type.members) if (isPresent(inner, scope)) this.#member(inner, scope, undefined)
  }

  #unionValue(member: Member, scope: MakerScope, own: Plain): Plain {
    if (member.name === '') return scope.here
    scope.here[identifier(member.name)] = own
    return own
  }

  // --- heads of lists -----------------------------------------------------------------------------------------------------------------------

  #heads(member: Member, head: Struct, scope: MakerScope, room: number | undefined): unknown[] {
    const outer = outerOf(member, head, scope)
    const elements: unknown[] = []
    let left = room ?? Number.MAX_SAFE_INTEGER
    for (let count = this.#below(mostElements + 1); count > 0; count--) {
      const made = this.#below(4) === 0 ? this.#unknownElement(member, head, outer, scope) : this.#knownElement(head, outer)
      if (made === undefined || made.size > left) break
      left -= made.size
      elements.push(made.element)
    }
    return elements
  }

  #knownElement(head: Struct, outer: Outer): { element: unknown; size: number } | undefined {
    const held = heldStructs(this.#session, head)
    if (held.length === 0) return undefined
    const { constant, struct: reference } = held[this.#below(held.length)] as (typeof held)[number]
    const struct = this.#session.struct(reference)
    const value = this.#struct(struct, outer, undefined) as Plain
    const holder = struct.members.find(({ type }) => type.kind === 'struct' && type.name === head.name)
    const own = (holder ? value[identifier(holder.name)] : value) as Plain
    const scope = this.#headScope(head, outer, own)
    setAt(own, (head.head as NonNullable<Struct['head']>).by, Number(constant.value))
    const size = this.#measure(struct, value, outer) + (this.#below(4) === 0 ? 4 : 0)
    this.#solve((head.head as NonNullable<Struct['head']>).size, scope, size)
    const name = identifier(struct.name)
    return { element: { arm: name, [name]: value }, size }
  }

  #unknownElement(member: Member, head: Struct, outer: Outer, around: Scope): { element: unknown; size: number } | undefined {
    const own = this.#struct(head, outer, undefined) as Plain
    const scope = this.#headScope(head, outer, own)
    const payload = this.#bytes(this.#below(mostBytes))
    const size = this.#measure(head, own, outer) + payload.length
    const isSolved = this.#solve((head.head as NonNullable<Struct['head']>).size, scope, size)
    const selector = headSelector(head, scope)
    const isKnown = heldStructs(this.#session, head).some(({ constant }) => BigInt(constant.value) === selector)
    if (!isSolved || isKnown || (member.until && holds(member.until, { ...around, members: head.members, value: own, here: own }))) return undefined
    const bytes = new Writer(this.#session).whole(head, own, outer)
    return { element: { arm: undefined, bytes: Uint8Array.from([...bytes, ...payload]) }, size }
  }

  #headScope(head: Struct, outer: Outer, own: Plain): Scope {
    return { ...outer, struct: head, members: head.members, value: own, here: own, absent: () => 0 }
  }

  // --- lengths that follow the content ------------------------------------------------------------------------------------------------------

  #measure(struct: Struct, value: Plain, outer: Outer): number {
    return new Writer(this.#session).whole(struct, value, outer).length
  }

  /** Sets the field of an expression so that it has the wanted value. */
  #solve(expression: Expression, scope: Scope, wanted: number): boolean {
    const field = [...nodes(expression.tree)].find((node): node is Extract<Tree, { op: 'field' }> => node.op === 'field' && node.from === 'own')
    const declaration = field && declarationAt(field, scope)
    const holder = field && walk(scope.value, field.path.slice(0, -1))
    if (field === undefined || declaration === undefined || typeof holder !== 'object') return false
    const before = (holder as Plain)[identifier(field.path.at(-1) as string)]
    for (let candidate = 0; candidate <= wanted + 64; candidate++) {
      setAt(scope.value, field.path, declaration.field === undefined && isBigint(declaration.member) ? BigInt(candidate) : candidate)
      if (evaluated(expression, scope) === BigInt(wanted)) return true
    }
    setAt(scope.value, field.path, before)
    return false
  }
}

function leavesOf(members: readonly Member[], scope: MakerScope, groups: Member[]): Leaf[] {
  return members.flatMap((member) =>
    member.type.kind === 'group' ? leavesOf(member.type.members, groupScope(member, scope), [...groups, member]) : [{ member, scope, groups }],
  )
}

function provides(member: Member, name: string): boolean {
  return member.name === name || namesOf(member).includes(identifier(name))
}

function setAt(value: Plain, path: readonly string[], to: unknown): void {
  const holder = walk(value, path.slice(0, -1)) as Plain
  holder[identifier(path.at(-1) as string)] = to
}
