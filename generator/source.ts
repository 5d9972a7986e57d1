/** A YAML file with the positions of everything in it. */
import { type Document, isAlias, isCollection, isMap, isPair, isScalar, LineCounter, type Node, type Pair, parseDocument } from 'yaml'
import type { Diagnostic, DiagnosticCode } from './diagnostic.ts'

export type Path = readonly (string | number)[]

/** Where in the value at a path a diagnostic points: the key, the value, or some characters of it. */
export type Target = 'key' | 'value' | { offset: number; length: number }

export class SourceFile {
  /** As it is shown to the user. */
  readonly file: string
  /** Below its spec folder, with forward slashes. */
  readonly path: string
  readonly builtin: boolean
  readonly value: unknown
  readonly problems: Diagnostic[] = []
  readonly #lines: string[]
  readonly #counter = new LineCounter()
  readonly #document: Document

  constructor(file: string, path: string, text: string, builtin: boolean) {
    this.file = file
    this.path = path
    this.builtin = builtin
    this.#lines = text.split(/\r?\n/)
    this.#document = parseDocument(text, { lineCounter: this.#counter, intAsBigInt: true, uniqueKeys: true, strict: true, merge: false })
    for (const error of this.#document.errors) {
      const code = error.code === 'DUPLICATE_KEY' ? 'duplicate-key' : 'yaml-syntax'
      const message = error.message.split(/ at line \d+/)[0] as string
      this.problems.push(this.#diagnostic(code, error.pos[0], Math.max(1, error.pos[1] - error.pos[0]), message))
    }
    this.value = this.problems.length > 0 ? undefined : this.#plain()
  }

  /** Adds a diagnostic about the value at a path. */
  report(code: DiagnosticCode, path: Path, message: string, hint?: string, target: Target = 'value'): void {
    const [start, length] = this.#range(path, target)
    this.problems.push(this.#diagnostic(code, start, length, message, hint))
  }

  #plain(): unknown {
    try {
      return narrow(this.#document.toJS({ mapAsMap: false, maxAliasCount: 1000 }))
    } catch (error) {
      this.problems.push(this.#diagnostic('yaml-syntax', 0, 1, (error as Error).message))
      return undefined
    }
  }

  #diagnostic(code: DiagnosticCode, start: number, length: number, message: string, hint?: string): Diagnostic {
    const { line, col } = this.#counter.linePos(start)
    const at = Math.max(1, line)
    const diagnostic: Diagnostic = {
      code,
      file: this.file,
      line: at,
      column: Math.max(1, col),
      message,
      excerpt: this.#lines[at - 1] ?? '',
      length,
    }
    if (hint !== undefined) diagnostic.hint = hint
    return diagnostic
  }

  /** Start and length in the text of the deepest part of the path that exists. */
  #range(path: Path, target: Target): [number, number] {
    let node: unknown = this.#document.contents
    let pair: Pair | undefined
    for (const step of path) {
      const next = child(node, step)
      if (next === undefined) break
      pair = isPair(next) ? next : undefined
      node = isPair(next) ? next.value : next
    }
    const key = pair?.key as Node | undefined
    if (target === 'key' && key?.range) return [key.range[0], key.range[1] - key.range[0]]
    const value = (node ?? key) as Node | null
    const range = value?.range ?? key?.range ?? [0, 1, 1]
    if (typeof target === 'object' && isScalar(value)) {
      const quote = value.type === 'QUOTE_DOUBLE' || value.type === 'QUOTE_SINGLE' ? 1 : 0
      const start = value.type === 'PLAIN' || quote === 1 ? range[0] + quote + target.offset : range[0]
      return [Math.min(start, range[1]), Math.max(1, target.length)]
    }
    // A collection is pointed at by its key: underlining a whole struct says nothing.
    if (isCollection(value) && key?.range && !value.flow) return [key.range[0], key.range[1] - key.range[0]]
    return [range[0], Math.max(1, range[1] - range[0])]
  }
}

function child(node: unknown, step: string | number): Node | Pair | undefined {
  if (isAlias(node)) return undefined
  if (isMap(node)) return node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step)) as Pair | undefined
  if (isCollection(node) && typeof step === 'number') return node.items[step] as Node | undefined
  return undefined
}

/** Integers that a number holds exactly become numbers again. */
function narrow(value: unknown): unknown {
  if (typeof value === 'bigint') return value >= -(2n ** 53n) && value <= 2n ** 53n - 1n ? Number(value) : value
  if (Array.isArray(value)) return value.map(narrow)
  if (typeof value === 'object' && value !== null) return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, narrow(item)]))
  return value
}
