/** Structs: from the members of the YAML to the members of the model, with types, lengths and conditions resolved and everything placed. */
import type { BitAst, Entry, MemberAst, MemberAttributes, StructAttributes, Value } from '../ast.ts'
import { didYouMean } from '../diagnostic.ts'
import { evaluate } from '../evaluate.ts'
import { ExpressionError, type MemberName, parseMemberName } from '../expression.ts'
import type {
  Access,
  BitField,
  Dim,
  FieldPath,
  IntegerName,
  IntegerType,
  Member,
  Part,
  Reference,
  Struct,
  Type,
} from '../model.ts'
import type { Path } from '../source.ts'
import { checkMemberNames } from './member-names.ts'
import type { Names, NameScope } from './names.ts'
import { isOpen, place, placeMember } from './place.ts'
import { type FieldInfo, fieldAt, type Shape, shapeOf, shapeOfStruct } from './shape.ts'
import { type ChapterScope, list, memberAttributes, onlyEntry, type StructDeclaration, type Workspace } from './workspace.ts'

export const integers: Readonly<Record<IntegerName, IntegerType>> = {
  u8: { kind: 'integer', name: 'u8', bytes: 1, endian: 'none' },
  char: { kind: 'integer', name: 'char', bytes: 1, endian: 'none' },
  le8: { kind: 'integer', name: 'le8', bytes: 1, endian: 'none' },
  le16: { kind: 'integer', name: 'le16', bytes: 2, endian: 'le' },
  le32: { kind: 'integer', name: 'le32', bytes: 4, endian: 'le' },
  le64: { kind: 'integer', name: 'le64', bytes: 8, endian: 'le' },
  be16: { kind: 'integer', name: 'be16', bytes: 2, endian: 'be' },
  be32: { kind: 'integer', name: 'be32', bytes: 4, endian: 'be' },
  be64: { kind: 'integer', name: 'be64', bytes: 8, endian: 'be' },
  u16: { kind: 'integer', name: 'u16', bytes: 2, endian: 'native' },
  u32: { kind: 'integer', name: 'u32', bytes: 4, endian: 'native' },
  u64: { kind: 'integer', name: 'u64', bytes: 8, endian: 'native' },
}

/** What a list of members is resolved in. */
export interface MemberContext {
  chapter: ChapterScope
  struct: Struct
  path: Path
  scope: NameScope
  role: Struct['role']
  part: Part | undefined
  legacy: 'native' | 'same'
  /** In a union: its deciding field, for `is`. */
  choice?: { field: FieldInfo | undefined } | undefined
}

export class Layouts {
  readonly #workspace: Workspace
  readonly #names: Names
  readonly #structs = new Map<StructDeclaration, Struct>()
  readonly #building = new Set<StructDeclaration>()
  /** Structs of each chapter in order of completion, nested ones before those around them. */
  readonly byChapter = new Map<string, Struct[]>()

  constructor(workspace: Workspace, names: Names) {
    this.#workspace = workspace
    this.#names = names
    names.sizes = { fixedSize: (declaration) => this.struct(declaration)?.size ?? undefined }
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
    if (declaration.section !== 'registers') this.add(struct)
    return struct
  }

  isBuilding(declaration: StructDeclaration): boolean {
    return this.#building.has(declaration)
  }

  add(struct: Struct): void {
    this.byChapter.get(struct.chapter)?.push(struct)
  }

  #build(declaration: StructDeclaration): Struct {
    const { chapter, name, path, attributes, section } = declaration
    const role = section === 'structs' ? (attributes.fields || attributes.readable || attributes.writable ? 'struct' : 'foreign') : section
    const struct = this.empty(chapter, name, path, attributes, role)
    const given = this.#given(declaration, struct)
    const build = (members: readonly Entry<MemberAst>[] | undefined, key: 'fields' | 'readable' | 'writable', part: Part | undefined, readable?: Shape): Shape => {
      const own = shapeOf(this.#workspace, chapter, members)
      const base = Array.isArray((chapter.ast[section] ?? {})[name]) ? path : [...path, key]
      const scope: NameScope = { chapter, own, given, readable }
      struct.members.push(...this.members(members ?? [], { chapter, struct, path: base, scope, role, part, legacy: struct.legacy }))
      return own
    }
    if (attributes.readable || attributes.writable) {
      struct.twoPart = true
      this.#checkPartOrder(chapter, path, attributes)
      if (attributes.fields) chapter.report('misplaced-attribute', [...path, 'fields'], 'a struct has either `fields` or `readable` and `writable`', undefined, 'key')
      const readable = build(attributes.readable, 'readable', 'readable')
      build(attributes.writable, 'writable', 'writable', readable)
    } else build(attributes.fields, 'fields', undefined)
    this.finish(struct, path, chapter)
    this.#wholeSize(struct, declaration, given)
    return struct
  }

