/** YAML that says what another source says: something to paste, and to complete by hand. */
import type { Facts, FieldFact } from '../facts.ts'
import type { Difference } from './findings.ts'

/** What to write for a missing item. */
export function snippetFor({ item, scope, name }: Difference, facts: Facts): string | undefined {
  const isIt = (fact: { scope: string; name: string }): boolean => fact.scope === scope && fact.name === name
  switch (item) {
    case 'device': {
      const device = facts.devices.find((each) => each.name === name)
      return device && deviceLine(device)
    }
    case 'feature':
      return find(facts.features, isIt, featureLine)
    case 'constant':
      return find(facts.constants, isIt, constantLine)
    case 'struct':
      return find(facts.structs, isIt, (struct) => structLines(struct).join('\n'))
    case 'field': {
      const struct = facts.structs.find((each) => each.scope === scope && name.startsWith(`${each.name}.`))
      return struct && fieldLines(struct, name.slice(struct.name.length + 1)).join('\n')
    }
    case 'queue':
      return find(facts.queues, isIt, queueLine)
    case 'register': {
      const isLegacy = name.endsWith(' (legacy)')
      const register = facts.registers.find(
        (each) => each.scope === scope && each.name === name.replace(/ \(legacy\)$/, '') && (each.legacy ?? false) === isLegacy,
      )
      return register && `- ${register.name}: {type: le32, at: 0x${(register.offset ?? 0).toString(16)}, access: ${register.access.toLowerCase()}}`
    }
  }
}

function find<T>(facts: readonly T[], isIt: (fact: T) => boolean, write: (fact: T) => string): string | undefined {
  const fact = facts.find(isIt)
  return fact && write(fact)
}

/** A whole file, for a chapter that is missing. */
export function chapterSnippet(scope: string, facts: Facts): string {
  const own = <T extends { scope: string }>(list: readonly T[]): T[] => list.filter((fact) => fact.scope === scope)
  const device = facts.devices.find((each) => each.scope === scope)
  const lines = [
    '# yaml-language-server: $schema=../schema.json',
    `kind: ${device ? 'device' : 'common'}`,
    `name: ${scope}`,
    `title: ${quoted(device?.name ?? scope)}`,
    ...(device ? [`id: ${device.id}`] : []),
  ]
  const section = (title: string, body: readonly string[]): void => {
    if (body.length > 0) lines.push('', `${title}:`, ...body.map((line) => `  ${line}`))
  }
  section('features', own(facts.features).map(featureLine))
  section(
    'constants',
    groupsOf(own(facts.constants)).flatMap(({ name, constants }) => [`${name}:`, ...constants.map((constant) => `  ${constantLine(constant)}`)]),
  )
  const structs = own(facts.structs)
  const config = structs.filter(({ name }) => name === `virtio_${scope}_config`)
  section('config', config.flatMap(structLines))
  section('structs', structs.filter((struct) => !config.includes(struct)).flatMap(structLines))
  section('queues', own(facts.queues).map(queueLine))
  return lines.join('\n')
}

interface Group {
  name: string
  constants: Of<'constants'>[]
}

/** By enumeration, otherwise by the first words of their names; a value stands in a group once. */
function groupsOf(constants: readonly Of<'constants'>[]): Group[] {
  const groups: Group[] = []
  for (const constant of constants) {
    const name = (constant.group || constant.name.split('_').slice(0, 3).join('_')).toLowerCase()
    const isIts = (group: Group): boolean => group.name.replace(/__\d+$/, '') === name
    const group = groups.findLast((each) => isIts(each) && !each.constants.some(({ value }) => value === constant.value))
    const count = groups.filter(isIts).length
    if (group) group.constants.push(constant)
    else groups.push({ name: count === 0 ? name : `${name}__${count + 1}`, constants: [constant] })
  }
  return groups
}

type Of<K extends keyof Facts> = Facts[K] extends (infer T)[] ? T : never

function deviceLine({ id, name, scope }: Of<'devices'>): string {
  const key =
    scope ||
    name
      .toLowerCase()
      .replaceAll(/\bdevice\b/g, '')
      .trim()
      .replaceAll(/[^a-z0-9]+/g, '-')
  return `${key}: {id: ${id}, title: ${quoted(name)}}`
}

function featureLine({ name, bit, legacy, requires }: Of<'features'>): string {
  const more = [...(requires ? [`requires: ${requires}`] : []), ...(legacy ? ['legacy: true'] : [])]
  return more.length === 0 ? `${name}: ${bit}` : `${name}: {${[`bit: ${bit}`, ...more].join(', ')}}`
}

function constantLine({ name, value }: Of<'constants'>): string {
  return `${name}: ${typeof value === 'number' && value > 255 ? `0x${value.toString(16)}` : value}`
}

function queueLine({ name, index, when }: Of<'queues'>): string {
  const isName = /^[A-Za-z_][A-Za-z0-9_-]*$/.test(name)
  const key = isName ? name : name.replaceAll(/[^A-Za-z0-9]+/g, '_').replaceAll(/^_+|_+$/g, '')
  const parts = [`index: ${index}`, ...(when ? [`when: ${when}`] : []), ...(isName ? [] : [`spec: ${quoted(name)}`])]
  return `- ${key}: {${parts.join(', ')}}`
}

