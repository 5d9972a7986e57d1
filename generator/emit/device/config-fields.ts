/** The fields of the configuration space, as the driver may use them. */
import { nodes } from '../../evaluate.ts'
import type { Member } from '../../model.ts'
import { identifier } from '../../names.ts'
import { numberCode, quote } from '../code.ts'
import { condition } from '../wire/expression.ts'
import type { Imports } from '../wire/imports.ts'
import type { DeviceChapter } from './device-chapter.ts'
import { object } from './text.ts'

type Access = Member['access']

interface Field {
  name: string
  offset: number
  width: number
  access: Access
  reset: Member['reset']
  clears: number | undefined
}

/** One entry per field; those of nested structs are dotted. */
export function configFieldEntries(device: DeviceChapter, imports: Imports): string[] {
  return fieldsOf(device).map((field) => fieldEntry(device, imports, field))
}

/** Those without which the configuration space would not be the same to a driver. Undefined: all, as some cannot be read, and others lie over them. */
export function liveFieldEntries(device: DeviceChapter, imports: Imports): string[] | undefined {
  const all = fieldsOf(device)
  if (all.some(({ access }) => access?.mode === 'w')) return undefined
  return all.filter(({ access, reset }) => (access?.mode ?? 'r') !== 'r' || reset !== undefined).map((field) => fieldEntry(device, imports, field))
}

/** Names of the fields that a driver may write. */
export function writableFields(device: DeviceChapter): string[] {
  return fieldsOf(device).flatMap(({ name, access }) => (access?.mode === 'w' || access?.mode === 'rw' ? [name] : []))
}

function fieldsOf(device: DeviceChapter): Field[] {
  return device.config === undefined ? [] : fields(device, device.config.members, '', 0, undefined)
}

function fields(device: DeviceChapter, members: readonly Member[], prefix: string, start: number, around: Access): Field[] {
  return members.flatMap((member) => {
    const { type, offset, size, reset } = member
    const access = member.access ?? around
    if (type.kind === 'group') return fields(device, type.members, prefix, start, access)
    if (member.reserved || offset === null || size === null || size === 0) return []
    if (type.kind === 'union' && member.name === '') return fields(device, type.arms, prefix, start, access)
    const name = member.name === '' ? bitsName(member) : identifier(member.name)
    if (type.kind === 'struct' && member.dims.length === 0) {
      const inner = device.needs.struct(type)
      if (inner.role !== 'foreign') return fields(device, inner.members, `${prefix}${name}.`, start + offset, access)
    }
    const cleared = member.clears === undefined ? undefined : members.find((each) => each.name === member.clears)
    const clears = typeof cleared?.offset === 'number' ? start + cleared.offset : undefined
    return [{ name: `${prefix}${name}`, offset: start + offset, width: size, access, reset, clears }]
  })
}

/** Bits without a name go by those of the first of them. */
function bitsName({ type }: Member): string {
  return type.kind === 'bits' ? identifier(type.fields.find(({ name }) => name !== '')?.name ?? 'bits') : 'bytes'
}

function fieldEntry(device: DeviceChapter, imports: Imports, { name, offset, width, access, reset, clears }: Field): string {
  const { mode, when } = access ?? { mode: 'r' }
  return object([
    ['name', quote(name)],
    ['offset', String(offset)],
    ['width', String(width)],
    ['access', quote(mode)],
    ['reset', reset === undefined ? undefined : numberCode(Number(reset))],
    ['clears', clears === undefined ? undefined : String(clears)],
    ['writable', when && mode !== 'r' ? writable(device, imports, when) : undefined],
  ])
}

/** A condition on other fields cannot be asked for here: the device hears of every write and decides. */
function writable(device: DeviceChapter, imports: Imports, when: NonNullable<NonNullable<Access>['when']>): string | undefined {
  if ([...nodes(when.tree)].some(({ op }) => op === 'field' || op === 'queue' || op === 'caller')) return undefined
  const scope = { ...device.scope(imports, undefined, []), context: 'CONTEXT' }
  return `(features) => ${condition(when, scope).replaceAll('CONTEXT.features', 'features')}`
}
