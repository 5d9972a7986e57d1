/** What `decode --json` prints. */
import type { DecodedField } from '../generator/codec.ts'
import type { DecodedView } from './decoded.ts'
import { conditionsOf, meaningOf } from './decoded-field.ts'
import { requestOf } from './decoded-request.ts'
import { hexDigits } from './json.ts'

export function decodedJson(view: DecodedView): object {
  const { found, part, bytes, decoded } = view
  const { fields, absent, missing, size } = decoded
  const request = requestOf(view)
  return {
    chapter: found.chapter,
    struct: found.name,
    ...(part === undefined ? {} : { part }),
    bytes: bytes.length,
    size,
    ...('value' in decoded ? { value: decoded.value } : {}),
    fields: fields.map((field) => fieldJson(view, field)),
    absent: absent.map((field) => ({ path: field.path, when: conditionsOf(view, field).map(({ text }) => text) })),
    missing: missing.map(({ path, offset, size: length }) => ({ path, offset, size: length })),
    ...(request === undefined ? {} : { request }),
    leftOver: hexDigits(bytes.subarray(size)),
  }
}

function fieldJson(view: DecodedView, field: DecodedField): object {
  const { raw, names, unit, isDirty, conditions, isMeaningless, isCut } = meaningOf(view, field)
  const { path, offset, size, bit, bits, value, member } = field
  return {
    path,
    offset,
    size,
    ...(bit === undefined ? {} : { bit, bits }),
    raw,
    value,
    ...names,
    ...(unit === undefined ? {} : { unit }),
    ...(member.reserved || field.field?.reserved ? { reserved: true } : {}),
    ...(isDirty ? { notZero: true } : {}),
    ...(conditions.length === 0 ? {} : { when: conditions.map(({ text }) => text) }),
    ...(isMeaningless ? { meaningless: true } : {}),
    ...(isCut ? { cut: true } : {}),
  }
}
