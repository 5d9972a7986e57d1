/** The structs of the description that Linux's headers have too, with the offsets and sizes to expect there. */
import { evaluate, holds } from '../evaluate.ts'
import { findStruct } from '../facts.ts'
import type { Chapter, Member, Model, Part, Struct, Type } from '../model.ts'
import { type Expectation, isExpected, item, type NotExpected } from './check.ts'
import type { LinuxItem } from './report.ts'

/** A struct of the headers, and what of the description it is to hold. */
export interface HeaderStruct {
  chapter: Chapter
  struct: Struct
  /** The parts it covers, one behind the other; undefined for a struct without parts. */
  parts: (Part | undefined)[]
  /** Its C type, `struct virtio_blk_config`. */
  type: string
  /** Size and existence. Without a check the size is not comparable. */
  whole: Expectation
  fields: Expectation[]
  none: NotExpected[]
}

/** Every feature is negotiated and every layout of Linux's asked for: each conditional member is there, save those that stand in for another one. */
export const everyFeature = { feature: () => true, caller: (_: string, byDefault?: number) => (byDefault === undefined ? undefined : 1n) }

export function headerStructs(model: Model): HeaderStruct[] {
  return model.chapters.flatMap((chapter) => [...chapter.structs, ...chapter.registers].flatMap((struct) => views(model, chapter, struct)))
}

function views(model: Model, chapter: Chapter, struct: Struct): HeaderStruct[] {
  const { parts } = struct.linux
  if (parts)
    return (['readable', 'writable'] as const).flatMap((part) =>
      parts[part] === undefined ? [] : [new View(model, chapter, struct, [part], parts[part]).result()],
    )
  if (struct.within || struct.linux.name === null || !isExpected(chapter, struct.name, struct.linux)) return []
  return [new View(model, chapter, struct, struct.twoPart ? ['readable', 'writable'] : [undefined], struct.linux.name).result()]
}

/** `struct NAME`, unless the description says what it is. */
function cType(name: string): string {
  return name.includes(' ') ? name : `struct ${name}`
}

class View {
  readonly #model: Model
  readonly #chapter: Chapter
  readonly #struct: Struct
  readonly #parts: (Part | undefined)[]
  readonly #type: string
  readonly #label: string
  readonly #fields: Expectation[] = []
  readonly #none: NotExpected[] = []
  /** False when the header's size says nothing about ours: one of the two has members that the other has not. */
  #complete = true

  constructor(model: Model, chapter: Chapter, struct: Struct, parts: (Part | undefined)[], name: string) {
    this.#model = model
    this.#chapter = chapter
    this.#struct = struct
    this.#parts = parts
    this.#type = cType(name)
    this.#label = parts.length === 1 && parts[0] ? `${struct.name} (${parts[0]})` : struct.name
  }

