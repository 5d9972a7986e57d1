/** docs/testing.md: its examples are tests, which run here, and its tables have all that the catalogues have (UPDATE_README=1 renews them). */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { forgedChains, forgedUses, type RingFormat } from 'virtgen/testing'
import { describe, expect, it } from 'vitest'

const file = 'docs/testing.md'
const page = readFileSync(file, 'utf8')
const folder = 'test/generated/testing'
const examples = [...page.matchAll(/<!-- (\S+\.ts) -->\n```ts\n([\s\S]*?)```/g)].map(([, name = '', text = '']) => ({ name, text }))

mkdirSync(folder, { recursive: true })
// By names that the search for tests does not find a second time.
const fileOf = (name: string): string => name.replace('.test.ts', '.example.ts')
for (const { name, text } of examples) writeFileSync(`${folder}/${fileOf(name)}`, text)
// Each registers its tests with this file.
for (const { name } of examples) if (name.endsWith('.test.ts')) await import(/* @vite-ignore */ `./generated/testing/${fileOf(name)}`)

interface Row {
  readonly title: string
  readonly violation: Readonly<Partial<Record<RingFormat, string>>>
}

function table(heading: string, rows: readonly Row[]): string {
  const kind = (found: string | undefined): string => (found === undefined ? '–' : `\`${found}\``)
  const cells = [[heading, 'split', 'packed'], ...rows.map(({ title, violation }) => [title, kind(violation.split), kind(violation.packed)])]
  const widths = [0, 1, 2].map((column) => Math.max(...cells.map((row) => row[column]!.length)))
  const [first, ...others] = cells.map((row) => `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`)
  return [first, `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...others].join('\n')
}

function withTable(text: string, name: string, rows: string): string {
  return text.replace(new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- end -->)`), `$1${rows}\n$2`)
}

describe('docs/testing.md', () => {
  it('has a table of each catalogue', () => {
    const chains = forgedChains.filter(({ title }) => !/, (for the device to write|in an indirect table)$/.test(title))
    const fresh = withTable(
      withTable(page, 'forged chains', table('what the driver does', chains)),
      'forged uses',
      table('what the device uses', forgedUses),
    )
    if (process.env.UPDATE_README) writeFileSync(file, fresh)
    else expect(page).toBe(fresh)
    expect(chains.length).toBeGreaterThan(40)
  })

  it('has examples for all of it', () => {
    expect(examples.length).toBe(9)
    expect([...page.matchAll(/```ts/g)].length).toBe(examples.length)
  })
})
