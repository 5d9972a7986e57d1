/** Types of plain values without the members that are decided already. */
import type { Member } from '../../model.ts'
import { identifier } from '../../names.ts'
import { quote } from '../code.ts'
import type { PartClass } from '../parts.ts'
import type { Imports } from '../wire/imports.ts'
import type { DeviceChapter } from './device-chapter.ts'
import { flagBits, valueNames } from './fields.ts'

/**
 * The value that a caller may give: without the members that select the request, all optional. A deciding member with flags beside its value stays.
 *
 * @returns undefined where nothing remains
 */
export function remainingType(
  device: DeviceChapter,
  imports: Imports,
  { name }: PartClass,
  decided: readonly string[][],
  members: readonly Member[],
): string | undefined {
  const { model, needs, chapter } = device
  const settled = decided.filter((path) => flagBits(model, needs, members, path) === undefined)
  return remaining(device, imports, () => imports.part(chapter.name, `${name}Value`, true), settled, members)
}

function remaining(
  device: DeviceChapter,
  imports: Imports,
  type: () => string,
  paths: readonly (readonly string[])[],
  members: readonly Member[],
): string | undefined {
  const omitted = new Set<string>()
  const nested: string[] = []
  for (const first of new Set(paths.map(([step]) => step as string))) {
    const inner = paths.filter(([step]) => step === first).map((path) => path.slice(1))
    const struct = structAt(device, members, first)
    if (inner.some(({ length }) => length === 0)) omitted.add(identifier(first))
    else if (struct) {
      omitted.add(identifier(first))
      const value = (): string => imports.class({ chapter: struct.chapter, name: struct.name }, 'Value', true)
      const rest = remaining(device, imports, value, inner, struct.members)
      if (rest !== undefined) nested.push(`${identifier(first)}?: ${rest}`)
    }
  }
  const rest = valueNames(members).filter((each) => !omitted.has(each))
  const parts = [...(rest.length > 0 ? [omit(type(), omitted, 'Partial')] : []), ...(nested.length > 0 ? [`{ ${nested.join('; ')} }`] : [])]
  return parts.length === 0 ? undefined : parts.join(' & ')
}

/** The value of a reply as a driver gets it: without its status. */
export function replyType(
  device: DeviceChapter,
  imports: Imports,
  { name }: PartClass,
  status: readonly string[] | undefined,
  members: readonly Member[],
): string | undefined {
  const [first, second] = status ?? []
  const omitted = new Set<string>()
  const struct = first === undefined ? undefined : structAt(device, members, first)
  const only = struct && second !== undefined && valueNames(struct.members).every((each) => each === identifier(second))
  if (first !== undefined && (second === undefined || only)) omitted.add(identifier(first))
  const rest = valueNames(members).filter((each) => !omitted.has(each))
  return rest.length === 0 ? undefined : omit(imports.part(device.chapter.name, `${name}Value`, true), omitted, undefined)
}

function omit(type: string, names: ReadonlySet<string>, around: string | undefined): string {
  const text = names.size === 0 ? type : `Omit<${type}, ${[...names].map(quote).join(' | ')}>`
  return around === undefined ? text : `${around}<${text}>`
}

function structAt({ needs }: DeviceChapter, members: readonly Member[], name: string) {
  const member = needs.memberAt(members, [name])
  return member?.type.kind === 'struct' && member.dims.length === 0 ? needs.struct(member.type) : undefined
}
