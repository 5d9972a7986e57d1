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
}

/** Accessors of a member: its own, those of its elements, and those of bits and arms of a named container, joined by `_`. */
function accessorsOf(member: Member): Accessor[] {
  const { name, type } = member
  if (type.kind === 'group') return type.members.flatMap(accessorsOf)
  const id = identifier(name)
  const inside = (inner: Accessor): Accessor => (name === '' ? inner : { name: `${id}_${inner.name}`, original: `${name}.${inner.original}` })
  const own = name === '' ? [] : [{ name: id, original: name }]
  if (type.kind === 'union') return [...own, ...type.arms.flatMap(accessorsOf).map(inside)]
  if (type.kind === 'bits')
    return [
      ...own,
      ...type.fields.flatMap((field) =>
        field.name === '' || field.reserved ? [] : [inside({ name: identifier(field.name), original: field.name })],
      ),
    ]
  const isOneView = member.dims.length === 0 || (member.dims.length === 1 && isBytes(member))
  return isOneView ? own : [...own, { name: `set_${id}`, original: name }, { name: `${id}_length`, original: name }]
}

/** Reports duplicates, collisions after conversion and names the generated code keeps for itself. */
export function checkMemberNames(struct: Struct, path: Path, chapter: ChapterScope, layouts: Layouts): void {
  for (const part of struct.twoPart ? (['readable', 'writable'] as const) : [undefined]) {
    const seen = new Map<string, string>()
    const claim = (name: string, original: string, at: Path): void => {
      const other = seen.get(name)
      if (other === original) chapter.report('duplicate-name', at, `"${original}" stands twice in "${struct.name}"`, undefined, 'key')
      else if (other !== undefined)
        chapter.report('name-collision', at, `"${other}" and "${original}" of "${struct.name}" both become "${name}"`, undefined, 'key')
      if (isReserved(name, struct))
        chapter.report('reserved-word', at, `"${name}" cannot be the name of a member`, 'the generated code needs it for itself', 'key')
      seen.set(name, original)
    }
    for (const member of struct.members.filter((candidate) => candidate.part === part)) claimNames(member, path, claim, layouts)
  }
}

function isReserved(name: string, { role }: Struct): boolean {
  return role === 'registers' ? name === '__proto__' : reservedMembers.has(name)
}

function claimNames(member: Member, around: Path, claim: (name: string, original: string, at: Path) => void, layouts: Layouts): void {
  // The copies of a named struct's members are pointed at by the line that brings them in.
  const at = layouts.pathOf(member) ?? around
  if (member.type.kind === 'group') {
    for (const inner of member.type.members) claimNames(inner, at, claim, layouts)
    return
  }
  // Reserved members have no accessor: the text repeats their names.
  if (member.reserved) return
  for (const { name, original } of accessorsOf(member)) claim(name, original, at)
  if (member.pair) claim(identifier(member.pair.name), member.pair.name, [...at, 'pair', 'name'])
}
