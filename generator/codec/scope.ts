/** Values of fields and expressions, as they are looked up while a struct is read or written. */
import { type Environment, evaluate, nodes } from '../evaluate.ts'
import type { BitField, Expression, FieldPath, Member, Part, Struct } from '../model.ts'
import { identifier } from '../names.ts'
import { isFixedLayout, membersOf, partOf, type Session } from './session.ts'

/** A struct in work. */
export interface Scope {
  readonly session: Session
  readonly struct: Struct
  readonly part: Part | undefined
  /** Members of the struct's level, of the part in work. */
  readonly members: readonly Member[]
  /** The struct's value: what has been read so far, or what is to be written. Own fields are looked up here. */
  readonly value: Record<string, unknown>
  /** The object that members belong to: `value`, or that of a union around them. */
  readonly here: Record<string, unknown>
  readonly bindings: ReadonlyMap<string, Binding> | undefined
  /** Value of the readable part, for the writable one. */
  readonly readable: unknown
  /** What a field is that `value` does not hold; undefined: not known yet. */
  readonly absent: (path: readonly string[]) => unknown
}

/** What a `given` name stands for: an expression in the struct around. */
interface Binding {
  expression: Expression
  scope: Scope
}

/** What a nested struct takes over from the one around it. */
export type Outer = Pick<Scope, 'session' | 'part' | 'bindings' | 'readable'>

/** The surroundings of the struct that a member holds. */
export function outerOf(member: Member, struct: Struct, scope: Scope): Outer {
  const { session } = scope
  const readable = struct.twoPart ? walk(scope.readable, [member.name]) : scope.readable
  return { session, part: partOf(struct, scope.part), bindings: bindingsOf(member, scope, undefined), readable }
}

/** The scope of a group's members: the same fields, perhaps more `given` names. */
export function groupScope<T extends Scope>(member: Member, scope: T): T {
  return member.with === undefined ? scope : { ...scope, bindings: bindingsOf(member, scope, scope.bindings) }
}

function bindingsOf(member: Member, scope: Scope, base: Scope['bindings']): Scope['bindings'] {
  if (typeof member.with !== 'object') return base
  const bindings = new Map(base ?? [])
  for (const [name, expression] of Object.entries(member.with)) if (expression !== 'caller') bindings.set(name, { expression, scope })
  return bindings
}

/** The property at a path of plain values. */
export function walk(value: unknown, path: readonly string[]): unknown {
  let at = value
  for (const step of path) {
    const name = identifier(step)
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return undefined
    at = (at as Record<string, unknown>)[name]
  }
  return at ?? undefined
}

/**
 * The value of an expression.
 *
 * @throws TypeError when it needs something of the context that is not there
 */
export function evaluated(expression: Expression, scope: Scope): bigint | undefined {
  const missing: string[] = []
  const value = evaluate(expression.tree, environment(scope, missing))
  if (value === undefined && missing.length > 0) throw new TypeError(`"${expression.text}" of ${scope.struct.name} needs context.${missing[0]}`)
  return value
}

/** The value of an expression, undefined also where the context lacks something. */
export function evaluatedIfKnown(expression: Expression, scope: Scope): bigint | undefined {
  return evaluate(expression.tree, environment(scope, []))
}

export function holds(condition: Expression | undefined, scope: Scope): boolean {
  return condition === undefined || (evaluated(condition, scope) ?? 0n) !== 0n
}

/** True for a member that is there; in config and registers every one is. */
export function isPresent(item: { when?: Expression }, scope: Scope): boolean {
  return isFixedLayout(scope.struct) || holds(item.when, scope)
}

/** A length: never negative, and never more than a number can say. */
export function toLength(value: bigint | undefined): number {
  if (value === undefined || value < 0n) return 0
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value)
}

const contentUses = new WeakMap<Expression, boolean>()

/** True when an expression depends on bytes, not only on what is negotiated or known beforehand. */
export function usesContent(expression: Expression): boolean {
  let uses = contentUses.get(expression)
  if (uses === undefined) {
    uses = [...nodes(expression.tree)].some((node) => node.op === 'field' && node.from !== 'config')
    contentUses.set(expression, uses)
  }
  return uses
}

/** Length of the area of a member; undefined where it is as long as its content. */
export function areaOf(member: Member, scope: Scope): number | undefined {
  if (member.framed) {
    const name = `${identifier(member.name)}_length`
    const length = scope.session.context.caller?.[name]
    if (length === undefined)
      throw new TypeError(`${scope.struct.name} needs context.caller.${name}: the length of the descriptor of "${member.name}"`)
    return length
  }
  if (member.area === undefined) return undefined
  const value = evaluated(member.area, scope)
  return value === undefined && isOptional(member.area) ? undefined : toLength(value)
}

/** `X if COND`: without the condition there is no such length. */
export function isOptional({ tree }: Expression): boolean {
  return tree.op === 'if' && tree.otherwise === undefined
}

/** Where a member of config or registers stands; without an offset of its own, behind the one before. */
export function placeOf(member: Member, scope: Scope & { base?: number }, position: number): number {
  const base = scope.base ?? 0
  if (member.at) return base + toLength(evaluated(member.at, scope))
  return member.offset === null ? position : base + member.offset
}

