/** Structs: each declaration becomes a struct of the model, placed and checked, when something first asks for it. */
import type { Entry, LinuxAst, MemberAst } from '../ast.ts'
import { evaluate } from '../evaluate.ts'
import type { BitField, Member, Origin, Reference, Struct } from '../model.ts'
import { expressionWords, fixedNames } from '../names.ts'
import type { Path } from '../source.ts'
import { checkLayout } from './check-layout.ts'
import type { Expressions } from './expressions.ts'
import { checkMemberNames } from './member-names.ts'
import { type MemberContext, Members } from './members.ts'
import type { Given, NameScope, Names } from './names.ts'
import { originOf } from './origin.ts'
import { inPart, place } from './place.ts'
import { type Shape, shapeOf, shapeOfStruct } from './shape.ts'
import { type ChapterScope, list, type StructDeclaration, type Workspace } from './workspace.ts'

export { integers } from './integers.ts'

/** What a struct says of itself besides its members. */
export interface StructFacts {
  chapter: ChapterScope
  name: string
  role: Struct['role']
  origin: Origin
  legacy: Struct['legacy']
}

export class Layouts {
  readonly workspace: Workspace
  readonly names: Names
  readonly expressions: Expressions
  /** Structs of each chapter in order of completion, nested ones before those around them. */
  readonly byChapter = new Map<string, Struct[]>()
  /** Fixed offsets of members of config and registers; null where it depends on something. */
  readonly fixedOffsets = new Map<Member, number | null>()
  /** Declared offsets of packed members, for checking. */
  readonly declaredOffsets = new Map<Member, number>()
  readonly #members: Members
  readonly #structs = new Map<StructDeclaration, Struct>()
  readonly #building = new Set<StructDeclaration>()
  readonly #paths = new Map<Member | Struct | BitField, Path>()
  readonly #incomplete = new Set<Struct>()

  constructor(workspace: Workspace, names: Names, expressions: Expressions) {
    this.workspace = workspace
    this.names = names
    this.expressions = expressions
    this.#members = new Members(this)
    for (const name of workspace.chapters.keys()) this.byChapter.set(name, [])
  }

  /** The resolved struct of a declaration; undefined where it contains itself. */
  struct(declaration: StructDeclaration): Struct | undefined {
    const known = this.#structs.get(declaration)
    if (known) return known
    if (this.#building.has(declaration)) return undefined
    this.#building.add(declaration)
    const struct = this.#build(declaration)
    this.#building.delete(declaration)
    this.#structs.set(declaration, struct)
    if (declaration.section !== 'registers') this.add(struct, declaration.path)
    return struct
  }

  /** The struct that a reference of the model means. */
  find(reference: Reference): Struct | undefined {
    const declared = this.workspace.chapter(reference.chapter).structs.get(reference.name)
    return declared ? this.struct(declared) : this.byChapter.get(reference.chapter)?.find((struct) => struct.name === reference.name)
  }

  /** For `sizeof`. */
  sizeOf(declaration: StructDeclaration): number | 'varies' | 'cycle' {
    if (this.#building.has(declaration)) return 'cycle'
    return this.struct(declaration)?.size ?? 'varies'
  }

  add(struct: Struct, path: Path): void {
    const structs = this.byChapter.get(struct.chapter) as Struct[]
    const twin = structs.find(({ name }) => name === struct.name)
    if (twin) {
      const message =
        twin.within || struct.within
          ? `"${struct.name}" is also the name of what is nested in "${(twin.within ?? struct.within)?.struct}"`
          : `"${struct.name}" is already the name of a struct`
      const target = path.at(-1) === 'struct' ? 'value' : 'key'
      this.workspace.chapter(struct.chapter).report('duplicate-name', path, message, undefined, target)
    }
    this.#paths.set(struct, path)
    structs.push(struct)
  }

  /** Where something is written; undefined for the copies of a named struct's members in a group. */
  pathOf(item: Member | Struct | BitField): Path | undefined {
    return this.#paths.get(item)
  }

  setPath(item: Member | BitField, path: Path): void {
    this.#paths.set(item, path)
  }

  /** Says that something of a struct is missing for a mistake that has been reported: its size and offsets mean nothing. */
  setIncomplete(struct: Struct): void {
    this.#incomplete.add(struct)
  }

  isIncomplete(struct: Struct): boolean {
    return this.#incomplete.has(struct)
  }

  members(entries: readonly Entry<MemberAst>[], context: MemberContext): Member[] {
    return this.#members.all(entries, context)
  }

  /** A struct without members yet. */
  empty(
    { chapter, name, role, origin, legacy }: StructFacts,
    path: Path,
    attributes: { interface?: 'legacy'; was?: string | string[]; linux?: LinuxAst; spec?: string } = {},
  ): Struct {
    return {
      ...origin,
      name,
      chapter: chapter.name,
      role,
      members: [],
      twoPart: false,
      given: [],
      size: null,
      legacyInterface: attributes.interface === 'legacy',
      legacy,
      was: list(attributes.was),
      linux: chapter.linux(name, path, attributes.linux),
      ...(attributes.spec === undefined ? {} : { spec: attributes.spec }),
    }
  }

  /** Places the members and checks what can be checked once all are there. */
  finish(struct: Struct, path: Path, chapter: ChapterScope): void {
    this.place(struct)
    checkLayout(struct, path, chapter, this)
    checkMemberNames(struct, path, chapter, this)
  }

  /** Gives the members their offsets and the struct its size. */
  place(struct: Struct): void {
    const fixed = struct.role === 'registers' || struct.role === 'config' ? this.fixedOffsets : undefined
    const ends = (struct.twoPart ? (['readable', 'writable'] as const) : [undefined]).map((part) => place(inPart(struct.members, part), 0, fixed))
    if (struct.role !== 'foreign') struct.size = ends.some((end) => end === null) ? null : (ends as number[]).reduce((sum, end) => sum + end, 0)
  }

  #build(declaration: StructDeclaration): Struct {
    const { chapter, name, path, attributes, section } = declaration
    const isForeign = section === 'structs' && !attributes.fields && !attributes.readable && !attributes.writable
    const facts: StructFacts = {
      chapter,
      name,
      role: isForeign ? 'foreign' : section === 'structs' ? 'struct' : section,
      origin: originOf(chapter.origin, attributes),
      legacy: attributes.legacy ?? chapter.ast.legacy ?? 'same',
    }
    const struct = this.empty(facts, path, attributes)
    if (chapter.hasLost(path)) this.setIncomplete(struct)
    const given = this.#given(declaration, struct)
    this.#buildMembers(declaration, struct, given)
    this.finish(struct, path, chapter)
    this.#wholeSize(struct, declaration, given)
    return struct
  }

