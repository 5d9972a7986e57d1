/** The contract of generated code is documented name by name, and keeps its names. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const docs = readFileSync('docs/codegen.md', 'utf8')

function exportsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8')
  return [...text.matchAll(/^export (?:type )?\{([^}]*)\}/gm)].flatMap(([, names]) =>
    (names as string)
      .split(',')
      .map((name) => name.replace('type ', '').trim())
      .filter((name) => name !== ''),
  )
}

function documented(entry: string): string[] {
  const section = docs.slice(docs.indexOf(`## \`${entry}\``)).split('\n## ')[0] as string
  return section
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .flatMap((line) => [...(line.split('|')[1] as string).matchAll(/`(\w+)`/g)].map(([, name]) => name as string))
}

describe.each([
  ['virtgen/codegen/v1/wire', 'wire/index.ts'],
  ['virtgen/codegen/v1/device', 'runtime/codegen.ts'],
])('%s', (entry, file) => {
  it('exports exactly the names that its documentation has', () => {
    expect(exportsOf(file).length).toBeGreaterThan(10)
    expect(exportsOf(file).sort()).toEqual(documented(entry).sort())
  })
})
