/** Structs and their fields. */
import type { Facts, FieldFact } from '../facts.ts'
import { type Difference, differentFeatures, paired, placeOf, renames, type Sources } from './compare.ts'

type Struct = Facts['structs'][number]

export function changedStructs({ ours, theirs, together }: Sources): Difference[] {
  const found: Difference[] = []
  const { pairs, missing, extra } = paired([...ours.structs, ...blocksOf(ours)], theirs.structs, ({ scope, name }) => `${scope} ${name}`)
  const values = new Map(ours.constants.flatMap(({ name, value }) => (typeof value === 'number' ? [[name, value] as const] : [])))
  for (const [own, other] of pairs) found.push(...changedFields(own, other, values, together))
  const renamed = renames(missing, extra, (one, two) => one.scope === two.scope && shapeOf(one) === shapeOf(two))
  for (const [other, own] of renamed.pairs)
    found.push({ kind: 'changed', item: 'struct', scope: own.scope, name: own.name, what: `is called ${other.name} there`, ...placeOf(other) })
  for (const struct of renamed.missing) found.push({ kind: 'missing', ...about(struct), ...placeOf(struct) })
  for (const struct of renamed.extra) if (struct.source === undefined) found.push({ kind: 'extra', ...about(struct) })
  return found
}

/** Blocks of registers, which the text of the PCI transport lists as structs. */
function blocksOf({ registers }: Facts): Struct[] {
  const blocks = new Map<string, Struct>()
  for (const { scope, block, name, type = '', offset, width, when } of registers) {
    const key = `${scope} ${block}`
    // A block of another name than that of a struct is none of the text.
    const struct = blocks.get(key) ?? { scope, name: block, size: null, source: 'registers', fields: [] }
    struct.fields.push({ name, type, offset, size: width, ...(when ? { when } : {}) })
    blocks.set(key, struct)
  }
  return [...blocks.values()]
}

function about({ scope, name, size, fields }: Struct): Omit<Difference, 'kind'> {
  const length = size === null ? 'of variable size' : `${size} bytes`
  return { item: 'struct', scope, name, what: `${length}, ${fields.length === 1 ? '1 field' : `${fields.length} fields`}` }
}

function shapeOf({ fields }: Struct): string {
  return fields.map(({ name, type }) => `${name} ${type}`).join('\n')
}

/** Fields as the text lists them: those of another named struct are not repeated where it is used. */
export function ownFields(struct: Struct): FieldFact[] {
  const embedded = struct.fields.filter(({ type, bit }) => bit === undefined && !isInPlace(type)).map(({ name }) => `${name}.`)
  const fields = struct.fields.filter(({ name }) => !embedded.some((prefix) => name.startsWith(prefix)))
  const parts = new Set(fields.map(({ part }) => part))
  return parts.size > 1 ? fields : fields.map(({ part: _, ...rest }) => rest)
}

/** A base type or an anonymous struct or union, whose members stand in the same listing. */
function isInPlace(type: string): boolean {
  return /^(?:struct|union|char|(?:u|le|be)(?:8|16|32|64))$/.test(type)
}

/** Lengths that are named constants, as numbers. */
function withNumbers(fields: readonly FieldFact[], values: ReadonlyMap<string, number>): FieldFact[] {
  return fields.map((field) => {
    if (field.count === undefined) return field
    const counts = [field.count].flat().map((count) => (typeof count === 'string' ? (values.get(count) ?? count) : count))
    return { ...field, count: counts.length === 1 ? (counts[0] as number | string) : counts }
  })
}

type Numbered = FieldFact & { key: string }

/** The second field of a name has another key than the first. */
function numbered(fields: readonly FieldFact[]): Numbered[] {
  const seen = new Map<string, number>()
  return fields.map((field) => {
    const count = (seen.get(field.name) ?? 0) + 1
    seen.set(field.name, count)
    return { ...field, key: count === 1 ? field.name : `${field.name} ${count}` }
  })
}

