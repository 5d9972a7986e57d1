/** docs/v86.md: its programs run, with v86 and without a guest, and print what their comments say (`console.log(…) // what`); what it points to is there. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it, vi } from 'vitest'

const page = readFileSync('docs/v86.md', 'utf8')
const programs = [...page.matchAll(/<!-- run -->\n```ts\n([\s\S]*?)```/g)].map(([, text = '']) => text)
const links = [...page.matchAll(/\]\(([^)#:]+)\)/g)].map(([, path = '']) => path)
const shown = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))

describe('docs/v86.md', () => {
  const printed: string[] = []
  const log = vi.spyOn(console, 'log').mockImplementation((...values) => void printed.push(values.map(shown).join(' ')))
  afterAll(() => log.mockRestore())

  it.each(programs.map((text, index) => ({ text, index })))('has programs that do what they say: %#', async ({ text, index }) => {
    const said = [...text.matchAll(/^\s*console\.log\(.*\) \/\/ (.*)$/gm)].map(([, what]) => what)
    expect(said.length).toBeGreaterThan(0)
    mkdirSync('test/generated', { recursive: true })
    writeFileSync(`test/generated/v86-docs-${index}.ts`, text)
    printed.length = 0
    await import(/* @vite-ignore */ `./generated/v86-docs-${index}.ts`)
    expect(printed).toEqual(said)
  })

  it.each(links)('points to what is there: %s', (path) => {
    expect(existsSync(join('docs', path))).toBe(true)
  })
})
