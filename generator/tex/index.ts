/**
 * Reads the specification's LaTeX, independently of the YAML: names, numbers, layouts, queues and registers, each with its file and line. What it does
 * not understand it lists and passes over.
 */
import { emptyFacts, type Facts, type FieldFact } from '../facts.ts'
import { type Declarations, type DeclaredStruct, declarationsOf } from './declarations.ts'
import { type Laid, layOut } from './layout.ts'
import { type Outline, outlineOf } from './outline.ts'
import {
  conditionalFields,
  deviceIdOf,
  deviceIds,
  listedNumbers,
  queuesOf,
  registersOf,
  requirementsOf,
  sentencesOf,
  tableNumbers,
  tablesOf,
} from './prose.ts'
import { readTex, type TexFile, type Unread, wordsOf } from './text.ts'
import { factNumber, Values } from './values.ts'

export type { Unread } from './text.ts'

export interface TexFacts {
  facts: Facts
  unread: Unread[]
  /** Number of files read; none: the folder holds no specification. */
  files: number
  /** All words, without markup and white space, for looking up a quotation. */
  words: string
  /** Whether a section of the chapter has both words. */
  together: (scope: string, one: string, other: string) => boolean
}

interface Chapter {
  scope: string
  file: TexFile
  outline: Outline
  declarations: Declarations
}

export function factsOfTex(folder: string): TexFacts {
  const { files, unread } = readTex(folder)
  const chapters = files.map((file): Chapter => {
    const outline = outlineOf(file, unread)
    const declarations: Declarations = { structs: [], constants: [] }
    for (const listing of outline.listings) {
      const found = declarationsOf(listing, unread)
      declarations.structs.push(...found.structs)
      declarations.constants.push(...found.constants)
    }
    return { scope: file.scope, file, outline, declarations }
  })
  const facts = emptyFacts('tex', versionOf(folder))
  const everything = chapters.flatMap(({ declarations }) => declarations.constants)
  const sizes = structSizes(chapters, new Values(everything))
  for (const chapter of chapters) {
    const { scope, file, outline } = chapter
    const tables = tablesOf(file.path, outline.prose, unread)
    facts.devices.push(...deviceIds(tables).map((device) => ({ ...device, scope: '', file: file.path })))
    addNumbers(facts, chapter, new Values([...chapter.declarations.constants, ...everything]), tables, unread)
    addStructs(facts, chapter, sizes, unread)
    facts.queues.push(...queuesOf(outline.prose).map((queue) => ({ scope, ...queue, file: file.path })))
    facts.registers.push(...registersOf(file.path, outline.prose, unread).map((register) => ({ scope, ...register, file: file.path })))
  }
  for (const { scope, file, outline } of chapters) {
    const id = file.path.startsWith('device-types/') ? deviceIdOf(outline.prose) : undefined
    const device = facts.devices.find((each) => each.id === id)
    if (device) device.scope = scope
  }
  const told = first(unread)
  told.sort((a, b) => (a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1))
  const words = files.map(({ lines }) => wordsOf(lines.join('\n'))).join('\n')
  return { facts, unread: told, files: files.length, words, together: togetherIn(chapters) }
}

/** Of each file only so many: a file that is not LaTeX at all is unreadable line by line. */
const mostUnread = 50

function first(unread: readonly Unread[]): Unread[] {
  const counts = new Map<string, number>()
  return unread.flatMap((each) => {
    const count = (counts.get(each.file) ?? 0) + 1
    counts.set(each.file, count)
    if (count > mostUnread + 1) return []
    return count <= mostUnread ? [each] : [{ ...each, text: '', why: 'more places like these are not listed' }]
  })
}

function togetherIn(chapters: readonly Chapter[]): TexFacts['together'] {
  const sections = new Map<string, Set<string>[]>()
  const index = (scope: string): Set<string>[] => {
    const known = sections.get(scope)
    if (known) return known
    const found = chapters
      .filter((chapter) => chapter.scope === scope)
      .flatMap(({ file }) => file.lines.join('\n').split(/^(?=\s*\\(?:(?:sub)*section|(?:sub)?paragraph|devicenormative|drivernormative)\b)/m))
      .map((section) => new Set(section.replaceAll('\\_', '_').match(/[\w-]+/g) ?? []))
    sections.set(scope, found)
    return found
  }
  return (scope, one, other) => index(scope).some((words) => words.has(one) && words.has(other))
}

/** `1.4` of a path that ends so; the text does not say. */
function versionOf(folder: string): string {
  return /(?:^|[/\\v-])(\d+\.\d+)[/\\]?$/.exec(folder)?.[1] ?? ''
}

