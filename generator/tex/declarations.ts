/** Structs, enumerations and definitions of a listing. */
import { oneLine } from '../one-line.ts'
import type { Listing } from './outline.ts'
import type { Unread } from './text.ts'
import { type Token, tokensOf } from './tokens.ts'

/** A member as it is declared. */
export interface Declared {
  /** Empty for an anonymous struct or union, and for a bit container without a name. */
  name: string
  line: number
  /** Base type, name of a struct, `struct` or `union` for anonymous ones, `dots` for "and so on". */
  type: string
  /** Members of a struct or union that is declared in place. */
  members?: Declared[]
  /** Members that are bit-fields of this container. */
  bits?: Declared[]
  /** Width of a bit-field. */
  width?: number
  dims: string[]
  part?: 'readable' | 'writable' | undefined
  when?: string | undefined
}

export interface DeclaredStruct {
  name: string
  line: number
  members: Declared[]
}

export interface DeclaredConstant {
  name: string
  line: number
  /** Expression; for an enumerator without one, that of the enumerator before, plus one. */
  value: string
  /** Name of the enumeration, or of the struct it is defined in. */
  group: string
  /** Parameters of a function-like macro. */
  parameters?: string[]
}

export interface Declarations {
  structs: DeclaredStruct[]
  constants: DeclaredConstant[]
}

const featureName = /VIRTIO_(?:[A-Z0-9]+_)?F_[A-Z0-9_]+/g
const baseType = /^(?:u|le|be|s|__u|__le|__be|uint)(?:8|16|32|64)(?:_t)?$|^char$/
const deepest = 16

export function declarationsOf(listing: Listing, unread: Unread[]): Declarations {
  return new Reader(listing, unread).read()
}

class Reader {
  readonly #file: string
  readonly #tokens: Token[]
  readonly #lines: readonly string[]
  readonly #firstLine: number
  readonly #unread: Unread[]
  readonly #found: Declarations = { structs: [], constants: [] }
  #at = 0
  /** Name of the struct that is being read, for constants that stand in it. */
  #inside: string[] = []

  constructor(listing: Listing, unread: Unread[]) {
    this.#file = listing.file
    this.#lines = listing.lines
    this.#firstLine = listing.line
    this.#unread = unread
    this.#tokens = tokensOf(listing.lines, listing.line, listing.escapeMark)
  }

  read(): Declarations {
    while (this.#at < this.#tokens.length) {
      const token = this.#tokens[this.#at] as Token
      if (token.kind === 'define') this.#define()
      else if (token.text === 'struct' && this.#word(1) !== undefined && this.#is(2, '{')) this.#struct(1)
      else if (token.text === 'enum' && (this.#is(1, '{') || this.#is(2, '{'))) this.#enum()
      else if (this.#is(0, '{')) this.#block()
      else this.#at++
    }
    return this.#found
  }

  #peek(ahead = 0): Token | undefined {
    return this.#tokens[this.#at + ahead]
  }

  #is(ahead: number, text: string): boolean {
    const token = this.#peek(ahead)
    return token?.kind === 'mark' && token.text === text
  }

  #word(ahead = 0): string | undefined {
    const token = this.#peek(ahead)
    return token?.kind === 'word' ? token.text : undefined
  }

  #complain(token: Token | undefined, why: string): void {
    const line = token?.line ?? this.#firstLine + this.#lines.length - 1
    this.#unread.push({ file: this.#file, line, text: (this.#lines[line - this.#firstLine] ?? '').trim(), why })
  }

  /** `#define NAME value`, also over several lines; other directives say nothing. */
  #define(): void {
    const token = this.#tokens[this.#at++] as Token
    const joined = token.text.replaceAll(/\\\r?\n/g, ' ')
    if (!/^#\s*define\b/.test(joined)) return
    const found = /^#\s*define\s+(\w+)(\([^()]*\))?(.*)$/.exec(joined)
    if (!found) {
      this.#complain(token, 'a definition without a name')
      return
    }
    const [, name, round, body] = found as unknown as [string, string, string | undefined, string]
    const value = body.replace(/\/[*/].*$/, '').trim()
    if (value === '') return
    const parameters = round
      ?.slice(1, -1)
      .split(',')
      .map((part) => part.trim())
    const group = this.#inside.at(-1) ?? ''
    this.#found.constants.push({ name, line: token.line, value, group, ...(parameters ? { parameters } : {}) })
  }

