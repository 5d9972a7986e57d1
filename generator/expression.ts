/** The expression grammar of the language (docs/language.md, "Expressions"): text to a tree of names that are not yet looked up. */
import { expressionWords } from './names.ts'

/** A syntax tree with positions; `resolve` turns it into a `Tree` of the model. */
export type Syntax =
  | { op: 'number'; value: number | bigint; at: number; end: number }
  | { op: 'name'; path: string[]; at: number; end: number }
  | { op: 'sizeof'; name: string; nameAt: number; at: number; end: number }
  | { op: 'not'; arg: Syntax; at: number; end: number }
  | { op: 'binary'; operator: string; left: Syntax; right: Syntax; at: number; end: number }
  | { op: 'if'; value: Syntax; condition: Syntax; otherwise?: Syntax; at: number; end: number }

export class ExpressionError extends Error {
  readonly offset: number
  readonly length: number
  constructor(message: string, offset: number, length: number) {
    super(message)
    this.offset = offset
    this.length = length
  }
}

interface Token {
  kind: 'number' | 'name' | 'symbol' | 'end'
  text: string
  at: number
}

const tokenPattern = /\s*(?:(0[xX][0-9a-fA-F]+|\d+)|([A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z_][A-Za-z0-9_-]*)*)|(\.\.|<<|>>|==|!=|<=|>=|[-+*/&|<>()]))/y

/** Deep nesting is a mistake or an attack on the stack; no length or condition of the specification nests deeper than three. */
const maximumDepth = 100
/** A long row of operators makes a deep tree. */
const maximumTokens = 1000

function tokenize(text: string): Token[] {
  const tokens: Token[] = []
  tokenPattern.lastIndex = 0
  while (tokenPattern.lastIndex < text.length) {
    const from = tokenPattern.lastIndex
    const match = tokenPattern.exec(text)
    if (match === null) {
      const rest = text.slice(from)
      if (rest.trim() === '') break
      const at = from + rest.length - rest.trimStart().length
      throw new ExpressionError(`unexpected "${text[at]}"`, at, 1)
    }
    const token = (match[1] ?? match[2] ?? match[3]) as string
    const kind = match[1] !== undefined ? 'number' : match[2] !== undefined ? 'name' : 'symbol'
    const at = tokenPattern.lastIndex - token.length
    if (tokens.length === maximumTokens) throw new ExpressionError(`an expression of more than ${maximumTokens} words`, at, token.length)
    tokens.push({ kind, text: token, at })
  }
  tokens.push({ kind: 'end', text: 'end of the expression', at: text.length })
  return tokens
}

/** Binary operators by precedence, loosest first; comparisons do not chain. */
const levels: readonly (readonly string[])[] = [['|'], ['&'], ['<<', '>>'], ['+', '-'], ['*', '/']]
const comparisons = ['==', '!=', '<', '<=', '>', '>=', 'has']

class Parser {
  readonly #tokens: Token[]
  #next = 0
  #depth = 0

  constructor(text: string) {
    this.#tokens = tokenize(text)
  }

  whole(): Syntax {
    const result = this.#conditional()
    this.#expectEnd()
    return result
  }

  range(): [Syntax, Syntax] {
    const from = this.#conditional()
    this.#take('..')
    const to = this.#conditional()
    this.#expectEnd()
    return [from, to]
  }

