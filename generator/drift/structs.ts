/** Structs and their fields. */
import type { Facts, FieldFact } from '../facts.ts'
import type { Sources } from './compare.ts'
import { type Difference, Findings, featuresOf, isOtherCondition } from './findings.ts'
import { byScopeAndName, paired, renamed } from './pairs.ts'

type Struct = Facts['structs'][number]

export function structDifferences({ ours, theirs, together }: Sources): Difference[] {
  const found = new Findings('struct')
  const { pairs, missing, extra } = paired([...ours.structs, ...blocksOf(ours)], theirs.structs, byScopeAndName)
  const values = new Map(ours.constants.flatMap(({ name, value }) => (typeof value === 'number' ? [[name, value] as const] : [])))
  const compared = pairs.map(([own, other]) => comparedFields(own, other, { values, together }))
  // What is inserted or has another size moves the rest, also where the struct is used: a place is only worth a word where nothing else explains it.
  const moved = structsThatMove(compared)
  const ofFields = compared.flatMap((each) => [...each.differences, ...(moved.has(each.own.name) ? [] : placeDifferences(each))])
  const names = renamed(missing, extra, (one, two) => one.scope === two.scope && shapeOf(one) === shapeOf(two))
  for (const [own, other] of names.pairs) found.renamed(own, other)
  for (const struct of names.missing) found.missing(struct, shown(struct))
  for (const struct of names.extra) if (struct.source === undefined) found.extra(struct, shown(struct))
  return [...ofFields, ...found.list]
}

/** Blocks of registers: the text of the PCI transport lists them as structs. */
function blocksOf({ registers }: Facts): Struct[] {
  const blocks = new Map<string, Struct>()
  for (const { scope, block, name, type = '', offset, width, when } of registers) {
    const key = `${scope} ${block}`
    // A block that the text does not list has a name of ours.
    const struct = blocks.get(key) ?? { scope, name: block, size: null, source: 'registers', fields: [] }
    struct.fields.push({ name, type, offset, size: width, ...(when ? { when } : {}) })
    blocks.set(key, struct)
  }
  return [...blocks.values()]
}

function shown({ size, fields }: Struct): string {
  return `${size === null ? 'of variable size' : `${size} bytes`}, ${fields.length === 1 ? '1 field' : `${fields.length} fields`}`
}

function shapeOf({ fields }: Struct): string {
  return fields.map(({ name, type }) => `${name} ${type}`).join('\n')
}

/** Fields as the text lists them: those of another named struct are not repeated where it is used. */
export function ownFields({ fields }: Struct): FieldFact[] {
  const embedded = fields.filter(({ type, bit }) => bit === undefined && !isInPlace(type)).map(({ name }) => `${name}.`)
  const own = fields.filter(({ name }) => !embedded.some((prefix) => name.startsWith(prefix)))
  const parts = new Set(own.map(({ part }) => part))
  return parts.size > 1 ? own : own.map(({ part: _, ...rest }) => rest)
}

/** A base type or an anonymous struct or union, whose members stand in the same listing. */
function isInPlace(type: string): boolean {
  return /^(?:struct|union|char|(?:u|le|be)(?:8|16|32|64))$/.test(type)
}

interface Knowledge {
  /** Named constants that may be lengths. */
  values: ReadonlyMap<string, number>
  together: Sources['together']
}

type Field = FieldFact & { scope: string; key: string }

interface Compared {
  own: Struct
  other: Struct
  differences: Difference[]
  pairs: [Field, Field][]
  /** Fields of ours that have a partner, in our order. */
  mine: Field[]
}

function comparedFields(own: Struct, other: Struct, { values, together }: Knowledge): Compared {
  const found = new Findings('field')
  // Where the text has bytes or a number, the YAML may say what is in them.
  const opaque = other.fields.filter(({ name }) => !other.fields.some((inner) => inner.name.startsWith(`${name}.`))).map(({ name }) => `${name}.`)
  const isBeyond = ({ name }: FieldFact): boolean => opaque.some((prefix) => name.startsWith(prefix))
  const listed = withNumbers(ownFields(own), values).filter((field) => !isBeyond(field))
  const mine = keyed(own, listed)
  const first = matched(mine, keyed(other, other.fields))
  // What is in a renamed field has not been renamed as well.
  const { pairs, names } = matched(mine, keyed(other, withOurPrefixes(other, first.names.pairs)))
  for (const [here, there] of names.pairs) found.renamed(here, there)
  for (const field of names.missing) found.missing(field, declaration(field))
  for (const field of names.extra) if (field.source === undefined) found.extra(field, declaration(field))
  for (const [here, there] of pairs) {
    found.compare(here, there, 'type', here.type, there.type)
    if (!hasSameLength(here, there)) found.changed(here, there, 'length', shownLength(here), shownLength(there))
    found.compare(here, there, 'bits', shownBits(here), shownBits(there))
    if (there.part !== undefined) found.compare(here, there, 'direction', here.part ?? 'either', there.part)
    if (there.when === undefined ? !isStated(here, own.name, together) : isOtherCondition(here.when, there.when))
      found.changed(here, there, 'condition', here.when ?? 'none', there.when ?? 'none')
  }
  return { own, other, differences: found.list, pairs, mine: mine.filter((field) => pairs.some(([here]) => here === field)) }
}

