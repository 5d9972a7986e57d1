/** How long members are, known without reading them. */
import type { Expression, Member, Struct, Type } from '../model.ts'
import { isBytes } from '../values.ts'
import { presentArms, selectArm, type UnionType } from './choice.ts'
import { areaOf, evaluated, evaluatedIfKnown, groupScope, isOptional, type Outer, outerOf, type Scope, toLength, usesContent } from './scope.ts'
import { isFixedLayout, membersOf } from './session.ts'

export interface Extent {
  /** Bytes that must be there. */
  least: number
  /** True when the length does not depend on the content. */
  fixed: boolean
  /** The length; undefined where it is not known yet. */
  size: number | undefined
}

const nothing: Extent = { least: 0, fixed: true, size: 0 }
const unknown: Extent = { least: 0, fixed: false, size: undefined }

/** The length of a member in its place. */
export function extentOf(member: Member, scope: Scope): Extent {
  if (member.when === undefined || isFixedLayout(scope.struct)) return presentExtent(member, scope)
  if (usesContent(member.when)) {
    const present = evaluatedIfKnown(member.when, scope)
    if (present === undefined) return unknown
    return present === 0n ? { ...nothing, fixed: false } : { ...presentExtent(member, scope), least: 0, fixed: false }
  }
  return (evaluated(member.when, scope) ?? 0n) === 0n ? nothing : presentExtent(member, scope)
}

function presentExtent(member: Member, scope: Scope): Extent {
  const { area } = member
  if (member.framed) return exactly(areaOf(member, scope) ?? 0)
  if (area === undefined) return naturalExtent(member, scope)
  if (!usesContent(area)) {
    const size = areaOf(member, scope)
    return size === undefined ? naturalExtent(member, scope) : exactly(size)
  }
  const value = evaluatedIfKnown(area, scope)
  return value === undefined && isOptional(area) ? unknown : { ...unknown, size: value === undefined ? undefined : toLength(value) }
}

function exactly(size: number): Extent {
  return { least: size, fixed: true, size }
}

/** The length of the content of a member, all elements of it. */
export function naturalExtent(member: Member, scope: Scope): Extent {
  if (member.dims.length === 0) return typeExtent(member, scope)
  if (member.until !== undefined || (member.type.kind === 'struct' && scope.session.struct(member.type).head)) return unknown
  const element = member.stride ? lengthExtent(member.stride, scope) : typeExtent(member, scope)
  return member.dims.reduce((extent, dim) => {
    if (dim.length === undefined) return unknown
    return product(dim.count === null ? lengthExtent(dim.length, scope) : exactly(dim.count), extent)
  }, element)
}

/** A length or a number of elements, as an extent. */
function lengthExtent(length: Expression, scope: Scope): Extent {
  if (!usesContent(length)) return exactly(toLength(evaluated(length, scope)))
  const value = evaluatedIfKnown(length, scope)
  return { ...unknown, size: value === undefined ? undefined : toLength(value) }
}

function product(count: Extent, element: Extent): Extent {
  const size = count.size === 0 ? 0 : count.size === undefined || element.size === undefined ? undefined : count.size * element.size
  return { least: count.least * element.least, fixed: count.fixed && element.fixed, size }
}

/** The length of one element. */
export function typeExtent(member: Member, scope: Scope): Extent {
  const { type } = member
  switch (type.kind) {
    case 'integer':
      return exactly(type.bytes)
    case 'bits':
      return exactly(type.container.bytes)
    case 'bytes':
    case 'body':
      return unknown
    case 'group':
      return sequenceExtent(type.members, groupScope(member, scope))
    case 'union':
      return unionExtent(type, scope)
    case 'struct': {
      const struct = scope.session.struct(type)
      return structExtent(struct, outerOf(member, struct, scope))
    }
  }
}

/** The length of a struct of which nothing has been read. */
export function structExtent(struct: Struct, outer: Outer): Extent {
  if (struct.role === 'foreign' || isFixedLayout(struct)) return struct.size === null ? unknown : exactly(struct.size)
  const scope = unreadScope(struct, outer)
  const content = sequenceExtent(scope.members, scope)
  if (struct.length === undefined) return content
  const length = evaluatedIfKnown(struct.length, scope)
  return { least: content.least, fixed: false, size: length === undefined ? undefined : toLength(length) }
}

