/** A YAML file with the positions of everything in it. */
import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isPair,
  isScalar,
  Lexer,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  visit,
  type YAMLError,
  type YAMLMap,
} from 'yaml'
import { sourceOffset } from './characters.ts'
import type { Diagnostic, DiagnosticCode } from './diagnostic.ts'
import { toNumber } from './expression.ts'

export type Path = readonly (string | number)[]

/** Where in the value at a path a diagnostic points: the key, the value, or some characters of either. */
export type Target = 'key' | 'value' | Characters

/** Some characters of a scalar, counted in its value: quotes, escapes and folded lines are accounted for. */
export interface Characters {
  offset: number
  length: number
  /** Of the value, unless it says otherwise. */
  in?: 'key' | 'value'
}

export class SourceFile {
  /** As it is shown to the user. */
  readonly file: string
  /** Below its spec folder, with forward slashes. */
  readonly path: string
  readonly builtin: boolean
  /** What the file says; undefined where it cannot be read as YAML. */
  readonly value: unknown
  readonly problems: Diagnostic[] = []
  readonly #text: string
  readonly #lines: string[]
  readonly #counter = new LineCounter()
  readonly #document: Document | undefined

  constructor(file: string, path: string, text: string, builtin: boolean) {
    this.file = file
    this.path = path
    this.builtin = builtin
    this.#text = text.replace(/^\uFEFF/, '')
    this.#lines = this.#text.split(/\r?\n/)
    this.#document = this.#parse()
    this.value = this.problems.some(({ code }) => code === 'yaml-syntax') ? undefined : this.#plain()
  }

