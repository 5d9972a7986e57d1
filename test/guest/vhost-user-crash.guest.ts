/** The process that is a disk dies in the middle of the guest's I/O, again and again, and another one takes its place. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeImage, megabyte, sha256 } from './vhost-user/files.ts'
import { QemuGuest } from './vhost-user/qemu.ts'
import { Served } from './vhost-user/served.ts'
import { because, noQemu } from './vhost-user/skipped.ts'

const kills = 20
const streams = 8
const blockSize = 4096
const blocks = 64
const longest = 4
const cases = [
  { format: 'split', queues: 2 },
  { format: 'packed', queues: 1 },
] as const

/**
 * One of the streams, each with blocks of its own: writes them with O_DIRECT, reads them back and compares, with other data in each pass, so that no lost write looks like one
 * that was done.
 */
const stream = `#!/bin/sh
n=$1; pass=0
while [ ! -e /tmp/end ]; do
  pass=$((pass + 1))
  dd if=/dev/urandom of=/tmp/data$n bs=${blockSize} count=${blocks} 2>/dev/null
  dd if=/tmp/data$n of=/dev/vda bs=${blockSize} seek=$((n * ${blocks})) oflag=direct 2>/dev/null || echo "stream $n pass $pass: write failed" >> /tmp/failed
  dd if=/dev/vda bs=${blockSize} skip=$((n * ${blocks})) count=${blocks} iflag=direct 2>/dev/null | cmp - /tmp/data$n || echo "stream $n pass $pass: differs" >> /tmp/failed
  echo $pass > /tmp/pass$n
done
`

describe.skipIf(noQemu !== undefined)(`A disk of a guest in QEMU, whose process is killed ${kills} times${because(noQemu)}`, () => {
  let folder: string
  let disk: string
  let socket: string
  let back: Served
  let guest: QemuGuest

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'virtgen-crash-'))
    disk = join(folder, 'disk.img')
    socket = join(folder, 'disk.sock')
    makeImage(disk, 4 * megabyte, megabyte)
  })
  afterEach(async () => {
    await guest?.stop()
    await back?.end('SIGKILL')
    rmSync(folder, { recursive: true })
  })

  for (const { format, queues } of cases)
    it(`goes on where it was, with ${queues === 1 ? 'a' : queues} ${format} ring${queues === 1 ? '' : 's'}: of requests that finish out of order, none is lost, and none is done wrong`, async () => {
      const start = async (): Promise<Served> => Served.program('late-disk.mjs', socket, disk, String(queues), String(longest))
      back = await start()
      const options = ['-smp', '2', '-chardev', 'socket,id=disk,path=$DIR/disk.sock,reconnect-ms=100']
      options.push('-device', `vhost-user-blk-pci,chardev=disk,num-queues=${queues},packed=${format === 'packed' ? 'on' : 'off'}`)
      guest = await QemuGuest.boot({ options, folder, files: { 'bin/stream': stream } })
      expect(await guest.run('cut -c 35 /sys/block/vda/device/features')).toBe(format === 'packed' ? '1' : '0')
      await guest.run(`for n in $(seq 0 ${streams - 1}); do stream $n & done`)
      let parked = 0
      for (let kill = 1; kill <= kills; kill++) {
        await back.printed(/[1-9]\d* of \d+ out of order/)
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 300))
        await back.end('SIGKILL')
        // What the guest waits for now was begun by a process that is gone.
        const waiting = await guest.run('cat /sys/block/vda/inflight')
        parked += waiting.split(/\s+/).reduce((sum, count) => sum + Number(count), 0)
        back = await start()
      }
      await back.printed(/[1-9]\d* of \d+ out of order/)
      expect(await guest.run('touch /tmp/end; wait; cat /tmp/failed 2>/dev/null; echo ended'), back.output).toBe('ended')
      expect(parked).toBeGreaterThanOrEqual(kills)
      // What the guest wrote last is what the file has.
      const file = readFileSync(disk)
      const size = blocks * blockSize
      for (let n = 0; n < streams; n++)
        expect(await guest.run(`sha256sum < /tmp/data${n}`)).toContain(sha256(file.subarray(n * size, (n + 1) * size)))
      const passes = (await guest.run('cat /tmp/pass*')).split('\n').map(Number)
      expect(
        passes.every((count) => count > 1),
        `${passes}`,
      ).toBe(true)
    }, 180_000)
})
