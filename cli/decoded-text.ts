/** What `decode` prints for people. */
import type { DecodedField } from '../generator/codec.ts'
import type { Paint } from '../generator/diagnostic.ts'
import type { DecodedView } from './decoded.ts'
import { allOf, conditionsOf, type FieldMeaning, meaningOf } from './decoded-field.ts'
import { requestOf } from './decoded-request.ts'
import { hexDigits } from './json.ts'
import { hexOffset } from './layout-rows.ts'
import { columns, counted } from './table.ts'
import { withUnit } from './units.ts'
import type { ValueNames } from './value-names.ts'

/** Bytes of a field that are printed. */
const shownBytes = 16

export function decodedText(view: DecodedView, paint: Paint): string[] {
  const { found, struct, part, bytes, decoded } = view
  const { fields, absent, missing, size } = decoded
  const isConfig = struct.role === 'config' || struct.role === 'registers'
  const role = { config: 'configuration space', registers: 'registers' }[struct.role as 'config']
  const what = [found.chapter, part && `${part} part`, role].filter((text) => text !== undefined)
  const lines = [`${paint.bold(found.name)} (${what.join(', ')}): ${counted(bytes.length, 'byte')}${missing.length > 0 ? ` of ${size}` : ''}`, '']
  const shown = isConfig ? [...new Set([...fields, ...missing])].sort((a, b) => a.offset - b.offset || (a.bit ?? 0) - (b.bit ?? 0)) : fields
  const reached = new Set(fields)
  let container = -1
  const rows = shown.map((field) => {
    const isFirst = field.bit === undefined || field.offset !== container
    container = field.bit === undefined ? -1 : field.offset
    return reached.has(field) ? fieldCells(view, field, isFirst, paint) : missingCells(field, paint)
  })
  lines.push(...columns(rows))
  const request = requestOf(view)
  if (request !== undefined) lines.push('', `${paint.cyan('request')}: ${request}; virtgen decode ${request} shows its own fields`)
  const leftOver = bytes.subarray(size)
  if (leftOver.length > 0)
    lines.push('', `${paint.yellow('left over')}: ${counted(leftOver.length, 'byte')} from ${hexOffset(size)} on: ${shortHex(leftOver)}`)
  const absentLines = columns(
    absent
      .filter(({ member }) => member.name !== '' && !member.reserved)
      .map((field) => [paint.dim('absent'), field.path, `only with ${allOf(conditionsOf(view, field))}`]),
  )
  if (absentLines.length > 0) lines.push('', ...absentLines)
  if (absentLines.length > 0 && view.context.features === undefined)
    lines.push(paint.dim('no features were given; --features says which are negotiated'))
  return lines
}

function fieldCells(view: DecodedView, field: DecodedField, isFirst: boolean, paint: Paint): string[] {
  const meaning = meaningOf(view, field)
  const text = meaning.isMeaningless ? paint.dim : (same: string): string => same
  return [
    paint.dim(isFirst ? hexOffset(field.offset) : ''),
    paint.dim(bitsText(field)),
    text(field.path),
    paint.dim(isFirst ? shortHex(view.bytes.subarray(field.offset, field.offset + field.size)) : ''),
    text(valueText(field, meaning, paint)),
    remarks(meaning, field, paint).join('; '),
  ]
}

function missingCells(field: DecodedField, paint: Paint): string[] {
  return [paint.dim(hexOffset(field.offset)), paint.dim(bitsText(field)), paint.dim(field.path), '', paint.yellow('not in the bytes'), '']
}

function bitsText({ bit, bits }: DecodedField): string {
  if (bit === undefined || bits === undefined) return ''
  return bits === 1 ? `bit ${bit}` : `bits ${bit}–${bit + bits - 1}`
}

function shortHex(bytes: Uint8Array): string {
  return bytes.length <= shownBytes ? hexDigits(bytes) : `${hexDigits(bytes.subarray(0, shownBytes))}…`
}

function valueText({ value, member }: DecodedField, { names, unit }: FieldMeaning, paint: Paint): string {
  if (value instanceof Uint8Array) return bytesText(value, member.type.kind === 'integer' && member.type.name === 'char')
  if (typeof value !== 'number' && typeof value !== 'bigint') return ''
  if (names) return `${namesText(names, paint)} (${member.enum && !names.flags ? value : hex(value)})`
  if (unit !== undefined) return withUnit(value, unit)
  return value < 0x1_0000 ? String(value) : `${value} (${hex(value)})`
}

function bytesText(bytes: Uint8Array, isText: boolean): string {
  if (!isText) return bytes.length <= shownBytes ? '' : counted(bytes.length, 'byte')
  const end = bytes.indexOf(0)
  return JSON.stringify(Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('latin1'))
}

function namesText({ constant, flags, unnamed }: ValueNames, paint: Paint): string {
  const known = [...(constant === undefined ? [] : [constant]), ...(flags ?? [])]
  const rest = unnamed === undefined ? [] : [paint.yellow(flags === undefined ? 'no such constant' : `${hex(unnamed)} unknown`)]
  const all = [...known, ...rest]
  return all.length > 0 ? all.join(' | ') : 'none'
}

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`
}

function remarks({ isDirty, conditions, isMeaningless, isCut }: FieldMeaning, { member, field }: DecodedField, paint: Paint): string[] {
  const isReserved = field?.reserved ?? member.reserved
  const condition = allOf(conditions)
  return [
    ...(isDirty ? [paint.yellow('reserved, but not zero')] : isReserved ? [paint.dim('reserved')] : []),
    ...(condition === '' ? [] : isMeaningless ? [paint.yellow(`meaningless without ${condition}`)] : [paint.dim(`with ${condition}`)]),
    ...(isCut ? [paint.yellow('its length claims more than there is')] : []),
  ]
}
