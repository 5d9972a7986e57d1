/**
 * The description as a flat list of facts, in the shape in which it is compared with other sources: the specification's text, Linux's headers.
 * `scope` is the chapter; names and types are the specification's; nested fields are dotted; members of anonymous structs and unions stand at their parent's
 * level; offsets count from the outermost named struct and are null behind a variable member; a value above 2^53 is a decimal string.
 */
import { conditionText, textCondition } from './condition-text.ts'
import { type Erratum, errataOf } from './errata.ts'
import { evaluate, isOffByDefault, nodes } from './evaluate.ts'
import type { Chapter, Dim, Expression, Feature, Member, Message, Model, Queue, Struct, Type } from './model.ts'

/** Where a fact stands, if it was read from a file, and where it comes from, if not from the specification. */
export interface FactOrigin {
  file?: string
  line?: number
  source?: string
}

export interface Facts {
  source: string
  version: string
  devices: ({ id: number; name: string; scope: string } & FactOrigin)[]
  features: ({ scope: string; name: string; bit: number; legacy?: true; requires?: string; offered_with?: string } & FactOrigin)[]
  constants: ({ scope: string; name: string; value: number | string; group: string } & FactOrigin)[]
  structs: ({ scope: string; name: string; size: number | null; config?: true; fields: FieldFact[] } & FactOrigin)[]
  registers: (RegisterFact & FactOrigin)[]
  queues: ({ scope: string; name: string; index: number | string; when?: string } & FactOrigin)[]
  /** What the queues carry; `is` are the constants that select it, `optional` says that it, or every queue that carries it, has a condition. */
  requests: { scope: string; message: string; name: string; kind: 'request' | 'event'; is?: string; optional?: true; when?: string }[]
  errata: Erratum[]
}

/** Facts to begin with. */
export function emptyFacts(source: string, version: string): Facts {
  return { source, version, devices: [], features: [], constants: [], structs: [], registers: [], queues: [], requests: [], errata: [] }
}

export interface RegisterFact {
  scope: string
  name: string
  offset: number | null
  width: number | null
  access: string
  block: string
  legacy?: true
  /** As it is declared, where the text lists the block as a struct. */
  type?: string
  when?: string
}

export interface FieldFact extends FactOrigin {
  name: string
  type: string
  offset: number | null
  size: number | null
  /** Elements of an array: a number, the expression of its length, `""` for an open one; a list for several dimensions. */
  count?: number | string | (number | string)[]
  bit?: number
  bits?: number
  part?: string
  when?: string
}

export function factsOf(model: Model): Facts {
  const each = <T>(list: (chapter: Chapter) => T[]): T[] => model.chapters.flatMap(list)
  return {
    source: model.source,
    version: model.version,
    devices: model.devices.map(({ id, title, name }) => ({ id, name: title, scope: name })),
    features: each(({ name: scope, features }) => features.map((feature) => ({ ...featureFact(scope, feature), ...sourceOf(model, feature) }))),
    constants: each(({ name: scope, groups }) =>
      groups.flatMap((group) =>
        group.constants.map((constant) => {
          const { name, value } = constant
          return { scope, name, value: plainNumber(value), group: group.name, ...sourceOf(model, constant) }
        }),
      ),
    ),
    structs: each((chapter) =>
      chapter.structs.filter((struct) => isNamedByText(chapter, struct)).map((struct) => structFact(model, chapter, struct)),
    ),
    registers: each((chapter) => chapter.registers.flatMap((block) => registerFacts(model, chapter, block))),
    queues: each((chapter) => chapter.queues.flatMap((queue) => queueFacts(model, chapter.name, queue))),
    requests: each((chapter) => chapter.messages.flatMap((message) => requestFacts(chapter, message))),
    errata: errataOf(model),
  }
}

/** Only what comes from elsewhere says so. */
function sourceOf(model: Model, { source }: { source: string }): { source?: string } {
  return source === model.source ? {} : { source }
}

function featureFact(scope: string, { name, bit, legacy, requires, offeredWith }: Feature): Facts['features'][number] {
  return {
    scope,
    name,
    bit,
    ...(legacy ? { legacy } : {}),
    ...(requires ? { requires: conditionText(requires) } : {}),
    ...(offeredWith ? { offered_with: offeredWith.text } : {}),
  }
}

