/** Whatever a file holds, it gives diagnostics or a model: never an exception, never a hang. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkShapes, type Diagnostic, diagnosticCodes, factsOf, formatDiagnostic, type Model, resolve, SourceFile } from '../generator/index.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
/** Another one finds other things: `VIRTGEN_SEED=$RANDOM npx vitest run test/malformed.test.ts`. */
const seed = Number(process.env.VIRTGEN_SEED ?? 1)

interface File {
  name: string
  text: string
}

const descriptions: File[] = ['spec', 'test/fixtures/hard'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.yaml'))
    .sort()
    .map((name) => ({ name: name.split(sep).join('/'), text: readFileSync(join(root, folder, name), 'utf8') })),
)
const common = descriptions.find(({ name }) => name === 'common/content.yaml') as File
const external = descriptions.find(({ name }) => name === 'hard-external.yaml') as File

/** Resolves a text in the place of a file, beside the chapters that it may use. */
function resolveText(text: string, place = 'device/changed.yaml'): { model: Model; problems: Diagnostic[] } {
  const others = [common, external].filter(({ name }) => name !== place)
  const sources = [
    ...others.map(({ name, text: unchanged }) => new SourceFile(name, name, unchanged, true)),
    new SourceFile(place, place, text, false),
  ]
  return resolve(checkShapes(sources))
}