  #enum(): void {
    const group = this.#word(1) ?? ''
    this.#at += group === '' ? 2 : 3
    let base = '0'
    let offset = 0
    let expression: string[] = []
    let current: Token | undefined
    const finish = (): void => {
      if (current === undefined) return
      const text = expression.join(' ').trim()
      if (text !== '') {
        base = text.replace(/^=\s*/, '')
        offset = 0
      }
      const value = offset === 0 ? base : `(${base}) + ${offset}`
      this.#found.constants.push({ name: current.text, line: current.line, value, group })
      offset++
      current = undefined
      expression = []
    }
    for (; this.#at < this.#tokens.length; this.#at++) {
      const token = this.#tokens[this.#at] as Token
      if (token.kind === 'define') {
        this.#define()
        this.#at--
      } else if (this.#is(0, '}')) {
        finish()
        this.#at++
        return
      } else if (this.#is(0, ',')) finish()
      else if (token.kind === 'comment') continue
      else if (current === undefined) {
        if (token.kind === 'word') current = token
        else this.#complain(token, 'no enumerator')
      } else if (expression.length === 0 && !this.#is(0, '=')) {
        // A comma is missing.
        finish()
        this.#at--
      } else expression.push(token.kind === 'round' ? `(${token.text})` : token.text)
    }
    finish()
    this.#complain(undefined, `enum ${group} does not end`)
  }

