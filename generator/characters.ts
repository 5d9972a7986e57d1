/** Which character of the source a character of a YAML scalar is: quotes, escapes and folded lines shift them. */
import type { Scalar } from 'yaml'

/**
 * The offset in the source of the character at `offset` of a scalar's value. White space is passed over, since folding replaces it;
 * names and operators of an expression hold none.
 */
export function sourceOffset(source: string, scalar: Scalar, offset: number): number {
  const value = String(scalar.value)
  const atEnd = value.slice(offset).trim() === ''
  const wanted = solid(atEnd ? value : value.slice(0, offset))
  let count = 0
  let last = scalar.range?.[0] ?? 0
  for (const [at, length, characters] of solidCharacters(source, scalar)) {
    if (!atEnd && count >= wanted) return at
    count += characters
    last = at + length
  }
  return last
}

function solid(text: string): number {
  return text.replaceAll(/\s/g, '').length
}

/** Position, length in the source and number of characters of everything in a scalar that is not white space. */
function* solidCharacters(source: string, scalar: Scalar): Generator<[at: number, length: number, characters: number]> {
  const [start, end] = scalar.range ?? [0, 0]
  const quote = scalar.type === 'QUOTE_DOUBLE' || scalar.type === 'QUOTE_SINGLE' ? 1 : 0
  let at = start + quote
  // The first line of a block scalar holds `>-` or `|` and perhaps a comment.
  if (scalar.type === 'BLOCK_FOLDED' || scalar.type === 'BLOCK_LITERAL') at = source.indexOf('\n', start) + 1 || end
  while (at < end - quote) {
    const length = scalar.type === 'QUOTE_DOUBLE' ? escapeLength(source, at) : scalar.type === 'QUOTE_SINGLE' && source.startsWith("''", at) ? 2 : 1
    const characters =
      scalar.type === 'QUOTE_DOUBLE' && length > 1 ? escapedCharacters(source.slice(at, at + length)) : solid(source.slice(at, at + 1))
    if (characters > 0) yield [at, length, characters]
    at += length
  }
}

const escapeDigits: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 }

function escapeLength(source: string, at: number): number {
  return source[at] === '\\' ? 2 + (escapeDigits[source[at + 1] ?? ''] ?? 0) : 1
}

/** How many characters other than white space an escape sequence stands for. */
function escapedCharacters(sequence: string): number {
  const letter = sequence[1] as string
  if (escapeDigits[letter]) return solid(String.fromCodePoint(Math.min(Number.parseInt(sequence.slice(2), 16) || 0, 0x10ffff)))
  return whiteEscapes.has(letter) ? 0 : 1
}

/** What stands behind a backslash for white space, or for a line that continues. */
const whiteEscapes = new Set(' \t\r\ntnvfr_LP')