/** What must hold for any text: diagnostics that can be shown, or a chapter of a model that can be printed. */
function expectAnswer(text: string, place?: string): void {
  const { model, problems } = resolveText(text, place)
  const lines = text.split('\n').length
  for (const problem of problems) {
    expect(Object.keys(diagnosticCodes)).toContain(problem.code)
    // What is quoted is the file's own; its documentation may have the word.
    expect(problem.message.replaceAll(/"[^"]*"/g, '')).not.toMatch(/undefined|\[object/)
    expect(problem.line).toBeGreaterThanOrEqual(1)
    expect(problem.line).toBeLessThanOrEqual(Math.max(lines, common.text.split('\n').length))
    expect(problem.column).toBeGreaterThanOrEqual(1)
    expect(problem.length).toBeGreaterThanOrEqual(1)
    expect(formatDiagnostic(problem)).toContain(problem.message)
  }
  expect(JSON.stringify(model, (_, value) => (typeof value === 'bigint' ? String(value) : value))).toBeTypeOf('string')
  if (problems.length > 0) return
  expect(model.chapters.map(({ file }) => file)).toContain(place ?? 'device/changed.yaml')
  expect(factsOf(model).version).toBe('1.4')
}

/** Pieces of YAML and of the language in places where nobody expects them. */
const oddities = [
  ...[
    'constructor',
    '__proto__',
    'toString',
    'hasOwnProperty',
    'null',
    '~',
    'true',
    '.nan',
    '.inf',
    '-1',
    '1.5',
    '0x',
    '1e400',
    '18446744073709551616',
    '2020-01-01',
  ],
  ...[
    '[',
    '{',
    ']',
    '}',
    '- ',
    '? ',
    ': ',
    '|',
    '>-',
    '&a ',
    '*a',
    '!!str ',
    '!other ',
    '<<: ',
    '""',
    "'",
    '#',
    '\t',
    '\0',
    '\r',
    '\u2028',
    '\uFEFF',
    '---\n',
    '%',
    '@',
    '`',
  ],
  ...[
    'i',
    'config',
    'config.x',
    'queue.size',
    '..',
    '1 .. ',
    'sizeof(',
    ' if ',
    'not ',
    'reserved ',
    'body',
    'bytes',
    'caller',
    '_',
    'x[',
    'x[]',
    'x[-1]',
    '[99999999999]',
  ],
]

type Edit = (lines: string[]) => string[]

const edits = fc.oneof(
  fc.record({ at: fc.nat(), count: fc.integer({ min: 1, max: 4 }) }).map(
    ({ at, count }): Edit =>
      (lines) =>
        lines.filter((_, line) => line < at % lines.length || line >= (at % lines.length) + count),
  ),
  fc.record({ from: fc.nat(), to: fc.nat() }).map(
    ({ from, to }): Edit =>
      (lines) =>
        lines.with(from % lines.length, lines[to % lines.length] as string).with(to % lines.length, lines[from % lines.length] as string),
  ),
  fc.record({ from: fc.nat(), to: fc.nat() }).map(
    ({ from, to }): Edit =>
      (lines) =>
        lines.toSpliced(to % lines.length, 0, lines[from % lines.length] as string),
  ),
  fc.record({ line: fc.nat(), at: fc.nat(), by: fc.string({ maxLength: 3 }) }).map(
    ({ line, at, by }): Edit =>
      (lines) =>
        changed(lines, line, (text) => text.slice(0, at % (text.length + 1)) + by + text.slice((at % (text.length + 1)) + 1)),
  ),
  fc.record({ line: fc.nat(), at: fc.nat(), by: fc.constantFrom(...oddities) }).map(
    ({ line, at, by }): Edit =>
      (lines) =>
        changed(lines, line, (text) => replaceWord(text, at, by)),
  ),
  fc.record({ line: fc.nat(), at: fc.nat(), other: fc.nat() }).map(
    ({ line, at, other }): Edit =>
      (lines) =>
        changed(lines, line, (text) => replaceWord(text, at, wordOf(lines, other))),
  ),
  fc.record({ line: fc.nat(), indent: fc.nat({ max: 14 }) }).map(
    ({ line, indent }): Edit =>
      (lines) =>
        changed(lines, line, (text) => ' '.repeat(indent) + text.trimStart()),
  ),
  fc.record({ end: fc.nat() }).map(
    ({ end }): Edit =>
      (lines) =>
        lines
          .join('\n')
          .slice(0, end % (lines.join('\n').length + 1))
          .split('\n'),
  ),
)

/** Some edits in a row. */
const damage = fc.array(edits, { minLength: 1, maxLength: 4 }).map((row) => (text: string): string => {
  return row.reduce((lines, edit) => (lines.length === 0 ? [''] : edit(lines)), text.split('\n')).join('\n')
})

function changed(lines: string[], line: number, change: (text: string) => string): string[] {
  return lines.with(line % lines.length, change(lines[line % lines.length] as string))
}

function replaceWord(text: string, which: number, by: string): string {
  const words = [...text.matchAll(/[\w.]+/g)]
  const word = words[which % Math.max(1, words.length)]
  return word ? text.slice(0, word.index) + by + text.slice(word.index + word[0].length) : text + by
}

function wordOf(lines: readonly string[], which: number): string {
  const words = (lines[which % lines.length] as string).match(/[\w.]+/g) ?? ['x']
  return words[which % words.length] as string
}

describe(`a description that somebody has damaged (seed ${seed})`, () => {
  it('gives diagnostics or a model', () => {
    fc.assert(
      fc.property(
        fc.tuple(fc.constantFrom(...descriptions), damage).map(([{ text }, edit]) => edit(text)),
        (text) => expectAnswer(text),
      ),
      { seed, numRuns: 400 },
    )
  })

  it('gives diagnostics or a model for the others when it is the common chapter', () => {
    fc.assert(
      fc.property(
        damage.map((edit) => edit(common.text)),
        (text) => expectAnswer(text, common.name),
      ),
      { seed, numRuns: 60 },
    )
  })

  it('gives diagnostics or a model at whatever character it ends', () => {
    const { text } = descriptions.find(({ name }) => name === 'device/console.yaml') as File
    for (let end = 0; end < text.length; end += 97) expectAnswer(text.slice(0, end))
  })
})

const header = 'kind: external\nname: example\n'
const codesOf = (text: string): string[] => resolveText(text).problems.map(({ code }) => code)

describe('unusual YAML', () => {
  it('may have anchors and aliases', () => {
    const { model, problems } = resolveText(`${header}structs:\n  s: [a: &size {type: le32, unit: byte}, b: *size]\n`)
    expect(problems).toEqual([])
    expect(model.chapters.find(({ name }) => name === 'example')?.structs[0]?.members.map(({ name, unit }) => `${name} ${unit}`)).toEqual([
      'a byte',
      'b byte',
    ])
  })

  it('is told when an alias holds itself', () => {
    expect(resolveText(`${header}structs: &all\n  s: *all\n`).problems).toMatchObject([
      { code: 'yaml-syntax', message: 'nested too deeply, or an alias that holds itself' },
    ])
  })

  it('is told when aliases multiply', () => {
    const levels = Array.from(
      { length: 12 },
      (_, level) => `  s${level}: &s${level} [${Array.from({ length: 10 }, () => (level === 0 ? 'x' : `*s${level - 1}`)).join(', ')}]`,
    )
    expect(codesOf(`${header}let:\n${levels.join('\n')}\n`)).toEqual(['yaml-syntax'])
  })

  it('has no merge keys', () => {
    expect(codesOf(`${header}structs:\n  s:\n    - a: {<<: {type: le32}}\n`)).toEqual(['unknown-key'])
  })

  it.each([
    ['a tag of its own', 'title: !title Example', ['yaml-syntax']],
    ['a tag of YAML', 'title: !!str Example', []],
    ['a binary', 'title: !!binary aGVsbG8=', ['wrong-type']],
    ['a date, which is text', 'title: 2020-01-01', []],
    ['not a number', 'features: {A: .nan}', ['wrong-type']],
    ['an infinity', 'features: {A: .inf}', ['wrong-type']],
    ['a fraction', 'features: {A: 1.5}', ['wrong-type']],
    ['more than fits into 64 bits', 'constants: {g: {A: 18446744073709551616}}', ['value-range']],
    ['a null', 'title: ~', ['wrong-type']],
    ['an empty value', 'title:', ['wrong-type']],
    ['a number as key', 'features: {1: 2}', ['wrong-type']],
    ['a null as key', 'features: {~: 2}', ['wrong-type']],
    ['an empty key', 'features: {"": 2}', ['wrong-type']],
    ['a list as key', 'features: {[a]: 2}', ['yaml-syntax']],
    ['a key twice', 'features: {A: 1, A: 2}', ['duplicate-key']],
    ['the prototype as key', 'structs: {__proto__: [a: le32], s: [a: le32]}', ['reserved-word']],
    ['names that every object has', 'structs: {toString: [a: le32], s: [valueOf: le32, "a[hasOwnProperty]": u8]}', ['reserved-word', 'unknown-name']],
    ['keys that every object has', 'constants: {g: {constructor: {a: {toString: 1}}, values: {A: 1}}}', ['unknown-key']],
    ['a tab as indentation', 'structs:\n\ts: [a: le32]', ['yaml-syntax']],
    ['a comment only', '# nothing', []],
    ['a directive', '%YAML 1.1\n---\ntitle: x', ['yaml-syntax', 'yaml-syntax', 'yaml-syntax']],
    ['a document that ends', 'title: x\n...\n', []],
    ['two documents', 'title: x\n---\nkind: external', ['yaml-syntax']],
    ['an alias of nothing', 'title: *nothing', ['yaml-syntax']],
    ['a NUL', 'title: "a\\0b"', []],
  ])('%s', (_, text, codes) => {
    expect(codesOf(`${header}${text}\n`)).toEqual(codes)
  })

  it.each([
    ['nothing at all', ''],
    ['a comment', '# nothing\n'],
    ['a text', 'just text\n'],
    ['a list', '- kind: device\n'],
    ['a number', '5\n'],
    ['a null', '~\n'],
  ])('%s is no description', (_, text) => {
    const { problems } = resolveText(text)
    expect(problems.map(({ code, message, line, column }) => `${line}:${column} ${code}: ${message}`)).toEqual(['1:1 wrong-type: expected a mapping'])
  })

  it('is told when it is not known what it describes', () => {
    expect(codesOf('kin: external\nname: example\nstructs:\n  s: [a: le33]\n')).toEqual(['unknown-key'])
    expect(codesOf('kind: external\nnames: example\n')).toEqual(['unknown-key'])
    expect(codesOf('kind: external\nname: [example]\n')).toEqual(['wrong-type'])
  })

  it('may begin with a byte order mark, and columns do not count it', () => {
    expect(resolveText(`\uFEFF${header}`).problems).toEqual([])
    expect(resolveText(`\uFEFFkind: devise\nname: example\n`).problems).toMatchObject([{ line: 1, column: 7, excerpt: 'kind: devise' }])
  })

  it('may have CRLF at the end of lines', () => {
    expect(resolveText(`${header}structs:\n  s:\n    - a: le32\n`.replaceAll('\n', '\r\n')).problems).toEqual([])
    const { problems } = resolveText(`${header}structs:\n  s:\n    - a: {type: le32, when: >-\n        }\n    - b: le33\n`.replaceAll('\n', '\r\n'))
    expect(problems.every(({ excerpt }) => !excerpt.includes('\r'))).toBe(true)
    expect(resolveText(`${header}structs:\r\n  s:\r\n    - b: le33\r\n`).problems).toMatchObject([
      { code: 'unknown-type', line: 5, column: 10, length: 4, excerpt: '    - b: le33' },
    ])
  })

  it.each([
    ['brackets that are open', '['.repeat(20_000)],
    ['brackets', '['.repeat(5_000) + ']'.repeat(5_000)],
    ['braces', '{a: '.repeat(5_000) + '}'.repeat(5_000)],
    ['dashes', `${'- '.repeat(5_000)}x`],
    ['question marks', `${'? '.repeat(5_000)}x`],
    ['indentation', Array.from({ length: 2_000 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n')],
  ])('%s that nest without end are told', (_, text) => {
    expect(codesOf(text)).toEqual(['yaml-syntax'])
    expect(codesOf(`${header}structs:\n  s: ${text.includes('\n') ? `\n${text.replaceAll(/^/gm, '    ')}` : text}\n`)).toEqual(['yaml-syntax'])
  })

  it('may nest structs as deep as anybody could want', () => {
    const depth = 15
    const lines = Array.from({ length: depth }, (_, level) => `${'    '.repeat(level)}    - s${level}:\n${'    '.repeat(level)}        struct:`)
    const { model, problems } = resolveText(`${header}structs:\n  s:\n${lines.join('\n')}\n${'    '.repeat(depth)}    - x: le32\n`)
    expect(problems).toEqual([])
    expect(model.chapters.find(({ name }) => name === 'example')?.structs).toHaveLength(depth + 1)
  })
})

describe('a description that goes in circles', () => {
  it.each([
    ['a struct in itself, many times over', 'structs:\n  a: [_: a, _: a, _: a]\n  b: [_: {struct: [_: b, _: b]}, "x[y]": u8]', 'type-cycle'],
    ['structs in each other', 'structs:\n  a: [x: b, y: b]\n  b: [x: c, y: c]\n  c: [x: a, y: a]', 'type-cycle'],
    ['a size by itself', 'structs:\n  a: ["x[sizeof(b)]": u8]\n  b: ["x[sizeof(a)]": u8]', 'type-cycle'],
    ['names by each other', 'let: {a: b, b: c, c: a}', 'let-cycle'],
    ['constants by each other', 'constants: {g: {A: B, B: A}}', 'constant-cycle'],
    ['groups of each other', 'constants: {g: {extends: h, values: {A: 1}}, h: {extends: g, values: {B: 2}}}', 'extends-cycle'],
    ['chapters that use each other', 'uses: [example]', undefined],
  ])('%s', (_, text, code) => {
    const codes = codesOf(`${header}${text}\n`)
    if (code === undefined) expect(codes).toEqual([])
    else expect(new Set(codes)).toContain(code)
  })
})
