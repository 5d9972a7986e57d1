/** What stands in prose: features and constants of lists, rows of tables, queues, registers. */
import type { Facts } from '../facts.ts'
import { braced, type ProseLine } from './outline.ts'
import { plainText, type Unread } from './text.ts'

type At<T> = T & { line: number }

export interface ListedNumber {
  name: string
  value: string
  line: number
  section: string
  feature: boolean
  legacy: boolean
}

/** `\item[NAME (3)]`, also without the brackets: a feature bit or a constant. */
export function listedNumbers(prose: readonly ProseLine[]): ListedNumber[] {
  return prose.flatMap(({ line, text, section }) => {
    const found =
      /\\item\s*\[\s*([A-Z][A-Za-z0-9_\\]*)\s*\(\s*(0[xX][0-9a-fA-F]+|\d+)\s*\)\s*\]/.exec(text) ??
      /^\s*\\item\s+([A-Z][A-Z0-9_\\]{3,})\s*\(\s*(0[xX][0-9a-fA-F]+|\d+)\s*\)/.exec(text)
    if (!found) return []
    const name = (found[1] as string).replaceAll('\\', '')
    const feature = /feature bits?(?: *$| *\/)/i.test(section) || /^VIRTIO_(?:[A-Z0-9]+_)?F_/.test(name)
    return [{ name, value: found[2] as string, line, section, feature, legacy: /legacy interface/i.test(section) }]
  })
}

/** Features that `\\item[A] Requires B or C` names, by A; also where the sentence follows the description of the bit. */
export function requirementsOf(prose: readonly ProseLine[]): Map<string, string> {
  const found = new Map<string, string>()
  for (const [index, { text }] of prose.entries()) {
    const name = /\\item\s*\[\s*(VIRTIO_(?:[A-Z0-9]+_)?F_[A-Z0-9_]+)/.exec(text)?.[1]
    if (name === undefined) continue
    let item = text
    for (const { text: below } of prose.slice(index + 1, index + 20)) {
      if (below.trim() === '' || /\\(?:item|end|begin)\b/.test(below)) break
      item += ` ${below}`
    }
    const sentence = /\bRequires\b([^.]*)/.exec(item)?.[1]
    const names = [...new Set(sentence?.match(/VIRTIO_(?:[A-Z0-9]+_)?F_[A-Z0-9_]+/g) ?? [])]
    if (names.length > 0) found.set(name, names.join(/\bor\b/.test(sentence as string) ? ' or ' : ' and '))
  }
  return found
}

export interface Table {
  line: number
  section: string
  rows: At<{ cells: string[] }>[]
}

const tables = /\\begin\s*\{(tabularx?|longtable|tabulary)\*?\}/

/** Tables, row by row; a row ends at `\\`. */
export function tablesOf(file: string, prose: readonly ProseLine[], unread: Unread[]): Table[] {
  const found: Table[] = []
  for (let index = 0; index < prose.length; index++) {
    const open = prose[index] as ProseLine
    const kind = tables.exec(open.text)?.[1]
    if (kind === undefined) continue
    const table: Table = { line: open.line, section: open.section, rows: [] }
    let row = ''
    let start = 0
    let closed = false
    for (index++; index < prose.length; index++) {
      const { line, text } = prose[index] as ProseLine
      if (text.includes(`\\end{${kind}`)) {
        closed = true
        break
      }
      if (tables.test(text) || /^\s*\\(?:sub)*section\b/.test(text)) {
        index--
        break
      }
      for (const [part, piece] of text.split(/\\\\(?:\[[^\]]*\])?/).entries()) {
        if (part > 0) {
          table.rows.push({ cells: cellsOf(row), line: start })
          row = ''
        }
        if (plainText(row) === '') start = line
        row += ` ${piece}`
      }
    }
    if (!closed) unread.push({ file, line: open.line, text: open.text.trim(), why: 'the table does not end' })
    if (row.includes('&')) table.rows.push({ cells: cellsOf(row), line: start })
    found.push(table)
  }
  return found
}

function cellsOf(row: string): string[] {
  return row.split(/(?<!\\)&/).map(plainText)
}

const digits = /^(0[xX][0-9a-fA-F]+|\d+)$/