  get #token(): Token {
    return this.#tokens[this.#next] as Token
  }

  #is(text: string): boolean {
    return this.#token.kind !== 'end' && this.#token.text === text
  }

  #accept(text: string): boolean {
    if (!this.#is(text)) return false
    this.#next++
    return true
  }

  #take(text: string): void {
    if (!this.#accept(text)) throw this.#unexpected(`"${text}"`)
  }

  #unexpected(wanted: string): ExpressionError {
    const { text, at, kind } = this.#token
    return new ExpressionError(`expected ${wanted}, found ${kind === 'end' ? text : `"${text}"`}`, at, kind === 'end' ? 1 : text.length)
  }

  #expectEnd(): void {
    if (this.#token.kind !== 'end') throw this.#unexpected('an operator or the end')
  }

  #conditional(): Syntax {
    if (++this.#depth > maximumDepth) throw new ExpressionError('nested too deeply', this.#token.at, 1)
    const value = this.#or()
    let result = value
    if (this.#accept('if')) {
      const condition = this.#or()
      result = { op: 'if', value, condition, at: value.at, end: condition.end }
      if (this.#accept('else')) {
        const otherwise = this.#conditional()
        result = { ...result, otherwise, end: otherwise.end }
      }
    }
    this.#depth--
    return result
  }

  #or(): Syntax {
    let left = this.#and()
    while (this.#accept('or')) left = binary('or', left, this.#and())
    return left
  }

  #and(): Syntax {
    let left = this.#not()
    while (this.#accept('and')) left = binary('and', left, this.#not())
    return left
  }

  #not(): Syntax {
    // In a loop: a row of negations is no reason to nest calls.
    const negations: number[] = []
    for (let { at } = this.#token; this.#accept('not'); { at } = this.#token) negations.push(at)
    let result = this.#comparison()
    for (const at of negations.reverse()) result = { op: 'not', arg: result, at, end: result.end }
    return result
  }

  #comparison(): Syntax {
    const left = this.#level(0)
    const operator = comparisons.find((candidate) => this.#is(candidate))
    if (operator === undefined) return left
    this.#next++
    return binary(operator, left, this.#level(0))
  }

  #level(level: number): Syntax {
    const operators = levels[level]
    if (operators === undefined) return this.#atom()
    let left = this.#level(level + 1)
    for (;;) {
      const operator = operators.find((candidate) => this.#is(candidate))
      if (operator === undefined) return left
      this.#next++
      left = binary(operator, left, this.#level(level + 1))
    }
  }

  #atom(): Syntax {
    const token = this.#token
    const end = token.at + token.text.length
    if (token.kind === 'number') {
      this.#next++
      return { op: 'number', value: toNumber(BigInt(token.text)), at: token.at, end }
    }
    if (this.#accept('(')) {
      const inner = this.#conditional()
      const close = this.#token
      this.#take(')')
      return { ...inner, at: token.at, end: close.at + 1 }
    }
    if (this.#is('sizeof')) {
      this.#next++
      this.#take('(')
      const name = this.#token
      if (name.kind !== 'name') throw this.#unexpected('the name of a struct')
      this.#next++
      const close = this.#token
      this.#take(')')
      return { op: 'sizeof', name: name.text, nameAt: name.at, at: token.at, end: close.at + 1 }
    }
    if (token.kind === 'name' && !expressionWords.has(token.text)) {
      this.#next++
      return { op: 'name', path: token.text.split('.'), at: token.at, end }
    }
    throw this.#unexpected('a number or a name')
  }
}

function binary(operator: string, left: Syntax, right: Syntax): Syntax {
  return { op: 'binary', operator, left, right, at: left.at, end: right.end }
}

/** A bigint as number where a number holds it exactly. */
export function toNumber(value: bigint): number | bigint {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value
}

/** Parses an expression. Throws ExpressionError. */
export function parseExpression(text: string): Syntax {
  return new Parser(text).whole()
}

/** Parses `A .. B`. Throws ExpressionError. */
export function parseRange(text: string): [Syntax, Syntax] {
  return new Parser(text).range()
}

/** The name of a member and its brackets, `macs[entries][6]`. */
export interface MemberName {
  name: string
  /** Text of each bracket and its position in the key; empty for an open one. */
  dims: { text: string; at: number }[]
}

/** Takes the key of a member apart. Throws ExpressionError. */
export function parseMemberName(key: string): MemberName {
  const match = /^([A-Za-z_][A-Za-z0-9_-]*)/.exec(key)
  if (match === null) throw new ExpressionError('expected the name of a member', 0, Math.max(1, key.length))
  const dims: MemberName['dims'] = []
  let at = (match[1] as string).length
  while (at < key.length) {
    const close = key.indexOf(']', at)
    if (key[at] !== '[' || close < 0) throw new ExpressionError(`expected "[length]" behind the name, found "${key.slice(at)}"`, at, key.length - at)
    const inside = key.slice(at + 1, close)
    dims.push({ text: inside.trim(), at: at + 1 + inside.length - inside.trimStart().length })
    at = close + 1
  }
  return { name: match[1] as string, dims }
}
