/** TAP: a real interface of the kernel, in a network of its own, with each header that there is. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
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

it('a device that is not there is an error of the system', () => {
  expect(() => new TapBackend('/dev/none/tap7')).toThrow(/ENOENT/)
})
