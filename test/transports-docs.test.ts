/** docs/transports.md: its programs print what their comments say (`console.log(…) // what`), and its tables are right. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { type MmioSlotLayout, mmioSlotLayouts } from 'virtgen/mmio'
import { type PciLayout, pciLayouts } from 'virtgen/pci'
import { afterAll, describe, expect, it, vi } from 'vitest'

const page = readFileSync('docs/transports.md', 'utf8')
const examples = [...page.matchAll(/<!-- run -->\n```ts\n([\s\S]*?)```/g)].map(([, text = '']) => text)

/** Rows of a marked table, the cells joined. */
function rowsOf(table: string): string[] {
  const rows = new RegExp(`<!-- ${table} -->\\n.*\\n.*\\n([\\s\\S]*?)\\n<!-- end -->`).exec(page)?.[1] ?? ''
  return rows.split('\n').map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim())
      .join('|'),
  )
}
const shown = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))

describe('docs/transports.md', () => {
  const printed: string[] = []
  const log = vi.spyOn(console, 'log').mockImplementation((...values) => void printed.push(values.map(shown).join(' ')))
  afterAll(() => log.mockRestore())

  it.each(examples.map((text, index) => ({ text, index })))('has programs that do what they say: %#', async ({ text, index }) => {
    const said = [...text.matchAll(/^\s*console\.log\(.*\) \/\/ (.*)$/gm)].map(([, what]) => what)
    expect(said.length).toBeGreaterThan(0)
    mkdirSync('test/generated', { recursive: true })
    writeFileSync(`test/generated/transports-${index}.ts`, text)
    printed.length = 0
    await import(/* @vite-ignore */ `./generated/transports-${index}.ts`)
    expect(printed).toEqual(said)
  })

  it('has all layouts of slots', () => {
    const rows = Object.entries<MmioSlotLayout>(mmioSlotLayouts).map(([name, { address, slots, slotSize, firstInterrupt }]) =>
      [`\`${name}\``, `\`0x${address.toString(16).padStart(8, '0')}\``, slots, slotSize, `${firstInterrupt} to ${firstInterrupt + slots - 1}`].join(
        '|',
      ),
    )
    expect(rowsOf('layouts')).toEqual(rows)
  })

  it('has all layouts of BARs', () => {
    const rows = Object.entries<PciLayout>(pciLayouts).flatMap(([name, bars]) =>
      bars.map(({ index, kind, prefetchable, regions }) =>
        // What has shared memory and nothing else is prefetchable if nobody says otherwise.
        [`\`${name}\``, index, prefetchable || regions.includes('shared') ? `${kind}, prefetchable` : kind, regions.join(', ')].join('|'),
      ),
    )
    expect(rowsOf('pci layouts')).toEqual(rows)
  })

  it('has all kinds of DriverError', () => {
    const source = readFileSync('runtime/driver/host.ts', 'utf8')
    const union = source.slice(source.indexOf('export type DriverErrorKind'), source.indexOf('export class DriverError'))
    const kinds = [...union.matchAll(/^ {2}\| '(.*)'$/gm)].map(([, kind]) => kind as string)
    expect(kinds).toContain('features-refused')
    expect(rowsOf('driver errors').map((row) => row.split('|')[0])).toEqual(expect.arrayContaining(kinds.map((kind) => `\`${kind}\``)))
    expect(rowsOf('driver errors')).toHaveLength(kinds.length)
  })

  it('links to headings that are there', () => {
    const headings = [...page.matchAll(/^#+ (.*)$/gm)].map(([, text = '']) =>
      text
        .toLowerCase()
        .replaceAll(/[^\w -]/g, '')
        .replaceAll(' ', '-'),
    )
    for (const [, link = ''] of page.matchAll(/\]\(#(.*?)\)/g)) expect(headings).toContain(link)
  })
})
