/** The programs of docs/devices/ run, and print what their comments say. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { formatWithOptions } from 'node:util'
import { describe, expect, it, vi } from 'vitest'

const folder = 'docs/devices'
const generated = 'test/generated/devices'
const pages = readdirSync(folder).filter((name) => name.endsWith('.md'))
mkdirSync(generated, { recursive: true })

describe.each(pages)('docs/devices/%s', (page) => {
  const blocks = [...readFileSync(`${folder}/${page}`, 'utf8').matchAll(/<!-- run -->\n```ts\n([\s\S]*?)```/g)]
  const programs = blocks.map(([, text = ''], index) => ({ number: index + 1, text }))

  it.each(programs)('has a program $number that prints what it says', async ({ number, text }) => {
    const expected = [...text.matchAll(/^\s*console\.log\(.*\) \/\/ (.*)$/gm)].map(([, line]) => line)
    expect(expected.length).toBeGreaterThan(0)
    const printed: string[] = []
    const log = vi.spyOn(console, 'log').mockImplementation((...values) => void printed.push(formatWithOptions({ colors: false }, ...values)))
    try {
      const file = `${generated}/${page.replace('.md', '')}-${number}.ts`
      writeFileSync(file, text)
      await import(/* @vite-ignore */ `../${file}`)
    } finally {
      log.mockRestore()
    }
    expect(printed).toEqual(expected)
  })
})
