/** What the layout of a struct depends on: a negotiation (known once), or its own content (known when the bytes are there). */
import { nodes } from '../../evaluate.ts'
import { findStruct } from '../../facts.ts'
import type { Expression, Member, Model, Part, Reference, Struct, Tree } from '../../model.ts'
import { isOpen } from '../../resolve/place.ts'

/** What of a negotiation a struct needs, nested structs included. */
export interface ContextNeeds {
  features: boolean
  /** Dotted names of fields of the configuration space. */
  config: Set<string>
  queueSize: boolean
  /** Names of `let … caller` and lengths of framed members. */
  caller: Set<string>
  /** Names that the program may say: those with a default. */
  options: Set<string>
}

/** The loosest thing an expression depends on. */
export type Dependence = 'constant' | 'context' | 'content'

export function dependence(expressions: readonly (Expression | undefined)[]): Dependence {
  let result: Dependence = 'constant'
  for (const expression of expressions) {
    for (const node of expression ? nodes(expression.tree) : []) {
      if (node.op === 'field' && node.from !== 'config') return 'content'
      if (node.op === 'feature' || node.op === 'queue' || node.op === 'caller' || node.op === 'field') result = 'context'
    }
  }
  return result
}

function entryOf<T>(cache: Map<Struct, Map<Part | undefined, T>>, struct: Struct): Map<Part | undefined, T> {
  const parts = cache.get(struct) ?? new Map<Part | undefined, T>()
  cache.set(struct, parts)
  return parts
}

export class Needs {
  readonly #model: Model
  // By the struct itself: the parts of a request have no name of their own in the model.
  readonly #context = new Map<Struct, Map<Part | undefined, ContextNeeds>>()
  readonly #variable = new Map<Struct, Map<Part | undefined, boolean>>()

  constructor(model: Model) {
    this.#model = model
  }

  struct(reference: Reference): Struct {
    const struct = findStruct(this.#model, reference)
    if (struct === undefined) throw new Error(`the model has no struct ${reference.chapter}/${reference.name}`)
    return struct
  }

  members(struct: Struct, part: Part | undefined): Member[] {
    return part === undefined ? struct.members : struct.members.filter((member) => member.part === part)
  }

  context(struct: Struct, part: Part | undefined): ContextNeeds {
    const parts = entryOf(this.#context, struct)
    const known = parts.get(part)
    if (known) return known
    const needs: ContextNeeds = { features: false, config: new Set(), queueSize: false, caller: new Set(), options: new Set() }
    parts.set(part, needs)
    const fixed = struct.role === 'config' || struct.role === 'registers'
    for (const member of this.members(struct, part)) this.#memberContext(member, needs, fixed)
    for (const expression of [struct.length, struct.head?.size]) this.#expressionContext(expression, needs)
    return needs
  }

  #memberContext(member: Member, needs: ContextNeeds, fixed: boolean): void {
    const conditions = fixed ? [] : [member.when]
    const bindings = typeof member.with === 'object' ? Object.values(member.with).filter((binding) => binding !== 'caller') : []
    for (const expression of [...conditions, member.area, member.stride, member.until, ...member.dims.map((dim) => dim.length), ...bindings])
      this.#expressionContext(expression, needs)
    if (member.framed) needs.caller.add(`${member.name}_length`)
    const { type } = member
    if (type.kind === 'bits' && !fixed) for (const field of type.fields) this.#expressionContext(field.when, needs)
    if (type.kind === 'group') for (const inner of type.members) this.#memberContext(inner, needs, fixed)
    if (type.kind === 'union') {
      for (const arm of type.arms) this.#memberContext(arm, needs, fixed)
      if (type.by) this.#treeContext({ op: 'field', ...type.by }, needs)
    }
    if (type.kind === 'struct') {
      const nested = this.context(this.struct(type), this.partOf(type, member.part))
      needs.features ||= nested.features
      needs.queueSize ||= nested.queueSize
      for (const path of nested.config) needs.config.add(path)
      for (const name of nested.caller) needs.caller.add(name)
      for (const name of nested.options) needs.options.add(name)
    }
  }

  #expressionContext(expression: Expression | undefined, needs: ContextNeeds): void {
    for (const node of expression ? nodes(expression.tree) : []) this.#treeContext(node, needs)
  }

