/** Names of the members of a struct: twice the same, or the same in TypeScript. */
import type { Member, Struct } from '../model.ts'
import { identifier, reservedMembers } from '../names.ts'
import type { Path } from '../source.ts'
import { isBytes } from '../values.ts'
import type { Layouts } from './layouts.ts'
import type { ChapterScope } from './workspace.ts'

interface Accessor {
  name: string
  /** What the description calls it. */
  original: string
  /** Where it is written. */
  path: Path
}

/** Accessors of a member: its own, those of its elements, and those of bits and arms of a named container, joined by `_`. */
function accessorsOf(member: Member, around: Path, layouts: Layouts): Accessor[] {
  // The copies of a named struct's members are pointed at by the line that brings them in.
  const path = layouts.pathOf(member) ?? around
  const { name, type } = member
  if (type.kind === 'group') return type.members.flatMap((inner) => accessorsOf(inner, path, layouts))
  // Reserved members have no accessor: the text repeats their names.
  if (member.reserved) return []
  const id = identifier(name)
  const inside = (inner: Accessor): Accessor =>
    name === '' ? inner : { ...inner, name: `${id}_${inner.name}`, original: `${name}.${inner.original}` }
  const own = [...(name === '' ? [] : [{ name: id, original: name, path }]), ...joined(member, path)]
  if (type.kind === 'union') return [...own, ...type.arms.flatMap((arm) => accessorsOf(arm, path, layouts)).map(inside)]
  if (type.kind === 'bits') {
    const fields = type.fields.filter((field) => field.name !== '' && !field.reserved)
    return [...own, ...fields.map((field) => inside({ name: identifier(field.name), original: field.name, path: layouts.pathOf(field) ?? path }))]
  }
  const isOneView = member.dims.length === 0 || (member.dims.length === 1 && isBytes(member))
  return isOneView ? own : [...own, { name: `set_${id}`, original: name, path }, { name: `${id}_length`, original: name, path }]
}

/** The name of two registers that are joined. */
function joined({ pair }: Member, path: Path): Accessor[] {
  return pair ? [{ name: identifier(pair.name), original: pair.name, path: [...path, 'pair', 'name'] }] : []
}

/** Reports duplicates, collisions after conversion and names the generated code keeps for itself. */
export function checkMemberNames(struct: Struct, path: Path, chapter: ChapterScope, layouts: Layouts): void {
  for (const part of struct.twoPart ? (['readable', 'writable'] as const) : [undefined]) {
    const seen = new Map<string, string>()
    for (const member of struct.members.filter((candidate) => candidate.part === part)) {
      for (const { name, original, path: at } of accessorsOf(member, path, layouts)) {
        const other = seen.get(name)
        const target = at.at(-2) === 'pair' ? 'value' : 'key'
        if (other === original) chapter.report('duplicate-name', at, `"${original}" stands twice in "${struct.name}"`, undefined, target)
        else if (other !== undefined)
          chapter.report('name-collision', at, `"${other}" and "${original}" of "${struct.name}" both become "${name}"`, undefined, target)
        if (isReserved(name, struct))
          chapter.report('reserved-word', at, `"${name}" cannot be the name of a member`, 'the generated code needs it for itself', target)
        seen.set(name, original)
      }
    }
  }
}

/** Registers are entries of a map and have no class. */
function isReserved(name: string, { role }: Struct): boolean {
  return role !== 'registers' && reservedMembers.has(name)
}
