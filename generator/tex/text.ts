/** The LaTeX of a revision of the specification: which files belong to it, and their lines. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Something the reader did not understand. Whatever follows it is read all the same. */
export interface Unread {
  file: string
  line: number
  text: string
  why: string
}

export interface TexFile {
  /** Below the folder, with forward slashes. */
  path: string
  /** Chapter: the folder of a device type, otherwise the name of the file. */
  scope: string
  lines: readonly string[]
}

export interface TexText {
  files: TexFile[]
  unread: Unread[]
}

/** A file of the specification has 4,000 lines; this is far beyond. */
const largestFile = 8 * 1024 * 1024

/**
 * `content.tex` and everything that it includes, in that order, and every `device-types/NAME/description.tex` that it does not. Introduction, conformance
 * clauses and appendices hold examples and lists, no definitions.
 */
export function readTex(folder: string): TexText {
  const text: TexText = { files: [], unread: [] }
  const seen = new Set<string>()
  const add = (path: string): void => {
    if (seen.has(path)) return
    seen.add(path)
    const lines = readLines(join(folder, path))
    if (typeof lines === 'string') {
      text.unread.push({ file: path, line: 1, text: '', why: lines })
      return
    }
    text.files.push({ path, scope: scopeOf(path), lines })
    for (const [index, line] of lines.entries()) {
      const input = /^[^%]*\\(?:input|include)\s*\{\s*([^{}\s]+)\s*\}/.exec(line)?.[1]
      if (input === undefined) continue
      const target = (input.endsWith('.tex') ? input : `${input}.tex`).replace(/^\.\//, '')
      const inside = !target.startsWith('/') && !target.split('/').includes('..')
      if (inside && existsSync(join(folder, target))) add(target)
      else text.unread.push({ file: path, line: index + 1, text: line.trim(), why: 'the file is not there' })
    }
  }
  if (existsSync(join(folder, 'content.tex'))) add('content.tex')
  const types = join(folder, 'device-types')
  if (existsSync(types)) {
    for (const name of readdirSync(types).sort()) {
      const path = `device-types/${name}/description.tex`
      if (existsSync(join(folder, path))) add(path)
    }
  }
  return text
}

function scopeOf(path: string): string {
  return /^device-types\/([^/]+)\//.exec(path)?.[1] ?? path.replace(/^.*\//, '').replace(/\.tex$/, '')
}

/** The lines, or why there are none. */
function readLines(path: string): string[] | string {
  try {
    if (statSync(path).size > largestFile) return 'the file is too large to be a chapter'
    return readFileSync(path, 'utf8')
      .replace(/^\uFEFF/, '')
      .split(/\r\n|\r|\n/)
  } catch (error) {
    return `cannot be read: ${(error as Error).message}`
  }
}

/** A line without its comment. Not for listings, where `%` is an operator. */
export function withoutComment(line: string): string {
  const at = line.search(/(?<!\\)%/)
  return at < 0 ? line : line.slice(0, at)
}

/** Words without markup: `\hyperref[..]{VIRTIO_X}` → `VIRTIO_X`, `\field{a}` → `a`. */
export function plainText(text: string): string {
  return text
    .replaceAll(/\\(?:ref|label|cite|footnote|index|phantomsection)\s*(?:\{[^{}]{0,999}\})?/g, ' ')
    .replaceAll(/\\hyperref\s*\[[^\]]{0,999}\]/g, ' ')
    .replaceAll(/\\(?:ldots|dots)\b\s*/g, '...')
    .replaceAll(/\\(?:newline|hline|textwidth|quad)\b/g, ' ')
    .replaceAll(/\\[a-zA-Z]+\*?/g, ' ')
    .replaceAll(/\\([_%&#$ {}])/g, '$1')
    .replaceAll(/[{}~]/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim()
}

/** Letters and digits of a text: what is left of a quotation when markup, spaces and line ends are ignored. */
export function wordsOf(text: string): string {
  return text
    .replaceAll(/\\(?:begin|end)\s*\{[^{}]{0,99}\}/g, ' ')
    .replaceAll(/\\(?:field|textit|textbf|texttt|emph|hyperref|ref|nameref|ldots|item)\b/g, ' ')
    .replaceAll(/[^A-Za-z0-9]+/g, '')
    .toLowerCase()
}
