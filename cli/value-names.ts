/** Names of the values of a field: constants, flags and bits of a set. */
import { familyOf } from '../generator/codec/choice.ts'
import type { Group, Member, Model, Reference } from '../generator/model.ts'

/** What a member or a bit-field says of its values. */
export type ValueSource = Pick<Member, 'enum' | 'flags' | 'set' | 'mask'>

export interface ValueNames {
  /** The constant the value is, or that its enum bits are. */
  constant?: string
  /** Flags, or members of the set, that are in it. */
  flags?: string[]
  /** Bits, or an enum value, that have no name. */
  unnamed?: number | bigint
}

/** Undefined for a field whose values have no names. */
export function namesOf(model: Model, source: ValueSource, value: number | bigint): ValueNames | undefined {
  const number = BigInt(value)
  const names: ValueNames = {}
  let rest = number
  if (source.set) {
    names.flags = []
    for (const { name, value: bit } of constants(model, source.set)) {
      if (((number >> BigInt(bit)) & 1n) === 0n) continue
      names.flags.push(name)
      rest &= ~(1n << BigInt(bit))
    }
  } else if (source.flags) {
    names.flags = []
    const masks = source.flags.flatMap((reference) => constants(model, reference))
    const enumBits =
      source.enum && (source.mask === undefined ? ~masks.reduce((all, { value: mask }) => all | BigInt(mask), 0n) : BigInt(source.mask))
    for (const { name, value: mask } of masks) {
      if (BigInt(mask) === 0n || (number & BigInt(mask)) !== BigInt(mask)) continue
      names.flags.push(name)
      rest &= ~BigInt(mask)
    }
    if (source.enum && enumBits !== undefined) rest = nameEnum(model, source.enum, number & enumBits, names) ? rest & ~enumBits : rest
  } else if (source.enum) {
    const value = source.mask === undefined ? number : number & BigInt(source.mask)
    if (nameEnum(model, source.enum, value, names)) rest = 0n
    else return { unnamed: narrow(value) }
  } else return undefined
  if (rest !== 0n) names.unnamed = narrow(rest)
  return names
}

/** Names the value by its constant, or by the owner of the range it lies in. */
function nameEnum(model: Model, reference: Reference, value: bigint, names: ValueNames): boolean {
  const found = constants(model, reference).filter((constant) => BigInt(constant.value) === value)
  const range = familyOf(model, reference)
    .flatMap(({ ranges }) => ranges)
    .find(({ from, to }) => value >= from && value <= to)
  const name = found.length > 0 ? found.map((constant) => constant.name).join(' or ') : range?.owner
  if (name !== undefined) names.constant = name
  return name !== undefined
}

function constants(model: Model, reference: Reference): Group['constants'] {
  return familyOf(model, reference).flatMap((group) => group.constants.filter(({ marker }) => !marker))
}

function narrow(value: bigint): number | bigint {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value
}
