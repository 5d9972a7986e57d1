/** The fields of the configuration space, as the driver may use them. */
import { nodes } from '../../evaluate.ts'
import type { Member } from '../../model.ts'
import { identifier } from '../../names.ts'
import { numberCode, quote } from '../code.ts'
import { all, condition } from '../wire/expression.ts'
import type { Imports } from '../wire/imports.ts'
import type { DeviceChapter } from './device-chapter.ts'
import { object } from './text.ts'

type Access = Member['access']
type Condition = NonNullable<Member['when']>

/** What a field is in. */
interface Around {
  access: Access
  when: readonly Condition[]
}

interface Field {
  name: string
  offset: number
  width: number
  access: Access
  reset: Member['reset']
  clears: number | undefined
  /** Conditions of the field and of all that it is in. */
  when: readonly Condition[]
}

/** One entry per field; those of nested structs are dotted. */
export function configFieldEntries(device: DeviceChapter, imports: Imports): string[] {
  return fieldsOf(device).map((field) => fieldEntry(device, imports, field, exists(device, imports, field)))
}

/** Those without which the configuration space would not be the same to a driver. Undefined: all, as some cannot be read, and others lie over them. */
export function liveFieldEntries(device: DeviceChapter, imports: Imports): string[] | undefined {
  const described = fieldsOf(device)
  if (described.some(({ access }) => access?.mode === 'w')) return undefined
  return described
    .filter(({ access, reset }) => (access?.mode ?? 'r') !== 'r' || reset !== undefined)
    .map((field) => fieldEntry(device, imports, field))
}

/** Names of the fields that a driver may write. */
export function writableFields(device: DeviceChapter): string[] {
  return fieldsOf(device).flatMap(({ name, access }) => (access?.mode === 'w' || access?.mode === 'rw' ? [name] : []))
}

function fieldsOf(device: DeviceChapter): Field[] {
  return device.config === undefined ? [] : fields(device, device.config.members, '', 0, { access: undefined, when: [] })
}

function fields(device: DeviceChapter, members: readonly Member[], prefix: string, start: number, around: Around): Field[] {
  return members.flatMap((member) => {
    const { type, offset, size, reset } = member
    const access = member.access ?? around.access
    const when = member.when ? [...around.when, member.when] : around.when
    const inside = { access, when }
    if (type.kind === 'group') return fields(device, type.members, prefix, start, inside)
    if (member.reserved || offset === null || size === null || size === 0) return []
    if (type.kind === 'union' && member.name === '') return fields(device, type.arms, prefix, start, inside)
    const name = member.name === '' ? bitsName(member) : identifier(member.name)
    if (type.kind === 'struct' && member.dims.length === 0) {
      const inner = device.needs.struct(type)
      if (inner.role !== 'foreign') return fields(device, inner.members, `${prefix}${name}.`, start + offset, inside)
    }
    const cleared = member.clears === undefined ? undefined : members.find((each) => each.name === member.clears)
    const clears = typeof cleared?.offset === 'number' ? start + cleared.offset : undefined
    return [{ name: `${prefix}${name}`, offset: start + offset, width: size, access, reset, clears, when }]
  })
}

/** Bits without a name go by those of the first of them. */
function bitsName({ type }: Member): string {
  return type.kind === 'bits' ? identifier(type.fields.find(({ name }) => name !== '')?.name ?? 'bits') : 'bytes'
}

/** @param exists - code of what a driver has to ask before it reads the field */
function fieldEntry(device: DeviceChapter, imports: Imports, { name, offset, width, access, reset, clears }: Field, exists?: string): string {
  const { mode, when } = access ?? { mode: 'r' }
  return object([
    ['name', quote(name)],
    ['offset', String(offset)],
    ['width', String(width)],
    ['access', quote(mode)],
    ['reset', reset === undefined ? undefined : numberCode(Number(reset))],
    ['clears', clears === undefined ? undefined : String(clears)],
    ['writable', when && mode !== 'r' ? ofFeatures(device, imports, [when]) : undefined],
    ['exists', exists],
  ])
}

function exists(device: DeviceChapter, imports: Imports, { when }: Field): string | undefined {
  return when.length === 0 ? undefined : ofFeatures(device, imports, when)
}

/** Conditions on other fields cannot be asked for here: a device hears of every write and decides, a driver reads what may not be there. */
function ofFeatures(device: DeviceChapter, imports: Imports, conditions: readonly Condition[]): string | undefined {
  const asked = conditions.filter(({ tree }) => ![...nodes(tree)].some(({ op }) => op === 'field' || op === 'queue' || op === 'caller'))
  if (asked.length === 0) return undefined
  const scope = { ...device.scope(imports, undefined, []), context: 'CONTEXT' }
  return `(features) => ${all(...asked.map((when) => condition(when, scope)))?.replaceAll('CONTEXT.features', 'features')}`
}
