/** Offsets and sizes: packed, with every conditional member present. Null stands for what varies. */
import { evaluate } from '../evaluate.ts'
import type { Dim, Member, Type } from '../model.ts'

/** Places members one behind the other from `start` on; gives the end. */
export function place(members: readonly Member[], start: number | null): number | null {
  let offset = start
  for (const member of members) offset = placeMember(member, offset)
  return offset
}

/** Places one member; gives where the next one starts. */
export function placeMember(member: Member, offset: number | null): number | null {
  member.offset = offset
  const one = placeType(member.type, offset)
  const natural = elements(member.dims, one)
  member.size = areaSize(member, natural)
  return offset === null || member.size === null ? null : offset + member.size
}

function placeType(type: Type, offset: number | null): number | null {
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
      const end = place(type.members, offset ?? 0)
      if (offset === null) place(type.members, null)
      return end === null ? null : end - (offset ?? 0)
    }
    case 'union': {
      const ends = type.arms.map((arm) => placeMember(arm, offset ?? 0))
      if (offset === null) for (const arm of type.arms) placeMember(arm, null)
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
