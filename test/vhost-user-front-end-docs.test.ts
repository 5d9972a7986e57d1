/** docs/vhost-user-front-end.md: its program prints what its comments say, and its tables name what there is. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import * as names from 'virtgen/wire/vhost-user'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { whyNoSystem } from '../hosts/linux/system/index.ts'
import { knownProtocolFeatures } from '../hosts/linux/vhost-user/front-end/handshake.ts'

const page = readFileSync('docs/vhost-user-front-end.md', 'utf8')

/** First cells of a marked table. */
function firstCells(table: string): string[] {
  const rows = new RegExp(`<!-- ${table} -->\\n.*\\n.*\\n([\\s\\S]*?)\\n<!-- end -->`).exec(page)?.[1] ?? ''
  return rows.split('\n').map((row) => /^\| `(\w+)`/.exec(row)?.[1] ?? '')
}

describe('docs/vhost-user-front-end.md', () => {
  const printed: string[] = []
  const log = vi.spyOn(console, 'log').mockImplementation((...values) => void printed.push(values.join(' ')))
  afterAll(() => log.mockRestore())

  it.skipIf(whyNoSystem() !== undefined)('has a program that does what it says', async () => {
    const [, text = ''] = /<!-- run -->\n```ts\n([\s\S]*?)```/.exec(page) ?? []
    const said = [...text.matchAll(/^console\.log\(.*\) \/\/ (.*)$/gm)].map(([, what]) => what)
    expect(said.length).toBe(2)
    mkdirSync('test/generated', { recursive: true })
    writeFileSync('test/generated/vhost-user-front-end.ts', text)
    await import(/* @vite-ignore */ './generated/vhost-user-front-end.ts' as string)
    expect(printed).toEqual(said)
  })

  it('has all protocol features that are used', () => {
    const numbers = firstCells('protocol').map((name) => (names as Record<string, unknown>)[name])
    expect(numbers).toEqual(knownProtocolFeatures)
  })

  it('has all options', () => {
    const source = readFileSync('hosts/linux/vhost-user/front-end/connect.ts', 'utf8')
    const [declaration = ''] = /interface VhostUserDriverOptions[\s\S]*?\n}/.exec(source) ?? []
    const options = [...declaration.matchAll(/'(\w+)'|readonly (\w+)\?/g)].map(([, picked, own]) => picked ?? own)
    expect(firstCells('options').sort()).toEqual(options.sort())
  })
})
