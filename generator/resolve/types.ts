/** The type of a member: an integer, a struct, bytes, or the members of a nested struct, a union or a row of bit-fields. */
import type { Entry, MemberAst } from '../ast.ts'
import { didYouMean } from '../diagnostic.ts'
import type { ConstantValue, Expression, FieldPath, Member, Part, Reference, Struct, Tree, Type } from '../model.ts'
import type { Bindings } from './bindings.ts'
import { resolveBits } from './bits.ts'
import { checkArms } from './choice.ts'
import { integerOf, integers } from './integers.ts'
import type { Layouts } from './layouts.ts'
import type { MemberTask } from './members.ts'
import { originOf } from './origin.ts'
import { copyMembers, inPart } from './place.ts'
import { shapeOf } from './shape.ts'
import type { StructDeclaration } from './workspace.ts'

export interface FoundType {
  type: Type
  reserved: boolean
}

export class Types {
  readonly #layouts: Layouts
  readonly #bindings: Bindings

  constructor(layouts: Layouts, bindings: Bindings) {
    this.#layouts = layouts
    this.#bindings = bindings
  }

  /** The type of a member; undefined where it has none that could be used. */
  of(task: MemberTask): FoundType | undefined {
    const { parsed, attributes, path, context } = task
    const forms = (['struct', 'union', 'bits'] as const).filter((form) => attributes[form] !== undefined)
    if (forms.length === 0 && attributes.type === undefined) {
      context.chapter.report('missing-key', path, `"${parsed.name}" has no type`, 'give `type`, `struct`, `union` or `bits`', 'key')
      return undefined
    }
    if (forms.length > 1 || (forms.length === 1 && forms[0] !== 'bits' && attributes.type !== undefined)) {
      context.chapter.report(
        'misplaced-attribute',
        path,
        `"${parsed.name}" has more than one type`,
        'keep one of `type`, `struct` and `union`; only `bits` goes with a `type`',
        'key',
      )
      return undefined
    }
    if (attributes.bits) return plain(resolveBits(task, this.#layouts))
    if (attributes.struct) return plain(this.#nested(attributes.struct, task))
    if (attributes.union !== undefined) return plain(this.#union(task))
    return this.#named(attributes.type as string, task)
  }

  #named(text: string, task: MemberTask): FoundType | undefined {
    const { typePath, context } = task
    const name = text.replace(/^reserved\s+/, '')
    const reserved = name !== text
    const integer = integerOf(name)
    if (integer) return { type: integer, reserved }
    if (name === 'bytes') return { type: { kind: 'bytes' }, reserved }
    const target = { offset: text.length - name.length, length: name.length }
    if (name === 'body') {
      if (context.role === 'message') return plain({ kind: 'body' })
      context.chapter.report(
        'misplaced-attribute',
        typePath,
        '`body` marks the place of a request’s members and stands in the frame of a message',
        undefined,
        target,
      )
      return undefined
    }
    const { workspace } = this.#layouts
    const declaration = workspace.findStruct(context.chapter, name)
    if (declaration === undefined) {
      const candidates = [...Object.keys(integers), 'bytes', ...workspace.structNames(context.chapter)]
      const hint = didYouMean(name, candidates) ?? 'a struct of another chapter needs that chapter in `uses`'
      context.chapter.reportUnknown('unknown-type', name, typePath, `unknown type "${name}"`, hint, target)
      return undefined
    }
    workspace.checkAmbiguous(context.chapter, name, ({ structs }) => structs.get(name), typePath, target)
    if (reserved) context.chapter.report('wrong-type', typePath, `"${name}" is a struct; only integers and bytes can be reserved`, undefined, target)
    return this.#struct(declaration, task)
  }

  #struct(declaration: StructDeclaration, { parsed, typePath, context }: MemberTask): FoundType | undefined {
    const struct = this.#layouts.struct(declaration)
    if (struct === undefined) {
      context.chapter.report('type-cycle', typePath, `"${context.struct.name}" contains itself through "${declaration.name}"`)
      return undefined
    }
    if (this.#layouts.isIncomplete(struct)) this.#layouts.setIncomplete(context.struct)
    this.#checkPart(struct, typePath, context)
    if (parsed.name === '_')
      return plain({ kind: 'group', members: copyMembers(struct.members, context.part), struct: { chapter: struct.chapter, name: struct.name } })
    return plain({ kind: 'struct', chapter: struct.chapter, name: struct.name, size: partSize(struct, context.part) })
  }

  #checkPart(struct: Struct, typePath: MemberTask['typePath'], { chapter, part }: MemberTask['context']): void {
    if (!struct.twoPart) return
    if (part === undefined)
      chapter.report(
        'part-mismatch',
        typePath,
        `"${struct.name}" has a readable and a writable part, and here is no buffer`,
        'it stands in one of the parts of a message or struct',
      )
    else if (!struct.members.some((member) => member.part === part)) chapter.report('part-mismatch', typePath, `"${struct.name}" has no ${part} part`)
  }

  /** A nested struct: a group where it has no name, else a struct of its own named after its place. */
  #nested(members: readonly Entry<MemberAst>[], { parsed, attributes, path, context }: MemberTask): Type {
    const { chapter, struct } = context
    const origin = originOf(context.origin, attributes)
    const inside = { ...context, path: [...path, 'struct'], origin, legacy: attributes.legacy ?? context.legacy, union: undefined }
    if (parsed.name === '_') return { kind: 'group', members: this.#layouts.members(members, inside) }
    const name = this.#nestedName(context, parsed.name)
    const isFixed = context.role === 'config' || context.role === 'registers'
    const role = isFixed ? 'config' : 'struct'
    const nested: Struct = {
      ...this.#layouts.empty({ chapter, name, role, origin, legacy: inside.legacy }, path),
      within: { struct: struct.name, member: parsed.name },
    }
    delete nested.doc
    const scope = {
      chapter,
      own: shapeOf(this.#layouts.workspace, chapter, members),
      around: { scope: context.scope, need: this.#bindings.needsOf(nested) },
    }
    nested.members = this.#layouts.members(members, { ...inside, struct: nested, scope, part: undefined, role })
    this.#layouts.finish(nested, path, chapter)
    this.#layouts.add(nested, path)
    if (this.#layouts.isIncomplete(nested)) this.#layouts.setIncomplete(struct)
    return { kind: 'struct', chapter: chapter.name, name, size: nested.size }
  }

  /** After its place; unions of one struct may have arms of the same name. */
  #nestedName({ chapter, struct, union }: MemberTask['context'], member: string): string {
    const name = `${struct.name}_${member}`
    const isTaken = chapter.structs.has(name) || this.#layouts.byChapter.get(chapter.name)?.some((other) => other.name === name)
    return isTaken && union?.name ? `${struct.name}_${union.name}_${member}` : name
  }

  #union({ parsed, attributes, path, context }: MemberTask): Type {
    const by = attributes.by === undefined ? undefined : this.#layouts.expressions.field(attributes.by, [...path, 'by'], context.scope)
    if (by?.path.from === 'given' && by.info === undefined) this.#bindings.need({ name: by.path.path[0] as string }, [...path, 'by'], context)
    const withBy = by ? { by: by.path } : {}
    if (!Array.isArray(attributes.union)) {
      if (attributes.by === undefined)
        context.chapter.report('missing-key', path, 'a union over a group needs `by`, the field that holds the constant', undefined, 'key')
      const group = this.#layouts.workspace.requireGroup(context.chapter, attributes.union, [...path, 'union'])
      return { kind: 'union', ...withBy, arms: group ? this.#armsOfGroup(group, by?.path, context) : [], ...(group ? { group } : {}) }
    }
    const union = { name: parsed.name === '_' ? '' : parsed.name, by: attributes.by === undefined ? undefined : { field: by?.info } }
    const arms = this.#layouts.members(attributes.union, {
      ...context,
      path: [...path, 'union'],
      origin: originOf(context.origin, attributes),
      legacy: attributes.legacy ?? context.legacy,
      union,
    })
    if (union.by) checkArms(arms, context, this.#layouts)
    return { kind: 'union', ...withBy, arms }
  }

  /** One arm per struct that constants of the group, or of groups that extend it, hold. */
  #armsOfGroup(reference: Reference, by: FieldPath | undefined, context: MemberTask['context']): Member[] {
    const { workspace, expressions } = this.#layouts
    const group = workspace.chapter(reference.chapter).groups.get(reference.name)
    const holders = new Map<Struct, Map<number | undefined, ConstantValue[]>>()
    for (const extension of group ? workspace.withExtensions(group) : []) {
      // Devices give the same numbers different meanings: what one adds counts on that device only.
      const device = extension.chapter === context.chapter ? undefined : extension.chapter.ast.id
      for (const [name, ast] of Object.entries(extension.attributes.values)) {
        const holds = typeof ast === 'object' ? ast.holds : undefined
        const declaration = holds === undefined ? undefined : workspace.findStruct(extension.chapter, holds)
        const value = declaration && expressions.constantValue(extension, name)
        const struct = declaration && this.#layouts.struct(declaration)
        if (struct === undefined || value === undefined) continue
        const constants = holders.get(struct) ?? new Map<number | undefined, ConstantValue[]>()
        holders.set(struct, constants.set(device, [...(constants.get(device) ?? []), { name, value }]))
      }
    }
    return [...holders].map(([struct, constants]) => {
      const arm = armOf(struct, context)
      const when = onDevices(constants, by)
      return { ...arm, is: [...constants.values()].flat(), ...(when ? { when } : {}) }
    })
  }
}

/** On which devices the constants of an arm select it; none where they do on all. The program says which device it is. */
function onDevices(constants: ReadonlyMap<number | undefined, readonly ConstantValue[]>, by: FieldPath | undefined): Expression | undefined {
  const isDevice = (id: number | undefined): Expression | undefined =>
    id === undefined ? undefined : { text: `device_id == ${id}`, tree: same({ op: 'caller', name: 'device_id' }, id) }
  if (constants.size === 1 || by === undefined) return isDevice([...constants.keys()][0])
  const isConstant = ({ name, value }: ConstantValue): Expression => ({
    text: `${by.path.join('.')} == ${name}`,
    tree: same({ op: 'field', ...by }, value),
  })
  return joined(
    'or',
    [...constants].map(([id, values]) => joined('and', [isDevice(id), joined('or', values.map(isConstant))])),
  )
}

function same(left: Tree, value: number | bigint): Tree {
  return { op: 'binary', operator: '==', left, right: { op: 'number', value } }
}

function joined(operator: 'and' | 'or', expressions: readonly (Expression | undefined)[]): Expression {
  return expressions
    .filter((expression) => expression !== undefined)
    .reduce((left, right) => ({
      text: `(${left.text} ${operator} ${right.text})`,
      tree: { op: 'binary', operator, left: left.tree, right: right.tree },
    }))
}

/** The arm of a union over a group that a struct is. */
function armOf(struct: Struct, { origin, legacy }: MemberTask['context']): Member {
  const { name, chapter, size } = struct
  const type: Type = { kind: 'struct', chapter, name, size }
  return {
    ...originOf(origin, undefined),
    name,
    type,
    dims: [],
    reserved: false,
    offset: null,
    size: null,
    framed: false,
    legacy,
    was: [],
    linux: { name },
  }
}

function plain(type: Type | undefined): FoundType | undefined {
  return type && { type, reserved: false }
}

/** Size of a struct where it stands in a part: of two-part structs only that part counts. */
function partSize(struct: Struct, part: Part | undefined): number | null {
  if (!struct.twoPart || part === undefined) return struct.size
  return inPart(struct.members, part).reduce<number | null>((sum, { size }) => (sum === null || size === null ? null : sum + size), 0)
}
