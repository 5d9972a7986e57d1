/** What the layout of a struct needs from outside, and what each place that embeds it binds that to. */
import type { Value } from '../ast.ts'
import { didYouMean } from '../diagnostic.ts'
import type { Expression, FieldPath, Member, Reference, Struct, Tree, Type } from '../model.ts'
import type { Path } from '../source.ts'
import type { Layouts } from './layouts.ts'
import type { MemberContext, MemberTask } from './members.ts'
import type { FoundField } from './names.ts'

type Need = Struct['given'][number]

export class Bindings {
  readonly #layouts: Layouts
  /** For nested structs: which of the names around them a `given` name stands for. Other `given` names come from the caller. */
  readonly #aroundNames = new Map<Struct, Map<string, string>>()

  constructor(layouts: Layouts) {
    this.#layouts = layouts
  }

  /** Gives a nested struct a `given` name for everything that it uses of the structs around it. */
  needsOf(nested: Struct): (found: FoundField) => string {
    const texts = new Map<string, string>()
    this.#aroundNames.set(nested, texts)
    return ({ text, info }) => {
      for (const [name, known] of texts) if (known === text) return name
      let name = text.replaceAll('.', '_')
      while (nested.given.some((given) => given.name === name)) name += '_'
      texts.set(name, text)
      nested.given.push(info?.struct ? { name, struct: { chapter: info.struct.chapter.name, name: info.struct.name } } : { name })
      return name
    }
  }

  /** Makes a need of something inside a struct one of its own, so that it goes on outwards. */
  need(need: Need, path: Path, { struct, chapter }: MemberContext): Expression {
    const known = struct.given.find(({ name }) => name === need.name)
    if (known === undefined) struct.given.push({ ...need })
    else if (!isSame(known.struct, need.struct)) {
      chapter.report('missing-given', path, `"${struct.name}" already needs another "${need.name}"`, `bind it by name: \`with: {${need.name}: …}\``)
    }
    return { text: need.name, tree: { op: 'field', from: 'given', path: [need.name] } }
  }

  /** Binds what the struct of a member needs. */
  bind(type: Type, task: MemberTask): Member['with'] {
    const { attributes, path, context } = task
    if (type.kind === 'union') this.#refuseArms(type, task)
    const target = this.#target(type)
    if (target === undefined) return undefined
    if (attributes.with === undefined && target.within) return this.#bindNested(target, path, context)
    const needed = target.given
    const fromCaller = (need: Need, at: Path): Expression | 'caller' => (context.role === 'message' ? 'caller' : this.need(need, at, context))
    if (attributes.with === 'caller') {
      if (needed.length === 0) context.chapter.report('unknown-given', [...path, 'with'], `"${target.name}" needs nothing from outside`)
      if (context.role === 'message') return 'caller'
      return Object.fromEntries(needed.map((need) => [need.name, fromCaller(need, [...path, 'with'])]))
    }
    this.#checkNames(target, task)
    if (attributes.with === undefined) return undefined
    const bound: Record<string, Expression | 'caller'> = {}
    for (const [name, value] of Object.entries(attributes.with)) {
      const need = needed.find((candidate) => candidate.name === name)
      if (need === undefined) continue
      const at: Path = [...path, 'with', name]
      const expression = value === 'caller' ? fromCaller(need, at) : this.#bound(value, at, need, context)
      if (expression) bound[name] = expression
    }
    return bound
  }

  #bound(value: Value, path: Path, need: Need, { scope }: MemberContext): Expression | undefined {
    const struct = need.struct && this.#layouts.workspace.chapter(need.struct.chapter).structs.get(need.struct.name)
    return this.#layouts.expressions.binding(value, path, scope, { struct })
  }

  #bindNested(nested: Struct, path: Path, context: MemberContext): Member['with'] {
    if (nested.given.length === 0) return undefined
    const texts = this.#aroundNames.get(nested)
    const bound = nested.given.map((need): [string, Expression | 'caller' | undefined] => {
      const text = texts?.get(need.name)
      if (text !== undefined) return [need.name, this.#bound(text, path, need, context)]
      return [need.name, context.role === 'message' ? 'caller' : this.need(need, path, context)]
    })
    return Object.fromEntries(bound.filter((entry): entry is [string, Expression | 'caller'] => entry[1] !== undefined))
  }

  /** A union over a group has no place for `with`. */
  #refuseArms({ arms }: Extract<Type, { kind: 'union' }>, { attributes, path, context }: MemberTask): void {
    if (typeof attributes.union !== 'string') return
    for (const arm of arms) {
      const struct = this.#target(arm.type)
      if (struct === undefined || struct.given.length === 0) continue
      const names = struct.given.map(({ name }) => name).join(', ')
      context.chapter.report(
        'missing-given',
        [...path, 'union'],
        `"${struct.name}" needs ${names} from outside, which a union over a group cannot bind`,
      )
    }
  }

  #checkNames(target: Struct, { attributes, path, context: { chapter } }: MemberTask): void {
    const bound = typeof attributes.with === 'object' ? attributes.with : {}
    const needed = target.given.map(({ name }) => name)
    for (const name of Object.keys(bound)) {
      if (!needed.includes(name))
        chapter.report('unknown-given', [...path, 'with', name], `"${target.name}" does not need "${name}"`, didYouMean(name, needed), 'key')
    }
    const missing = needed.filter((name) => !Object.hasOwn(bound, name))
    if (missing.length === 0) return
    const hint = `bind it: \`with: {${missing[0]}: …}\`, or \`with: caller\``
    const at = attributes.with === undefined ? path : [...path, 'with']
    chapter.report('missing-given', at, `"${target.name}" needs ${missing.join(', ')} from outside`, hint, 'key')
  }

  #target(type: Type): Struct | undefined {
    if (type.kind === 'struct') return this.#layouts.find(type)
    return type.kind === 'group' && type.struct ? this.#layouts.find(type.struct) : undefined
  }
}

