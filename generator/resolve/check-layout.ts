/** What a struct must keep once its members are placed. */
import { evaluate, nodes } from '../evaluate.ts'
import type { Expression, Member, Part, Struct, Type } from '../model.ts'
import type { Path, Target } from '../source.ts'
import { areExclusive } from './conditions.ts'
import type { Layouts } from './layouts.ts'
import { inPart, isOpen } from './place.ts'
import type { ChapterScope } from './workspace.ts'

export function checkLayout(struct: Struct, path: Path, chapter: ChapterScope, layouts: Layouts): void {
  // What follows would only repeat that something is missing.
  if (layouts.isIncomplete(struct)) return
  const isFixed = struct.role === 'config' || struct.role === 'registers'
  for (const part of struct.twoPart ? (['readable', 'writable'] as const) : [undefined]) {
    const members = struct.members.filter((member) => member.part === part)
    checkOpen(members, part, path, chapter, layouts)
    if (isFixed) checkOverlap(members, path, chapter, layouts)
    else checkOrder(members, chapter, layouts)
  }
  for (const member of allMembers(struct.members)) {
    checkOffset(member, chapter, layouts)
    checkArea(member, chapter, layouts)
  }
}

/** A member and those inside it at the same level: groups and arms. */
function* allMembers(members: readonly Member[]): Generator<Member> {
  for (const member of members) {
    yield member
    if (member.type.kind === 'group') yield* allMembers(member.type.members)
    if (member.type.kind === 'union') yield* allMembers(member.type.arms)
  }
}

/** Members with those of groups in their place; each with the conditions of the groups around it. */
export function flattened(members: readonly Member[], whens: readonly Expression[] = []): { member: Member; whens: readonly Expression[] }[] {
  return members.flatMap((member) => {
    const all = member.when ? [...whens, member.when] : whens
    return member.type.kind === 'group' ? flattened(member.type.members, all) : [{ member, whens: all }]
  })
}

function checkOpen(members: readonly Member[], part: Part | undefined, path: Path, chapter: ChapterScope, layouts: Layouts): void {
  const open = flattened(members).filter(({ member }) => takesRest(member, layouts))
  const [first, second] = open.map(({ member }) => member)
  if (first === undefined) return
  const at = layouts.pathOf(second ?? first) ?? path
  if (first.type.kind === 'body' && second?.type.kind === 'body') {
    chapter.report('open-member', at, `\`body\` stands twice in the ${part} part`, 'a request has one place for its members in each part', 'key')
  } else if (second !== undefined) {
    const rest = `all that is left${part ? ` of the ${part} part` : ''}`
    chapter.report('open-member', at, `${nameOf(second)} takes ${rest}, and so does ${nameOf(first)}`, 'give one of them a length', 'key')
  } else if (first.type.kind === 'struct' && first.dims.length > 0 && first.stride === undefined && structTakesRest(first, layouts)) {
    chapter.report(
      'open-member',
      at,
      `each element of ${nameOf(first)} takes all that is left`,
      'give "size" to the struct, or `stride` to the array',
      'key',
    )
  }
}

function nameOf(member: Member): string {
  return member.name === '' ? (namelessNouns[member.type.kind] ?? member.type.kind) : `"${member.name}"`
}

const namelessNouns: Readonly<Partial<Record<Type['kind'], string>>> = {
  group: 'the group',
  union: 'the union',
  bits: 'the row of bit-fields',
  body: '`body`',
}

/** True for what takes all that is left, itself or through a struct that does. */
function takesRest(member: Member, layouts: Layouts): boolean {
  if (member.area !== undefined || member.framed) return false
  if (isOpen(member)) return true
  if (member.type.kind === 'union') return member.type.arms.some((arm) => flattened([arm]).some((inner) => takesRest(inner.member, layouts)))
  return structTakesRest(member, layouts)
}

function structTakesRest({ type, part }: Member, layouts: Layouts): boolean {
  const struct = type.kind === 'struct' ? layouts.find(type) : undefined
  if (struct === undefined || struct.head || struct.length) return false
  return flattened(inPart(struct.members, part)).some(({ member }) => takesRest(member, layouts))
}

/** In fixed layouts nothing may cover anything else, unless they are never there at once. */
function checkOverlap(members: readonly Member[], path: Path, chapter: ChapterScope, layouts: Layouts): void {
  const taken: { from: number; to: number; member: Member; whens: readonly Expression[] }[] = []
  for (const { member, whens } of flattened(members)) {
    if (member.offset === null) continue
    const from = member.offset
    // Of what is open only the start is known.
    const to = from + (member.size ?? 1)
    const other = taken.find(
      (range) => range.from < to && from < range.to && !excludes(whens, range.whens) && !isOtherDirection(member, range.member),
    )
    if (other)
      chapter.report(
        'overlap',
        layouts.pathOf(member) ?? path,
        `${nameOf(member)} covers ${hex(Math.max(from, other.from))}, which belongs to ${nameOf(other.member)}`,
        undefined,
        'key',
      )
    taken.push({ from, to, member, whens })
  }
}

function excludes(first: readonly Expression[], second: readonly Expression[]): boolean {
  return first.some((condition) => second.some((other) => areExclusive(condition, other)))
}