function structLines({ name, fields }: Of<'structs'>): string[] {
  const readable = fields.filter(({ part }) => part === 'readable')
  const writable = fields.filter(({ part }) => part === 'writable')
  const inParts = readable.length > 0 && writable.length > 0 && readable.length + writable.length === fields.length
  const list = (title: string, own: readonly FieldFact[]): string[] => [`  ${title}:`, ...members(treeOf(own), 4)]
  return [`${name}:`, ...(inParts ? [...list('readable', readable), ...list('writable', writable)] : list('fields', fields))]
}

/** A field with what is in it. */
function fieldLines({ fields }: Of<'structs'>, name: string): string[] {
  const depth = name.split('.').length - 1
  const own = fields.filter((field) => field.name === name || field.name.startsWith(`${name}.`))
  const parents = name.split('.').slice(0, depth).join('.')
  return members(treeOf(own.map((field) => ({ ...field, name: parents === '' ? field.name : field.name.slice(parents.length + 1) }))), 0)
}

interface Node {
  field: FieldFact
  name: string
  inner: Node[]
}

function treeOf(fields: readonly FieldFact[]): Node[] {
  const roots: Node[] = []
  const names = new Set(fields.map(({ name }) => name))
  const open: { path: string; inner: Node[]; when: string | undefined }[] = []
  for (const field of fields) {
    while (open.length > 0 && !field.name.startsWith(`${open.at(-1)?.path}.`)) open.pop()
    const parent = open.at(-1)
    const name = parent ? field.name.slice(parent.path.length + 1) : field.name
    const node: Node = { field: withLengths(withoutCondition(field, parent?.when), names), name, inner: [] }
    ;(parent?.inner ?? roots).push(node)
    open.push({ path: field.name, inner: node.inner, when: field.when })
  }
  return roots
}

/** The condition of what it stands in is its own as well; that is written once. */
function withoutCondition(field: FieldFact, outer: string | undefined): FieldFact {
  const { when, ...rest } = field
  if (when === undefined || outer === undefined) return field
  if (when === outer) return rest
  return when.startsWith(`${outer} and `) ? { ...rest, when: when.slice(outer.length + 5) } : field
}

/** Lengths that are neither a field nor a constant have to be looked up in the text: they are marked. */
function withLengths(field: FieldFact, names: ReadonlySet<string>): FieldFact {
  if (field.count === undefined) return field
  const counts = [field.count]
    .flat()
    .map((count) => (typeof count === 'number' || count === '' || names.has(count) || /^VIRT/.test(count) ? count : `? ${count}`))
  return { ...field, count: counts }
}

function members(nodes: readonly Node[], indent: number): string[] {
  const pad = ' '.repeat(indent)
  const lines: string[] = []
  for (let index = 0; index < nodes.length; index++) {
    const node = nodes[index] as Node
    const { bit, offset } = node.field
    let end = index + 1
    // Bit-fields without a container of their own, and members at one place, stand in something without a name.
    while (offset !== null && nodes[end]?.field.offset === offset && (bit === undefined) === (nodes[end]?.field.bit === undefined)) end++
    if (bit !== undefined) lines.push(`${pad}- _: {type: ${node.field.type}, bits: ${bitList(nodes.slice(index, end))}}`)
    else if (end > index + 1) lines.push(`${pad}- _:`, `${pad}    union:`, ...nodes.slice(index, end).flatMap((arm) => member(arm, indent + 6)))
    else lines.push(...member(node, indent))
    index = end - 1
  }
  return lines
}

function member({ field, name, inner }: Node, indent: number): string[] {
  const pad = ' '.repeat(indent)
  const dims = field.count === undefined ? [] : [field.count].flat()
  const isOpenBytes = field.type === 'u8' && dims.length === 1 && dims[0] === ''
  const unclear = dims.filter((dim) => typeof dim === 'string' && dim.startsWith('? '))
  const key = name + (isOpenBytes ? '' : dims.map((dim) => `[${unclear.includes(dim) ? '' : dim}]`).join(''))
  const note = unclear.length > 0 ? ` # the text: ${unclear.map((dim) => `[${String(dim).slice(2)}]`).join('')}` : ''
  const isReserved = /^(?:reserved|padding|unused|pad)\d*$/.test(name) && inner.length === 0
  const type = isOpenBytes ? 'bytes' : `${isReserved ? 'reserved ' : ''}${field.type}`
  const when = field.when === undefined ? [] : [`when: ${field.when}`]
  const bits = inner.length > 0 && inner.every((each) => each.field.bit !== undefined)
  if (bits) return [`${pad}- ${key}: {${[`type: ${field.type}`, ...when, `bits: ${bitList(inner)}`].join(', ')}}${note}`]
  if (field.type === 'struct' || field.type === 'union')
    return [`${pad}- ${key}:${note}`, ...when.map((line) => `${pad}    ${line}`), `${pad}    ${field.type}:`, ...inOf(field.type, inner, indent + 6)]
  return [`${pad}- ${key}: ${when.length === 0 ? type : `{type: ${type}, ${when.join(', ')}}`}${note}`]
}

/** All arms of a union stand at one place. */
function inOf(type: string, inner: readonly Node[], indent: number): string[] {
  return type === 'union' ? inner.flatMap((arm) => member(arm, indent)) : members(inner, indent)
}

function bitList(nodes: readonly Node[]): string {
  return `[${nodes.map(({ name, field: { bits } }) => (/^reserved\d*$/.test(name) ? `${name}: reserved ${bits}` : `${name}: ${bits}`)).join(', ')}]`
}

function quoted(text: string): string {
  return /^[A-Za-z][\w ().,/-]*$/.test(text) ? text : JSON.stringify(text)
}
