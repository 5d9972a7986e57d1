/**
 * The one module that knows ts-morph. An emitter describes a file as structures, one per class, and adds them all at once: adding members one by one to a syntax
 * tree takes some thirty times as long.
 */
import { IndentationText, NewLineKind, Project, QuoteKind, Scope, type SourceFileStructure, type StatementStructures, StructureKind } from 'ts-morph'

export type Statement = StatementStructures | string
export { Scope, StructureKind }

let project: Project | undefined

/** Prints a file. Lines end with `\n`, the text with exactly one. */
export function printFile(path: string, header: string, statements: Statement[]): string {
  const text = statements.every((statement) => typeof statement === 'string') ? statements.join('\n') : printed(path, statements)
  return `${header}\n${tidy(text)}`
}

/** The text of structures. What is text already need not be read again: that takes most of the time of a large file. */
function printed(path: string, statements: Statement[]): string {
  project ??= new Project({
    useInMemoryFileSystem: true,
    skipLoadingLibFiles: true,
    manipulationSettings: { indentationText: IndentationText.TwoSpaces, newLineKind: NewLineKind.LineFeed, quoteKind: QuoteKind.Single },
  })
  const structure: Omit<SourceFileStructure, 'kind'> = { statements }
  const file = project.createSourceFile(path, structure, { overwrite: true })
  const text = file.getFullText()
  file.forget()
  return text
}

/** ts-morph ends each statement with a semicolon; generated code is written like the rest of the project, without. */
function tidy(text: string): string {
  const lines = text.split('\n').map((line) => line.replace(/\s+$/, '').replace(/^(?!\s*\*)(.*[^;\s]);$/, '$1'))
  return `${lines
    .join('\n')
    .replaceAll(/\n{3,}/g, '\n\n')
    .trim()}\n`
}

/** A documentation comment; lines are wrapped, an empty text gives none. */
export function docs(...paragraphs: (string | undefined | false)[]): { docs?: { description: string }[] } {
  const text = paragraphs
    .filter((paragraph) => paragraph !== undefined && paragraph !== false && paragraph !== '')
    .map((paragraph) => wrap(paragraph as string))
  if (text.length === 0) return {}
  const description = text.join('\n').replaceAll('*/', '*\\/')
  return { docs: [{ description: description.includes('\n') ? `\n${description}` : description }] }
}

const docWidth = 118

function wrap(text: string): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.trim().split(/\s+/)) {
    if (line !== '' && line.length + 1 + word.length > docWidth) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line].join('\n')
}

/** `export const name = initializer`, as text: ts-morph would indent the lines of the initializer. */
export function exportConst(name: string, initializer: string, documentation: ReturnType<typeof docs> = {}): string {
  return documented(`export const ${name} = ${initializer}`, documentation)
}

/** `export type name = type`. */
export function exportType(name: string, type: string, documentation: ReturnType<typeof docs> = {}): string {
  return documented(`export type ${name} = ${type}`, documentation)
}

/** A statement below its comment, with an empty line before. */
function documented(statement: string, documentation: ReturnType<typeof docs>): string {
  const lines = commentLines(documentation)
  return lines.length === 0 ? statement : `\n${lines.join('\n')}\n${statement}`
}

/** A documentation comment as lines, for code that is put together as text. */
export function commentLines({ docs: [comment] = [] }: ReturnType<typeof docs>): string[] {
  if (comment === undefined) return []
  const { description } = comment
  return description.startsWith('\n')
    ? [
        '/**',
        ...description
          .slice(1)
          .split('\n')
          .map((line) => ` * ${line}`),
        ' */',
      ]
    : [`/** ${description} */`]
}

/** An import, one name a line where it would be too long. */
export function importStatement(module: string, names: readonly { name: string; type: boolean }[]): string {
  const onlyTypes = names.every(({ type }) => type)
  const word = onlyTypes ? 'import type' : 'import'
  const items = names.map(({ name, type }) => (type && !onlyTypes ? `type ${name}` : name))
  const line = `${word} { ${items.join(', ')} } from ${quote(module)}`
  return line.length <= lineWidth ? line : `${word} {\n${items.map((item) => `  ${item},`).join('\n')}\n} from ${quote(module)}`
}

const lineWidth = 120

/** A quoted string in the project's style. */
export function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'").replaceAll('\n', '\\n')}'`
}

/** A number as the specification would write it: hexadecimal where it is a mask. */
export function numberCode(value: number | bigint): string {
  const big = typeof value === 'bigint' ? 'n' : ''
  return value >= 0x1_0000 ? `0x${value.toString(16)}${big}` : `${value}${big}`
}

/** A property name, quoted where it must be. */
export function propertyName(name: string): string {
  return /^[A-Za-z_$][A-Za-z0-9_$]*$/.test(name) ? name : quote(name)
}