/** One register to read, another to write. */
function isOtherDirection(first: Member, second: Member): boolean {
  const modes = [first, second].map(({ access }) => access?.mode ?? 'r')
  return modes.includes('w') && modes.some((mode) => mode === 'r' || mode === 'rc')
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(3, '0')}`
}

function checkOffset(member: Member, chapter: ChapterScope, layouts: Layouts): void {
  const declared = layouts.declaredOffsets.get(member)
  if (declared === undefined || member.offset === declared) return
  const is = member.offset === null ? 'varies' : `is ${member.offset}`
  const path: Path = [...(layouts.pathOf(member) ?? []), 'at']
  chapter.report(
    'offset-mismatch',
    path,
    `declared at ${declared}, but the offset of "${member.name}" ${is}`,
    'correct the members before it, or drop `at`',
  )
}

/** An area of fixed length has room for what is in it. */
function checkArea(member: Member, chapter: ChapterScope, layouts: Layouts): void {
  const path = layouts.pathOf(member) ?? []
  const tree = member.area?.tree
  const area = tree && evaluate(tree.op === 'if' ? tree.value : tree)
  const natural = naturalSize(member)
  if (area !== undefined && natural !== null && area < natural) {
    chapter.report('size-mismatch', [...path, 'size'], `an area of ${bytes(area)}, but ${nameOf(member)} takes ${bytes(natural)}`)
  }
  const stride = member.stride && evaluate(member.stride.tree)
  const element = sizeOfType(member)
  if (stride !== undefined && element !== null && stride < element) {
    chapter.report('size-mismatch', [...path, 'stride'], `elements take ${bytes(element)}, but there are only ${stride} from one to the next`)
  }
}

function bytes(size: number | bigint): string {
  return `${size} byte${Number(size) === 1 ? '' : 's'}`
}

function naturalSize(member: Member): number | null {
  return member.dims.reduce<number | null>((size, { count }) => (size === null || count === null ? null : size * count), sizeOfType(member))
}

function sizeOfType({ type }: Member): number | null {
  switch (type.kind) {
    case 'integer':
      return type.bytes
    case 'struct':
      return type.size
    case 'union':
      return type.arms.reduce<number | null>((largest, { size }) => (largest === null || size === null ? null : Math.max(largest, size)), 0)
    default:
      return null
  }
}

/**
 * In packed layouts what a length or presence depends on must have a place that does not depend on it in turn: it stands before it or,
 * for what is found from the end, behind it.
 */
function checkOrder(members: readonly Member[], chapter: ChapterScope, layouts: Layouts): void {
  const row = flattened(members).map(({ member }) => member)
  const open = row.findIndex((member) => takesRest(member, layouts))
  const positions = new Map<string, number>()
  row.forEach((member, position) => {
    for (const name of namesOf(member)) if (!positions.has(name)) positions.set(name, position)
  })
  for (const member of withGroups(members)) {
    const path = layouts.pathOf(member)
    const position = row.indexOf(flattened([member])[0]?.member as Member)
    if (path === undefined || position < 0) continue
    const isFromEnd = open >= 0 && position > open
    const isKnown = (other: number): boolean => (isFromEnd ? other < open || other > position : other < position)
    for (const { expression, at, target } of dependencies(member, path)) {
      const name = ownNames(expression).find((own) => positions.has(own) && !isKnown(positions.get(own) as number))
      if (name === undefined) continue
      const what = namesOf(member).includes(name) ? 'itself' : `"${name}", whose place depends on ${nameOf(member)}`
      chapter.report('place-cycle', at, `${nameOf(member)} depends on ${what}`, undefined, target)
    }
  }
}

function withGroups(members: readonly Member[]): Member[] {
  return members.flatMap((member) => (member.type.kind === 'group' ? [member, ...withGroups(member.type.members)] : [member]))
}

/** Names that a member adds to its struct. */
function namesOf(member: Member): string[] {
  if (member.name !== '') return [member.name]
  if (member.type.kind === 'union') return flattened(member.type.arms).flatMap((arm) => namesOf(arm.member))
  if (member.type.kind === 'group') return flattened([member]).flatMap((inner) => namesOf(inner.member))
  return member.type.kind === 'bits' ? member.type.fields.map(({ name }) => name) : []
}

/** What the presence and length of a member depend on. */
function dependencies(member: Member, path: Path): { expression: Expression; at: Path; target: Target | undefined }[] {
  const found: { expression: Expression | undefined; at: Path; target?: Target }[] = [
    { expression: member.when, at: [...path, 'when'] },
    { expression: member.area, at: [...path, 'size'] },
    { expression: member.stride, at: [...path, 'stride'] },
    ...member.dims.map(({ length }) => ({ expression: length, at: path, target: 'key' as const })),
  ]
  // The choice of an arm matters only where arms differ in length.
  if (member.size === null && member.area === undefined) {
    if (member.type.kind === 'union' && member.type.by)
      found.push({ expression: { text: '', tree: { op: 'field', ...member.type.by } }, at: [...path, 'by'] })
    if (typeof member.with === 'object')
      for (const [name, bound] of Object.entries(member.with)) if (bound !== 'caller') found.push({ expression: bound, at: [...path, 'with', name] })
  }
  return found.flatMap(({ expression, at, target }) => (expression ? [{ expression, at, target }] : []))
}

function ownNames(expression: Expression): string[] {
  return [...nodes(expression.tree)].flatMap((node) => (node.op === 'field' && node.from === 'own' ? [node.path[0] as string] : []))
}
