import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it, vi } from 'vitest'
import { programs, refreshed } from './support/readme.ts'

const readme = readFileSync('README.md', 'utf8')

describe('the README', () => {
  it('shows descriptions and generated code as they are (UPDATE_README=1 renews them)', () => {
    const fresh = refreshed(readme)
    if (process.env.UPDATE_README) writeFileSync('README.md', fresh)
    else expect(readme).toBe(fresh)
  })

  it('has programs that do what their comments say', async () => {
    const printed: unknown[] = []
    const log = vi.spyOn(console, 'log').mockImplementation((value) => void printed.push(value))
    mkdirSync('test/generated', { recursive: true })
    for (const [index, program] of programs(readme, 'ts').entries()) {
      const file = `test/generated/readme-${index}.ts`
      writeFileSync(file, program)
      await import(/* @vite-ignore */ `../${file}`)
    }
    log.mockRestore()
    expect(printed).toEqual([131072, [{ feature: 'VIRTIO_BLK_F_CONFIG_WCE', requires: 'VIRTIO_BLK_F_FLUSH' }]])
  })

  it('has no broken link to a file', () => {
    for (const [, target] of readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g)) expect(() => readFileSync(target as string), target).not.toThrow()
  })
})
