/** The members of a struct (or of one part of it) as a row of slots, each with the way its start and its length are known. */
import type { Expression, Member, Part, Struct } from '../../model.ts'
import { identifier } from '../../names.ts'
import { isBytes } from '../../values.ts'
import { type Dependence, dependence, type Needs } from './needs.ts'

/**
 * `fixed`: a number. `layout`: known once per negotiation. `content`: behind a member whose length stands in the bytes.
 * `end`: behind a member that takes all that is left, counted from the end.
 */
export type Start = { kind: 'fixed'; offset: number } | { kind: 'layout' } | { kind: 'content'; previous: Slot } | { kind: 'end' }

export interface Slot {
  member: Member
  /** Name of its accessor; empty for bit containers and unions without a name. */
  id: string
  /** Name of what belongs to it internally. */
  key: string
  /** Conditions, its own and those of the groups around it; all must hold. */
  whens: Expression[]
  start: Start
  /** What its length, presence included, depends on; `open`: all that is left. */
  length: Dependence | 'open'
}

export function slotsOf(needs: Needs, struct: Struct, part: Part | undefined): Slot[] {
  const fixedLayout = struct.role === 'config' || struct.role === 'registers'
  const slots: Slot[] = []
  let known: 'fixed' | 'layout' | 'content' | 'end' = 'fixed'
  let offset = 0
  let anonymous = 0
  const add = (member: Member, whens: Expression[]): void => {
    const id = identifier(member.name) || (member.type.kind === 'bytes' || member.type.kind === 'body' ? 'body' : '')
    const key = id === '' ? `$${anonymous++}` : id
    const length = lengthOf(needs, member, fixedLayout ? [] : whens)
    const previous = slots.at(-1)
    let start: Start
    if (fixedLayout) start = { kind: 'fixed', offset: member.offset ?? 0 }
    else if (known === 'fixed') start = { kind: 'fixed', offset }
    else if (known === 'content') start = { kind: 'content', previous: previous as Slot }
    else start = { kind: known }
    // A condition of a member with a fixed start is still looked up in the layout: there its offset says whether it is there.
    if (start.kind === 'fixed' && !fixedLayout && whens.length > 0 && dependence(whens) === 'context') start = { kind: 'layout' }
    slots.push({ member, id, key, whens: fixedLayout ? [] : whens, start, length })
    if (known === 'end') return
    if (length === 'open') known = 'end'
    else if (length === 'content') known = 'content'
    else if (length === 'context' && known === 'fixed') known = 'layout'
    if (known === 'fixed') offset += member.size ?? 0
  }
  const walk = (members: readonly Member[], whens: Expression[]): void => {
    for (const member of members) {
      const all = member.when ? [...whens, member.when] : whens
      if (member.type.kind === 'group' && member.dims.length === 0) walk(member.type.members, all)
      else add(member, all)
    }
  }
  walk(needs.members(struct, part), [])
  return slots
}

/** The slot of an open array whose elements are of one length and longer than a byte: what is left need not be whole elements. */
export function elementsSlot(needs: Needs, slots: readonly Slot[]): Slot | undefined {
  const open = slots.find((slot) => slot.length === 'open')
  if (open === undefined || open.member.dims.length === 0 || open.member.reserved || needs.isList(open.member)) return undefined
  return isBytes(open.member) && open.member.dims.length === 1 ? undefined : open
}

function lengthOf(needs: Needs, member: Member, whens: readonly Expression[]): Slot['length'] {
  if (needs.isOpenMember(member)) return 'open'
  const when = dependence(whens)
  if (when === 'content' || needs.isVariableMember(member)) return 'content'
  const rest = dependence([member.area, member.stride, ...member.dims.map((dim) => dim.length)])
  const framed = member.framed ? 'context' : 'constant'
  return [when, rest, framed, nestedLength(needs, member)].includes('context') ? 'context' : 'constant'
}

/** Whether the length of the type itself depends on the negotiation. */
function nestedLength(needs: Needs, member: Member): Dependence {
  const { type } = member
  if (member.area && dependence([member.area]) === 'constant') return 'constant'
  if (type.kind === 'struct') {
    const part = needs.partOf(type, member.part)
    return hasContextLength(needs, needs.struct(type), part) ? 'context' : 'constant'
  }
  if (type.kind === 'union') {
    return type.arms.some(
      (arm) =>
        lengthOf(needs, arm, []) === 'context' ||
        (arm.type.kind === 'group' && arm.type.members.some((inner) => lengthOf(needs, inner, inner.when ? [inner.when] : []) === 'context')),
    )
      ? 'context'
      : 'constant'
  }
  return 'constant'
}

/** True when the size of a struct is not a number of the specification but known once per negotiation. */
export function hasContextLength(needs: Needs, struct: Struct, part: Part | undefined): boolean {
  if (needs.isVariable(struct, part) || struct.role === 'foreign') return false
  return slotsOf(needs, struct, part).some((slot) => slot.length === 'context')
}
