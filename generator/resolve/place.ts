/** Offsets and sizes: packed, with every conditional member present save those that the program must ask for. Null stands for what varies. */
import { evaluate, isOffByDefault } from '../evaluate.ts'
import type { Dim, Member, Part, Type } from '../model.ts'

/** Offsets that are written in the description; null where such an offset depends on something. */
export type FixedOffsets = ReadonlyMap<Member, number | null>

/** Places members one behind the other from `start` on, or where `fixed` says; gives the end. */
export function place(members: readonly Member[], start: number | null, fixed?: FixedOffsets): number | null {
  let next = start
  let end = start
  for (const member of members) {
    const at = fixed?.get(member)
    next = placeMember(member, at === undefined ? next : at, fixed)
    end = end === null || next === null ? null : Math.max(end, next)
  }
  return end
}

/** Places one member; gives where the next one starts. */
function placeMember(member: Member, offset: number | null, fixed: FixedOffsets | undefined): number | null {
  member.offset = offset
  const one = placeType(member.type, offset, fixed)
  member.size = areaSize(member, elements(member.dims, one))
  if (isOffByDefault(member.when)) return offset
  return offset === null || member.size === null ? null : offset + member.size
}

function placeType(type: Type, offset: number | null, fixed: FixedOffsets | undefined): number | null {
  switch (type.kind) {
    case 'integer':
      return type.bytes
    case 'bits':
      return type.container.bytes
    case 'struct':
      return type.size
    case 'bytes':
    case 'body':
      return null
    case 'group': {
      const end = place(type.members, offset ?? 0, fixed)
      if (offset === null) place(type.members, null, fixed)
      return end === null ? null : end - (offset ?? 0)
    }
    case 'union': {
      const ends = type.arms.map((arm) => placeMember(arm, offset ?? 0, fixed))
      if (offset === null) for (const arm of type.arms) placeMember(arm, null, fixed)
      // What other chapters add to the group must not change the layout here.
      return type.group || ends.some((end) => end === null) ? null : Math.max(0, ...(ends as number[])) - (offset ?? 0)
    }
  }
}

function elements(dims: readonly Dim[], one: number | null): number | null {
  let size = one
  for (const { count } of dims) size = size === null || count === null ? null : size * count
  return size
}

/** The declared length of an area; one that depends on a condition is listed without it. */
function areaSize(member: Member, natural: number | null): number | null {
  if (member.area === undefined) return natural
  const size = evaluate(member.area.tree)
  if (size !== undefined) return Number(size)
  return member.area.tree.op === 'if' && member.area.tree.otherwise === undefined ? natural : null
}

/** True for a member that takes all that is left of its part. */
export function isOpen(member: Member): boolean {
  if (member.area !== undefined || member.framed) return false
  if (member.type.kind === 'bytes' || member.type.kind === 'body') return true
  return member.dims.some((dim) => dim.length === undefined)
}

/** The members of a part; all of them where there are no parts. */
export function inPart(members: readonly Member[], part: Part | undefined): Member[] {
  return members.filter((member) => member.part === undefined || part === undefined || member.part === part)
}

/** Copies of members, so that each place has its own offsets. */
export function copyMembers(members: readonly Member[], part: Part | undefined): Member[] {
  return inPart(members, part).map((member) => {
    const copy: Member = { ...member }
    if (part) copy.part = part
    if (copy.type.kind === 'group') copy.type = { ...copy.type, members: copyMembers(copy.type.members, part) }
    if (copy.type.kind === 'union') copy.type = { ...copy.type, arms: copyMembers(copy.type.arms, part) }
    return copy
  })
}
