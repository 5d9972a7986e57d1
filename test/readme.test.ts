import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { withChapterTables } from './support/chapter-table.ts'
import { loadEverything } from './support/description.ts'
import { installPacked } from './support/packed.ts'
import { programs, refreshed } from './support/readme.ts'

const readme = readFileSync('README.md', 'utf8')

describe('the README', () => {
  it('shows descriptions and generated code as they are (UPDATE_README=1 renews them)', () => {
    const fresh = refreshed(readme)
    if (process.env.UPDATE_README) writeFileSync('README.md', fresh)
    else expect(readme).toBe(fresh)
  })

  it('has a table of all chapters (UPDATE_README=1 renews it)', () => {
    const model = loadEverything()
    const now = readFileSync('README.md', 'utf8')
    const fresh = withChapterTables(now, model)
    if (process.env.UPDATE_README) writeFileSync('README.md', fresh)
    else expect(now).toBe(fresh)
    for (const { kind, name, builtin } of model.chapters) if (builtin) expect(fresh, kind).toContain(`[\`${name}\`]`)
  })

  it('has programs that do what their comments say', async () => {
    const printed: unknown[] = []
    const log = vi.spyOn(console, 'log').mockImplementation((...values) => void printed.push(...values))
    mkdirSync('test/generated', { recursive: true })
    for (const [index, program] of programs(readme, 'ts').entries()) {
      const file = `test/generated/readme-${index}.ts`
      writeFileSync(file, program)
      await import(/* @vite-ignore */ `../${file}`)
    }
    log.mockRestore()
    expect(printed).toEqual([7, 512, 131072, [{ feature: 'VIRTIO_BLK_F_CONFIG_WCE', requires: 'VIRTIO_BLK_F_FLUSH' }]])
  })

  it('has commands that work as they are: in the repository, and in a project in a path with a space', () => {
    const folder = mkdtempSync(join(tmpdir(), 'virtgen-readme-'))
    const project = join(folder, 'my project')
    try {
      installPacked(project)
      const places: Record<string, string> = { 'the repository': process.cwd(), 'a project': project }
      const blocks = [...readme.matchAll(/<!-- run in (.+?) -->\n```sh\n([\s\S]*?)```/g)]
      expect(blocks.map(([, place]) => place)).toEqual(['the repository', 'a project'])
      for (const [, place, commands] of blocks) {
        const { status, stdout, stderr } = spawnSync('sh', ['-e', '-c', commands as string], { cwd: places[place as string], encoding: 'utf8' })
        expect(status, `${stdout}${stderr}`).toBe(0)
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
    // Packs, installs and compiles: much of a minute where the machine is busy.
  }, 300_000)

  it('has no broken link to a file', () => {
    for (const [, target] of readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g)) expect(() => readFileSync(target as string), target).not.toThrow()
  })
})