/** Rows whose first cells are a number and a name, in either order. */
export function tableNumbers(found: readonly Table[]): { name: string; value: string; line: number; section: string }[] {
  return found.flatMap(({ rows, section }) =>
    rows.flatMap(({ cells, line }) => {
      const [first = '', second = ''] = cells
      const [value, name] = digits.test(first) ? [first, second] : [second, first]
      if (!digits.test(value) || !/^[A-Z][A-Z0-9]*(?:_[A-Za-z0-9]+)+$/.test(name)) return []
      return [{ name, value, line, section }]
    }),
  )
}

/** The table of device ids. */
export function deviceIds(found: readonly Table[]): At<{ id: number; name: string }>[] {
  return found.flatMap(({ rows }) => {
    if (!rows.some(({ cells }) => /^Device ID$/i.test(cells[0] ?? ''))) return []
    return rows.flatMap(({ cells, line }) => {
      const [id = '', name = ''] = cells
      // Id 0 is reserved: no device.
      return /^\d+$/.test(id) && Number(id) > 0 && name !== '' ? [{ id: Number(id), name, line }] : []
    })
  })
}

/** The id that a chapter gives its device, in the section of that name. */
export function deviceIdOf(prose: readonly ProseLine[]): number | undefined {
  for (const [index, { text }] of prose.entries()) {
    if (!/\\(?:sub)*section\s*\{\s*Device ID\s*\}/i.test(text)) continue
    for (const { text: below } of prose.slice(index + 1, index + 8)) {
      const id = /^\s*(\d+)\s*\.?\s*$/.exec(below)?.[1]
      if (id !== undefined) return Number(id)
    }
  }
  return undefined
}

/** `\item[2(N-1)] receiveqN` of a section about virtqueues. */
export function queuesOf(prose: readonly ProseLine[]): At<Omit<Facts['queues'][number], 'scope'>>[] {
  const own = prose.filter(({ section }) => /(?:^|\/ )Virtqueues$/.test(section))
  const queues = own.flatMap(({ line, text }) => {
    const found = /\\item\s*\[\s*([^\]]+?)\s*\]\s*(\S.*)$/.exec(text)
    if (!found) return []
    const label = plainText(found[1] as string).replaceAll(' ', '')
    const name = plainText((found[2] as string).replace(/\s+-{1,3}\s.*$/, '')).replace(/[.,;:]$/, '')
    if (label === '...' || !/^[0-9N(]/.test(label) || name === '') return []
    const open = /^(\d+)\.\.\./.exec(label)?.[1]
    return [{ name, index: /^\d+$/.test(open ?? label) ? Number(open ?? label) : label, line }]
  })
  const sentences = sentencesOf(own)
  return queues.map((queue) => {
    const features = sentences.flatMap(({ text }) => (isAbout(text, queue.name) ? [conditionIn(text)] : [])).find((when) => when !== undefined)
    return features === undefined ? queue : { ...queue, when: features }
  })
}

function isAbout(sentence: string, queue: string): boolean {
  const at = sentence.toLowerCase().indexOf(queue.toLowerCase())
  return at >= 0 && !/\balways exist/.test(sentence) && at < sentence.search(/VIRTIO_/)
}

export interface Sentence {
  line: number
  text: string
  /** Label of the item of a list that it stands in, and whether it is its first sentence. */
  label?: string
  isFirst: boolean
}

/** Sentences of prose without markup; an item, a blank line and a heading end one. */
export function sentencesOf(prose: readonly ProseLine[]): Sentence[] {
  const sentences: Sentence[] = []
  let paragraph: ProseLine[] = []
  const flush = (): void => {
    if (paragraph.length === 0) return
    const line = (paragraph[0] as ProseLine).line
    const text = paragraph.map((each) => each.text).join(' ')
    const label = /^\s*\\item\s*\[((?:[^[\]{}]|\{[^{}]*\})*)\]/.exec(text)?.[1]
    for (const [index, sentence] of text
      .replaceAll(/\bi\.e\./g, 'ie')
      .split(/(?<=[.;])\s+(?=[A-Z\\])/)
      .entries())
      sentences.push({ line, text: sentence.trim(), isFirst: index === 0, ...(label === undefined ? {} : { label }) })
    paragraph = []
  }
  let last = 0
  for (const each of prose) {
    if (each.text.trim() === '' || each.line !== last + 1 || /^\s*\\(?:item|begin|end|(?:sub)*section|(?:sub)?paragraph)\b/.test(each.text)) flush()
    if (each.text.trim() !== '') paragraph.push(each)
    last = each.line
  }
  flush()
  return sentences
}