  /** Braces that belong to nothing we know: code, an example; or a declaration that cannot be read, if there are fields in it. */
  #block(): void {
    const start = this.#tokens[this.#at] as Token
    let depth = 0
    let fields = 0
    for (; this.#at < this.#tokens.length; this.#at++) {
      if (this.#is(0, '{')) depth++
      else if (this.#is(0, '}') && --depth === 0) break
      else if (baseType.test(this.#word() ?? '') && this.#word(1) !== undefined && (this.#is(2, ';') || this.#peek(2)?.kind === 'dim')) fields++
      else if (this.#peek()?.kind === 'define') {
        this.#define()
        this.#at--
      }
    }
    this.#at++
    if (fields > 1) this.#complain(start, 'fields outside of a struct')
  }

  /** `struct NAME { … }` from the word `struct` on; the name is `ahead` tokens further. */
  #struct(ahead: number, depth = 0): DeclaredStruct {
    const token = this.#peek(ahead) as Token
    this.#at += ahead + 2
    this.#inside.push(token.text)
    const members = this.#members(token.text, depth)
    this.#inside.pop()
    const struct = { name: token.text, line: token.line, members }
    this.#found.structs.push(struct)
    return struct
  }

  /** Members up to the closing brace, which is taken too. */
  #members(name: string, depth: number): Declared[] {
    const members: Declared[] = []
    let part: Declared['part']
    /** Condition of the next members, and of how many. */
    let when: { text: string; left: number } | undefined
    while (this.#at < this.#tokens.length) {
      const token = this.#tokens[this.#at] as Token
      if (token.kind === 'define') this.#define()
      else if (token.kind === 'comment') {
        const comments = this.#comments()
        const named = comments.map(partOf).find((found) => found !== undefined)
        if (named !== undefined) part = named === 'both' ? undefined : named
        when = conditionOf(comments.join(' ')) ?? when
      } else if (this.#is(0, '}')) {
        this.#at++
        return members
      } else if (this.#is(0, ';')) this.#at++
      else if (token.text === 'enum' && (this.#is(1, '{') || this.#is(2, '{'))) this.#enum()
      else {
        // A struct that begins where a member should: the one before has not ended.
        if (depth === 0 && token.text === 'struct' && this.#word(1) !== undefined && this.#is(2, '{') && this.#startsLine(token)) {
          this.#complain(token, `struct ${name} does not end`)
          return members
        }
        const from = this.#at
        const read = this.#member(depth)
        for (const member of read) {
          const own = this.#trailing(member.line)
          const condition = own ?? (when ? when.text : undefined)
          members.push({ ...member, ...(part ? { part } : {}), ...(condition !== undefined ? { when: condition } : {}) })
        }
        if (read.length > 0 && when && --when.left === 0) when = undefined
        if (this.#at === from) this.#at++
      }
    }
    this.#complain(undefined, `struct ${name} does not end`)
    return members
  }

  /** Whether the token stands in the first column: nested structs do not. */
  #startsLine(token: Token): boolean {
    return /^struct\b/.test(this.#lines[token.line - this.#firstLine] ?? '')
  }

  /** Adjacent comments, without their marks. */
  #comments(): string[] {
    const texts: string[] = []
    for (; this.#peek()?.kind === 'comment'; this.#at++) {
      const text = (this.#peek() as Token).text.replaceAll(/^\/[*/]+|\*\/$|\n\s*\*?/g, ' ')
      texts.push(oneLine(text))
    }
    return texts
  }

  /** Comments and parentheses behind a member on its last line: their condition. */
  #trailing(line: number): string | undefined {
    let text = ''
    for (; ; this.#at++) {
      const token = this.#peek()
      const last = this.#tokens[this.#at - 1]?.line ?? line
      if (token === undefined || token.line !== last) break
      if (token.kind === 'comment' || token.kind === 'round') text += ` ${token.text}`
      else if (!this.#is(0, ';')) break
    }
    return conditionOf(text)?.text
  }

  /** One declaration: one member, several with one type, or none where it cannot be read. */
  #member(depth: number): Declared[] {
    const start = this.#tokens[this.#at] as Token
    if (start.kind === 'dots') {
      this.#at++
      return [{ name: '', line: start.line, type: 'dots', dims: [] }]
    }
    if (start.kind !== 'word' || depth > deepest) return this.#skip(start)
    if (start.text === 'struct' || start.text === 'union') {
      const named = this.#word(1) !== undefined && this.#is(2, '{')
      if (named || this.#is(1, '{')) return this.#nested(start, named, depth)
      this.#at++
      if (start.text === 'struct' && this.#word() === undefined) return this.#skip(start)
    } else if (this.#is(1, '{')) return this.#bitContainer(start)
    const type = this.#word()
    if (type === undefined) return this.#skip(start)
    this.#at++
    if (this.#word() === undefined) {
      this.#at--
      return this.#skip(start)
    }
    const members: Declared[] = []
    while (this.#word() !== undefined) {
      members.push(this.#declarator(type))
      if (!this.#is(0, ',') || this.#word(1) === undefined || !this.#isDeclaratorEnd(2)) break
      this.#at++
    }
    if (this.#is(0, ';') || this.#is(0, ',')) this.#at++
    return members
  }

  #isDeclaratorEnd(ahead: number): boolean {
    return this.#is(ahead, ';') || this.#is(ahead, ',') || this.#peek(ahead)?.kind === 'dim'
  }

  #declarator(type: string): Declared {
    const token = this.#tokens[this.#at++] as Token
    const member: Declared = { name: token.text, line: token.line, type, dims: this.#dims() }
    const width = this.#width()
    return width === undefined ? member : { ...member, width }
  }

  #dims(): string[] {
    const dims: string[] = []
    for (; this.#peek()?.kind === 'dim'; this.#at++)
      dims.push(
        (this.#peek() as Token).text
          .replaceAll(/\/\*.*?\*\//g, '')
          .replaceAll(/\s+/g, ' ')
          .trim(),
      )
    return dims
  }

  #width(): number | undefined {
    if (!this.#is(0, ':') || this.#peek(1)?.kind !== 'number') return undefined
    const width = Number((this.#peek(1) as Token).text)
    this.#at += 2
    return Number.isInteger(width) && width > 0 && width <= 64 ? width : undefined
  }

  /** `struct { … } name;`, `struct NAME { … } name;`, `union { … };` */
  #nested(start: Token, named: boolean, depth: number): Declared[] {
    let type = start.text
    let members: Declared[] | undefined
    if (named && start.text === 'struct') type = this.#struct(1, depth + 1).name
    else {
      this.#at += named ? 3 : 2
      members = this.#members(`${this.#inside[0] ?? ''}, ${start.text} of line ${start.line}`, depth + 1)
    }
    this.#attributes()
    const name = this.#word()
    // A word on a line of its own is the next declaration.
    const isNamed = name !== undefined && this.#peek()?.line === this.#peek(-1)?.line
    const line = isNamed ? (this.#peek() as Token).line : start.line
    if (isNamed) this.#at++
    const dims = this.#dims()
    this.#attributes()
    if (this.#is(0, ';')) this.#at++
    // `struct NAME { … };` inside of another only declares it.
    if (named && !isNamed && members === undefined) return []
    return [{ name: isNamed ? name : '', line, type, dims, ...(members ? { members } : {}) }]
  }

  #attributes(): void {
    while (this.#word()?.startsWith('__attribute')) {
      this.#at++
      if (this.#peek()?.kind === 'round') this.#at++
    }
  }

  /** `le16 { type : 12; reserved : 4; } name;` */
  #bitContainer(start: Token): Declared[] {
    this.#at += 2
    const bits = this.#bits(start.text, 0)
    const name = this.#word()
    if (name !== undefined) this.#at++
    const dims = this.#dims()
    if (this.#is(0, ';')) this.#at++
    return [{ name: name ?? '', line: start.line, type: start.text, bits, dims }]
  }

  #bits(type: string, depth: number): Declared[] {
    const bits: Declared[] = []
    while (this.#at < this.#tokens.length && !this.#is(0, '}')) {
      const token = this.#tokens[this.#at] as Token
      if (token.text === 'union' && this.#is(1, '{') && depth < deepest) {
        this.#at += 2
        const arms = this.#bits(type, depth + 1)
        if (this.#is(0, ';')) this.#at++
        bits.push({ name: '', line: token.line, type: 'union', bits: arms, dims: [] })
      } else if (token.kind === 'word') {
        const bit = this.#declarator(type)
        if (bit.width === undefined) this.#complain(token, 'a bit-field without a width')
        bits.push(bit)
      } else {
        if (token.kind === 'define') {
          this.#define()
          continue
        }
        if (token.kind !== 'comment' && token.kind !== 'round' && !this.#is(0, ';') && !this.#is(0, ',')) this.#complain(token, 'no bit-field')
        this.#at++
      }
    }
    this.#at++
    return bits
  }

  /** Something that is no declaration: to the end of its line, or before what closes the struct. */
  #skip(start: Token): Declared[] {
    this.#complain(start, 'no declaration of a field')
    while (this.#at < this.#tokens.length && (this.#tokens[this.#at] as Token).line === start.line && !this.#is(0, '}')) this.#at++
    return []
  }
}

/** `Device-readable part`, `Device read only portion`, `Device read && write portion`; not a sentence that has such words in it. */
function partOf(comment: string): 'readable' | 'writable' | 'both' | undefined {
  if (!/^device[- ](?:[^.]{0,30}\b(?:part|portion)\b|(?:readable|writable)$)/i.test(comment)) return undefined
  const readable = /\bread(?:able)?\b/i.test(comment)
  const writable = /\bwrit(?:e|able)\b/i.test(comment)
  return readable && writable ? 'both' : readable ? 'readable' : writable ? 'writable' : undefined
}

const counts = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten']

/** A condition over features that a comment states, and for how many members. */
export function conditionOf(comment: string): { text: string; left: number } | undefined {
  const found = /\b(?:only\b.*?\bif|if)\b(.*)/i.exec(comment)
  if (!found || !/\bonly\b|negotiated/i.test(comment)) return undefined
  const text = featuresIn(found[1] as string)
  if (text === undefined) return undefined
  const many = /\bnext\s+(\w+)\s+fields\b/i.exec(comment)?.[1]
  return { text, left: many === undefined ? 1 : Math.max(1, counts.indexOf(many.toLowerCase())) }
}

/** `A or B` of a sentence about features: their names and the words between them. */
export function featuresIn(sentence: string): string | undefined {
  const names = [...new Set(sentence.match(featureName) ?? [])]
  if (names.length === 0) return undefined
  return names.join(/\bor\b/i.test(sentence) ? ' or ' : ' and ')
}
