/**
 * One description for each kind of mistake, in `test/diagnostics`. What is to be reported stands in comments of the description
 * itself, below the line it is about:
 *
 *     - a: le33
 *     #    ^^^^ unknown-type: unknown type "le33"
 *     #      hint: did you mean le32?
 *
 * The carets are those that are printed. What cannot have a comment below it, since it begins in the first column or ends with the file, is written
 * `# at LINE:COLUMN ^^^^ code: message`. All diagnostics of a file are listed: one more is as wrong as one less.
 *
 * A file is named after the code that it is about, `unknown-type.yaml` or `unknown-type.anything.yaml`; a folder holds files that belong together.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { checkShapes, type Diagnostic, diagnosticCodes, formatDiagnostic, loadFolders, resolve, SourceFile } from '../generator/index.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = join(root, 'test/diagnostics')
/** The feature bits have their owners there. */
const common = readFileSync(join(root, 'spec/common/content.yaml'), 'utf8')

interface File {
  name: string
  text: string
}

/** Files that are loaded together, beside the common chapter. */
interface Fixture {
  name: string
  files: File[]
}

const fixtures: Fixture[] = readdirSync(folder)
  .sort()
  .map((entry) => {
    const path = join(folder, entry)
    if (!statSync(path).isDirectory()) return { name: entry.replace(/\.yaml$/, ''), files: [{ name: entry, text: readFileSync(path, 'utf8') }] }
    const names = readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.yaml'))
    return { name: entry, files: names.sort().map((name) => ({ name: name.split(sep).join('/'), text: readFileSync(join(path, name), 'utf8') })) }
  })

function problemsOf(files: readonly File[]): Diagnostic[] {
  const sources = files.map(({ name, text }) => new SourceFile(name, name, text, false))
  const builtin = new SourceFile('content.yaml', 'common/content.yaml', common, true)
  return resolve(checkShapes([builtin, ...sources])).problems.filter(({ file }) => file !== 'content.yaml')
}

/** A diagnostic in one line, with its hint: `file:line:column +length code: message (hint)`. */
function inOneLine({ file, line, column, length, code, message, hint }: Omit<Diagnostic, 'excerpt'>): string {
  return `${file}:${line}:${column} +${length} ${code}: ${message}${hint === undefined ? '' : ` (${hint})`}`
}