function isSame(first: Reference | undefined, second: Reference | undefined): boolean {
  return first?.chapter === second?.chapter && first?.name === second?.name
}

/** Members of a named struct that become those of its parent: what they took as given is there under the parent's names. */
export function withBindings(members: readonly Member[], bound: Readonly<Record<string, Expression | 'caller'>>): Member[] {
  return members.map((member) => mapMember(member, (tree) => replaceGiven(tree, bound)))
}

function replaceGiven(tree: Tree, bound: Readonly<Record<string, Expression | 'caller'>>): Tree {
  if (tree.op !== 'field' || tree.from !== 'given') return tree
  const [name, ...rest] = tree.path as [string, ...string[]]
  const binding = Object.hasOwn(bound, name) ? bound[name] : undefined
  if (binding === undefined || binding === 'caller') return tree
  return binding.tree.op === 'field' ? { ...binding.tree, path: [...binding.tree.path, ...rest] } : binding.tree
}

/** A copy of a member whose expressions have other leaves. */
function mapMember(member: Member, leaf: (tree: Tree) => Tree): Member {
  const expression = (from: Expression): Expression => ({ text: from.text, tree: mapTree(from.tree, leaf) })
  const copy: Member = {
    ...member,
    dims: member.dims.map((dim) => (dim.length ? { ...dim, length: expression(dim.length) } : dim)),
    type: mapType(member.type, leaf),
  }
  for (const key of ['when', 'area', 'stride', 'multiple', 'at'] as const) if (copy[key]) copy[key] = expression(copy[key])
  for (const key of ['range', 'count'] as const) if (copy[key]) copy[key] = [expression(copy[key][0]), expression(copy[key][1])]
  if (copy.access?.when) copy.access = { ...copy.access, when: expression(copy.access.when) }
  if (typeof copy.with === 'object')
    copy.with = Object.fromEntries(Object.entries(copy.with).map(([name, value]) => [name, value === 'caller' ? value : expression(value)]))
  return copy
}

function mapType(type: Type, leaf: (tree: Tree) => Tree): Type {
  switch (type.kind) {
    case 'group':
      return { ...type, members: type.members.map((member) => mapMember(member, leaf)) }
    case 'union': {
      const by = type.by && leaf({ op: 'field', ...type.by })
      const arms = type.arms.map((arm) => mapMember(arm, leaf))
      return by?.op === 'field' ? { ...type, by: pathOf(by), arms } : { ...type, arms }
    }
    case 'bits':
      return {
        ...type,
        fields: type.fields.map((field) =>
          field.when ? { ...field, when: { text: field.when.text, tree: mapTree(field.when.tree, leaf) } } : field,
        ),
      }
    default:
      return type
  }
}

function pathOf({ from, path }: FieldPath): FieldPath {
  return { from, path }
}

function mapTree(tree: Tree, leaf: (tree: Tree) => Tree): Tree {
  switch (tree.op) {
    case 'not':
      return { ...tree, arg: mapTree(tree.arg, leaf) }
    case 'binary':
      return { ...tree, left: mapTree(tree.left, leaf), right: mapTree(tree.right, leaf) }
    case 'if': {
      const mapped = { ...tree, value: mapTree(tree.value, leaf), condition: mapTree(tree.condition, leaf) }
      return tree.otherwise ? { ...mapped, otherwise: mapTree(tree.otherwise, leaf) } : mapped
    }
    default:
      return leaf(tree)
  }
}
