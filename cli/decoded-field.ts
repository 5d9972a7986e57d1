/** One decoded field: its bytes and what its value means. */
import type { DecodedField } from '../generator/codec.ts'
import { evaluate } from '../generator/evaluate.ts'
import type { Condition, Member } from '../generator/model.ts'
import type { DecodedView } from './decoded.ts'
import { hexDigits } from './json.ts'
import { namesOf, type ValueNames } from './value-names.ts'

export interface FieldMeaning {
  /** Hexadecimal digits of its bytes, in their order. */
  raw: string
  names?: ValueNames
  unit?: string
  /** The writer writes 0 and did not. */
  isDirty: boolean
  /** Its own, and those of the members around it. */
  conditions: Condition[]
  /** One of them is false, but the field has its place. */
  isMeaningless: boolean
  /** Its length claims more than there is. */
  isCut: boolean
}

export function meaningOf(view: DecodedView, decoded: DecodedField): FieldMeaning {
  const { member, field, value, offset, size } = decoded
  const source = field ?? member
  const names = typeof value === 'number' || typeof value === 'bigint' ? namesOf(view.model, source, value) : undefined
  const conditions = [...conditionsOf(view, decoded), ...(field?.when ? [field.when] : [])]
  return {
    raw: hexDigits(view.bytes.subarray(offset, offset + size)),
    ...(names === undefined ? {} : { names }),
    ...(field === undefined && member.unit !== undefined ? { unit: member.unit } : {}),
    isDirty: source.reserved && isNonzero(value),
    conditions,
    isMeaningless: conditions.some((condition) => isFalse(view, condition)),
    isCut: decoded.missing === true,
  }
}

/** Conditions of the member of the struct that the field is, or lies in, and of the groups around that. */
export function conditionsOf({ struct, part }: DecodedView, { path, member }: DecodedField): Condition[] {
  const first = path.split(/[.[]/)[0] as string
  const search = (members: readonly Member[]): Condition[] | undefined => {
    for (const candidate of members) {
      const isInner = candidate.name === '' && (candidate.type.kind === 'group' || candidate.type.kind === 'union')
      const inner = isInner
        ? search(candidate.type.kind === 'group' ? candidate.type.members : candidate.type.kind === 'union' ? candidate.type.arms : [])
        : undefined
      const found = candidate === member || (candidate.name !== '' && candidate.name === first) ? [] : inner
      if (found) return candidate.when ? [candidate.when, ...found] : found
    }
    return undefined
  }
  const found = search(struct.members.filter((candidate) => candidate.part === part)) ?? []
  return member.when && !found.includes(member.when) ? [...found, member.when] : found
}

/** `A and (B or C)`. */
export function allOf(conditions: readonly Condition[]): string {
  return conditions.map(({ text }) => (conditions.length > 1 && text.includes(' or ') ? `(${text})` : text)).join(' and ')
}

function isNonzero(value: unknown): boolean {
  if (value instanceof Uint8Array) return value.some((byte) => byte !== 0)
  return typeof value === 'number' || typeof value === 'bigint' ? BigInt(value) !== 0n : false
}

/** Whether a condition is known to be false. Without features nothing is known of those. */
function isFalse({ model, context: { features, config } }: DecodedView, condition: Condition): boolean {
  if (features === undefined) return false
  const assumed = new Map(
    model.chapters.flatMap((chapter) => chapter.features.flatMap((feature) => (feature.assumed ? [[feature.name, feature.assumed] as const] : []))),
  )
  const isSet = (name: string): boolean => features.has(name)
  const counts = (name: string): boolean => {
    const assumption = assumed.get(name)
    return isSet(name) || (assumption !== undefined && evaluate(assumption.tree, { feature: isSet }) === 1n)
  }
  const field = ({ from, path }: { from: string; path: string[] }): bigint | undefined => {
    const value = from === 'config' ? config?.[path[0] as string] : undefined
    return path.length === 1 && (typeof value === 'number' || typeof value === 'bigint') ? BigInt(value) : undefined
  }
  return evaluate(condition.tree, { feature: counts, field }) === 0n
}