const below = /^(\s*#\s*)(\^+) ([a-z-]+): (.*)$/
const elsewhere = /^# at (\d+):(\d+) (\^+) ([a-z-]+): (.*)$/
const hintLine = /^\s*#\s+hint: (.*)$/

/** What the comments of a description announce. */
function announced({ name, text }: File): string[] {
  const found: Omit<Diagnostic, 'excerpt'>[] = []
  let subject = 0
  text.split('\n').forEach((content, index) => {
    const hint = hintLine.exec(content)
    const here = below.exec(content)
    const there = elsewhere.exec(content)
    const last = found.at(-1)
    if (hint && last) last.hint = hint[1] as string
    else if (here) {
      const [, before, carets, code, message] = here as unknown as [string, string, string, Diagnostic['code'], string]
      found.push({ file: name, line: subject, column: before.length + 1, length: carets.length, code, message })
    } else if (there) {
      const [, line, column, carets, code, message] = there as unknown as [string, string, string, string, Diagnostic['code'], string]
      found.push({ file: name, line: Number(line), column: Number(column), length: carets.length, code, message })
    } else subject = index + 1
  })
  return found.map(inOneLine)
}

describe('a description with mistakes', () => {
  it.each(fixtures)('$name: is told all of them, and nothing else', ({ files }) => {
    expect(problemsOf(files).map(inOneLine).sort()).toEqual(files.flatMap(announced).sort())
  })

  it('stands here for every code', () => {
    const codes = new Set(fixtures.map(({ name }) => name.split('.')[0] as string))
    const inNoFolder = ['no-spec']
    expect(Object.keys(diagnosticCodes).filter((code) => !codes.has(code))).toEqual(inNoFolder)
  })

  it.each(fixtures.filter(({ name }) => (name.split('.')[0] as string) in diagnosticCodes))(
    '$name: is about what it is named after',
    ({ name, files }) => {
      expect(problemsOf(files).map(({ code }) => code)).toContain(name.split('.')[0])
    },
  )

  it('is told in the order of files and lines', () => {
    const places = fixtures.flatMap(({ files }) => [problemsOf(files)])
    for (const problems of places) {
      const sorted = problems.toSorted((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line || a.column - b.column))
      expect(problems.map(inOneLine)).toEqual(sorted.map(inOneLine))
    }
  })

  it('has a source line below which every caret fits', () => {
    for (const { files } of fixtures) {
      for (const { file, line, column, length, excerpt } of problemsOf(files)) {
        const text = files.find(({ name }) => name === file)?.text ?? ''
        expect(excerpt).toBe(text.split('\n')[line - 1])
        // What is missing at the end is pointed at behind it.
        expect(column - 1 + length).toBeLessThanOrEqual(excerpt.length + 1)
      }
    }
  })
})

describe('a folder without a description', () => {
  let empty: string
  beforeAll(() => {
    empty = mkdtempSync(join(tmpdir(), 'virtgen-'))
    writeFileSync(join(empty, 'notes.txt'), 'no description')
  })
  afterAll(() => rmSync(empty, { recursive: true }))

  it('is told so, be it missing, empty or a file', () => {
    const { problems, files } = loadFolders(
      [
        { folder: join(empty, 'missing'), builtin: false },
        { folder: empty, builtin: false },
        { folder: join(empty, 'notes.txt'), builtin: false },
      ],
      empty,
    )
    expect(files).toEqual([])
    expect(problems.map(({ code, file, message }) => `${code} ${file}: ${message}`)).toEqual([
      'no-spec missing: not a folder that can be read',
      'no-spec .: no *.yaml file in this folder',
      'no-spec notes.txt: not a folder that can be read',
    ])
  })

  it('does not keep other folders from being read', () => {
    const loaded = loadFolders(
      [
        { folder: empty, builtin: false },
        { folder: join(folder, 'duplicate-chapter'), builtin: false },
      ],
      root,
    )
    const codes = resolve(loaded).problems.map(({ code, file }) => `${code} ${file.split(sep).join('/')}`)
    expect(codes).toEqual([
      `no-spec ${relative(root, empty).startsWith('..') ? empty : relative(root, empty)}`,
      'duplicate-chapter test/diagnostics/duplicate-chapter/second.yaml',
    ])
  })
})

describe('a diagnostic about some characters of a text', () => {
  const words = fc.array(fc.stringMatching(/^[A-Za-z0-9_]{1,8}$/), { minLength: 1, maxLength: 12 })
  const gaps = fc.array(fc.constantFrom(' ', '  ', '\n', '\n\n', " ' ", ' " ', ' \\ ', ' # ', ': ', '\t', ' é '), { minLength: 12, maxLength: 12 })
  const styles = fc.constantFrom('PLAIN', 'QUOTE_SINGLE', 'QUOTE_DOUBLE', 'BLOCK_FOLDED', 'BLOCK_LITERAL')

  it('stands below them, whatever way the text is written in', () => {
    fc.assert(
      fc.property(words, gaps, styles, fc.integer({ min: 20, max: 60 }), (parts, between, type, lineWidth) => {
        const value = parts.map((word, index) => word + (index < parts.length - 1 ? between[index] : '')).join('')
        const text = stringify({ before: [1], text: value, after: 1 }, { defaultStringType: type, lineWidth, defaultKeyType: 'PLAIN' })
        // A word that the writer breaks over two lines cannot stand above one caret.
        fc.pre(!/\w\\\n/.test(text))
        let offset = 0
        for (const [index, word] of parts.entries()) {
          const source = new SourceFile('a.yaml', 'a.yaml', text, false)
          // Not every style can hold every text.
          fc.pre((source.value as { text: unknown }).text === value)
          source.report('wrong-type', ['text'], 'here', undefined, { offset, length: word.length })
          const [{ excerpt, column, length }] = source.problems as [Diagnostic]
          expect(excerpt.slice(column - 1, column - 1 + length)).toBe(word)
          offset += word.length + (between[index] as string).length
        }
      }),
    )
  })
})

describe('a diagnostic as text', () => {
  const [problem] = problemsOf([{ name: 'example.yaml', text: 'kind: external\nname: example\nstructs:\n  s:\n    - a: le33\n' }]) as [Diagnostic]

  it('has the place, the code, the source line with a caret and the hint', () => {
    expect(formatDiagnostic(problem)).toBe(
      [
        'example.yaml:5:10: error[unknown-type]: unknown type "le33"',
        '  |',
        '5 |     - a: le33',
        '  |          ^^^^',
        '  = hint: did you mean le32?',
      ].join('\n'),
    )
  })

  it('keeps tabs before the caret, so that it stands below what it means', () => {
    expect(formatDiagnostic({ ...problem, excerpt: '\t-\ta: le33', column: 7, length: 4 })).toContain('5 | \t-\ta: le33\n  | \t \t   ^^^^\n')
  })

  it('is painted where a terminal can show it', () => {
    const mark = (name: string) => (text: string) => `<${name}>${text}</${name}>`
    const paint = { bold: mark('b'), red: mark('r'), green: mark('g'), yellow: mark('y'), cyan: mark('c'), dim: mark('d') }
    expect(formatDiagnostic(problem, paint).split('\n')[0]).toBe('<b>example.yaml:5:10</b>: <r>error[unknown-type]</r>: unknown type "le33"')
  })
})
