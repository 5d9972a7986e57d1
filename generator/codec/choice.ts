/** Choices: which arm of a union a value selects, and which struct stands behind a head. */
import type { Constant, Group, Member, Model, Reference, Struct, Type } from '../model.ts'
import { declarationAt, type FoundField, findField, holds, isPresent, numberAt, type Scope } from './scope.ts'
import type { Session } from './session.ts'

export type UnionType = Extract<Type, { kind: 'union' }>

/** The bits of a field that hold its enum; undefined: all of them. Flags may share the integer. */
export function enumBits(model: Model, { member, field }: FoundField): bigint | undefined {
  if (field === undefined && member.mask !== undefined) return BigInt(member.mask)
  const { enum: group, flags } = field ?? member
  if (group === undefined || flags === undefined) return undefined
  const taken = flags.flatMap((reference) => familyOf(model, reference)).flatMap(({ constants }) => constants)
  return ~taken.reduce((bits, { value }) => bits | BigInt(value), 0n)
}

const families = new WeakMap<Model, Map<string, Group[]>>()

/** A group and those of other chapters that extend its id space. Looked up once: every element of a list asks for it. */
export function familyOf(model: Model, group: Reference): Group[] {
  const known = families.get(model) ?? new Map<string, Group[]>()
  families.set(model, known)
  const key = `${group.chapter}/${group.name}`
  const family = known.get(key) ?? findFamily(model, group)
  known.set(key, family)
  return family
}

function findFamily(model: Model, { chapter, name }: Reference): Group[] {
  const groups = model.chapters.flatMap((each) => each.groups)
  return groups.filter(
    (group) => (group.chapter === chapter && group.name === name) || (group.extends?.chapter === chapter && group.extends.group === name),
  )
}

/**
 * The arm that the deciding field selects: by its constant, else by its condition, else the arm that has neither.
 *
 * @throws TypeError when the context lacks the deciding field
 */
export function selectArm(type: UnionType, scope: Scope): Member | undefined {
  const selector = selectorOf(type, scope)
  if (type.by !== undefined && selector === undefined) return undefined
  const candidates = type.arms.filter((arm) =>
    arm.is === undefined ? holds(arm.when, scope) : arm.is.some(({ value }) => BigInt(value) === selector) && isPresent(arm, scope),
  )
  const rank = (arm: Member): number => (arm.is !== undefined ? 0 : arm.when !== undefined ? 1 : 2)
  return candidates.sort((a, b) => rank(a) - rank(b))[0]
}

function selectorOf({ by }: UnionType, scope: Scope): bigint | undefined {
  if (by === undefined) return undefined
  const value = numberAt(by, scope)
  const declaration = declarationAt(by, scope)
  const mask = declaration && enumBits(scope.session.model, declaration)
  return value === undefined || mask === undefined ? value : value & mask
}

/** The arms that are there; without a deciding field all are views of the same bytes. */
export function presentArms(type: UnionType, scope: Scope): Member[] {
  return type.arms.filter((arm) => isPresent(arm, scope))
}

/** A struct that a head may begin. */
export interface Held {
  constant: Constant
  struct: Reference
}

/** The structs behind a head, by the constants of its deciding field. */
export function heldStructs(session: Session, head: Struct): Held[] {
  const by = head.head && findField(session, head.members, head.head.by)
  const group = by && (by.field ?? by.member).enum
  if (group === undefined) return []
  return familyOf(session.model, group)
    .flatMap(({ constants }) => constants)
    .flatMap((constant) => (constant.holds ? [{ constant, struct: constant.holds }] : []))
}

/** The deciding value of a head that has been read; `scope` is that of the head. */
export function headSelector(head: Struct, scope: Scope): bigint | undefined {
  const by = head.head?.by ?? []
  const value = numberAt({ from: 'own', path: by }, scope)
  const declaration = findField(scope.session, head.members, by)
  const mask = declaration && enumBits(scope.session.model, declaration)
  return value === undefined || mask === undefined ? value : value & mask
}
