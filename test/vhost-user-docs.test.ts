/** docs/vhost-user.md: its program does what it says; options, metrics and events are all there and are those of the command. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { whyNoSystem } from 'virtgen/linux'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { globalOptions } from '../cli/arguments.ts'
import { serveOptions } from '../cli/serve-options.ts'

const page = readFileSync('docs/vhost-user.md', 'utf8')
const examples = [...page.matchAll(/<!-- run -->\n```ts\n([\s\S]*?)```/g)].map(([, text = '']) => text)

describe('docs/vhost-user.md', () => {
  const printed: string[] = []
  const log = vi.spyOn(console, 'log').mockImplementation((...values) => void printed.push(values.join(' ')))
  afterAll(() => log.mockRestore())

  it.skipIf(whyNoSystem() !== undefined).each(examples.map((text, index) => ({ text, index })))(
    'has programs that do what they say: %#',
    async ({ text, index }) => {
      const said = [...text.matchAll(/^\s*console\.log\(.*\) \/\/ (.*)$/gm)].map(([, what]) => what)
      expect(said.length).toBeGreaterThan(0)
      mkdirSync('test/generated', { recursive: true })
      writeFileSync(`test/generated/vhost-user-${index}.ts`, text)
      printed.length = 0
      await import(/* @vite-ignore */ `./generated/vhost-user-${index}.ts`)
      expect(printed).toEqual(said)
    },
  )

  it('has every option of the command, and no other', () => {
    const known = [...serveOptions, ...globalOptions].map(({ name }) => `--${name}`)
    for (const { name } of serveOptions) expect(page).toContain(`\`--${name}`)
    // In the chapter about the command; elsewhere there are those of other programs.
    const chapter = page.slice(page.indexOf('## `virtgen serve`'), page.indexOf('## QEMU')).replaceAll(/`passt [^`]*`/g, '')
    const named = new Set([...chapter.matchAll(/--[a-z][a-z-]*/g)].map(([name]) => name))
    expect([...named].filter((name) => !known.includes(name))).toEqual([])
  })

  it('has every metric', () => {
    const sources = ['daemon', 'index', 'blk-service', 'net-service', 'traffic']
      .map((name) => readFileSync(`hosts/linux/serve/${name}.ts`, 'utf8'))
      .join('\n')
    const names = [...sources.matchAll(/'((?:virtgen|process)_[a-z_]+)'/g)]
      .map(([, name]) => name as string)
      .filter((name) => name !== 'virtgen_blk' && name !== 'virtgen_rng')
    expect(names.length).toBeGreaterThan(6)
    const counted = ['requests_total', 'bytes_total', 'request_seconds'].flatMap((name) => [`virtgen_blk_${name}`, `virtgen_rng_${name}`])
    const frames = ['frames', 'bytes', 'dropped'].map((name) => `virtgen_net_${name}_total`)
    for (const name of [...names, ...counted, ...frames, 'virtgen_blk_errors_total']) expect(page).toContain(`\`${name}\``)
  })

  it('has every event of the log', () => {
    const source = readFileSync('hosts/linux/serve/events.ts', 'utf8')
    const events = [...source.matchAll(/readonly event: '([a-z-]+)'/g)].map(([, name]) => name as string)
    expect(events.length).toBeGreaterThan(10)
    for (const event of events) expect(page).toContain(`\`${event}\``)
  })
})
