/** What Linux's headers declare and the description has not, and what it says of them that they have not. */
import type { Facts, FieldFact } from '../facts.ts'
import type { HeaderFacts } from '../headers/index.ts'
import { type Expectations, expectationsOf } from '../linux/expectations.ts'
import type { Model } from '../model.ts'
import type { Difference } from './findings.ts'
import { type DriftReport, emptyReport } from './report.ts'

export interface HeaderDrift extends DriftReport {
  /** Names that the description leaves out, with its reason. */
  leftOut: { name: string; file: string; line: number; scope: string; why: string }[]
  /** Reasons for names that the headers do not have. */
  unused: { name: string; scope: string }[]
  compared: { constants: number; structs: number; fields: number }
}

export function driftOfHeaders(model: Model, headers: HeaderFacts, chosen?: ReadonlySet<string>): HeaderDrift {
  const drift = new Comparison(model, headers).result()
  const isChosen = ({ scope }: { scope: string }): boolean => chosen?.has(scope) ?? true
  return { ...drift, differences: drift.differences.filter(isChosen), leftOut: drift.leftOut.filter(isChosen), unused: drift.unused.filter(isChosen) }
}

interface Known {
  scope: string
  name: string
  value: bigint
  /** An older name, which the headers may have. */
  older?: true
}

/** A struct of the headers as the description has it: its fields by their paths in C. */
interface KnownStruct {
  scope: string
  fields: Set<string>
}

class Comparison {
  readonly #model: Model
  readonly #headers: HeaderFacts
  readonly #numbers: Map<string, Known>
  readonly #structs: Map<string, KnownStruct>
  readonly #used = new Set<string>()
  readonly #drift: HeaderDrift

  constructor(model: Model, headers: HeaderFacts) {
    this.#model = model
    this.#headers = headers
    const expectations = expectationsOf(model)
    const compared = { constants: 0, structs: 0, fields: 0 }
    this.#drift = { ...emptyReport(`Linux ${headers.facts.version}`), unread: headers.unread, leftOut: [], unused: [], compared }
    this.#numbers = numbersOf(model, expectations)
    this.#structs = structsOf(expectations)
  }