function requestFacts({ name: scope, queues }: Chapter, message: Message): Facts['requests'] {
  const carriers = queues.filter(({ carries }) => carries?.name === message.name)
  const isOptionalQueue = carriers.length > 0 && carriers.every(({ when }) => when !== undefined)
  return message.requests.map(({ name, is, when }) => ({
    scope,
    message: message.name,
    name,
    kind: message.kind === 'events' ? 'event' : 'request',
    ...(is.length > 0 ? { is: is.map((levels) => levels.map((value) => value.name).join(' ')).join(' | ') } : {}),
    ...(when || isOptionalQueue ? { optional: true as const } : {}),
    ...(when ? { when: when.text } : {}),
  }))
}

/** Frames of messages that exist only in prose have names of ours and are not listed; what the text lists as a struct has its own name. */
function isNamedByText(chapter: Chapter, struct: Struct): boolean {
  return struct.within === undefined && (!(struct.role === 'message' && struct.source === 'prose') || messageOf(chapter, struct) !== undefined)
}

/** The message of which a struct is a request, frame and all. */
function messageOf(chapter: Chapter, { name }: Struct): Message | undefined {
  return chapter.messages.find(({ requests }) => requests.some(({ struct }) => struct === name))
}

function plainNumber(value: number | bigint): number | string {
  return typeof value === 'bigint' ? value.toString() : value
}

function structFact(model: Model, chapter: Chapter, struct: Struct): Facts['structs'][number] {
  const fields: FieldFact[] = []
  let start: number | null = 0
  for (const part of struct.twoPart ? (['readable', 'writable'] as const) : [undefined]) {
    const members = struct.members.filter((member) => member.part === part)
    for (const member of members) addFields(model, fields, member, { prefix: '', start, part })
    const last: Member | undefined = members.at(-1)
    const end: number | null = last === undefined ? 0 : last.offset === null || last.size === null ? null : last.offset + last.size
    start = start === null || end === null ? null : start + end
  }
  const config = struct.role === 'config' ? { config: true as const } : {}
  // That the frame of its message exists only in prose says nothing of a request that the text lists.
  const message = messageOf(chapter, struct)
  const listed = <T extends { source?: string }>(fact: T): T => {
    if (message === undefined || fact.source !== message.source) return fact
    const { source: _, ...rest } = fact
    return rest as T
  }
  return listed({
    scope: chapter.name,
    name: struct.name,
    size: struct.size,
    ...config,
    ...sourceOf(model, struct),
    fields: eitherPart(fields).map(listed),
  })
}

/** A member that stands in both parts alike (the data of a request that reads or writes) is one field with no part of its own. */
function eitherPart(fields: FieldFact[]): FieldFact[] {
  return fields.flatMap((field, index) => {
    const twin = fields.findIndex((other) => other.name === field.name && other.part !== field.part && other.type === field.type)
    if (twin < 0) return [field]
    if (twin < index) return []
    const { part: _, ...rest } = field
    return [rest]
  })
}

interface Place {
  prefix: string
  /** Where the struct that holds the member starts; null when it varies. */
  start: number | null
  part: string | undefined
  when?: string
}

function addFields(model: Model, fields: FieldFact[], member: Member, place: Place): void {
  // The text does not have it.
  if (isOffByDefault(member.when)) return
  const { type } = member
  const when = [place.when, member.when && textCondition(member.when)].filter((text) => text !== undefined).join(' and ') || undefined
  if (type.kind === 'group') {
    // Offsets of a group's members count from the same start.
    for (const inner of type.members) addFields(model, fields, inner, { ...place, ...(when ? { when } : {}) })
    return
  }
  const offset = place.start === null || member.offset === null ? null : place.start + member.offset
  const name = place.prefix + member.name
  const struct = type.kind === 'struct' ? findStruct(model, type) : undefined
  // A struct that was written in place has no name of its own.
  const inPlace = struct?.within !== undefined
  const [spec, ...more] = (member.spec ?? '').split(/;\s*/)
  if (member.name !== '')
    fields.push({
      ...fieldFact({ ...member, spec }, name, offset, place.part, when),
      ...(inPlace ? { type: 'struct' } : {}),
      ...sourceOf(model, member),
    })
  // The text has several fields in the place of one body.
  for (const declaration of more) {
    const [, declared = ''] = /([\w-]+)(?:\[|$)/.exec(declaration) ?? []
    fields.push({ ...fieldFact({ ...member, spec: declaration }, place.prefix + declared, null, place.part, when), ...sourceOf(model, member) })
  }
  const inside: Place = { prefix: member.name === '' ? place.prefix : `${name}.`, start: place.start, part: place.part, ...(when ? { when } : {}) }
  if (type.kind === 'union') for (const arm of type.arms) addFields(model, fields, arm, inside)
  if (type.kind === 'bits') {
    for (const field of type.fields) {
      if (field.name === '') continue
      const bitWhen = [when, field.when && conditionText(field.when)].filter((text) => text !== undefined).join(' and ')
      fields.push({
        name: inside.prefix + field.name,
        type: type.container.name,
        offset,
        size: type.container.bytes,
        bit: field.bit,
        bits: field.bits,
        ...(place.part ? { part: place.part } : {}),
        ...(bitWhen ? { when: bitWhen } : {}),
      })
    }
  }
  if (member.dims.length === 0 || inPlace) {
    for (const inner of struct?.members ?? []) addFields(model, fields, inner, { ...inside, start: member.dims.length === 0 ? offset : null })
  }
}

function fieldFact(member: Member, name: string, offset: number | null, part: string | undefined, when: string | undefined): FieldFact {
  const declared = /^(?:struct\s+)?(\w+)\s+[\w-]+((?:\[[^\]]*\])*)$/.exec(member.spec ?? '')
  const fact: FieldFact = { name, type: declared?.[1] ?? typeName(member.type), offset, size: member.size }
  const dims = member.dims.map(dimFact)
  if (declared?.[2]) dims.splice(0, dims.length, ...[...declared[2].matchAll(/\[([^\]]*)\]/g)].map((match) => numberOrText(match[1] as string)))
  else if (member.type.kind === 'bytes' || member.type.kind === 'body') dims.push('')
  if (dims.length > 0) fact.count = dims.length === 1 ? (dims[0] as number | string) : dims
  if (part) fact.part = part
  if (when) fact.when = when
  return fact
}

