/** One member of a layout: from its line in the YAML to the member of the model. Offsets come later. */
import type { Entry, MemberAst, MemberAttributes } from '../ast.ts'
import { evaluate } from '../evaluate.ts'
import { ExpressionError, type MemberName, parseMemberName } from '../expression.ts'
import type { Access, ConstantValue, Dim, Member, Origin, Part, Struct, Type } from '../model.ts'
import type { Path } from '../source.ts'
import { Bindings, withBindings } from './bindings.ts'
import { checkMember } from './check-member.ts'
import type { Layouts } from './layouts.ts'
import type { NameScope } from './names.ts'
import { originOf } from './origin.ts'
import { type FieldInfo, groupsOf, shapeOfStruct } from './shape.ts'
import { type FoundType, Types } from './types.ts'
import { type ChapterScope, items, list, memberAttributes } from './workspace.ts'

/** What a list of members is resolved in. */
export interface MemberContext {
  chapter: ChapterScope
  /** The struct whose members they become. */
  struct: Struct
  /** Where the list is written. */
  path: Path
  scope: NameScope
  role: Struct['role']
  part: Part | undefined
  legacy: Struct['legacy']
  /** Of what is around them. */
  origin: Origin
  /** In a union: its name, and its deciding field where it has one. */
  union?: { name: string; by: { field: FieldInfo | undefined } | undefined } | undefined
}

/** A member under construction. */
export interface MemberTask {
  parsed: MemberName
  attributes: MemberAttributes
  path: Path
  /** Where its type is written: the short form is nothing but the type. */
  typePath: Path
  context: MemberContext
}

export class Members {
  readonly #layouts: Layouts
  readonly #types: Types
  readonly #bindings: Bindings

  constructor(layouts: Layouts) {
    this.#layouts = layouts
    this.#bindings = new Bindings(layouts)
    this.#types = new Types(layouts, this.#bindings)
  }

  all(entries: readonly Entry<MemberAst>[], context: MemberContext): Member[] {
    return items(entries).flatMap(({ index, name, value }) => {
      const member = this.#member(name, value, [...context.path, index, name], context)
      if (member === undefined) this.#layouts.setIncomplete(context.struct)
      return member ?? []
    })
  }