  result(): HeaderDrift {
    const { facts, unread } = this.#headers
    this.#drift.unread = unread.filter(({ file, line, text }) => !this.#isLeftOut(text, { file, line }))
    for (const constant of facts.constants) this.#constant(constant)
    for (const struct of facts.structs) this.#struct(struct)
    this.#absent()
    for (const { name: scope, leftOut } of this.#model.chapters)
      for (const name of Object.keys(leftOut)) if (!this.#used.has(`${scope} ${name}`)) this.#drift.unused.push({ name, scope })
    return this.#drift
  }

  #constant({ name, value, file, line }: Facts['constants'][number]): void {
    const theirs = { file: file as string, line: line as number }
    const known = this.#numbers.get(name)
    if (known === undefined) {
      const snippet = `${name}: ${value}`
      if (!this.#isLeftOut(name, theirs))
        this.#add({ kind: 'missing', item: 'constant', name, aspect: 'missing', there: `= ${value}`, theirs, snippet })
      return
    }
    this.#drift.compared.constants++
    if (known.value === BigInt(value)) return
    const [yaml, there] = [String(known.value), String(value)]
    this.#add({ kind: 'changed', item: 'constant', scope: known.scope, name: known.name, aspect: 'value', yaml, there, theirs })
  }

  #struct({ name, size, fields, file, line }: Facts['structs'][number]): void {
    const theirs = { file: file as string, line: line as number }
    const known = this.#structs.get(name)
    if (known === undefined) {
      const there = `${size} bytes, ${fields.length} fields`
      if (!this.#isLeftOut(name, theirs))
        this.#add({ kind: 'missing', item: 'struct', name, aspect: 'missing', there, theirs, snippet: snippetOf(name, fields) })
      return
    }
    this.#drift.compared.structs++
    for (const field of fields) {
      const full = `${name}.${field.name}`
      // A union or struct that the description sees through is known by what is in it.
      const isKnown =
        known.fields.has(field.name) || [...known.fields].some((path) => path.startsWith(`${field.name}.`) || path.startsWith(`${field.name}[`))
      const isInside = [...known.fields].some((path) => field.name.startsWith(`${path}.`))
      if (isKnown || isInside) this.#drift.compared.fields++
      else if (!this.#isLeftOut(full.replaceAll('.', '__'), theirs, full))
        this.#add({
          kind: 'missing',
          item: 'field',
          scope: known.scope,
          name: full,
          aspect: 'missing',
          there: `${field.type} at ${field.offset}`,
          theirs: { file: theirs.file, line: field.line as number },
        })
    }
  }

  /** What the description expects in these headers. That an older release lacks it is for `virtgen verify` to say. */
  #absent(): void {
    const { facts } = this.#headers
    const names = new Set(facts.constants.map(({ name }) => name))
    const structs = new Set(facts.structs.map(({ name }) => name))
    const files = new Set(this.#headers.headers)
    const isRead = (scope: string): boolean => {
      const own = this.#model.chapters.find(({ name }) => name === scope)?.headers ?? []
      return own.length > 0 && own.every((header) => files.has(header))
    }
    for (const [name, known] of this.#numbers)
      if (!known.older && !names.has(name) && isRead(known.scope))
        this.#add({ kind: 'extra', item: 'constant', scope: known.scope, name, aspect: 'extra', yaml: `= ${known.value}` })
    for (const [name, { scope }] of this.#structs)
      if (!structs.has(name) && isRead(scope))
        this.#add({ kind: 'extra', item: 'struct', scope, name, aspect: 'extra', yaml: 'expected in the headers' })
  }

  #isLeftOut(name: string, { file, line }: { file: string; line: number }, shown = name): boolean {
    for (const chapter of this.#model.chapters) {
      if (chapter.headers.length > 0 && !chapter.headers.includes(file)) continue
      for (const [pattern, why] of Object.entries(chapter.leftOut)) {
        const fits = pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern
        if (!fits) continue
        this.#used.add(`${chapter.name} ${pattern}`)
        this.#drift.leftOut.push({ name: shown, file, line, scope: chapter.name, why })
        return true
      }
    }
    return false
  }

  #add(difference: Omit<Difference, 'scope'> & { scope?: string }): void {
    const file = difference.theirs?.file ?? ''
    const scope = difference.scope ?? this.#model.chapters.find(({ headers }) => headers.includes(file))?.name ?? file
    this.#drift.differences.push({ ...difference, scope })
  }
}

/** The numbers that the headers are to have, by their names there; older names count too. */
function numbersOf(model: Model, { numbers }: Expectations): Map<string, Known> {
  const known = new Map<string, Known>()
  for (const { item, probe, checks } of numbers) {
    const value = checks[0]?.expected
    if (value !== undefined) known.set(probe, { scope: item.chapter, name: item.name, value })
  }
  for (const { name: scope, features, groups } of model.chapters) {
    for (const { name, bit, was } of features) for (const old of was) addOlder(known, old, { scope, name, value: BigInt(bit) })
    // What an end marker is in older headers does not count, so nothing is expected of it; these headers are new.
    for (const { constants } of groups)
      for (const { name, value, was, marker, linux } of constants)
        for (const other of marker && linux.name ? [...was, linux.name] : was) addOlder(known, other, { scope, name, value: BigInt(value) })
  }
  return known
}

function addOlder(known: Map<string, Known>, old: string, value: Known): void {
  if (!known.has(old)) known.set(old, { ...value, older: true })
}

function structsOf({ structs }: Expectations): Map<string, KnownStruct> {
  const known = new Map<string, KnownStruct>()
  for (const { type, chapter, fields, none } of structs) {
    const name = type.replace(/^struct /, '')
    const entry = known.get(name) ?? { scope: chapter.name, fields: new Set<string>() }
    for (const { probe } of [...fields, ...none]) {
      const path = /^__builtin_offsetof\([^,]*, (.*)\)$/.exec(probe ?? '')?.[1]
      if (path !== undefined) entry.fields.add(path)
    }
    known.set(name, entry)
  }
  return known
}

/** Layout to begin with; the order of bytes and the conditions are for a person to find out. */
function snippetOf(name: string, fields: readonly FieldFact[]): string {
  const own = fields.filter((field) => !field.name.includes('.'))
  const lines = own.map(({ name: field, type, count }) => {
    const dims = count === undefined ? '' : [count].flat().map((length) => `[${length}]`)
    return `  - ${field}${[...dims].join('')}: ${yamlType(type)}`
  })
  return [`${name}:`, ...lines].join('\n')
}

function yamlType(type: string): string {
  const known = /^__(?:virtio|le|be|u)(8|16|32|64)$/.exec(type)
  if (known === null) return type.replace(/^unsigned char$/, 'u8')
  if (known[1] === '8') return 'u8'
  return `${type.startsWith('__be') ? 'be' : type.startsWith('__u') ? 'u' : 'le'}${known[1]}`
}
