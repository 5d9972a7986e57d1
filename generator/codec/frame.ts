/** Where members stand that have not been read yet: a length or a choice may depend on a field behind it. */
import type { Member } from '../model.ts'
import { extentOf, isOpen } from './extent.ts'
import { placeOf, type Scope } from './scope.ts'
import { isFixedLayout } from './session.ts'

/** A row of members in work. */
export interface Frame<S extends Scope> {
  members: readonly Member[]
  scope: S
  /** The member in work; -1 before the first. */
  index: number
  /** Where it begins. */
  position: number
  /** Where the row ends at the latest; where one of its members is open, it ends exactly there. */
  end: number
}

/** Where a member behind the one in work begins: counted from the front, or from the end where a member before it takes all that is left. */
export function startOf<S extends Scope>({ members, scope, index, position, end }: Frame<S>, target: number): number | undefined {
  if (isFixedLayout(scope.struct)) return placeOf(members[target] as Member, scope, position)
  const before = sumOfSizes(members.slice(Math.max(0, index), target), scope)
  if (before !== undefined) return position + before
  const isFromEnd = members.slice(0, target).some((member) => isOpen(member, scope))
  const rest = isFromEnd ? sumOfSizes(members.slice(target), scope) : undefined
  return rest === undefined ? undefined : end - rest
}

function sumOfSizes(members: readonly Member[], scope: Scope): number | undefined {
  let sum = 0
  for (const member of members) {
    const { size } = extentOf(member, scope)
    if (size === undefined) return undefined
    sum += size
  }
  return sum
}

/** True when a member gives the struct a field of that name. */
export function provides(member: Member, name: string): boolean {
  const { type } = member
  if (member.name !== '') return member.name === name
  if (type.kind === 'group') return type.members.some((inner) => provides(inner, name))
  if (type.kind === 'union') return type.arms.some((arm) => provides(arm, name))
  return type.kind === 'bits' && type.fields.some((field) => field.name === name)
}
