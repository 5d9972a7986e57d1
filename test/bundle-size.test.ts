/** What it costs a page to speak to one device: the wire module of a chapter, bundled, minified and compressed. */
import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const { sizeOf } = (await import('../bench/bundle-size.mjs' as string)) as {
  sizeOf(chapter: string): Promise<{ bytes: number; modules: string[] }>
}

// `npm test` builds first; by itself vitest does not.
describe.skipIf(!existsSync('dist/generated/wire/blk.js'))('the wire module of the block device', () => {
  it('takes less than 6 KB in a bundle', async () => {
    const { bytes } = await sizeOf('blk')
    expect(bytes).toBeLessThan(6 * 1024)
  })

  it('brings no other device and no runtime with it', async () => {
    const { modules } = await sizeOf('blk')
    expect(modules).toContain('blk.js')
    const others = modules.filter((name) => !['blk.js', 'content.js'].includes(name))
    expect(others.filter((name) => !['arrays.js', 'bits.js', 'features.js', 'index.js', 'integers.js', 'struct.js'].includes(name))).toEqual([])
  })
})