function numberOrText(text: string): number | string {
  return /^\d+$/.test(text.trim()) ? Number(text) : text.trim()
}

function dimFact(dim: Dim): number | string {
  return dim.count ?? dim.length?.text ?? ''
}

export function typeName(type: Type): string {
  switch (type.kind) {
    case 'integer':
    case 'struct':
      return type.name
    case 'bits':
      return type.container.name
    case 'bytes':
    case 'body':
      return 'u8'
    case 'union':
      return 'union'
    case 'group':
      return 'struct'
  }
}

export function findStruct(model: Model, reference: { chapter: string; name: string }): Struct | undefined {
  const chapter = model.chapters.find(({ name }) => name === reference.chapter)
  return chapter?.structs.find(({ name }) => name === reference.name) ?? chapter?.registers.find(({ name }) => name === reference.name)
}

function registerFacts(model: Model, chapter: Chapter, block: Struct): Facts['registers'] {
  return block.members
    .flatMap((member) => (member.type.kind === 'group' ? member.type.members : [member]))
    .map((member) => ({
      scope: chapter.name,
      name: member.name,
      offset: member.offset,
      width: member.size,
      access: (member.access?.mode ?? 'r').toUpperCase(),
      block: block.name,
      ...(block.legacyInterface ? { legacy: true as const } : {}),
      type: typeName(member.type),
      ...(member.when ? { when: conditionText(member.when) } : {}),
      ...sourceOf(model, member),
    }))
}

/** A repeated queue is listed as its first and, where the text numbers both, its last. */
function queueFacts(model: Model, scope: string, queue: Queue): Facts['queues'] {
  const when = { ...(queue.when ? { when: conditionText(queue.when) } : {}), ...sourceOf(model, queue) }
  const name = queue.spec ?? queue.name
  if (queue.each === undefined) return [{ scope, name, index: indexFact(queue.index, undefined), ...when }]
  const [from, to] = queue.each
  const isNumbered = name.includes('{i}')
  const named = (i: string): string => name.replaceAll('{i}', i)
  const first = { scope, name: named(from.text), index: indexFact(queue.index, from), ...when }
  const last = isNumbered && to.text.match(/^[A-Za-z_]\w*$/) ? [{ scope, name: named(to.text), index: indexFact(queue.index, to), ...when }] : []
  return [first, ...last]
}

function indexFact(index: Expression, i: Expression | undefined): number | string {
  const value = evaluate(index.tree, i === undefined ? {} : { index: evaluate(i.tree) })
  if (value !== undefined) return Number(value)
  const repeated = [...nodes(index.tree)].some((node) => node.op === 'index')
  return compact(repeated && i ? index.text.replaceAll(/\bi\b/g, i.text) : index.text)
}

/** `2 * (N - 1) + 1` → `2(N-1)+1`, as the text writes it. */
function compact(text: string): string {
  if (/[a-z]{2}/.test(text)) return text
  return text.replaceAll(' ', '').replaceAll(/(\d)\*(?=[A-Za-z(])/g, '$1')
}