function unreadScope(struct: Struct, outer: Outer): Scope {
  const value = {}
  return { ...outer, struct, members: membersOf(struct, outer.part), value, here: value, absent: () => undefined }
}

function sequenceExtent(members: readonly Member[], scope: Scope): Extent {
  const extents = members.map((member) => extentOf(member, scope))
  const size = extents.reduce<number | undefined>(
    (sum, extent) => (sum === undefined || extent.size === undefined ? undefined : sum + extent.size),
    0,
  )
  return { least: leastOf(members, extents, scope), fixed: extents.every(({ fixed }) => fixed), size }
}

/**
 * Bytes that must be there: those up to the first member whose length the content says, and those behind a member that takes all that is left.
 * Behind a length that lies there may be nothing.
 */
function leastOf(members: readonly Member[], extents: readonly Extent[], scope: Scope): number {
  let least = 0
  let counts = true
  extents.forEach((extent, index) => {
    const open = isOpen(members[index] as Member, scope)
    if (counts || open) least += extent.least
    counts = open || (counts && extent.fixed)
  })
  return least
}

/** Bytes that members need at least. */
export function leastOfSequence(members: readonly Member[], scope: Scope): number {
  return leastOf(
    members,
    members.map((member) => extentOf(member, scope)),
    scope,
  )
}

/** A union is as long as its longest arm; where one of them has no fixed length, as the selected one. */
export function unionExtent(type: UnionType, scope: Scope): Extent {
  const arms = type.by === undefined || isFixedUnion(type) ? knownArms(type, scope) : undefined
  if (arms === undefined) {
    const arm = type.by === undefined ? undefined : armIfKnown(type, scope)
    return arm ? { ...extentOf(arm, scope), least: 0, fixed: false } : unknown
  }
  const extents = arms.map((arm) => extentOf(arm, scope))
  const sizes = extents.map(({ size }) => size)
  const size = sizes.some((each) => each === undefined) ? undefined : Math.max(0, ...(sizes as number[]))
  return { least: Math.max(0, ...extents.map(({ least }) => least)), fixed: isFixedUnion(type) && extents.every(({ fixed }) => fixed), size }
}

/** True when all arms have a fixed length, so that the union has one whatever is selected. One over a group is as long as what its constant holds. */
export function isFixedUnion(type: UnionType): boolean {
  return type.group === undefined && type.arms.every(({ size }) => size !== null)
}

function knownArms(type: UnionType, scope: Scope): Member[] | undefined {
  const isKnown = (arm: Member): boolean => isFixedLayout(scope.struct) || arm.when === undefined || evaluatedIfKnown(arm.when, scope) !== undefined
  return type.arms.every(isKnown) ? presentArms(type, scope) : undefined
}

function armIfKnown(type: UnionType, scope: Scope): Member | undefined {
  try {
    return selectArm(type, scope)
  } catch (error) {
    if (error instanceof TypeError) return undefined
    throw error
  }
}

/** True for a member that takes all that is left, itself or by what is in it. */
export function isOpen(member: Member, scope: Scope): boolean {
  if (member.framed || (member.area !== undefined && areaIsCertain(member.area, scope))) return false
  if (member.dims.some((dim) => dim.length === undefined)) return true
  return isOpenType(member.type, scope)
}

function areaIsCertain(area: Expression, scope: Scope): boolean {
  return !isOptional(area) || evaluatedIfKnown(area, scope) !== undefined
}

function isOpenType(type: Type, scope: Scope): boolean {
  switch (type.kind) {
    case 'bytes':
    case 'body':
      return true
    case 'group':
      return type.members.some((member) => isOpen(member, scope))
    case 'union':
      // What a constant that nobody knows selects may be of any length.
      return (type.by !== undefined && !isFixedUnion(type)) || type.arms.some((arm) => isOpen(arm, scope))
    case 'struct': {
      const struct = scope.session.struct(type)
      return struct.length === undefined && struct.role !== 'foreign' && membersOf(struct, scope.part).some((member) => isOpen(member, scope))
    }
    default:
      return false
  }
}

/** True for an array whose innermost dimension is a Uint8Array. */
export function isByteArray(member: Member): boolean {
  return member.dims.length > 0 && isBytes(member)
}