  #treeContext(node: Tree, needs: ContextNeeds): void {
    if (node.op === 'feature') needs.features = true
    if (node.op === 'queue') needs.queueSize = true
    if (node.op === 'caller') (node.default === undefined ? needs.caller : needs.options).add(node.name)
    if (node.op === 'field' && node.from === 'config') needs.config.add(node.path.join('.'))
  }

  hasContext(struct: Struct, part: Part | undefined): boolean {
    const { features, config, queueSize, caller, options } = this.context(struct, part)
    return features || queueSize || config.size > 0 || caller.size > 0 || options.size > 0
  }

  /** Of two-part structs only the part in which they stand counts. */
  partOf(reference: Reference, part: Part | undefined): Part | undefined {
    return this.struct(reference).twoPart ? (part ?? 'readable') : undefined
  }

  /** True when the size depends on the content, or takes all that is left. */
  isVariable(struct: Struct, part: Part | undefined): boolean {
    const parts = entryOf(this.#variable, struct)
    const known = parts.get(part)
    if (known !== undefined) return known
    parts.set(part, false)
    const fixed = struct.role === 'config' || struct.role === 'registers'
    const variable = this.members(struct, part).some((member) => this.isVariableMember(member, fixed)) || struct.length !== undefined
    parts.set(part, variable)
    return variable
  }

  isVariableMember(member: Member, ignoreWhen = false): boolean {
    if (!ignoreWhen && dependence([member.when]) === 'content') return true
    if (member.area) {
      const area = dependence([member.area])
      if (area === 'content') return true
      // An area that a condition takes away has its natural length.
      if (member.area.tree.op !== 'if' || member.area.tree.otherwise) return false
    }
    if (isOpen(member)) return true
    if (dependence([member.stride, ...member.dims.map((dim) => dim.length)]) === 'content') return true
    const { type } = member
    if (type.kind === 'group') return type.members.some((inner) => this.isVariableMember(inner, ignoreWhen))
    if (type.kind === 'union') return type.group !== undefined || type.arms.some((arm) => this.isVariableMember(arm, ignoreWhen))
    if (type.kind === 'struct') return this.isList(member) || this.isVariable(this.struct(type), this.partOf(type, member.part))
    return false
  }

  /** True for an array whose elements have different lengths: each begins with a head, or has a length of its own. */
  isList(member: Member): boolean {
    if (member.type.kind !== 'struct' || member.dims.length === 0 || member.stride) return false
    const struct = this.struct(member.type)
    return struct.head !== undefined || this.isVariable(struct, this.partOf(member.type, member.part))
  }

  /** True when the member takes all that is left, itself or through a struct that does. */
  isOpenMember(member: Member): boolean {
    if (member.area || member.framed) return false
    if (isOpen(member)) return true
    if (member.type.kind === 'struct' && member.dims.length === 0)
      return this.isOpenStruct(this.struct(member.type), this.partOf(member.type, member.part))
    if (member.type.kind === 'union') return member.type.arms.some((arm) => this.isOpenMember(arm))
    return false
  }

  isOpenStruct(struct: Struct, part: Part | undefined): boolean {
    if (struct.length) return false
    const open = (members: readonly Member[]): boolean =>
      members.some((member) => (member.type.kind === 'group' ? open(member.type.members) : this.isOpenMember(member)))
    return open(this.members(struct, part))
  }

  /**
   * True for a member that takes all that is left where its deciding field selects nothing that is known: it leaves what stands behind it all the same.
   */
  mayBeOpen(member: Member): boolean {
    if (member.area || member.framed || member.dims.length > 0) return false
    const { type } = member
    if (type.kind === 'union') return type.by !== undefined && (type.group !== undefined || type.arms.some(({ size }) => size === null))
    if (type.kind === 'group') return type.members.some((inner) => this.mayBeOpen(inner))
    if (type.kind !== 'struct') return false
    const struct = this.struct(type)
    return struct.length === undefined && this.members(struct, this.partOf(type, member.part)).some((inner) => this.mayBeOpen(inner))
  }

  /** Bytes that a member needs at least: those up to the first one whose length is not a number. */
  least(member: Member): number {
    if (member.when !== undefined || (member.dims.length > 0 && member.size === null)) return 0
    if (member.type.kind === 'struct' && member.dims.length === 0 && member.area === undefined)
      return this.leastOfStruct(this.struct(member.type), this.partOf(member.type, member.part))
    return member.size ?? 0
  }

  leastOfStruct(struct: Struct, part: Part | undefined): number {
    let least = 0
    for (const member of this.members(struct, part)) {
      least += this.least(member)
      if (member.size === null || member.when !== undefined || this.isVariableMember(member)) break
    }
    return least
  }

  /** The member that a path names, for conditional and 64-bit reads. */
  memberAt(members: readonly Member[], path: readonly string[]): Member | undefined {
    for (const member of members) {
      if (member.name === path[0]) return member
      const inner =
        member.type.kind === 'group' ? member.type.members : member.name === '' && member.type.kind === 'union' ? member.type.arms : undefined
      const found = inner && this.memberAt(inner, path)
      // What stands in a conditional group is as conditional as the group.
      if (found) return member.when && !found.when ? { ...found, when: member.when } : found
    }
    return undefined
  }
}

/** True when the writable part of a struct looks at fields of the readable one. */
export function usesReadable(struct: Struct): boolean {
  const writable = struct.members.filter((member) => member.part === 'writable')
  return JSON.stringify(writable, bigintSafe).includes('"from":"readable"')
}

function bigintSafe(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value
}