function matched(mine: readonly Field[], others: readonly Field[]) {
  const { pairs, missing, extra } = paired(mine, others, ({ key }) => key)
  const isSame = (one: Field, two: Field): boolean =>
    one.type === two.type && one.offset === two.offset && one.bit === two.bit && hasSameLength(two, one)
  return { pairs, names: renamed(missing, extra, isSame) }
}

/** The fields of the other side, those in a renamed one under our name for it. */
function withOurPrefixes({ name: struct, fields }: Struct, names: readonly (readonly [Field, Field])[]): FieldFact[] {
  const prefixes = names.map(([here, there]) => [`${here.name}.`, `${there.name}.`].map((name) => name.slice(struct.length + 1)) as [string, string])
  return fields.map((field) => {
    const found = prefixes.find(([, theirs]) => field.name.startsWith(theirs))
    return found ? { ...field, name: found[0] + field.name.slice(found[1].length) } : field
  })
}

/** Structs in which something explains other places: a difference of their own, or that of a struct in them. */
function structsThatMove(compared: readonly Compared[]): ReadonlySet<string> {
  const explains = ({ aspect }: Difference): boolean => aspect !== 'condition' && aspect !== 'direction' && aspect !== 'name'
  const moved = new Set(compared.filter(({ differences }) => differences.some(explains)).map(({ own }) => own.name))
  for (let before = -1; before < moved.size; ) {
    before = moved.size
    for (const { own, other } of compared) if (other.fields.some(({ type }) => moved.has(type))) moved.add(own.name)
  }
  return moved
}

function placeDifferences({ own, other, pairs, mine }: Compared): Difference[] {
  const ofField = new Findings('field')
  const ofStruct = new Findings('struct')
  const moved = pairs.find(([here, there]) => here.offset !== null && there.offset !== null && here.offset !== there.offset)
  const isInOrder = mine.every((field, index) => field === pairs[index]?.[0])
  if (moved) ofField.changed(moved[0], moved[1], 'offset', moved[0].offset as number, moved[1].offset as number)
  else if (!isInOrder) ofStruct.changed(own, other, 'order', mine.map(({ name }) => name).join(' '), other.fields.map(({ name }) => name).join(' '))
  else if (own.size !== null && other.size !== null) ofStruct.compare(own, other, 'size', own.size, other.size)
  return [...ofField.list, ...ofStruct.list]
}

/** Whether the text speaks of the field, or of its struct, where it speaks of the features of its condition. */
function isStated({ when, name, scope }: Field, struct: string, together: Sources['together']): boolean {
  if (when === undefined || together === undefined) return true
  const field = name.replace(/^.*\./, '').replace(new RegExp(`^${struct}`), '')
  // The legacy interface is what VIRTIO_F_VERSION_1 stands for; the text has sections about it instead.
  const features = featuresOf(when).filter((feature) => feature !== 'VIRTIO_F_VERSION_1')
  return features.every((feature) => together(scope, feature, field) || together(scope, feature, struct))
}

/** With the name of the struct and a key: the second field of a name has another key than the first. */
function keyed({ scope, name: struct, file }: Struct, fields: readonly FieldFact[]): Field[] {
  const seen = new Map<string, number>()
  return fields.map((field) => {
    const name = `${struct}.${field.name}`
    const count = (seen.get(name) ?? 0) + 1
    seen.set(name, count)
    return { ...(file === undefined ? {} : { file }), ...field, name, scope, key: `${name} ${count}` }
  })
}

/** Lengths that are named constants, as numbers. */
function withNumbers(fields: readonly FieldFact[], values: ReadonlyMap<string, number>): FieldFact[] {
  return fields.map((field) => {
    if (field.count === undefined) return field
    const counts = [field.count].flat().map((count) => (typeof count === 'string' ? (values.get(count) ?? count) : count))
    return { ...field, count: counts.length === 1 ? (counts[0] as number | string) : counts }
  })
}

/** The same lengths; an array that is open in the text may have a length in the description. */
function hasSameLength(own: FieldFact, other: FieldFact): boolean {
  const [one, two] = [lengthsOf(own), lengthsOf(other)]
  return one.length === two.length && one.every((count, index) => isSameCount(count, two[index] as number | string))
}

function isSameCount(own: number | string, other: number | string): boolean {
  if (typeof other === 'number') return own === other
  // The size of a struct of another specification has no number in this one.
  if (typeof own === 'number') return other.includes('sizeof')
  return other === '' || simplified(own) === simplified(other)
}

/** `config.x` is `x` in the text, `queue.size` the "Queue Size". */
function simplified(length: string): string {
  return length
    .replaceAll(/\bstruct\s+|\bconfig\./g, '')
    .replaceAll(/queue\.size|Queue Size/g, 'queue_size')
    .replaceAll(/\s+/g, '')
}

function lengthsOf({ count }: FieldFact): (number | string)[] {
  return count === undefined ? [] : [count].flat()
}

function shownLength(field: FieldFact): string {
  const lengths = lengthsOf(field)
  return lengths.length === 0 ? 'no array' : lengths.map((count) => `[${count}]`).join('')
}

function shownBits({ bit, bits = 1 }: FieldFact): string {
  if (bit === undefined) return 'no bit-field'
  return bits === 1 ? `bit ${bit}` : `bits ${bit}–${bit + bits - 1}`
}

function declaration(field: FieldFact): string {
  const array = field.count === undefined ? '' : shownLength(field)
  const place = field.bit === undefined ? (field.offset === null ? '' : ` at ${field.offset}`) : `, ${shownBits(field)}`
  return `${field.type}${array}${place}`
}