  #buildMembers({ chapter, path, attributes, section }: StructDeclaration, struct: Struct, given: ReadonlyMap<string, Given>): void {
    const isShort = Array.isArray(chapter.ast[section]?.[struct.name])
    const build = (key: 'fields' | 'readable' | 'writable', readable?: Shape): Shape => {
      const members = attributes[key] ?? []
      const own = shapeOf(this.workspace, chapter, members)
      const scope: NameScope = { chapter, own, given, readable }
      const part = key === 'fields' ? undefined : key
      const context: MemberContext = {
        chapter,
        struct,
        scope,
        part,
        role: struct.role,
        legacy: struct.legacy,
        origin: struct,
        path: isShort ? path : [...path, key],
      }
      struct.members.push(...this.members(members, context))
      return own
    }
    if (!attributes.readable && !attributes.writable) {
      build('fields')
      return
    }
    struct.twoPart = true
    checkPartOrder(chapter, path, attributes)
    if (section !== 'structs')
      chapter.report('part-mismatch', path, `\`${section}\` is memory, not a buffer of two parts`, 'list its members in `fields`', 'key')
    if (attributes.fields)
      chapter.report('misplaced-attribute', [...path, 'fields'], 'a struct has either `fields` or `readable` and `writable`', undefined, 'key')
    build('writable', build('readable'))
  }

  #given(declaration: StructDeclaration, struct: Struct): Map<string, Given> {
    const { chapter, attributes, path } = declaration
    const own = attributes.given ? shapeOfStruct(this.workspace, declaration) : new Map()
    const given = new Map<string, Given>()
    for (const [name, type] of Object.entries(attributes.given ?? {})) {
      const found = type === 'number' ? undefined : this.workspace.requireStruct(chapter, type, [...path, 'given', name])
      checkOwnName(name, [...path, 'given', name], chapter)
      if (own.has(name)) chapter.report('duplicate-name', [...path, 'given', name], `"${name}" is a member of "${struct.name}" too`, undefined, 'key')
      given.set(name, { struct: found })
      struct.given.push(found ? { name, struct: { chapter: found.chapter.name, name: type } } : { name })
    }
    return given
  }

  #wholeSize(struct: Struct, declaration: StructDeclaration, given: ReadonlyMap<string, Given>): void {
    const { chapter, attributes, path } = declaration
    const scope: NameScope = { chapter, own: shapeOfStruct(this.workspace, declaration), given }
    const size = this.expressions.number(attributes.size, [...path, 'size'], scope)
    if (attributes.by !== undefined) {
      const by = this.expressions.field(attributes.by, [...path, 'by'], scope)
      if (by && by.path.from !== 'own') chapter.report('part-mismatch', [...path, 'by'], `"${attributes.by}" is not a member of "${struct.name}"`)
      else if (by && size) struct.head = { by: by.path.path, size }
      else if (by && attributes.size === undefined)
        chapter.report('missing-key', path, 'a head needs a `size`: how long is the element it begins?', undefined, 'key')
    } else if (size) {
      const value = evaluate(size.tree)
      if (struct.role === 'foreign' && value !== undefined) struct.size = Number(value)
      else if (struct.size === null || value === undefined) struct.length = size
      else if (struct.size !== Number(value) && !this.isIncomplete(struct)) {
        chapter.report(
          'size-mismatch',
          [...path, 'size'],
          `declared as ${value}, but the members take ${struct.size} bytes`,
          'correct the members, or drop `size`',
        )
      }
    }
    if (struct.role === 'foreign' && struct.size === null && attributes.size === undefined && !this.isIncomplete(struct)) {
      chapter.report(
        'missing-key',
        path,
        `"${struct.name}" has neither members nor a size`,
        'list its members, or give the `size` of a foreign struct',
        'key',
      )
    }
  }
}

/** The order of the parts is that of the buffer. */
export function checkPartOrder(chapter: ChapterScope, path: Path, attributes: object): void {
  const keys = Object.keys(attributes).filter((key) => key === 'readable' || key === 'writable')
  if (keys[0] !== 'writable' || keys.length < 2) return
  chapter.report(
    'part-order',
    [...path, 'writable'],
    'the device-writable part stands before the device-readable part',
    'write `readable` first: that is the order of the buffer',
    'key',
  )
}

/** A name that expressions use must not be one of their words. */
export function checkOwnName(name: string, path: Path, chapter: ChapterScope): void {
  if (expressionWords.has(name) || fixedNames.has(name))
    chapter.report('reserved-word', path, `"${name}" means something of its own in expressions`, undefined, 'key')
}
