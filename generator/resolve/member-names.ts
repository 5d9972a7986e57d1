/** Names of the members of a struct: twice the same, or the same in TypeScript. */
import { identifier, reservedMembers } from '../names.ts'
import type { Member, Struct } from '../model.ts'
import type { Path } from '../source.ts'
import type { ChapterScope } from './workspace.ts'

/** Accessor names of a member: its own, and those of bits and arms of a named container, joined by `_`. */
export function accessorNames(member: Member): string[] {
  const own = member.name === '' ? [] : [identifier(member.name)]
  const prefix = member.name === '' ? '' : `${identifier(member.name)}_`
  switch (member.type.kind) {
    case 'group':
      return member.type.members.flatMap(accessorNames)
    case 'bits':
      return [...own, ...member.type.fields.filter((field) => field.name !== '' && !field.reserved).map((field) => prefix + identifier(field.name))]
    case 'union':
      return [...own, ...member.type.arms.flatMap(accessorNames).map((name) => prefix + name)]
    default:
      return own
  }
}

/** Reports duplicates, collisions after conversion and names the generated code keeps for itself. */
export function checkMemberNames(struct: Struct, path: Path, chapter: ChapterScope): void {
  for (const part of struct.twoPart ? (['readable', 'writable'] as const) : [undefined]) {
    const seen = new Map<string, string>()
    for (const member of struct.members.filter((candidate) => candidate.part === part)) checkMember(member, seen, struct, path, chapter)
  }
}

function checkMember(member: Member, seen: Map<string, string>, struct: Struct, path: Path, chapter: ChapterScope): void {
  if (member.type.kind === 'group') {
    for (const inner of member.type.members) checkMember(inner, seen, struct, path, chapter)
    return
  }
  // Reserved members have no accessor: the text repeats their names.
  if (member.reserved && member.name !== '') return
  const original = member.name === '' ? '(anonymous)' : member.name
  for (const name of new Set(accessorNames(member))) {
    const other = seen.get(name)
    if (other !== undefined) {
      const code = other === original ? 'duplicate-name' : 'name-collision'
      const message = code === 'duplicate-name' ? `"${original}" stands twice in "${struct.name}"` : `"${other}" and "${original}" of "${struct.name}" both become "${name}"`
      chapter.report(code, memberPath(path, chapter, member), message, undefined, 'key')
    }
    if (reservedMembers.has(name) && name !== 'at') {
      chapter.report('reserved-word', memberPath(path, chapter, member), `"${name}" cannot be the name of a member`, 'JavaScript needs it for itself', 'key')
    }
    seen.set(name, original)
  }
}

/** The last place in the struct where a member of that name is written. */
function memberPath(path: Path, chapter: ChapterScope, member: Member): Path {
  let value: unknown = chapter.ast
  for (const step of path) value = (value as Record<string | number, unknown> | undefined)?.[step]
  const lists = Array.isArray(value)
    ? [[[], value] as const]
    : (['fields', 'readable', 'writable'] as const).flatMap((key) => {
        const items = (value as Record<string, unknown> | undefined)?.[key]
        return Array.isArray(items) ? [[[key], items] as const] : []
      })
  for (const [step, items] of lists) {
    for (let index = items.length - 1; index >= 0; index--) {
      const key = Object.keys(items[index] as object)[0] as string
      if (key.split('[')[0] === member.name) return [...path, ...step, index, key]
    }
  }
  return path
}
