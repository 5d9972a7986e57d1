/** TAP: a real interface of the kernel, in a network of its own, with each header that there is. */
import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TapBackend } from 'virtgen/node'
import { describe, expect, it } from 'vitest'

const inOwnNetwork = ['--net', 'python3', '-c', 'import fcntl, os; os.close(os.open("/dev/net/tun", os.O_RDWR))']
const missing = spawnSync('unshare', inOwnNetwork).status !== 0 || spawnSync('ip', ['-V']).error !== undefined
const unbuilt = !existsSync('dist/hosts/node/tap-backend.js')
const skipped = missing ? 'it needs root, /dev/net/tun, python3, ip and unshare' : unbuilt ? 'the package is not built (npm run build)' : undefined
if (skipped !== undefined) console.warn(`TapBackend is not tested with the kernel: ${skipped}`)

describe.skipIf(skipped !== undefined)('a guest at a TAP interface', () => {
  it.each(['0', '10', '12'].flatMap((header) => ['non-blocking', 'blocking'].map((reading) => [header, reading] as const)))(
    'answers the host, with a header of %s bytes and a descriptor that is %s',
    (header, reading) => {
      const program = ['--net', 'python3', 'test/support/tap/open-tap.py', 'vgtap0', header, reading, process.execPath, 'test/support/tap/guest.mjs']
      const { stdout, stderr } = spawnSync('unshare', [...program, 'vgtap0', header], { encoding: 'utf8', timeout: 30_000 })
      expect(stderr).toBe('')
      const found = JSON.parse(stdout)
      expect(found).toMatchObject({ answers: [1, 100, 1400], dropped: 0, received: true })
      // With a header, the kernel leaves checksums to us, and takes frames without.
      if (header === '0') expect(found.partial).toEqual({ asked: 0, sent: 0 })
      else expect(found.partial.sent).toBeGreaterThanOrEqual(3)
    },
  )
})

describe.skipIf(skipped !== undefined)('a TAP interface', () => {
  it.each(['non-blocking', 'blocking'])('that goes down and comes up is read as before (a descriptor that is %s)', (reading) => {
    const program = ['--net', 'python3', 'test/support/tap/open-tap.py', 'vgtap0', '0', reading, process.execPath, 'test/support/tap/down-and-up.mjs']
    const { stdout, stderr } = spawnSync('unshare', [...program, 'vgtap0'], { encoding: 'utf8', timeout: 30_000 })
    expect(stderr).toBe('')
    const { told, ...found } = JSON.parse(stdout)
    expect(found).toEqual({ first: true, again: true, dropped: 1 })
    expect(told.length).toBeLessThanOrEqual(1)
  })
})

describe('a descriptor', () => {
  it('is closed when nothing reads it any more: its number may be another file’s at once', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'virtgen-tap-'))
    try {
      writeFileSync(join(folder, 'own'), 'x'.repeat(60))
      writeFileSync(join(folder, 'other'), 'y'.repeat(60))
      const fd = openSync(join(folder, 'own'), 'r+')
      const backend = new TapBackend(fd)
      backend.attach({ mac: new Uint8Array(6), setCarrier: () => {}, receive: () => true })
      backend.close()
      const other = openSync(join(folder, 'other'), 'r+')
      expect(other).not.toBe(fd)
      backend.send(new Uint8Array(60))
      expect(backend.dropped).toBe(1)
      await expect.poll(() => existsSync(`/proc/self/fd/${fd}`)).toBe(false)
      expect(readSync(other, Buffer.alloc(100))).toBe(60)
      closeSync(other)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('has a header that there is; one that is opened by its path is macvtap’s', () => {
    expect(() => new TapBackend(0, { header: 11 as 10 })).toThrow('header must be one of 0, 10, 12, not 11')
    expect(new TapBackend('/dev/null').takes).toMatchObject({ checksum: true })
  })
})

it('a device that is not there is an error of the system', () => {
  expect(() => new TapBackend('/dev/none/tap7')).toThrow(/ENOENT/)
})
