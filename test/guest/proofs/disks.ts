/** Block devices: images are mounted, what is written is there when they are mounted again, and code that is read from a disk is what runs. */
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Blk, OverlayBackend, RamBackend } from 'virtgen/devices/blk'
import { FileBackend } from 'virtgen/node'
import { expect, it } from 'vitest'
import { debianGuest, debianTools } from '../../../examples/v86/guest/debian.ts'
import { ParkedBackend } from './parked-backend.ts'
import { compile } from './programs.ts'
import type { Proof } from './proof.ts'

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const pageSize = 4096
/** A multiple of what the guest reads at a time. */
const contentBytes = 3 * 2 ** 20
/** mov eax, value; ret */
const returns = (value: number): number[] => [0xb8, value & 0xff, value >> 8, 0, 0, 0xc3]

/** Five disks: vda a squashfs, vdb an ext4 file system, vdc an overlay, vdd with code, vde slow and twice as long as the content that it begins with. */
export class Disks implements Proof {
  readonly content: Uint8Array
  readonly ext4: string
  readonly slow: RamBackend
  readonly parked: ParkedBackend
  readonly devices
  readonly #squash: Uint8Array
  readonly #squashPath: string
  readonly #program: Uint8Array | string

  /**
   * @param folder - for images
   * @param from - whose disks these are copies of
   */
  constructor(folder: string, from?: Disks) {
    this.content = from?.content ?? randomBytes(contentBytes)
    this.ext4 = join(folder, from ? 'ext4-copy' : 'ext4')
    this.#squashPath = join(folder, 'squash')
    this.#program = from ? from.#program : compile('rewritten', folder)
    if (from) copyFileSync(from.ext4, this.ext4)
    else this.#makeImages(join(folder, 'tree'))
    this.#squash = readFileSync(this.#squashPath)
    const code = new Uint8Array(2 * pageSize)
    code.set(returns(111))
    code.set(returns(222), pageSize)
    this.slow = new RamBackend(2 * contentBytes)
    this.slow.bytes.set(this.content)
    this.parked = new ParkedBackend(this.slow)
    this.devices = [
      { device: new Blk(new RamBackend(this.#squash), { readOnly: true, serial: 'squash' }) },
      { device: new Blk(new FileBackend(this.ext4), { serial: 'ext4' }), options: { transitional: true } },
      { device: new Blk(new OverlayBackend(new RamBackend(Uint8Array.from(this.#squash))), { serial: 'overlay', queues: 2 }) },
      { device: new Blk(new RamBackend(code), { serial: 'code' }) },
      { device: new Blk(this.parked, { serial: 'slow' }) },
    ]
  }

  #makeImages(tree: string): void {
    mkdirSync(tree)
    writeFileSync(join(tree, 'random'), this.content)
    for (const [name, path] of Object.entries(debianTools(console.log))) copyFileSync(path, join(tree, name))
    if (typeof this.#program !== 'string') writeFileSync(join(tree, 'rewritten'), this.#program, { mode: 0o755 })
    makeSquash(tree, this.#squashPath)
    execFileSync('mkfs.ext4', ['-q', '-F', this.ext4, '32M'])
  }

  readonly prove: Proof['prove'] = (guest) => {
    it('serve a squashfs image, read-only, whose files are those of the host', async () => {
      expect(await guest().run('cat /sys/block/vda/ro /sys/block/vda/serial')).toMatch(/^1\s+squash/)
      await guest().run('mkdir -p /squash && mount -t squashfs /dev/vda /squash')
      expect(await guest().run('sha256sum /squash/random')).toContain(sha256(this.content))
    })

    it('keep files of an ext4 image over a remount, and the host’s tools find nothing wrong with it', async () => {
      await guest().run(
        'mkdir -p /ext4 && mount -t ext4 /dev/vdb /ext4 && cp /squash/random /ext4/copy && dd if=/dev/urandom of=/ext4/more bs=64k count=10 && sync',
      )
      const before = await guest().run('sha256sum /ext4/copy /ext4/more')
      expect(before).toContain(sha256(this.content))
      await guest().run('umount /ext4 && echo 3 > /proc/sys/vm/drop_caches && mount -t ext4 /dev/vdb /ext4')
      expect(await guest().run('sha256sum /ext4/copy /ext4/more')).toBe(before)
      await guest().run('umount /ext4')
      execFileSync('fsck.ext4', ['-f', '-n', this.ext4], { stdio: 'pipe' })
    })

    it('discard', async () => {
      await guest().run('blkdiscard -o 1048576 -l 1048576 /dev/vdc')
    })

    it('write beside an image, which stays as it was', async () => {
      await guest().run('dd if=/dev/urandom of=/dev/vdc bs=4096 count=16 seek=3 && sync')
      expect(sha256(this.#squash)).toBe(sha256(readFileSync(this.#squashPath)))
      expect((await guest().attempt('cmp /dev/vda /dev/vdc > /dev/null')).code).toBe(1)
    })

    it('have as many queues as they say', async () => {
      expect(await guest().run('ls /sys/block/vdc/mq /sys/block/vda/mq | grep -c ^[0-9]')).toBe('2')
    })

    // v86 compiles code: what is written over it must be compiled anew, or the old code goes on.
    it.skipIf(typeof this.#program === 'string')(
      `give code that runs as it was read, where other code ran before${typeof this.#program === 'string' ? ` (skipped: ${this.#program})` : ''}`,
      async () => {
        expect(await guest().run('/squash/rewritten')).toBe(Array.from({ length: 20 }, (_, swap) => (swap % 2 === 0 ? '111' : '222')).join(' '))
      },
    )
  }
}

function makeSquash(tree: string, path: string): void {
  const { root } = debianGuest()
  execFileSync(join(root, 'usr/bin/mksquashfs'), [tree, path, '-quiet', '-no-progress'], {
    env: { ...process.env, LD_LIBRARY_PATH: join(root, 'lib/x86_64-linux-gnu') },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
}
