/** docs/life-cycle.md: its program prints what its comments say, its links and files are there. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { afterAll, describe, expect, it, vi } from 'vitest'

const read = (name: string): string => readFileSync(`docs/${name}`, 'utf8')
const page = read('life-cycle.md')
const programs = [...page.matchAll(/<!-- run -->\n```ts\n([\s\S]*?)```/g)].map(([, text = '']) => text)
const anchors = (name: string): string[] =>
  [...read(name).matchAll(/^#+ (.*)$/gm)].map(([, text = '']) =>
    text
      .toLowerCase()
      .replaceAll(/[^\w -]/g, '')
      .replaceAll(' ', '-'),
  )

describe('docs/life-cycle.md', () => {
  const printed: string[] = []
  const log = vi
    .spyOn(console, 'log')
    .mockImplementation(
      (...values) => void printed.push(values.map((value) => (typeof value === 'string' ? value : JSON.stringify(value))).join(' ')),
    )
  afterAll(() => log.mockRestore())

  it('has programs that do what they say', async () => {
    expect(programs.length).toBeGreaterThan(0)
    mkdirSync('test/generated', { recursive: true })
    for (const [index, text] of programs.entries()) {
      const said = [...text.matchAll(/^\s*console\.log\(.*\) \/\/ (.*)$/gm)].map(([, what]) => what)
      writeFileSync(`test/generated/life-cycle-${index}.ts`, text)
      printed.length = 0
      await import(/* @vite-ignore */ `./generated/life-cycle-${index}.ts`)
      expect(said.length).toBeGreaterThan(0)
      expect(printed).toEqual(said)
    }
  })

  it('leads to pages, headings and tests that are there', () => {
    for (const [, file = '', heading] of page.matchAll(/\]\(([\w.-]*)(?:#([\w-]*))?\)/g))
      if (heading !== undefined) expect(anchors(file || 'life-cycle.md')).toContain(heading)
      else expect(existsSync(`docs/${file}`), file).toBe(true)
    for (const [file] of page.matchAll(/\btest\/[\w.-]*\.ts/g)) expect(existsSync(file), file).toBe(true)
  })
})