  #member(key: string, ast: MemberAst, path: Path, context: MemberContext): Member | undefined {
    const parsed = parseName(key, path, context.chapter)
    if (parsed === undefined) return undefined
    const task: MemberTask = {
      parsed,
      attributes: memberAttributes(ast),
      path,
      typePath: typeof ast === 'string' ? path : [...path, 'type'],
      context,
    }
    const found = this.#types.of(task)
    // All that can be wrong is told at once, whether there is a type or not.
    const dims = this.#dims(task)
    const attributes = this.#attributes(task, found?.type)
    return found && this.#complete(found, dims, attributes, task)
  }

  #complete({ type, reserved }: FoundType, dims: Dim[], attributes: Partial<Member>, task: MemberTask): Member {
    const { parsed, path, context, attributes: ast } = task
    const member: Member = {
      ...originOf(context.origin, ast),
      name: parsed.name === '_' ? '' : parsed.name,
      type,
      dims,
      reserved,
      offset: null,
      size: null,
      framed: ast.framed ?? false,
      legacy: ast.legacy ?? context.legacy,
      was: list(ast.was),
      linux: context.chapter.linux(parsed.name, path, ast.linux),
      ...attributes,
    }
    if (context.part) member.part = context.part
    this.#layouts.setPath(member, path)
    this.#place(member, task)
    const bound = this.#bindings.bind(type, task)
    if (bound) member.with = bound
    if (type.kind === 'group' && typeof bound === 'object') member.type = { ...type, members: withBindings(type.members, bound) }
    checkMember(member, task, this.#layouts)
    return member
  }

  #attributes(task: MemberTask, type: Type | undefined): Partial<Member> {
    const { attributes, path, context } = task
    return defined({
      ...this.#value(task),
      ...this.#extent(task, type),
      ...this.#register(task),
      when: this.#layouts.expressions.condition(attributes.when, [...path, 'when'], context.scope),
      is: this.#is(task),
      spec: attributes.spec,
    })
  }

  #dims({ parsed, path, context: { scope, struct } }: MemberTask): Dim[] {
    return parsed.dims.map(({ text, at }) => {
      if (text === '') return { count: null }
      const length = this.#layouts.expressions.numberInKey(text, at, path, scope)
      if (length === undefined) {
        this.#layouts.setIncomplete(struct)
        return { count: 0, length: { text, tree: { op: 'number', value: 0 } } }
      }
      const value = evaluate(length.tree)
      if (value !== undefined && (value < 0n || value > 0xffff_ffffn)) {
        scope.chapter.report('value-range', path, `the length ${value} of "${parsed.name}" is not between 0 and 2^32 - 1`, undefined, {
          offset: at,
          length: text.length,
          in: 'key',
        })
      }
      return { count: value === undefined ? null : Number(value), length }
    })
  }

  /** What the value may be. */
  #value({ parsed, attributes, path, context: { chapter, scope } }: MemberTask) {
    const { workspace, expressions } = this.#layouts
    const field: FieldInfo = { name: parsed.name, kind: 'number', ...groupsOf(attributes), chapter }
    const flags = workspace.requireGroups(chapter, attributes.flags, [...path, 'flags'])
    return {
      enum: workspace.requireGroup(chapter, attributes.enum, [...path, 'enum']),
      flags: flags.length > 0 ? flags : undefined,
      set: workspace.requireGroup(chapter, attributes.set, [...path, 'set']),
      mask: expressions.constant(attributes.mask, [...path, 'mask'], chapter),
      const: expressions.constant(attributes.const, [...path, 'const'], chapter, { field, only: true }),
      reset: expressions.constant(attributes.reset, [...path, 'reset'], chapter, { field, only: true }),
      range: expressions.range(attributes.range, [...path, 'range'], scope),
      unit: attributes.unit,
    }
  }

  /** How long it is, and how its elements follow one another. */
  #extent({ attributes, path, context: { scope } }: MemberTask, type: Type | undefined) {
    const { expressions } = this.#layouts
    return {
      area: expressions.number(attributes.size, [...path, 'size'], scope),
      stride: expressions.number(attributes.stride, [...path, 'stride'], scope),
      until: expressions.condition(attributes.until, [...path, 'until'], this.#elementScope(type, scope)),
      count: expressions.range(attributes.count, [...path, 'count'], scope),
      multiple: expressions.number(attributes.multiple, [...path, 'multiple'], scope),
    }
  }

  /** `until` is about an element, not about the struct that holds the list. */
  #elementScope(type: Type | undefined, scope: NameScope): NameScope {
    const { workspace } = this.#layouts
    const declaration = type?.kind === 'struct' ? workspace.chapter(type.chapter).structs.get(type.name) : undefined
    return declaration ? { ...scope, own: shapeOfStruct(workspace, declaration) } : scope
  }

  #register({ attributes, path, context: { scope } }: MemberTask) {
    return {
      access: this.#access(attributes.access, [...path, 'access'], scope),
      clears: attributes.clears,
      bank: attributes.bank === undefined ? undefined : list(attributes.bank),
      pair: attributes.pair,
    }
  }

  #access(text: string | undefined, path: Path, scope: NameScope): Access | undefined {
    if (text === undefined) return undefined
    const match = /^(r|w|rw|rc)(?:\s+if\s+(.+))?$/s.exec(text)
    if (match === null) {
      scope.chapter.report('access-syntax', path, `"${text}" is not an access`, 'r, w, rw, rc, or `rw if CONDITION`')
      return undefined
    }
    const access: Access = { mode: match[1] as Access['mode'] }
    const when = this.#layouts.expressions.condition(match[2], path, scope, text.length - (match[2]?.length ?? 0))
    if (when) access.when = when
    return access
  }

  /** `at`: where it is in fixed layouts, where it ought to be in packed ones. */
  #place(member: Member, { attributes, path, context: { scope, role } }: MemberTask): void {
    const at = this.#layouts.expressions.number(attributes.at, [...path, 'at'], scope)
    if (at === undefined) return
    const value = evaluate(at.tree)
    if (role === 'config' || role === 'registers') {
      this.#layouts.fixedOffsets.set(member, value === undefined ? null : Number(value))
      if (value === undefined) member.at = at
    } else if (value === undefined)
      scope.chapter.report(
        'not-constant',
        [...path, 'at'],
        `"${at.text}" is not a constant number`,
        'only config and registers have places that depend on something',
      )
    else this.#layouts.declaredOffsets.set(member, Number(value))
  }

  #is({ attributes, path, context }: MemberTask): ConstantValue[] | undefined {
    if (attributes.is === undefined) return undefined
    if (context.union?.by === undefined) {
      const message = context.union
        ? '`is` selects an arm by the field that `by` names, and there is no `by`'
        : '`is` selects an arm of a union, and this is none'
      context.chapter.report('misplaced-attribute', [...path, 'is'], message, undefined, 'key')
      return undefined
    }
    const { field } = context.union.by
    const isList = Array.isArray(attributes.is)
    return list(attributes.is).flatMap(
      (value, index) => this.#layouts.expressions.selector(value, isList ? [...path, 'is', index] : [...path, 'is'], context.chapter, field) ?? [],
    )
  }
}

function parseName(key: string, path: Path, chapter: ChapterScope): MemberName | undefined {
  try {
    return parseMemberName(key)
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error
    chapter.report('member-syntax', path, error.message, 'write the name and its lengths as in C: `macs[entries][6]`', {
      offset: error.offset,
      length: error.length,
      in: 'key',
    })
    return undefined
  }
}

/** What is there: a model has no members that are undefined. */
function defined(values: { [K in keyof Member]?: Member[K] | undefined }): Partial<Member> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
}