function addNumbers(
  facts: Facts,
  { scope, file, outline, declarations }: Chapter,
  values: Values,
  tables: ReturnType<typeof tablesOf>,
  unread: Unread[],
): void {
  const features = new Map<string, number>()
  const seen = new Set<string>()
  const addConstant = (name: string, value: number | string, group: string, line: number): void => {
    if (seen.has(`${name} ${value}`)) return
    seen.add(`${name} ${value}`)
    facts.constants.push({ scope, name, value, group, file: file.path, line })
  }
  const listed = listedNumbers(outline.prose)
  const required = requirementsOf(outline.prose)
  for (const { name, value, line, feature, legacy } of listed) {
    if (!feature) continue
    const bit = Number(value)
    if (features.get(name) === bit) continue
    features.set(name, bit)
    const requires = required.get(name)
    facts.features.push({ scope, name, bit, ...(legacy ? { legacy: true as const } : {}), ...(requires ? { requires } : {}), file: file.path, line })
  }
  for (const { name, value, group, line, parameters } of declarations.constants) {
    if (parameters !== undefined) continue
    const number = values.number(value)
    // A macro of Linux as an example.
    if (number === undefined && !name.includes('VIRT') && /^\w+\s*\(.*['"]/.test(value)) continue
    if (number === undefined && !/^[A-Z]\w*(?:\s*\([\w\s,]*\))?[;\s]*$/.test(value)) {
      unread.push({ file: file.path, line, text: `${name} ${value}`, why: 'the value is no number' })
      continue
    }
    addConstant(name, number === undefined ? value.replace(/[;\s]+$/, '') : factNumber(number), group, line)
  }
  for (const { name, value, line, feature } of listed) if (!feature) addConstant(name, factNumber(BigInt(value)), '', line)
  for (const { name, value, line } of tableNumbers(tables)) addConstant(name, factNumber(values.number(value) as bigint), '', line)
}

/** Sizes of all structs by name, those of the own chapter first. */
function structSizes(chapters: readonly Chapter[], values: Values): (scope: string, struct: DeclaredStruct) => Laid {
  const byName = new Map<string, { struct: DeclaredStruct; scope: string }[]>()
  for (const { scope, declarations } of chapters) {
    for (const struct of declarations.structs) {
      const same = byName.get(struct.name)
      if (same) same.push({ struct, scope })
      else byName.set(struct.name, [{ struct, scope }])
    }
  }
  const laid = new Map<DeclaredStruct, Laid>()
  const running = new Set<DeclaredStruct>()
  const lay = (scope: string, struct: DeclaredStruct): Laid => {
    const known = laid.get(struct)
    if (known) return known
    if (running.has(struct) || running.size > 100) return { size: null, fields: [] }
    running.add(struct)
    const sizeOf = (name: string): number | null => {
      const all = byName.get(name) ?? []
      const found = all.find((each) => each.scope === scope) ?? all[0]
      return found ? lay(found.scope, found.struct).size : null
    }
    const result = layOut(struct, sizeOf, values)
    running.delete(struct)
    laid.set(struct, result)
    return result
  }
  return lay
}

function addStructs(facts: Facts, { scope, file, outline, declarations }: Chapter, lay: ReturnType<typeof structSizes>, unread: Unread[]): void {
  const conditions = sentencesOf(outline.prose).flatMap((sentence) => conditionalFields(sentence) ?? [])
  const own: Facts['structs'] = []
  for (const struct of declarations.structs) {
    const { size, fields } = lay(scope, struct)
    const facts = fields.map((field) => ({ ...field, file: file.path }))
    const again = own.find(({ name }) => name === struct.name)
    if (again) {
      if (shapeOf(again.fields) !== shapeOf(facts))
        unread.push({ file: file.path, line: struct.line, text: `struct ${struct.name}`, why: `another layout of it stands in line ${again.line}` })
      continue
    }
    own.push({ scope, name: struct.name, size, fields: facts, file: file.path, line: struct.line })
  }
  // A sentence names fields, not structs: it is about the only struct that has all of them.
  const stated = new Map<FieldFact, string>()
  for (const { fields, when, config } of conditions) {
    const known = own.filter(({ name }) => !config || name.endsWith('_config'))
    const about = known.filter((struct) => fields.some((name) => struct.fields.some((field) => field.name === name)))
    if (about.length !== 1) continue
    for (const field of (about[0] as (typeof own)[number]).fields) {
      if (!fields.includes(field.name) || field.when !== undefined) continue
      const before = stated.get(field)
      // A bit that mentions the field says less than a sentence about the field.
      if (before === undefined || !config) stated.set(field, when)
    }
  }
  for (const [field, when] of stated) field.when = when
  facts.structs.push(...own)
}

function shapeOf(fields: readonly FieldFact[]): string {
  return fields.map(({ name, type, count, bit }) => `${name} ${type} ${JSON.stringify(count ?? '')} ${bit ?? ''}`).join('\n')
}