  /** Adds a diagnostic about the value at a path. */
  report(code: DiagnosticCode, path: Path, message: string, hint?: string, target: Target = 'value'): void {
    const [start, length] = this.#range(path, target)
    this.problems.push(this.#diagnostic(code, start, length, message, hint))
  }

  #parse(): Document | undefined {
    const deep = tooDeep(this.#text)
    if (deep !== undefined) {
      for (let at = this.#text.indexOf('\n'); at >= 0; at = this.#text.indexOf('\n', at + 1)) this.#counter.addNewLine(at + 1)
      this.problems.push(this.#diagnostic('yaml-syntax', deep, 1, 'nested too deeply'))
      return undefined
    }
    const document = parseDocument(this.#text, { lineCounter: this.#counter, intAsBigInt: true, uniqueKeys: false, strict: true, merge: false })
    for (const error of [...document.errors, ...document.warnings]) this.#reportSyntax(error)
    visit(document, { Map: (_, map) => this.#checkKeys(map) })
    return document
  }

  /** Takes out what stands twice or cannot be a key, so that the rest can be checked. */
  #checkKeys(map: YAMLMap): void {
    const seen = new Set<string>()
    map.items = map.items.filter(({ key }) => {
      if (isCollection(key)) this.problems.push(this.#diagnostic('yaml-syntax', key.range?.[0] ?? 0, 1, 'a key is a name, not a list or a mapping'))
      if (!isScalar(key)) return true
      const name = String(key.value)
      if (name === '__proto__') this.problems.push(this.#diagnostic('reserved-word', ...lengthOf(key), 'JavaScript needs "__proto__" for itself'))
      else if (seen.has(name)) this.problems.push(this.#diagnostic('duplicate-key', ...lengthOf(key), `the key "${name}" stands twice`))
      else return Boolean(seen.add(name))
      return false
    })
  }

  #reportSyntax(error: YAMLError): void {
    const [start, end] = error.pos
    const message = error.code === 'MULTIPLE_DOCS' ? 'a file holds one document' : (error.message.split(/ at line \d+/)[0] as string)
    this.problems.push(this.#diagnostic('yaml-syntax', start, end - start, message, syntaxHint(message)))
  }

  #plain(): unknown {
    try {
      return narrow(this.#document?.toJS({ mapAsMap: false, maxAliasCount: 1000 }), 0)
    } catch (error) {
      this.problems.push(this.#diagnostic('yaml-syntax', 0, 1, (error as Error).message))
      return undefined
    }
  }

  #diagnostic(code: DiagnosticCode, start: number, length: number, message: string, hint?: string): Diagnostic {
    const { line, col } = this.#counter.linePos(start)
    const at = Math.max(1, line)
    const column = Math.max(1, col)
    const excerpt = this.#lines[at - 1] ?? ''
    const diagnostic: Diagnostic = {
      code,
      file: this.file,
      line: at,
      column,
      message,
      excerpt,
      length: Math.max(1, Math.min(length, excerpt.length - column + 1)),
    }
    if (hint !== undefined) diagnostic.hint = hint
    return diagnostic
  }

  /** Start and length in the text of the deepest part of the path that exists. */
  #range(path: Path, target: Target): [number, number] {
    let node: unknown = this.#document?.contents
    let pair: Pair | undefined
    for (const step of path) {
      const next = child(node, step)
      if (next === undefined) break
      pair = isPair(next) ? next : undefined
      node = isPair(next) ? next.value : next
    }
    const key = pair?.key as Node | undefined
    if (typeof target === 'object') {
      const scalar = target.in === 'key' ? key : node
      if (isScalar(scalar)) {
        const start = sourceOffset(this.#text, scalar, target.offset)
        return [start, sourceOffset(this.#text, scalar, target.offset + target.length - 1) + 1 - start]
      }
    }
    if (key !== undefined && (target === 'key' || (typeof target === 'object' && target.in === 'key'))) return lengthOf(key)
    return this.#valueRange(node as Node | null, key)
  }

  #valueRange(value: Node | null, key: Node | undefined): [number, number] {
    if (isCollection(value) && !value.flow) {
      // A collection is pointed at by its key: underlining a whole struct says nothing.
      const first = value.items[0]
      return lengthOf(key ?? ((isPair(first) ? first.key : value) as Node))
    }
    const [start, end] = value?.range ?? [0, 0]
    // Nothing stands behind `key:`.
    if (start === end && key !== undefined) return lengthOf(key)
    if (isScalar(value) && value.type?.startsWith('BLOCK')) {
      const first = sourceOffset(this.#text, value, 0)
      return [first, end - first]
    }
    return [start, end - start]
  }
}

function lengthOf(node: Node): [number, number] {
  const [start, end] = node.range ?? [0, 0]
  return [start, end - start]
}

function child(node: unknown, step: string | number): Node | Pair | undefined {
  if (isAlias(node)) return undefined
  if (isMap(node)) return node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step)) as Pair | undefined
  if (isCollection(node) && typeof step === 'number') return node.items[step] as Node | undefined
  return undefined
}

/** No description nests deeper than a third of this; what does is a mistake, or an attack on the parser's stack. */
const maximumDepth = 60
const maximumIndentation = 300

/** Where the text nests too deeply, found without recursion. */
function tooDeep(text: string): number | undefined {
  let at = 0
  let flow = 0
  let indicators = 0
  for (const token of new Lexer().lex(text)) {
    if (token === '[' || token === '{') flow++
    else if (token === ']' || token === '}') flow--
    else if (token === '\n' || token === '\r\n') indicators = 0
    else if (token === '-' || token === '?') indicators++
    else if (indicators === 0 && token.length > maximumIndentation && token.trim() === '') return at
    if (flow > maximumDepth || indicators > maximumDepth) return at
    // Tokens of the lexer's own: the start of a document, of a scalar, of the file, of an error.
    if (token !== '\u0002' && token !== '\u001F' && token !== '\uFEFF' && token !== '\u0018') at += token.length
  }
  return undefined
}

function syntaxHint(message: string): string | undefined {
  return /between flow (map|sequence) items|Implicit keys|Unexpected flow/.test(message)
    ? 'inside { } and [ ] a text with brackets needs quotes'
    : undefined
}

/** Integers that a number holds exactly become numbers again. */
function narrow(value: unknown, depth: number): unknown {
  if (depth > maximumDepth * 3) throw new Error('nested too deeply, or an alias that holds itself')
  if (typeof value === 'bigint') return toNumber(value)
  if (Array.isArray(value)) return value.map((item) => narrow(item, depth + 1))
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, narrow(item, depth + 1)]))
  return value
}