const existence = /\b(?:(?:exists?|present|available|valid)(?:\s+only)?|only\s+(?:exists?|present|available|valid|defined|meaningful))(?=\s)/i
const negation = /\bnot\b|\bneither\b|\bunless\b|\bMUST\b|\bSHOULD\b|\bMAY\b/

/** "… only exists if X is set", "… is available if X": the features of a sentence that says when something is there. */
export function conditionIn(sentence: string): string | undefined {
  if (!sentence.includes('VIRTIO_')) return undefined
  const text = plainText(sentence)
  const at = text.search(existence)
  if (at < 0 || negation.test(text)) return undefined
  const condition = /\b(?:if|when)\b([^.]*)/i.exec(text.slice(at))?.[1]
  return condition === undefined ? undefined : featuresOf(condition)
}

function featuresOf(text: string): string | undefined {
  const names = [...new Set(text.match(/VIRTIO_(?:[A-Z0-9]+_)?F_[A-Z0-9_]+/g) ?? [])]
  return names.length === 0 ? undefined : names.join(/\bor\b/.test(text) ? ' or ' : ' and ')
}

export interface FieldCondition {
  fields: string[]
  when: string
  /** True: about fields of the configuration space only. */
  config: boolean
}

/**
 * Fields that a sentence says are there only under a condition: `The following field, \field{mtu} only exists if …`; `This field exists only if …` in the
 * item of a field; the field that an item describes `if X has been negotiated`; and fields that the description of a feature bit names.
 */
export function conditionalFields({ text, label, isFirst }: Sentence): FieldCondition | undefined {
  const feature = /^\s*(VIRTIO_(?:[A-Z0-9]+_)?F_[A-Z0-9_]+)/.exec(label ?? '')?.[1]
  if (feature !== undefined) {
    const fields = [...fieldsIn(text), ...[...text.matchAll(/\bfield ([a-z]\w+) is valid\b/g)].map((found) => found[1] as string)]
    return fields.length > 0 ? { fields, when: feature, config: true } : undefined
  }
  const own = fieldsIn(label ?? '')
  const when = conditionIn(text)
  if (when !== undefined) {
    const named = fieldsIn(text.slice(0, Math.max(text.search(existence), 0)).replace(/^\s*\\item\s*\[[^\]]*\]/, ''))
    const fields = named.length > 0 ? named : own
    return fields.length > 0 ? { fields, when, config: false } : undefined
  }
  if (own.length === 0 || !isFirst) return undefined
  const late = /\bif (VIRTIO_(?:[A-Z0-9]+_)?F_[A-Z0-9_]+) (?:is|has been) negotiated\.?$/.exec(plainText(text))?.[1]
  return late !== undefined && !negation.test(plainText(text)) ? { fields: own, when: late, config: true } : undefined
}

function fieldsIn(text: string): string[] {
  return [...text.matchAll(/\\field\s*\{([\w\\.]+)\}/g)].map((found) => (found[1] as string).replaceAll('\\', ''))
}

/** `\mmioreg{Name}{Function}{Offset}{R}{…}` and the macro for a pair of registers. */
export function registersOf(file: string, prose: readonly ProseLine[], unread: Unread[]): At<Omit<Facts['registers'][number], 'scope'>>[] {
  return prose.flatMap(({ line, text, section }) => {
    const found = /\\(mmiod?reg)\s*\{/.exec(text)
    if (!found || text.includes('\\newcommand')) return []
    const given: string[] = []
    let at = found.index + found[0].length - 1
    while (text[at] === '{') {
      const part = braced(text, at)
      if (part === undefined) break
      given.push(part.trim())
      at += part.length + 2
    }
    const pair = found[1] === 'mmiodreg'
    const names = given.slice(0, pair ? 2 : 1)
    const offsets = pair ? given.slice(3, 5) : given.slice(2, 3)
    const access = (given[pair ? 5 : 3] ?? '').toUpperCase()
    // The heads of the two tables use the macro, too.
    if (names[0] === 'Name') return []
    if (!offsets.every((offset) => /^0[xX][0-9a-fA-F]+\+?$/.test(offset)) || offsets.length !== names.length || !/^(R|W|RW)$/.test(access)) {
      unread.push({ file, line, text: text.trim(), why: 'no register: name, offset or direction is missing' })
      return []
    }
    const legacy = /legacy/i.test(section)
    return names.map((name, index) => ({
      name,
      offset: Number.parseInt(offsets[index] as string, 16),
      width: null,
      access,
      block: legacy ? 'legacy' : '',
      ...(legacy ? { legacy: true as const } : {}),
      line,
    }))
  })
}