  /** A struct without members yet. */
  empty(chapter: ChapterScope, name: string, path: Path, attributes: StructAttributes, role: Struct['role']): Struct {
    return {
      ...chapter.origin(attributes),
      name,
      chapter: chapter.name,
      role,
      members: [],
      twoPart: false,
      given: [],
      size: null,
      legacyInterface: attributes.interface === 'legacy',
      legacy: attributes.legacy ?? chapter.ast.legacy ?? 'same',
      was: list(attributes.was),
      linux: chapter.linux(name, path, attributes),
      ...(attributes.spec === undefined ? {} : { spec: attributes.spec }),
    }
  }

  #checkPartOrder(chapter: ChapterScope, path: Path, attributes: StructAttributes): void {
    const keys = Object.keys(attributes).filter((key) => key === 'readable' || key === 'writable')
    if (keys[0] === 'writable' && keys.length === 2) {
      chapter.report('part-order', [...path, 'writable'], 'the device-writable part stands before the device-readable part', 'write `readable` first: that is the order of the buffer', 'key')
    }
  }

  #given(declaration: StructDeclaration, struct: Struct): Map<string, Shape | undefined> {
    const { chapter, attributes, path } = declaration
    const given = new Map<string, Shape | undefined>()
    for (const [name, type] of Object.entries(attributes.given ?? {})) {
      const found = type === 'number' ? undefined : this.#workspace.findStruct(chapter, type)
      if (type !== 'number' && found === undefined) {
        chapter.report('unknown-struct', [...path, 'given', name], `no struct is named "${type}"`, didYouMean(type, this.#workspace.structNames(chapter)))
      }
      given.set(name, found && shapeOfStruct(this.#workspace, found))
      struct.given.push(found ? { name, struct: { chapter: found.chapter.name, name: type } } : { name })
    }
    return given
  }

  /** Places the members and checks what can be checked once all are there. */
  finish(struct: Struct, path: Path, chapter: ChapterScope): void {
    const parts: (Part | undefined)[] = struct.twoPart ? ['readable', 'writable'] : [undefined]
    const ends: (number | null)[] = []
    for (const part of parts) {
      const members = struct.members.filter((member) => member.part === part)
      ends.push(struct.role === 'registers' || struct.role === 'config' ? this.#placeAt(members, struct, chapter, path) : place(members, 0))
      const open = openMembers(members)
      if (open.length > 1) {
        const names = open.map((member) => `"${member.name}"`).join(' and ')
        chapter.report('open-member', path, `${names} both take all that is left${part ? ` of the ${part} part` : ''}`, 'give one of them a length', 'key')
      }
    }
    if (struct.role !== 'foreign') struct.size = ends.some((end) => end === null) ? null : (ends as number[]).reduce((sum, end) => sum + end, 0)
    checkMemberNames(struct, path, chapter)
  }

  #wholeSize(struct: Struct, declaration: StructDeclaration, given: Map<string, Shape | undefined>): void {
    const { chapter, attributes, path } = declaration
    const own = shapeOfStruct(this.#workspace, declaration)
    const size = this.#names.expression(attributes.size, [...path, 'size'], { chapter, own, given })
    const scope: NameScope = { chapter, own, given }
    if (attributes.by !== undefined) {
      const by = this.field(attributes.by, [...path, 'by'], scope)
      if (by && size) struct.head = { by: by.path.path, size }
      else if (by) chapter.report('missing-key', path, 'a head needs a `size`: how long is the element it begins?', undefined, 'key')
    } else if (size) {
      const value = evaluate(size.tree)
      if (value === undefined) struct.length = size
      else if (struct.role === 'foreign') struct.size = Number(value)
      else if (struct.size !== null && struct.size !== Number(value)) {
        chapter.report('size-mismatch', [...path, 'size'], `declared as ${value} bytes, but the members take ${struct.size}`, 'correct the members, or drop `size`')
      } else if (struct.size === null) struct.length = size
    }
    if (struct.role === 'foreign' && struct.size === null) {
      chapter.report('missing-key', path, `"${struct.name}" has neither members nor a size`, 'list its members, or give the `size` of a foreign struct', 'key')
    }
  }

  /** Fixed layouts: `at` moves on, and nothing may cover anything else. */
  #placeAt(members: Member[], struct: Struct, chapter: ChapterScope, path: Path): number | null {
    let next: number | null = 0
    let end: number | null = 0
    const taken: { from: number; to: number; member: Member }[] = []
    members.forEach((member, index) => {
      const at = this.#ats.get(member)
      const start: number | null = at === undefined ? next : at
      next = placeMember(member, start)
      if (end !== null) end = next === null ? null : Math.max(end, next)
      if (start === null) return
      const to = next ?? start + 1
      const other = taken.find((range) => range.from < to && start < range.to && (member.when === undefined || range.member.when === undefined))
      const memberPath = [...path, ...(struct.members === members ? [] : []), ...this.#memberStep(chapter, path, index)]
      if (other) chapter.report('overlap', memberPath, `"${member.name}" covers ${hex(start)}, which belongs to "${other.member.name}"`, undefined, 'key')
      taken.push({ from: start, to, member })
    })
    return end
  }

  #memberStep(chapter: ChapterScope, path: Path, index: number): Path {
    const [section, name] = path as [keyof typeof chapter.ast, string]
    const ast = (chapter.ast[section] as Record<string, unknown> | undefined)?.[name]
    const items = (Array.isArray(ast) ? ast : (ast as StructAttributes | undefined)?.fields) as Entry<MemberAst>[] | undefined
    const key = items?.[index] ? Object.keys(items[index])[0] : undefined
    if (key === undefined) return []
    return Array.isArray(ast) ? [index, key] : ['fields', index, key]
  }

  readonly #ats = new Map<Member, number | null>()

  members(entries: readonly Entry<MemberAst>[], context: MemberContext): Member[] {
    return entries.flatMap((entry, index) => this.#member(entry, { ...context, path: [...context.path, index] }) ?? [])
  }

  #member(entry: Entry<MemberAst>, context: MemberContext): Member | undefined {
    const [key, ast] = onlyEntry(entry)
    const { chapter, part } = context
    const path: Path = [...context.path, key]
    const attributes = memberAttributes(ast)
    let parsed: MemberName
    try {
      parsed = parseMemberName(key)
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error
      chapter.report('member-syntax', path, error.message, 'write the name and its lengths as in C: `macs[entries][6]`', 'key')
      return undefined
    }
    const { type, reserved } = this.#type(parsed, attributes, path, context)
    if (type === undefined) return undefined
    const scope = context.scope
    const number = (value: Value | undefined, attribute: string): number | bigint | undefined => this.#names.number(value, [...path, attribute], chapter, fieldInfo(parsed.name, attributes, chapter))
    const member: Member = {
      ...chapter.origin(context.struct, attributes),
      name: parsed.name === '_' ? '' : parsed.name,
      type,
      dims: this.#dims(parsed, path, scope),
      reserved,
      offset: null,
      size: null,
      framed: attributes.framed ?? false,
      legacy: attributes.legacy ?? context.legacy,
      was: list(attributes.was),
      linux: chapter.linux(parsed.name, path, attributes),
    }
    // `section` and `since` of the struct were folded in above; the doc is the member's own.
    if (attributes.doc === undefined) delete member.doc
    const origin = chapter.origin(this.#structOrigin(context.struct), attributes)
    if (origin.section) member.section = origin.section
    if (part) member.part = part
    const set = <K extends keyof Member>(name: K, value: Member[K] | undefined): void => {
      if (value !== undefined) member[name] = value
    }
    set('when', this.#names.expression(attributes.when, [...path, 'when'], scope))
    set('enum', this.#workspace.requireGroup(chapter, attributes.enum, [...path, 'enum']))
    const flags = list(attributes.flags).flatMap((name) => this.#workspace.requireGroup(chapter, name, [...path, 'flags']) ?? [])
    if (flags.length > 0) member.flags = flags
    set('set', this.#workspace.requireGroup(chapter, attributes.set, [...path, 'set']))
    set('mask', number(attributes.mask, 'mask'))
    set('const', number(attributes.const, 'const'))
    set('reset', number(attributes.reset, 'reset'))
    set('area', this.#names.expression(attributes.size, [...path, 'size'], scope))
    set('stride', this.#names.expression(attributes.stride, [...path, 'stride'], scope))
    set('until', this.#until(attributes, type, path, scope))
    set('range', this.#names.range(attributes.range, [...path, 'range'], scope))
    set('count', this.#names.range(attributes.count, [...path, 'count'], scope))
    set('multiple', this.#names.expression(attributes.multiple, [...path, 'multiple'], scope))
    set('unit', attributes.unit)
    set('access', this.#access(attributes.access, [...path, 'access'], scope))
    set('clears', attributes.clears)
    if (attributes.bank !== undefined) member.bank = list(attributes.bank)
    set('pair', attributes.pair)
    set('spec', attributes.spec)
    set('is', this.#is(attributes, path, context))
    set('with', this.#with(attributes, type, path, context))
    this.#checkPlace(attributes, path, context)
    this.#checkMember(member, attributes, path, context)
    return member
  }

  #structOrigin(struct: Struct): { section?: string; source?: string; since?: string } {
    const chapter = this.#workspace.chapter(struct.chapter)
    const prefix = chapter.ast.section
    const section = struct.section === prefix ? undefined : prefix && struct.section?.startsWith(`${prefix} / `) ? struct.section.slice(prefix.length + 3) : struct.section
    return { source: struct.source, ...(section ? { section } : {}), ...(struct.since ? { since: struct.since } : {}) }
  }

  #dims(parsed: MemberName, path: Path, scope: NameScope): Dim[] {
    return parsed.dims.map(({ text, at }) => {
      if (text === '') return { count: null }
      const length = this.#names.keyExpression(text, at, path, scope)
      if (length === undefined) return { count: 0 }
      const value = evaluate(length.tree)
      if (value !== undefined && (value < 0n || value > 0xffff_ffffn)) {
        scope.chapter.report('value-range', path, `the length ${value} of "${parsed.name}" is not between 0 and 2^32 - 1`, undefined, 'key')
      }
      return { count: value === undefined ? null : Number(value), length }
    })
  }

  #type(parsed: MemberName, attributes: MemberAttributes, path: Path, context: MemberContext): { type: Type | undefined; reserved: boolean } {
    const { chapter } = context
    const forms = (['struct', 'union', 'bits'] as const).filter((form) => attributes[form] !== undefined)
    if (forms.length === 0 && attributes.type === undefined) {
      chapter.report('missing-key', path, `"${parsed.name}" has no type`, 'give `type`, `struct`, `union` or `bits`', 'key')
      return { type: undefined, reserved: false }
    }
    if (forms.length > 1 || (forms.length === 1 && forms[0] !== 'bits' && attributes.type !== undefined)) {
      chapter.report('misplaced-attribute', path, `"${parsed.name}" has more than one type`, 'keep one of `type`, `struct` and `union`; only `bits` goes with a `type`', 'key')
      return { type: undefined, reserved: false }
    }
    const typePath = typeof attributes.type === 'string' && (onlyValue(chapter, path) as unknown) === attributes.type ? path : [...path, 'type']
    if (attributes.bits) return { type: this.#bits(attributes, path, typePath, context), reserved: false }
    if (attributes.struct) return { type: this.#nested(parsed, attributes.struct, path, context), reserved: false }
    if (attributes.union !== undefined) return { type: this.#union(attributes, path, context), reserved: false }
    return this.#named(attributes.type as string, parsed, typePath, context)
  }

  #named(text: string, parsed: MemberName, path: Path, context: MemberContext): { type: Type | undefined; reserved: boolean } {
    const reserved = text.startsWith('reserved ')
    const name = reserved ? text.slice('reserved '.length).trim() : text
    const integer = integers[name as IntegerName]
    if (integer) return { type: integer, reserved }
    if (name === 'bytes') return { type: { kind: 'bytes' }, reserved }
    if (name === 'body') {
      if (context.role !== 'message') context.chapter.report('misplaced-attribute', path, '`body` marks the place of a request’s members and stands in messages only')
      return { type: { kind: 'body' }, reserved }
    }
    const declaration = this.#workspace.findStruct(context.chapter, name)
    if (declaration === undefined) {
      const candidates = [...Object.keys(integers), 'bytes', ...this.#workspace.structNames(context.chapter)]
      context.chapter.report('unknown-type', path, `unknown type "${name}"`, didYouMean(name, candidates) ?? 'a struct of another chapter needs that chapter in `uses`')
      return { type: undefined, reserved }
    }
    if (this.isBuilding(declaration)) {
      context.chapter.report('type-cycle', path, `"${context.struct.name}" contains itself through "${name}"`)
      return { type: undefined, reserved }
    }
    const struct = this.struct(declaration) as Struct
    if (parsed.name === '_') return { type: { kind: 'group', members: inPart(struct.members, context.part), struct: { chapter: struct.chapter, name } }, reserved }
    return { type: { kind: 'struct', chapter: struct.chapter, name, size: partSize(struct, context.part) }, reserved }
  }

  /** A nested anonymous struct: a group where it has no name, else a struct of its own named after its place. */
  #nested(parsed: MemberName, members: readonly Entry<MemberAst>[], path: Path, context: MemberContext): Type {
    const { chapter, struct } = context
    if (parsed.name === '_') return { kind: 'group', members: this.members(members, { ...context, choice: undefined, path: [...path, 'struct'] }) }
    const name = `${struct.name}_${parsed.name}`
    const nested: Struct = { ...this.empty(chapter, name, path, {}, 'struct'), within: { struct: struct.name, member: parsed.name }, legacy: context.legacy }
    nested.source = struct.source
    if (struct.section) nested.section = struct.section
    const own = shapeOf(this.#workspace, chapter, members)
    const outer = [context.scope.own, ...(context.scope.outer ?? [])].filter((shape) => shape !== undefined)
    const fromOutside = new Set<string>()
    const scope: NameScope = {
      ...context.scope,
      own,
      outer,
      onOuter: (outerName) => {
        fromOutside.add(outerName)
        if (!context.scope.own?.has(outerName)) context.scope.onOuter?.(outerName)
      },
    }
    nested.members = this.members(members, { ...context, struct: nested, path: [...path, 'struct'], scope, part: undefined, choice: undefined, role: 'struct' })
    for (const outside of fromOutside) nested.given.push({ name: outside })
    this.finish(nested, path, chapter)
    this.add(nested)
    return { kind: 'struct', chapter: chapter.name, name, size: nested.size }
  }

  #union(attributes: MemberAttributes, path: Path, context: MemberContext): Type {
    const { chapter, scope } = context
    const by = attributes.by === undefined ? undefined : this.field(attributes.by, [...path, 'by'], scope)
    const choice = { field: by?.info }
    if (Array.isArray(attributes.union)) {
      const arms = this.members(attributes.union, { ...context, path: [...path, 'union'], choice })
      return by ? { kind: 'union', by: by.path, arms } : { kind: 'union', arms }
    }
    if (attributes.by === undefined) chapter.report('missing-key', path, 'a union over a group needs `by`, the field that holds the constant', undefined, 'key')
    const group = this.#workspace.requireGroup(chapter, attributes.union as string, [...path, 'union'])
    if (group === undefined) return { kind: 'union', arms: [] }
    const arms = this.#armsOfGroup(group, context)
    return by ? { kind: 'union', by: by.path, arms, group } : { kind: 'union', arms, group }
  }

  /** One arm per constant of the group, or of a group that extends it, that holds a struct. */
  #armsOfGroup(reference: Reference, context: MemberContext): Member[] {
    const { chapter } = context
    const groups = this.#workspace.familyOf(reference)
    return groups.flatMap((group) =>
      Object.entries(group.attributes.values).flatMap(([constant, ast]) => {
        const holds = typeof ast === 'object' ? ast.holds : undefined
        const value = holds === undefined ? undefined : this.#names.constantValue(group, constant)
        const declaration = holds === undefined ? undefined : this.#workspace.findStruct(group.chapter, holds)
        if (holds === undefined || value === undefined || declaration === undefined || this.isBuilding(declaration)) return []
        const struct = this.struct(declaration) as Struct
        const type: Type = { kind: 'struct', chapter: struct.chapter, name: holds, size: struct.size }
        return [
          {
            ...chapter.origin(),
            name: holds,
            type,
            dims: [],
            reserved: false,
            offset: null,
            size: null,
            framed: false,
            is: [{ name: constant, value }],
            legacy: context.legacy,
            was: [],
            linux: { name: holds },
          },
        ]
      }),
    )
  }

  #bits(attributes: MemberAttributes, path: Path, typePath: Path, context: MemberContext): Type | undefined {
    const { chapter } = context
    const container = integers[attributes.type as IntegerName]
    if (container === undefined) {
      chapter.report('wrong-type', typePath, 'bit-fields need an integer type that holds them', 'le16, be32, …')
      return undefined
    }
    const fields: BitField[] = []
    const end = this.#bitFields(attributes.bits as Entry<BitAst>[], 0, fields, [...path, 'bits'], context)
    if (end !== container.bytes * 8) {
      chapter.report('bits-overflow', [...path, 'bits'], `the bit-fields take ${end} bits, ${container.name} has ${container.bytes * 8}`, 'name unused bits `reserved: reserved N`', 'key')
    }
    return { kind: 'bits', container, fields }
  }

  #bitFields(items: readonly Entry<BitAst>[], from: number, fields: BitField[], path: Path, context: MemberContext): number {
    let bit = from
    items.forEach((item, index) => {
      const [name, ast] = onlyEntry(item)
      const at: Path = [...path, index, name]
      if (typeof ast === 'object' && 'union' in ast) {
        bit = Math.max(...ast.union.map((arm, armIndex) => this.#bitFields([arm], bit, fields, [...at, 'union', armIndex], context)))
        return
      }
      const attributes = typeof ast === 'object' ? ast : { width: ast }
      const reserved = typeof attributes.width === 'string'
      const bits = Number(String(attributes.width).replace('reserved ', ''))
      const field: BitField = { name: name === '_' ? '' : name, bit, bits, reserved }
      const { chapter, scope } = context
      const when = this.#names.expression(attributes.when, [...at, 'when'], scope)
      if (when) field.when = when
      const one = this.#workspace.requireGroup(chapter, attributes.enum, [...at, 'enum'])
      if (one) field.enum = one
      const set = this.#workspace.requireGroup(chapter, attributes.set, [...at, 'set'])
      if (set) field.set = set
      const flags = list(attributes.flags).flatMap((group) => this.#workspace.requireGroup(chapter, group, [...at, 'flags']) ?? [])
      if (flags.length > 0) field.flags = flags
      const value = this.#names.number(attributes.const, [...at, 'const'], chapter)
      if (value !== undefined) {
        field.const = value
        if (BigInt(value) >= 1n << BigInt(bits)) chapter.report('value-range', [...at, 'const'], `${value} does not fit into ${bits} bits`)
      }
      if (attributes.doc !== undefined) field.doc = attributes.doc
      fields.push(field)
      bit += bits
    })
    return bit
  }

  /** A field that `by` names. */
  field(text: string, path: Path, scope: NameScope): { path: FieldPath; info: FieldInfo | undefined } | undefined {
    const expression = this.#names.expression(text, path, scope)
    if (expression === undefined) return undefined
    if (expression.tree.op !== 'field') {
      if (expression.tree.op === 'caller') return { path: { from: 'given', path: [expression.tree.name] }, info: undefined }
      scope.chapter.report('wrong-type', path, `"${text}" is not a field`)
      return undefined
    }
    const { from, path: fieldPath } = expression.tree
    const given = scope.given?.get(fieldPath[0] as string)
    const shape = from === 'own' ? scope.own : from === 'readable' ? scope.readable : given
    const info = shape && fieldAt(shape, from === 'given' ? fieldPath.slice(1) : fieldPath)
    return { path: { from, path: fieldPath }, info }
  }

  #until(attributes: MemberAttributes, type: Type, path: Path, scope: NameScope) {
    if (attributes.until === undefined) return undefined
    const declaration = type.kind === 'struct' ? this.#workspace.chapter(type.chapter).structs.get(type.name) : undefined
    const own = declaration ? shapeOfStruct(this.#workspace, declaration) : scope.own
    return this.#names.expression(attributes.until, [...path, 'until'], { ...scope, own })
  }

  #access(text: string | undefined, path: Path, scope: NameScope): Access | undefined {
    if (text === undefined) return undefined
    const match = /^(r|w|rw|rc)(?: if (.+))?$/.exec(text)
    if (match === null) {
      scope.chapter.report('wrong-type', path, `"${text}" is not an access`, 'r, w, rw, rc, or `rw if CONDITION`')
      return undefined
    }
    const access: Access = { mode: match[1] as Access['mode'] }
    const when = match[2] === undefined ? undefined : this.#names.expression(match[2], path, scope)
    if (when) access.when = when
    return access
  }

  #is(attributes: MemberAttributes, path: Path, context: MemberContext) {
    if (attributes.is === undefined) return undefined
    if (context.choice === undefined) {
      context.chapter.report('misplaced-attribute', [...path, 'is'], '`is` selects an arm of a union, and this is none', undefined, 'key')
      return undefined
    }
    const field = context.choice.field
    const many = Array.isArray(attributes.is)
    return list(attributes.is).flatMap((value, index) => this.#names.selector(value, many ? [...path, 'is', index] : [...path, 'is'], context.chapter, field) ?? [])
  }

  #with(attributes: MemberAttributes, type: Type, path: Path, context: MemberContext): Member['with'] {
    const { chapter, scope } = context
    const target = type.kind === 'struct' ? this.#find(type) : type.kind === 'group' && type.struct ? this.#find(type.struct) : undefined
    const needed = target?.given ?? []
    if (target?.within && attributes.with === undefined && needed.length > 0) {
      const entries = needed.map(({ name }) => [name, this.#names.expression(name, path, scope) ?? 'caller'] as const)
      return Object.fromEntries(entries)
    }
    if (attributes.with === undefined) {
      if (needed.length > 0 && type.kind !== 'group') {
        const names = needed.map(({ name }) => name).join(', ')
        chapter.report('missing-given', path, `"${target?.name}" needs ${names} from outside`, `bind it: \`with: {${needed[0]?.name}: …}\`, or \`with: caller\``, 'key')
      }
      return undefined
    }
    if (attributes.with === 'caller') return 'caller'
    const bound: Record<string, NonNullable<ReturnType<Names['expression']>> | 'caller'> = {}
    for (const [name, value] of Object.entries(attributes.with)) {
      if (!needed.some((need) => need.name === name)) {
        chapter.report('missing-given', [...path, 'with', name], `"${target?.name ?? attributes.type}" does not need "${name}"`, didYouMean(name, needed.map((need) => need.name)), 'key')
        continue
      }
      if (value === 'caller') bound[name] = 'caller'
      else {
        const expression = this.#names.expression(value, [...path, 'with', name], scope)
        if (expression) bound[name] = expression
      }
    }
    for (const { name } of needed) {
      if (!(name in (attributes.with as object))) chapter.report('missing-given', [...path, 'with'], `"${target?.name}" also needs "${name}"`, undefined, 'key')
    }
    return bound
  }

  #find(reference: Reference): Struct | undefined {
    const declared = this.#workspace.chapter(reference.chapter).structs.get(reference.name)
    if (declared) return this.struct(declared)
    return this.byChapter.get(reference.chapter)?.find((struct) => struct.name === reference.name)
  }

  readonly #declaredOffsets = new Map<Member, { offset: number; path: Path }>()

  #checkPlace(attributes: MemberAttributes, path: Path, context: MemberContext): void {
    const { chapter, role } = context
    if (role === 'config' || role === 'registers') return
    for (const name of ['access', 'clears', 'reset'] as const) {
      if (attributes[name] !== undefined) chapter.report('misplaced-attribute', [...path, name], `\`${name}\` belongs to config space and registers`, undefined, 'key')
    }
  }

  #checkMember(member: Member, attributes: MemberAttributes, path: Path, context: MemberContext): void {
    const { chapter, role, scope } = context
    const integer = member.type.kind === 'integer' ? member.type : undefined
    for (const name of ['const', 'reset', 'mask'] as const) {
      const value = member[name]
      if (value !== undefined && integer && !fits(value, integer.bytes)) chapter.report('value-range', [...path, name], `${value} does not fit into ${integer.name}`)
    }
    if (attributes.by !== undefined && member.type.kind !== 'union') chapter.report('misplaced-attribute', [...path, 'by'], '`by` decides a union, and this is none', undefined, 'key')
    if (attributes.with !== undefined && member.type.kind !== 'struct' && !(member.type.kind === 'group' && member.type.struct)) {
      chapter.report('misplaced-attribute', [...path, 'with'], '`with` binds what a struct needs, and this is none', undefined, 'key')
    }
    for (const name of ['stride', 'until', 'count'] as const) {
      if (attributes[name] !== undefined && member.dims.length === 0 && member.type.kind !== 'bytes') chapter.report('misplaced-attribute', [...path, name], `\`${name}\` is about the elements of an array`, undefined, 'key')
    }
    for (const name of list(attributes.bank)) {
      if (scope.own && fieldAt(scope.own, name.split('.')) === undefined) chapter.report('unknown-field', [...path, 'bank'], `there is no field "${name}"`, didYouMean(name, scope.own.keys()))
    }
    for (const [attribute, name] of [['clears', attributes.clears], ['pair', attributes.pair?.low]] as const) {
      if (name !== undefined && scope.own && fieldAt(scope.own, name.split('.')) === undefined) {
        chapter.report('unknown-field', [...path, attribute], `there is no field "${name}"`, didYouMean(name, scope.own.keys()))
      }
    }
    if (attributes.at !== undefined) {
      const at = this.#names.expression(attributes.at, [...path, 'at'], scope)
      const value = at && evaluate(at.tree)
      if (role === 'config' || role === 'registers') {
        this.#ats.set(member, value === undefined ? null : Number(value))
        if (at && value === undefined) member.at = at
      }
      if (role !== 'config' && role !== 'registers' && value !== undefined) this.#declaredOffsets.set(member, { offset: Number(value), path: [...path, 'at'] })
    }
  }

  /** Declared offsets of packed members against the computed ones. */
  checkDeclaredOffsets(): void {
    for (const structs of this.byChapter.values()) {
      for (const struct of structs) for (const member of allMembers(struct.members)) this.#checkOffset(member, struct)
    }
  }

  #checkOffset(member: Member, struct: Struct): void {
    const declared = this.#declaredOffsets.get(member)
    if (declared === undefined || member.offset === declared.offset) return
    const is = member.offset === null ? 'varies' : `is ${member.offset}`
    this.#workspace
      .chapter(struct.chapter)
      .report('offset-mismatch', declared.path, `declared at ${declared.offset}, but the offset of "${member.name}" ${is}`, 'correct the members before it, or drop `at`')
  }
}

/** A member and those inside it at the same level: groups and arms. */
export function* allMembers(members: readonly Member[]): Generator<Member> {
  for (const member of members) {
    yield member
    if (member.type.kind === 'group') yield* allMembers(member.type.members)
    if (member.type.kind === 'union') yield* allMembers(member.type.arms)
  }
}

function openMembers(members: readonly Member[]): Member[] {
  return members.flatMap((member) => {
    if (member.type.kind === 'group') return openMembers(member.type.members)
    return isOpen(member) ? [member] : []
  })
}

/** Copies of members, so that each place has its own offsets. */
function inPart(members: readonly Member[], part: Part | undefined): Member[] {
  return members
    .filter((member) => member.part === undefined || part === undefined || member.part === part)
    .map((member) => {
      const copy: Member = { ...member }
      if (part) copy.part = part
      if (copy.type.kind === 'group') copy.type = { ...copy.type, members: inPart(copy.type.members, part) }
      if (copy.type.kind === 'union') copy.type = { ...copy.type, arms: inPart(copy.type.arms, part) }
      return copy
    })
}

/** Size of a struct where it stands in a part: of two-part structs only that part counts. */
function partSize(struct: Struct, part: Part | undefined): number | null {
  if (!struct.twoPart || part === undefined) return struct.size
  return struct.members.filter((member) => member.part === part).reduce<number | null>((sum, { size }) => (sum === null || size === null ? null : sum + size), 0)
}

function fieldInfo(name: string, attributes: MemberAttributes, chapter: ChapterScope): FieldInfo {
  return { name, groups: [...list(attributes.enum), ...list(attributes.flags), ...list(attributes.set)], chapter, plural: false }
}

/** The value at a path of the file. */
function onlyValue(chapter: ChapterScope, path: Path): unknown {
  let value: unknown = chapter.ast
  for (const step of path) value = (value as Record<string | number, unknown> | undefined)?.[step]
  return value
}

function fits(value: number | bigint, bytes: number): boolean {
  return BigInt(value) >= 0n && BigInt(value) < 1n << BigInt(bytes * 8)
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(3, '0')}`
}
