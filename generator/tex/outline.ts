/** What the lines of a file are: sections, listings, and prose between them. */
import type { TexFile, Unread } from './text.ts'
import { withoutComment } from './text.ts'

/** A program listing. */
export interface Listing {
  file: string
  /** Number of its first line. */
  line: number
  lines: string[]
  /** Character between which the listing escapes to LaTeX. */
  escapeMark: string | undefined
  section: string
}

/** A line of prose, without comment. */
export interface ProseLine {
  line: number
  text: string
  /** Titles of the sections around it, outermost first. */
  section: string
}

export interface Outline {
  listings: Listing[]
  prose: ProseLine[]
}

const levels = ['chapter', 'section', 'subsection', 'subsubsection', 'paragraph', 'subparagraph']
/** What a listing cannot hold: it has not ended where it should have. */
const beyondListing = /^\s*\\(?:(?:sub)*section|(?:sub)?paragraph|chapter|devicenormative|drivernormative|begin|item|field)\b/
const foreign = /\\begin\s*\{(verbatim|Verbatim|comment|equation|align)\*?\}/

export function outlineOf(file: TexFile, unread: Unread[]): Outline {
  const listings: Listing[] = []
  const prose: ProseLine[] = []
  const titles: string[] = []
  let section = ''
  let escapeMark: string | undefined
  /** Lines that end a kind of foreign text, the next one last. */
  const ends = new Map<string, number[]>()
  const foreignEnd = (kind: string, after: number): number | undefined => {
    if (!ends.has(kind)) ends.set(kind, file.lines.flatMap((line, at) => (line.includes(`\\end{${kind}`) ? [at] : [])).reverse())
    const left = ends.get(kind) as number[]
    while (left.length > 0 && (left.at(-1) as number) <= after) left.pop()
    return left.at(-1)
  }
  for (let index = 0; index < file.lines.length; index++) {
    const text = withoutComment(file.lines[index] as string)
    const set = /\\lstset\s*\{[^{}]*escapechar\s*=\s*\\?(\S)/.exec(text)
    if (set) escapeMark = set[1]
    const heading = headingOf(text)
    if (heading) {
      titles.length = heading.level
      titles[heading.level] = heading.title
      section = [...titles].filter((title) => title !== undefined).join(' / ')
      escapeMark = undefined
    }
    const open = /\\begin\s*\{lstlisting\}(.*)/.exec(text)
    if (open) {
      const own = /escapechar\s*=\s*\\?([^\s,\]])/.exec(open[1] as string)?.[1]
      const end = endOfListing(file.lines, index + 1)
      listings.push({ file: file.path, line: index + 2, lines: file.lines.slice(index + 1, end.at), escapeMark: own ?? escapeMark, section })
      if (!end.closed) unread.push({ file: file.path, line: index + 1, text: text.trim(), why: 'the listing does not end' })
      index = end.closed ? end.at : end.at - 1
      continue
    }
    const other = foreign.exec(text)?.[1]
    if (other !== undefined) {
      const end = foreignEnd(other, index)
      if (end !== undefined) {
        index = end
        continue
      }
    }
    prose.push({ line: index + 1, text, section })
  }
  return { listings, prose }
}

function endOfListing(lines: readonly string[], from: number): { at: number; closed: boolean } {
  for (let at = from; at < lines.length; at++) {
    const line = lines[at] as string
    if (/\\end\s*\{lstlisting\}/.test(line)) return { at, closed: true }
    if (beyondListing.test(line)) return { at, closed: false }
  }
  return { at: lines.length, closed: false }
}

function headingOf(text: string): { level: number; title: string } | undefined {
  const plain = /^\s*\\((?:sub)*section|(?:sub)?paragraph|chapter)\*?\s*\{/.exec(text)
  const normative = /^\s*\\(?:device|driver)normative\s*\{\s*\\(\w+)\s*\}\s*\{/.exec(text)
  const found = plain ?? normative
  if (!found) return undefined
  const level = levels.indexOf(found[1] as string)
  if (level < 0) return undefined
  return { level, title: (braced(text, found[0].length - 1) ?? '').trim() }
}

/** What stands between the brace at `from` and its partner on the same text. */
export function braced(text: string, from: number): string | undefined {
  let depth = 0
  for (let at = from; at < text.length; at++) {
    if (text[at] === '{') depth++
    else if (text[at] === '}' && --depth === 0) return text.slice(from + 1, at)
  }
  return undefined
}
