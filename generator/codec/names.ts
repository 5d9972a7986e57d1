/** Names that members have in plain values and in paths. */
import type { Member } from '../model.ts'
import { identifier } from '../names.ts'

/** The property of a member; empty for what has no name and belongs to its parent. Open bytes without a name are `body`. */
export function valueName(member: Member): string {
  const { type } = member
  return identifier(member.name) || (type.kind === 'bytes' || type.kind === 'body' ? 'body' : '')
}

/** The properties that a member gives its parent. */
export function namesOf(member: Member): string[] {
  if (member.reserved) return []
  const name = valueName(member)
  const { type } = member
  if (name !== '') return [name]
  if (type.kind === 'group') return type.members.flatMap(namesOf)
  if (type.kind === 'union') return type.arms.flatMap(namesOf)
  return type.kind === 'bits' ? type.fields.filter((field) => field.name !== '' && !field.reserved).map((field) => identifier(field.name)) : []
}

/** Dotted path of a member; `_` stands for what has no name. */
export function join(path: string, name: string): string {
  const step = name === '' ? '_' : identifier(name)
  return path === '' ? step : `${path}.${step}`
}