function changedFields(own: Struct, other: Struct, values: ReadonlyMap<string, number>, together: Sources['together']): Difference[] {
  const found: Difference[] = []
  const { scope, name: struct } = own
  // Where the text has bytes or a number, the YAML may say what is in them.
  const opaque = other.fields.filter(({ name }) => !other.fields.some((inner) => inner.name.startsWith(`${name}.`))).map(({ name }) => `${name}.`)
  const mine = numbered(withNumbers(ownFields(own), values).filter(({ name }) => !opaque.some((prefix) => name.startsWith(prefix))))
  const { pairs, missing, extra } = paired(mine, numbered(other.fields), ({ key }) => key)
  const place = (fact: FieldFact): ReturnType<typeof placeOf> => placeOf({ ...(other.file ? { file: other.file } : {}), ...fact })
  const add = (kind: Difference['kind'], field: FieldFact, what: string, at?: FieldFact): void => {
    found.push({ kind, item: 'field', scope, name: `${struct}.${field.name}`, what, ...(at ? place(at) : {}) })
  }
  const renamed = renames(
    missing,
    extra,
    (one, two) => one.type === two.type && one.offset === two.offset && one.bit === two.bit && sameCount(two, one),
  )
  for (const [there, here] of renamed.pairs) add('changed', here, `is called ${there.name} there`, there)
  for (const field of renamed.missing) add('missing', field, declaration(field), field)
  for (const field of renamed.extra) if (field.source === undefined) add('extra', field, declaration(field))
  for (const [here, there] of pairs) {
    if (here.type !== there.type) add('changed', here, `type: YAML ${here.type}, there ${there.type}`, there)
    if (!sameCount(here, there)) add('changed', here, `length: YAML ${dims(here)}, there ${dims(there)}`, there)
    if (here.bit !== there.bit || here.bits !== there.bits) add('changed', here, `bits: YAML ${bitRange(here)}, there ${bitRange(there)}`, there)
    if (there.part !== undefined && here.part !== there.part)
      add('changed', here, `direction: YAML ${here.part === undefined ? 'either' : `device-${here.part}`}, there device-${there.part}`, there)
    if (there.when !== undefined && differentFeatures(here.when, there.when))
      add('changed', here, `condition: YAML ${here.when ?? 'none'}, there ${there.when}`, there)
    else if (there.when === undefined && here.when !== undefined && together) {
      // The legacy interface is what VIRTIO_F_VERSION_1 stands for; the text has sections about it instead.
      const features = (here.when.match(/VIRTIO_\w*F_\w+/g) ?? []).filter((feature) => feature !== 'VIRTIO_F_VERSION_1')
      const last = here.name.replace(/^.*\./, '')
      const isFounded = features.every((feature) => together(scope, feature, last) || together(scope, feature, struct))
      if (!isFounded) add('changed', here, `condition: YAML ${here.when}, there none`, there)
    }
  }
  if (found.length > 0) return found
  // What is inserted or has another size moves the rest: a place is only worth a word where nothing else is wrong.
  const moved = pairs.find(([here, there]) => here.offset !== null && there.offset !== null && here.offset !== there.offset)
  if (moved) add('changed', moved[0], `offset: YAML ${moved[0].offset}, there ${moved[1].offset}`, moved[1])
  else if (mine.filter((field) => !extra.includes(field)).some(({ key }, index) => key !== pairs[index]?.[0].key))
    found.push({ kind: 'changed', item: 'struct', scope, name: struct, what: 'the fields stand in another order', ...placeOf(other) })
  else if (own.size !== null && other.size !== null && own.size !== other.size)
    found.push({ kind: 'changed', item: 'struct', scope, name: struct, what: `size: YAML ${own.size}, there ${other.size}`, ...placeOf(other) })
  return found
}

/** Both the same number of elements, or both a length that varies. */
function sameCount(own: FieldFact, other: FieldFact): boolean {
  const [one, two] = [countsOf(own), countsOf(other)]
  return (
    one.length === two.length &&
    one.every((count, index) =>
      typeof count !== 'number' || typeof two[index] !== 'number' ? typeof count === typeof two[index] : count === two[index],
    )
  )
}

function countsOf({ count }: FieldFact): (number | string)[] {
  return count === undefined ? [] : [count].flat()
}

function dims(field: FieldFact): string {
  const counts = countsOf(field)
  return counts.length === 0 ? 'no array' : counts.map((count) => `[${count}]`).join('')
}

function bitRange({ bit, bits }: FieldFact): string {
  if (bit === undefined) return 'none'
  return bits === 1 ? String(bit) : `${bit}–${bit + (bits ?? 1) - 1}`
}

export function declaration(field: FieldFact): string {
  const array = field.count === undefined ? '' : dims(field)
  const where = field.bit === undefined ? (field.offset === null ? '' : ` at ${field.offset}`) : `, bits ${bitRange(field)}`
  return `${field.type}${array}${where}`
}
