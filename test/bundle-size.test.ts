/** What it costs a page to speak to one device: programs that import parts of the package, bundled, minified and compressed. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'

interface Size {
  name: string
  bytes: number
  modules: { name: string }[]
}

const { programs, sizeOf } = (await import('../bench/size.mjs' as string)) as {
  programs: Readonly<Record<string, { limit?: number }>>
  sizeOf(program: string): Promise<Size>
}
const kilobyte = 1024
const section = /(?<=<!-- sizes -->\n\n\|.*\n\|.*\n)[\s\S]*?(?=\n<!-- end of sizes -->)/

// `npm test` builds first; by itself vitest does not.
describe.skipIf(!existsSync('dist/generated/wire/blk.js'))('bundles', () => {
  const sizes = new Map<string, Size>()

  beforeAll(async () => {
    for (const name of Object.keys(programs)) sizes.set(name, await sizeOf(name))
  })

  it.for(Object.entries(programs).flatMap(([name, { limit }]) => (limit === undefined ? [] : [{ name, limit }])))(
    'of $name take at most $limit bytes',
    ({ name, limit }) => {
      expect(sizes.get(name)?.bytes).toBeLessThanOrEqual(limit)
    },
  )

  it('are as large as the README says, to a tenth (UPDATE_README=1 renews it)', () => {
    const readme = readFileSync('README.md', 'utf8')
    const rows = [...sizes].map(([name, { bytes }]) => {
      const limit = programs[name]?.limit
      return `| ${name} | ${(bytes / kilobyte).toFixed(1)} | ${limit === undefined ? '' : limit / kilobyte} |\n`
    })
    if (process.env.UPDATE_README) writeFileSync('README.md', readme.replace(section, rows.join('')))
    const told = new Map([...(section.exec(readme)?.[0] ?? '').matchAll(/^\| (.+?) \| (\S+) \|/gm)].map(([, name, size]) => [name, Number(size)]))
    if (!process.env.UPDATE_README)
      for (const [name, { bytes }] of sizes) expect(Math.abs(bytes / kilobyte / (told.get(name) ?? 0) - 1), name).toBeLessThan(0.1)
  })

  it('of a device hold nothing of drivers, of packed rings, of snapshots and of plain values', () => {
    const names = sizes.get('block device over MMIO')?.modules.map(({ name }) => name) ?? []
    expect(names).toContain('runtime/split/device-queue.js')
    const others = /packed|driver|state\.js|in-order|event-(?:sender|device)|parts\/|messages\//
    expect(names.filter((name) => others.test(name))).toEqual([])
  })

  it('of accessors hold no other device and no runtime', () => {
    const names = sizes.get('accessors of the block device')?.modules.map(({ name }) => name) ?? []
    expect(names).toContain('generated/wire/blk.js')
    expect(names.filter((name) => !(name.startsWith('wire/') || ['generated/wire/blk.js', 'generated/wire/content.js'].includes(name)))).toEqual([])
  })
})
