/** A guest moves to another QEMU while its disk, a process `virtgen serve`, writes into its memory: QEMU learns of every page through the log that it shares with us. */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as later } from 'node:timers/promises'
import { afterAll, describe, expect, it } from 'vitest'
import { makeImage, megabyte, sha256OfFile } from './vhost-user/files.ts'
import { QemuGuest } from './vhost-user/qemu.ts'
import { Served } from './vhost-user/served.ts'
import { because, noQemu } from './vhost-user/skipped.ts'

const size = 48 * megabyte
/** Bytes in a second that end it. */
const fast = 1000 * megabyte

/** Of `query-migrate`, what is looked at. */
interface Migration {
  readonly status: string
  readonly ram?: Readonly<Record<string, number>>
}

describe.skipIf(noQemu !== undefined)(`Live migration of a guest in QEMU${because(noQemu)}`, () => {
  const ends: (() => Promise<unknown>)[] = []
  const folders: string[] = []
  afterAll(async () => {
    for (const end of ends) await end()
    for (const folder of folders) rmSync(folder, { recursive: true })
  })

  for (const format of ['split', 'packed'] as const)
    it(`${format} ring: what the disk wrote into memory after that was sent for the first time is there at the other side, and the disk goes on`, async () => {
      const root = mkdtempSync(join(tmpdir(), 'virtgen-move-'))
      folders.push(root)
      const disk = join(root, 'disk.img')
      makeImage(disk, size, size)
      const machine = async (name: string): Promise<{ options: string[]; folder: string }> => {
        const folder = join(root, name)
        mkdirSync(folder)
        const served = await Served.command(join(folder, 'disk.sock'), 'blk', '--file', disk)
        ends.push(() => served.end('SIGKILL'))
        const device = `vhost-user-blk-pci,chardev=disk,num-queues=1,packed=${format === 'packed' ? 'on' : 'off'}`
        return { folder, options: ['-chardev', 'socket,id=disk,path=$DIR/disk.sock', '-device', device] }
      }
      const here = await QemuGuest.boot(await machine('here'))
      ends.push(() => here.stop())
      const there = await machine('there')
      const other = QemuGuest.begin({ ...there, options: [...there.options, '-incoming', `unix:${join(root, 'road')}`] })
      ends.push(() => other.stop())
      await other.until(() => existsSync(join(root, 'road')), 10)

      // A slow road, and pages that always change, keep the migration from ending before we want it to. Not zeros, which take no time; and so many that it takes a while to
      // send them, as each time that none has changed meanwhile is the end.
      here.send(
        "(while [ ! -e /tmp/quiet ]; do tr '\\000' x < /dev/zero | dd of=/tmp/noise bs=64k count=256 conv=notrunc iflag=fullblock 2>/dev/null; done) &",
      )
      await here.run('while [ "$(stat -c %s /tmp/noise 2>/dev/null)" != 16777216 ]; do sleep 0.1; done')
      // It ends when what is left could be sent in that time at that speed: a page could not.
      await here.monitor('migrate-set-parameters', { 'max-bandwidth': 20 * megabyte, 'avail-switchover-bandwidth': megabyte, 'downtime-limit': 1 })
      await here.monitor('migrate', { uri: `unix:${join(root, 'road')}` })
      const until = async (isSo: (state: Migration) => boolean): Promise<void> => {
        for (const end = Date.now() + 60_000; ; await later(50)) {
          const state = await here.monitor<Migration>('query-migrate')
          if (isSo(state)) return
          if (state.status === 'failed' || Date.now() > end)
            throw new Error(`${JSON.stringify(state)}\n${here.errors.join('\n')}\n${other.errors.join('\n')}`)
        }
      }
      await until(({ ram }) => (ram?.['dirty-sync-count'] ?? 0) >= 2)
      // Into pages of the cache, which no processor writes, and which stay as long as the disk is open.
      await here.run('exec 9</dev/vda; cat /dev/vda > /dev/null')
      expect((await here.monitor<Migration>('query-migrate')).status).toBe('active')
      await here.run('touch /tmp/quiet; wait')
      await here.monitor('migrate-set-parameters', { 'max-bandwidth': fast, 'avail-switchover-bandwidth': fast, 'downtime-limit': 2000 })
      await until(({ status }) => status === 'completed')

      const reads = async (): Promise<number> => Number(await other.run('awk \'$3 == "vda" { print $6 }\' /proc/diskstats'))
      const before = await reads()
      expect(await other.run('sha256sum /dev/vda')).toContain(sha256OfFile(disk))
      // All of it was in memory.
      expect(await reads()).toBe(before)
      await other.run(
        'echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/urandom of=/dev/vda bs=64k count=16 conv=fsync 2>/dev/null; echo 3 > /proc/sys/vm/drop_caches',
      )
      expect(await other.run('sha256sum /dev/vda')).toContain(sha256OfFile(disk))
    })
})
