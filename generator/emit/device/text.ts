/** Code as lines of text: for tables and for classes that consist of declarations more than of code. */

/** Lines of code; the first one stands where the code is put, the others have their own indentation. */
export type Lines = readonly string[]

const width = 150

export function indent(lines: Lines, by = 2): string[] {
  return lines.map((line) => (line === '' ? '' : ' '.repeat(by) + line))
}

/** An object literal; on one line where it is short. Entries without a value are left out, `name` alone is the shorthand. */
export function object(entries: readonly (readonly [string, string | undefined])[], always = false): string {
  const given = entries.filter((entry): entry is [string, string] => entry[1] !== undefined)
  const texts = given.map(([name, value]) => (name === value ? name : `${name}: ${value}`))
  const line = `{ ${texts.join(', ')} }`
  if (texts.length === 0) return '{}'
  if (!always && line.length <= 100 && !line.includes('\n')) return line
  return ['{', ...indent(texts.flatMap((text) => `${text},`.split('\n'))), '}'].join('\n')
}

/** An array literal, likewise. */
export function array(items: readonly string[], always = false): string {
  const line = `[${items.join(', ')}]`
  if (!always && line.length <= 100 && !line.includes('\n')) return line
  return ['[', ...indent(items.flatMap((text) => `${text},`.split('\n'))), ']'].join('\n')
}

/** A head, its parameters or arguments, and a tail: one a line where they do not fit. */
export function call(head: string, items: readonly string[], tail: string): string[] {
  const line = `${head}${items.join(', ')}${tail}`
  return line.length <= width - 4 ? [line] : [head, ...indent(items.map((item) => `${item},`)), tail]
}

/** An arrow function of an expression; below its parameters where the line would be too long. */
export function closure(parameters: readonly string[], expression: string): string {
  const line = `(${parameters.join(', ')}) => ${expression}`
  return line.length <= 110 ? line : `(${parameters.join(', ')}) =>\n  ${expression}`
}

/** An arrow function with statements. */
export function arrow(parameters: string, statements: Lines): string {
  return [`(${parameters}) => {`, ...indent(statements), '}'].join('\n')
}

/** `zone_append` → `zoneAppend`. */
export function camelCase(name: string): string {
  const [first = '', ...rest] = name.split(/[_-]+/).filter((word) => word !== '')
  const lower = first === first.toUpperCase() ? first.toLowerCase() : (first[0] as string).toLowerCase() + first.slice(1)
  return (
    lower +
    rest.map((word) => (word[0] as string).toUpperCase() + (word === word.toUpperCase() ? word.slice(1).toLowerCase() : word.slice(1))).join('')
  )
}

export function lowerFirst(name: string): string {
  return (name[0] ?? '').toLowerCase() + name.slice(1)
}
