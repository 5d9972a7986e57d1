/** What users of the bindings see of a description, as a flat list of items that can be compared one by one. */
import type { Facts, FieldFact } from '../facts.ts'

export type ItemKind = 'device' | 'feature' | 'constant' | 'struct' | 'field' | 'register' | 'queue' | 'request' | 'event' | 'erratum'

export interface Item {
  kind: ItemKind
  /** The chapter. */
  scope: string
  /** The name that users know it by: fields with their struct, requests with their message. */
  name: string
  /** The struct, group, block or message it belongs to; renames are looked for inside it. */
  parent: string
  properties: Readonly<Record<string, string>>
  /** Absent where the description is a file of facts. */
  words?: Words
  /** It is, or is a field of, the configuration space, which may grow at its end. */
  isConfig?: boolean
}

/** What is said about an item, and where the text has it. */
export interface Words {
  section?: string
  doc?: string
}

/** Documentation by kind, chapter and name; see `docsOf`. */
export type Docs = ReadonlyMap<string, Words>

export function docKey(kind: ItemKind, scope: string, name: string): string {
  return `${kind} ${scope} ${name}`
}

/** The items of a description, in its order. */
export function surfaceOf(facts: Facts, docs?: Docs): Item[] {
  const structNames = new Set(facts.structs.map(({ name }) => name))
  const items = [
    ...facts.devices.map(({ scope, id, name }) => item('device', scope, scope, '', { id, title: name })),
    ...facts.features.map(({ scope, name, bit, legacy, requires, offered_with }) =>
      item('feature', scope, name, '', { bit, legacy, requires, 'offered with': offered_with }),
    ),
    ...facts.constants.map(({ scope, name, value, group }) => item('constant', scope, name, group, { value, group })),
    ...facts.structs.flatMap((struct) => structItems(struct, structNames)),
    ...facts.registers.map(({ scope, name, offset, width, access, block }) =>
      item('register', scope, `${block}.${name}`, block, { offset, width, access }),
    ),
    ...facts.queues.map(({ scope, name, index, when }) => item('queue', scope, name, '', { index, when })),
    // Facts of a text, and those that older versions wrote, have no requests.
    ...(facts.requests ?? []).map(({ scope, message, name, kind, is, optional, when }) =>
      item(kind, scope, `${message}.${name}`, message, { 'selected by': is, when, 'must be implemented': optional ? undefined : 'yes' }),
    ),
    ...(facts.errata ?? []).map(({ scope, name, quote, truth, why }) => item('erratum', scope, name, '', { quote, truth, why })),
  ]
  if (docs === undefined) return items
  return items.map((each) => ({ ...each, words: docs.get(docKey(each.kind, each.scope, each.name)) ?? {} }))
}

function structItems({ scope, name, size, config, fields }: Facts['structs'][number], structNames: ReadonlySet<string>): Item[] {
  const isConfig = config === true
  const struct = item('struct', scope, name, '', { size: size ?? 'varies' })
  const own = fields.filter((field) => isOwn(field, fields, structNames))
  return [{ ...struct, isConfig }, ...own.map((field) => ({ ...fieldItem(scope, name, field), isConfig }))]
}

/** Fields of a nested struct are told once, where that struct is. */
function isOwn({ name }: FieldFact, fields: readonly FieldFact[], structNames: ReadonlySet<string>): boolean {
  return !fields.some((around) => name.startsWith(`${around.name}.`) && structNames.has(around.type))
}

function fieldItem(scope: string, struct: string, field: FieldFact): Item {
  const { name, type, offset, size, count, bit, bits, part, when } = field
  const dims = count === undefined ? '' : [count].flat().map((length) => `[${length}]`)
  return item('field', scope, `${struct}.${name}`, `${struct} ${part ?? ''}`, {
    type: type + [...dims].join(''),
    offset: offset ?? 'varies',
    size: size ?? 'varies',
    bits: bit === undefined ? undefined : bits === 1 ? bit : `${bit}–${bit + (bits as number) - 1}`,
    part: part && `device-${part}`,
    when,
  })
}

function item(
  kind: ItemKind,
  scope: string,
  name: string,
  parent: string,
  values: Record<string, string | number | boolean | null | undefined>,
): Item {
  const properties: Record<string, string> = {}
  for (const [key, value] of Object.entries(values)) if (value !== undefined && value !== null) properties[key] = String(value)
  return { kind, scope, name, parent, properties }
}
