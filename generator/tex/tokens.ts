/** The words of a listing. */

export interface Token {
  kind: 'word' | 'number' | 'mark' | 'dim' | 'round' | 'comment' | 'define' | 'dots'
  text: string
  line: number
}

const word = /[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z_][A-Za-z0-9_]*)*/y
const number = /(?:0[xX][0-9a-fA-F]+|\d+)[uUlL]*\w*/y

/**
 * Splits a listing into tokens: a pair of brackets with what is in it is one token (`dim`), and so are a pair of parentheses (`round`) and a `#define`.
 * An open comment ends with its line where the lines after it look like declarations: `struct virtio_admin_cmd_list` of 1.4 has one.
 */
export function tokensOf(lines: readonly string[], firstLine: number, escapeMark?: string): Token[] {
  const tokens: Token[] = []
  const text = lines.join('\n')
  let line = firstLine
  let at = 0
  const push = (kind: Token['kind'], end: number, content = text.slice(at, end)): void => {
    tokens.push({ kind, text: content, line })
    skip(end)
  }
  const skip = (end: number): void => {
    for (let i = at; i < end; i++) if (text[i] === '\n') line++
    at = end
  }
  let close = 0
  const endOfComment = (start: number): number => {
    // Looked for once: there may be as many comments as there are lines.
    if (close >= 0 && close < start + 2) close = text.indexOf('*/', start + 2)
    const lineEnd = endOfLine(text, start)
    if (close < 0) return lineEnd
    const next = close < lineEnd ? -1 : text.slice(start + 2, close).indexOf('/*')
    return next < 0 ? close + 2 : lineEnd
  }
  while (at < text.length) {
    const char = text[at] as string
    const rest = text.slice(at, at + 2)
    if (/\s/.test(char)) skip(at + 1)
    else if (rest === '/*') push('comment', endOfComment(at))
    else if (rest === '//') push('comment', endOfLine(text, at))
    else if (char === '#') push('define', endOfDefine(text, at))
    else if (char === escapeMark || text.startsWith('...', at)) {
      const end = char === escapeMark ? text.indexOf(char, at + 1) : at + 2
      push('dots', end < 0 || end > endOfLine(text, at) ? endOfLine(text, at) : end + 1)
    } else if (char === '[' || char === '(') {
      const end = endOfPair(text, at)
      if (end < 0) push('mark', at + 1)
      else push(char === '[' ? 'dim' : 'round', end, text.slice(at + 1, end - 1))
    } else if (char === '"' || char === "'") {
      const end = text.indexOf(char, at + 1)
      push('mark', end < 0 || end > endOfLine(text, at) ? at + 1 : end + 1)
    } else {
      word.lastIndex = number.lastIndex = at
      const matched = word.exec(text)
      const digits = matched ? null : number.exec(text)
      if (matched) push('word', word.lastIndex)
      else if (digits) push('number', number.lastIndex)
      else push('mark', at + 1)
    }
  }
  return tokens
}

function endOfLine(text: string, at: number): number {
  const end = text.indexOf('\n', at)
  return end < 0 ? text.length : end
}

/** A definition goes on over lines that end in a backslash. */
function endOfDefine(text: string, at: number): number {
  let end = endOfLine(text, at)
  while (end < text.length && text[end - 1] === '\\') end = endOfLine(text, end + 1)
  return end
}

/** Behind the partner of a bracket; -1 where it is not near: on the same line or the two after it. */
function endOfPair(text: string, at: number): number {
  const open = text[at]
  const close = open === '[' ? ']' : ')'
  let depth = 0
  let lines = 0
  for (let i = at; i < Math.min(text.length, at + 1000) && lines < 3; i++) {
    const char = text[i]
    if (char === '\n') lines++
    if (char === open) depth++
    else if (char === close && --depth === 0) return i + 1
  }
  return -1
}
