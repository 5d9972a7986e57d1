/** A disk in a file that can have holes. */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LinuxFileBackend, whyNoSystem } from 'virtgen/linux'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const size = 1 << 20
/** tmpfs has holes, and cannot make zeroes without writing them. */
const folders = ['/dev/shm', tmpdir()].filter(existsSync)

describe.skipIf(whyNoSystem() !== undefined).each(folders)('a file in %s', (where) => {
  let folder: string
  let path: string
  let content: Buffer
  let file: LinuxFileBackend | undefined
  beforeEach(() => {
    folder = mkdtempSync(join(where, 'virtgen-file-'))
    path = join(folder, 'disk')
    content = randomBytes(size)
    writeFileSync(path, content)
  })
  afterEach(() => {
    file?.close()
    rmSync(folder, { recursive: true })
  })
  const zeroed = (from: number, to: number) => {
    const expected = Buffer.from(content)
    expected.fill(0, from, to)
    expect(Buffer.compare(readFileSync(path), expected)).toBe(0)
  }

  it('gives the room of what is discarded back; the rest stays', async () => {
    file = new LinuxFileBackend(path)
    expect(file.discardAlignment).toBe(4096)
    const before = statSync(path).blocks
    await file.discard?.(65_536, 524_288)
    expect(statSync(path).blocks).toBe(before - 1024)
    zeroed(65_536, 65_536 + 524_288)
  })

  it.each([false, true])('makes zeroes, also of a part of a block (giving room back: %s)', async (unmap) => {
    file = new LinuxFileBackend(path)
    expect(file.unmapsZeroes).toBe(true)
    const before = statSync(path).blocks
    await file.writeZeroes(512, 131_072, unmap)
    zeroed(512, 512 + 131_072)
    expect(statSync(path).blocks < before).toBe(unmap)
  })

  it('does nothing to no bytes, and refuses what lies outside', async () => {
    file = new LinuxFileBackend(path)
    await file.discard?.(0, 0)
    await file.writeZeroes(size, 0)
    zeroed(0, 0)
    expect(() => file?.discard?.(size - 512, 1024)).toThrow(RangeError)
    expect(() => file?.writeZeroes(size, 512, true)).toThrow(RangeError)
  })

  it('keeps its room where it is told to, and where it is only read', () => {
    for (const options of [{ discard: false }, { readOnly: true }]) {
      file = new LinuxFileBackend(path, options)
      expect([file.discard, file.unmapsZeroes]).toEqual([undefined, false])
      file.close()
    }
  })

  it('does not get longer by looking whether there can be holes, and finds another size when it is asked to look', () => {
    truncateSync(path, size + 1024)
    file = new LinuxFileBackend(path)
    expect(statSync(path).size).toBe(size + 1024)
    truncateSync(path, 4 * size)
    expect([file.size, file.measure(), file.size]).toEqual([size + 1024, 4 * size, 4 * size])
  })
})

/** A loop device, where this machine lets us have one. */
function loopOf(path: string): string | undefined {
  const { status, stdout } = spawnSync('losetup', ['--find', '--show', path], { encoding: 'utf8' })
  return status === 0 ? stdout.trim() : undefined
}

describe.skipIf(whyNoSystem() !== undefined)('a block device', () => {
  it('has the size that the system says', () => {
    const folder = mkdtempSync(join(tmpdir(), 'virtgen-file-'))
    const path = join(folder, 'disk')
    writeFileSync(path, new Uint8Array(3 * size))
    const loop = loopOf(path)
    try {
      if (loop === undefined) return
      const file = new LinuxFileBackend(loop, { readOnly: true })
      expect(file.size).toBe(3 * size)
      file.close()
    } finally {
      if (loop !== undefined) spawnSync('losetup', ['--detach', loop])
      rmSync(folder, { recursive: true })
    }
  })
})
