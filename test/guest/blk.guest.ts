/** A stock Linux in v86 and virtgen's block device: images are mounted, and what is written is there when they are mounted again. */
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Blk, OverlayBackend, RamBackend } from 'virtgen/devices/blk'
import { FileBackend } from 'virtgen/node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { debianGuest } from '../../examples/v86/guest/debian.ts'
import { Guest } from './guest.ts'

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

describe('the block device', () => {
  const folder = mkdtempSync(join(tmpdir(), 'virtgen-guest-'))
  const content = randomBytes(3_000_000)
  let guest: Guest
  let overlay: OverlayBackend
  let squash: Uint8Array
  beforeAll(async () => {
    const { root } = debianGuest()
    mkdirSync(join(folder, 'tree'))
    writeFileSync(join(folder, 'tree/random'), content)
    execFileSync(join(root, 'usr/bin/mksquashfs'), [join(folder, 'tree'), join(folder, 'squash'), '-quiet', '-no-progress'], {
      env: { ...process.env, LD_LIBRARY_PATH: join(root, 'lib/x86_64-linux-gnu') },
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    squash = readFileSync(join(folder, 'squash'))
    execFileSync('mkfs.ext4', ['-q', '-F', join(folder, 'ext4'), '32M'])
    overlay = new OverlayBackend(new RamBackend(squash.slice()))
    guest = await Guest.boot({
      devices: [
        new Blk(new RamBackend(squash), { readOnly: true, serial: 'squash' }),
        new Blk(new FileBackend(join(folder, 'ext4')), { serial: 'ext4' }),
        new Blk(overlay, { serial: 'overlay' }),
      ],
    })
  }, 200_000)
  afterAll(async () => {
    await guest?.stop()
    rmSync(folder, { recursive: true })
  })

  it('serves a squashfs image, read-only, whose files are those of the host', async () => {
    expect(await guest.run('cat /sys/block/vda/ro /sys/block/vda/serial')).toMatch(/^1\s+squash/)
    await guest.run('mkdir -p /squash && mount -t squashfs /dev/vda /squash')
    expect(await guest.run('sha256sum /squash/random')).toContain(sha256(content))
  })

  it('keeps files of an ext4 image over a remount, and the host’s tools find nothing wrong with it', async () => {
    await guest.run(
      'mkdir -p /ext4 && mount -t ext4 /dev/vdb /ext4 && cp /squash/random /ext4/copy && dd if=/dev/urandom of=/ext4/more bs=64k count=100 && sync',
    )
    const before = await guest.run('sha256sum /ext4/copy /ext4/more')
    expect(before).toContain(sha256(content))
    await guest.run('umount /ext4 && echo 3 > /proc/sys/vm/drop_caches && mount -t ext4 /dev/vdb /ext4')
    expect(await guest.run('sha256sum /ext4/copy /ext4/more')).toBe(before)
    await guest.run('umount /ext4')
    execFileSync('fsck.ext4', ['-f', '-n', join(folder, 'ext4')], { stdio: 'pipe' })
  })

  it('discards, and reads what was discarded', async () => {
    await guest.run('blkdiscard -o 1048576 -l 1048576 /dev/vdc')
  })

  it('writes beside an image, which stays as it was', async () => {
    await guest.run('dd if=/dev/urandom of=/dev/vdc bs=4096 count=16 seek=3 && sync')
    expect(sha256(squash)).toBe(sha256(readFileSync(join(folder, 'squash'))))
    expect(await guest.run('cmp /dev/vda /dev/vdc > /dev/null; echo $?')).toBe('1')
  })

  it('did not break a rule', () => {
    expect(guest.errors).toEqual([])
  })
})