function environment(scope: Scope, missing: string[]): Environment {
  const { context } = scope.session
  return {
    feature: (name) => scope.session.hasFeature(name),
    field: (path) => integerOf(fieldValue(path, scope, missing)),
    get queueSize() {
      if (context.queueSize === undefined) missing.push('queueSize')
      return integerOf(context.queueSize)
    },
    caller: (name, byDefault) => {
      const value = walk(context.caller, [name]) ?? byDefault
      if (value === undefined) missing.push(`caller.${identifier(name)}`)
      return integerOf(value)
    },
  }
}

function integerOf(value: unknown): bigint | undefined {
  if (typeof value === 'bigint') return value
  if (typeof value === 'boolean') return value ? 1n : 0n
  return typeof value === 'number' && Number.isFinite(value) ? BigInt(Math.trunc(value)) : undefined
}

/** The number in a field, undefined where it is not known. */
export function numberAt(path: FieldPath, scope: Scope): bigint | undefined {
  const missing: string[] = []
  const value = integerOf(fieldValue(path, scope, missing))
  if (value === undefined && missing.length > 0)
    throw new TypeError(`${path.path.join('.')} decides about ${scope.struct.name}: it needs context.${missing[0]}`)
  return value
}

/** A field's plain value. One that its condition takes away counts as 0. */
function fieldValue({ from, path }: FieldPath, scope: Scope, missing: string[]): unknown {
  const { context } = scope.session
  switch (from) {
    case 'own':
      return walk(scope.value, path) ?? joined(scope.members, path, scope) ?? scope.absent(path)
    case 'readable':
      if (scope.readable === undefined) missing.push('given.readable')
      return scope.readable === undefined ? undefined : (walk(scope.readable, path) ?? 0)
    case 'config': {
      const value = walk(context.config, path)
      if (value === undefined) missing.push(`config.${path.map(identifier).join('.')}`)
      return value
    }
    case 'given': {
      const [name, ...rest] = path as [string, ...string[]]
      const binding = scope.bindings?.get(name)
      const base = binding ? boundValue(binding, missing) : (walk(context.given, [name]) ?? walk(context.caller, [name]))
      if (base === undefined && binding === undefined) missing.push(`given.${identifier(name)}`)
      return base === undefined || rest.length === 0 ? base : (walk(base, rest) ?? 0)
    }
  }
}

/** A path passes what stands there, be it a number or a struct; any other expression its value. */
function boundValue({ expression, scope }: Binding, missing: string[]): unknown {
  return expression.tree.op === 'field' ? fieldValue(expression.tree, scope, missing) : evaluate(expression.tree, environment(scope, missing))
}

/** The value of two joined registers. */
function joined(members: readonly Member[], path: readonly string[], scope: Scope): unknown {
  const high = path.length === 1 ? members.find((member) => member.pair?.name === path[0]) : undefined
  if (high?.pair === undefined) return undefined
  const upper = integerOf(walk(scope.value, [high.name]))
  const lower = integerOf(walk(scope.value, high.pair.low.split('.')))
  return upper === undefined || lower === undefined ? undefined : (upper << BigInt((high.size ?? 4) * 8)) | lower
}

/** A field of the model that a path leads to. */
export interface FoundField {
  member: Member
  /** Set for bits of a container. */
  field?: BitField
}

/** The declaration of the field at a path. */
export function declarationAt({ from, path }: FieldPath, scope: Scope): FoundField | undefined {
  const { session } = scope
  switch (from) {
    case 'own':
      return findField(session, scope.members, path)
    case 'readable':
      return findField(session, membersOf(scope.struct, 'readable'), path)
    case 'config':
      return findField(session, configMembers(session, scope.struct.chapter), path)
    case 'given': {
      const [name, ...rest] = path as [string, ...string[]]
      const binding = scope.bindings?.get(name)
      const tree = binding?.expression.tree
      if (binding && tree?.op === 'field') return declarationAt({ from: tree.from, path: [...tree.path, ...rest] }, binding.scope)
      const reference = scope.struct.given.find((given) => given.name === name)?.struct
      return reference && findField(session, session.struct(reference).members, rest)
    }
  }
}

function configMembers(session: Session, chapterName: string): readonly Member[] {
  const { chapters } = session.model
  const chapter = chapters.find(({ name }) => name === chapterName)
  const reach = [chapterName, ...(chapter?.uses ?? [])]
  const owner = reach.flatMap((name) => chapters.find((candidate) => candidate.name === name) ?? []).find(({ config }) => config !== undefined)
  return owner?.config === undefined ? [] : session.struct({ chapter: owner.name, name: owner.config }).members
}

/** The field at a path below members; members of what has no name stand at their parent's level. */
export function findField(session: Session, members: readonly Member[], path: readonly string[]): FoundField | undefined {
  const [name, ...rest] = path
  for (const member of members) {
    const found =
      member.name === ''
        ? fieldInside(session, member, path)
        : member.name === name
          ? rest.length === 0
            ? { member }
            : fieldInside(session, member, rest)
          : undefined
    if (found) return found
  }
  return undefined
}

function fieldInside(session: Session, member: Member, path: readonly string[]): FoundField | undefined {
  const { type } = member
  switch (type.kind) {
    case 'group':
      return findField(session, type.members, path)
    case 'union':
      return findField(session, type.arms, path)
    case 'struct':
      return findField(session, session.struct(type).members, path)
    case 'bits': {
      const field = path.length === 1 ? type.fields.find((candidate) => candidate.name === path[0]) : undefined
      return field && { member, field }
    }
    default:
      return undefined
  }
}