  result(): HeaderStruct {
    const { linux } = this.#struct
    const fixed = this.#struct.role === 'config' || this.#struct.role === 'registers'
    let offset: number | null = 0
    let end: number | null = this.#struct.role === 'foreign' ? this.#struct.size : 0
    for (const part of this.#parts) {
      for (const member of this.#struct.members.filter((candidate) => candidate.part === part)) {
        if (fixed) offset = member.offset
        if (!fixed && this.#stepsAside(member)) continue
        // A variable member counts nothing in C's sizeof.
        end = offset === null ? end : Math.max(end ?? 0, offset)
        this.#member(member, offset, { c: '', label: `${this.#label}.`, fixed })
        const size = this.#sizeOf(member)
        offset = offset === null || size === null ? null : offset + size
        if (offset !== null) end = Math.max(end ?? 0, offset)
      }
    }
    const about: LinuxItem = { ...item(this.#chapter, 'struct', this.#label, this.#struct), linux: this.#type }
    const expression = `sizeof(${this.#type})`
    const whole: Expectation = { item: about, probe: expression, checks: [] }
    if (end !== null && (this.#complete || linux.size !== undefined)) {
      whole.checks.push({ expression, property: 'size', ours: BigInt(end), expected: BigInt(linux.size ?? end) })
    }
    return { chapter: this.#chapter, struct: this.#struct, parts: this.#parts, type: this.#type, whole, fields: this.#fields, none: this.#none }
  }

  /** True for a member that is there only when a feature is not negotiated. */
  #stepsAside(member: Member): boolean {
    const absent = holds(member.when, everyFeature) === false
    // Where the program chose so, the header has what is left.
    if (absent && holds(member.when, { feature: () => true }) === false) this.#complete = false
    return absent
  }

  #member(member: Member, offset: number | null, place: { c: string; label: string; fixed: boolean }): void {
    const { name } = member.linux
    const isBody = member.type.kind === 'body'
    // The header's struct ends before the body, unless the description says what the body is there.
    if (isBody && (name === null || name === member.name)) return
    if (isBody) this.#complete = false
    const label = place.label + (member.name || name)
    const about = { ...item(this.#chapter, 'field', label, member), linux: `${this.#type}.${place.c}${name ?? member.name}` }
    if (name === null) {
      // Behind an open array nothing counts in C's sizeof.
      if (offset !== null && this.#sizeOf(member) !== null) this.#complete = false
      this.#none.push({ item: about, ...(member.name === '' ? {} : { probe: this.#offsetOf(place.c + member.name) }) })
      return
    }
    // Of an integer there is nothing inside: it is the field around it under another name.
    if (name === '_') {
      this.#inside(member, offset, member.name === '' ? place : { ...place, label: `${label}.` })
      return
    }
    const c = place.c + name
    const expectation: Expectation = { item: about, probe: this.#offsetOf(c), checks: [] }
    if (member.type.kind === 'struct') expectation.holds = `${member.type.chapter}.${member.type.name}`
    const size = this.#sizeOf(member)
    const at = member.linux.value ?? offset
    if (at !== null) expectation.checks.push({ expression: this.#offsetOf(c), property: 'offset', ours: BigInt(offset ?? at), expected: BigInt(at) })
    if (size !== null && size > 0) {
      expectation.checks.push({
        expression: `sizeof(((${this.#type} *)0)->${c})`,
        property: 'size',
        ours: BigInt(size),
        expected: BigInt(member.linux.size ?? size),
      })
    }
    this.#fields.push(expectation)
    if (this.#isComparedAlone(member)) return
    const first = member.dims.map(() => '[0]').join('')
    this.#inside(member, at === null ? null : Number(at), { c: `${c}${first}.`, label: `${label}${first}.`, fixed: false })
  }

  /** A struct that the headers have by itself is compared there, not again in each struct around it. */
  #isComparedAlone({ type }: Member): boolean {
    const reference = type.kind === 'struct' ? type : type.kind === 'group' ? type.struct : undefined
    const struct = reference && findStruct(this.#model, reference)
    const chapter = struct && this.#model.chapters.find(({ name }) => name === struct.chapter)
    return struct !== undefined && chapter !== undefined && !struct.within && isExpected(chapter, struct.name, struct.linux)
  }

  /** The members of a member: of its struct, or the arms of its union. */
  #inside(member: Member, offset: number | null, place: { c: string; label: string; fixed: boolean }): void {
    const { type } = member
    if (type.kind === 'union') for (const arm of type.arms) this.#member(arm, offset, place)
    if (type.kind !== 'struct' && type.kind !== 'group') return
    // A group has the offsets of the struct it stands in, a struct has its own.
    const fixed = place.fixed && type.kind === 'group'
    let at = offset
    for (const inner of this.#membersOf(type, member.part)) {
      if (fixed) at = inner.offset
      else if (this.#stepsAside(inner)) continue
      this.#member(inner, at, { ...place, fixed })
      const size = this.#sizeOf(inner)
      at = at === null || size === null ? null : at + size
    }
  }

  #membersOf(type: Extract<Type, { kind: 'struct' | 'group' }>, part: Part | undefined): Member[] {
    if (type.kind === 'group') return type.members
    const struct = findStruct(this.#model, type)
    return struct?.members.filter((inner) => !struct.twoPart || part === undefined || inner.part === part) ?? []
  }

  /** Length with every feature negotiated; null when it varies. */
  #sizeOf(member: Member): number | null {
    const area = member.area && evaluate(member.area.tree, everyFeature)
    if (area !== undefined) return Number(area)
    if (member.area && member.area.tree.op !== 'if') return null
    const size = member.dims.reduce<number | null>(
      (product, { count }) => (product === null || count === null ? null : product * count),
      this.#typeSize(member),
    )
    // Of a list that varies the header may have a number of elements.
    return size ?? (member.dims.length > 0 ? (member.linux.size ?? null) : null)
  }

  #typeSize(member: Member): number | null {
    const { type } = member
    const present = (members: Member[]): (number | null)[] =>
      members.filter((inner) => holds(inner.when, everyFeature) !== false).map((inner) => this.#sizeOf(inner))
    switch (type.kind) {
      case 'integer':
        return type.bytes
      case 'bits':
        return type.container.bytes
      case 'bytes':
      case 'body':
        return null
      case 'union':
        return present(type.arms).reduce<number | null>((most, size) => (most === null || size === null ? null : Math.max(most, size)), 0)
      case 'struct':
        if (findStruct(this.#model, type)?.role === 'foreign') return type.size
        return sum(present(this.#membersOf(type, member.part)))
      case 'group':
        return sum(present(type.members))
    }
  }

  #offsetOf(c: string): string {
    return `__builtin_offsetof(${this.#type}, ${c})`
  }
}

function sum(sizes: (number | null)[]): number | null {
  return sizes.reduce<number | null>((total, size) => (total === null || size === null ? null : total + size), 0)
}
