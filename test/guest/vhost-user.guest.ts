/**
 * A stock Linux in QEMU whose disks, cards and entropy are processes `virtgen serve`, booted once: each proof leaves the guest as the next one needs it. In the end it is
 * rebooted, and every process ends well.
 */
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, truncateSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dhcpPath, dhcpScript } from './proofs/cards.ts'
import { makeImage, megabyte, rangeOf, sha256, sha256OfFile, storageOf } from './vhost-user/files.ts'
import { QemuGuest } from './vhost-user/qemu.ts'
import { Served } from './vhost-user/served.ts'
import { because, noPasst, noQemu } from './vhost-user/skipped.ts'

const randomSize = 16 * megabyte
const diskSize = 64 * megabyte
const gateway = '10.0.2.2'
const udhcpc = `udhcpc -q -n -s /${dhcpPath} -O mtu -i`
const chardev = (name: string): string[] => ['-chardev', `socket,id=${name},path=$DIR/${name}.sock`]
const card = (name: string, mac: string): string[] => [
  ...[...chardev(name), '-netdev', `vhost-user,id=n-${name},chardev=${name}`],
  ...['-device', `virtio-net-pci,netdev=n-${name},mac=${mac},romfile=`],
]

describe.skipIf(noQemu !== undefined)(`Linux in QEMU, with devices of virtgen serve over vhost-user${because(noQemu)}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'virtgen-vhost-user-'))
  const disk = join(folder, 'disk.img')
  const base = join(folder, 'base.img')
  const served: Record<string, Served> = {}
  const ends: (() => void)[] = []
  let guest: QemuGuest

  beforeAll(async () => {
    makeImage(disk, diskSize, randomSize)
    makeImage(base, randomSize, randomSize)
    const serve = async (name: string, ...words: string[]): Promise<void> => {
      served[name] = await Served.command(join(folder, `${name}.sock`), ...words)
    }
    await Promise.all([
      serve('disk', 'blk', '--file', disk, '--queues', '2', '--serial', 'of-a-file'),
      serve('overlay', 'blk', '--overlay', base, '--async', '--worker', '--serial', 'over-a-file'),
      serve('rng', 'rng'),
      serve('near', 'net', '--gateway'),
      ...(noPasst === undefined ? [serve('far', 'net', '--passt', passt())] : []),
    ])
    const options = ['-smp', '2']
    options.push(...chardev('disk'), '-device', 'vhost-user-blk-pci,chardev=disk,num-queues=2')
    options.push(...chardev('overlay'), '-device', 'vhost-user-blk-pci,chardev=overlay,num-queues=1,packed=on')
    options.push(...chardev('rng'), '-device', 'vhost-user-rng-pci,chardev=rng')
    options.push(...card('near', '52:54:00:00:00:01'), ...(noPasst === undefined ? card('far', '52:54:00:00:00:02') : []))
    guest = await QemuGuest.boot({ options, folder, files: { [dhcpPath]: dhcpScript } })
    await guest.run('ifconfig lo up')
  })
  afterAll(async () => {
    await guest?.stop()
    await Promise.all(Object.values(served).map((each) => each.end('SIGKILL')))
    for (const end of ends) end()
    rmSync(folder, { recursive: true })
  })

  function passt(): string {
    const path = join(folder, 'net', 'passt')
    mkdirSync(join(folder, 'net'))
    // As root it becomes nobody, who must be able to make the socket.
    for (const each of [folder, join(folder, 'net')]) chmodSync(each, 0o777)
    const process = spawn('passt', ['--foreground', '--socket', path, '--one-off', '--ipv4-only'], { stdio: 'ignore' })
    ends.push(() => process.kill())
    return path
  }

  describe('entropy', () => {
    it('is /dev/hwrng of Linux, which gives 256 KiB that nothing compresses', async () => {
      expect(await guest.run('cat /sys/class/misc/hw_random/rng_current')).toMatch(/^virtio_rng/)
      expect(Number(await guest.run('dd if=/dev/hwrng bs=4k count=64 iflag=fullblock 2>/dev/null | gzip -1 | wc -c'))).toBeGreaterThan(megabyte / 4)
    })
  })

  describe('disk', () => {
    it('has the serial number, the size and the bytes of its file', async () => {
      expect(await guest.run('cat /sys/block/vda/serial; echo; blockdev --getsize64 /dev/vda')).toBe(`of-a-file\n${diskSize}`)
      expect(await guest.run('sha256sum /dev/vda')).toContain(sha256OfFile(disk))
    })

    it('keeps what is written through the page cache, and what is written with O_DIRECT in pieces of 4 KiB: the same SHA-256 in the guest, read back, and in the file', async () => {
      const sum = (await guest.run('dd if=/dev/urandom of=/tmp/data bs=64k count=128 2>/dev/null; sha256sum < /tmp/data')).slice(0, 64)
      for (const [position, how] of [
        [20, 'bs=64k seek=320 conv=fsync'],
        [40, 'bs=4k seek=10240 oflag=direct'],
      ] as const) {
        await guest.run(`dd if=/tmp/data of=/dev/vda ${how}`)
        expect(await guest.run(`dd if=/dev/vda bs=64k skip=${position * 16} count=128 iflag=direct 2>/dev/null | sha256sum`)).toContain(sum)
        expect(sha256(rangeOf(disk, position * megabyte, 8 * megabyte))).toBe(sum)
      }
    })

    it('has two queues, and each processor of the guest uses its own', async () => {
      expect(await guest.run('ls /sys/block/vda/mq | wc -l')).toBe('2')
      const counts = async (): Promise<number[]> => {
        const lines = (await guest.run('grep virtio.*-req /proc/interrupts')).split('\n').slice(0, 2)
        return lines.map((line) => Number(line.trim().split(/\s+/)[1]) + Number(line.trim().split(/\s+/)[2]))
      }
      const before = await counts()
      for (const mask of [1, 2]) await guest.run(`taskset ${mask} dd if=/dev/vda of=/dev/null bs=4k count=500 iflag=direct`)
      const after = await counts()
      expect(
        after.map((count, i) => count - (before[i] ?? 0)).every((more) => more >= 100),
        `${before} ${after}`,
      ).toBe(true)
    })

    it('gives the room of discarded ranges back, and nothing else is lost', async () => {
      const kept = sha256(rangeOf(disk, 0, 20 * megabyte))
      const before = storageOf(disk)
      await guest.run(`blkdiscard -o ${20 * megabyte} -l ${8 * megabyte} /dev/vda`)
      expect(before - storageOf(disk)).toBe(8 * megabyte)
      expect(rangeOf(disk, 20 * megabyte, 8 * megabyte).every((byte) => byte === 0)).toBe(true)
      expect(sha256(rangeOf(disk, 0, 20 * megabyte))).toBe(kept)
    })

    it('carries an ext4 file system, in which the tools of the host find nothing wrong', async () => {
      await guest.run('mke2fs -F /dev/vda 32768 >/dev/null && mount -t ext4 /dev/vda /mnt && cp -r /bin /tmp/data /mnt/ && umount /mnt')
      expect(await guest.run('mount -t ext4 /dev/vda /mnt && cmp /tmp/data /mnt/data && umount /mnt && echo same')).toBe('same')
      const { status, stdout, stderr } = spawnSync('e2fsck', ['-fn', disk], { encoding: 'utf8' })
      expect(status, stdout + stderr).toBe(0)
    })

    it('grows while it is read and written, and what is new can be used', async () => {
      guest.send(
        '(while [ ! -e /tmp/grown ]; do dd if=/tmp/data of=/dev/vda bs=4k seek=10240 count=500 oflag=direct 2>/dev/null || echo broken; done; echo ended) > /tmp/loop &',
      )
      truncateSync(disk, diskSize + 16 * megabyte)
      served.disk?.signal('SIGUSR2')
      await guest.run(`for i in $(seq 100); do [ $(blockdev --getsize64 /dev/vda) = ${diskSize + 16 * megabyte} ] && break; usleep 100000; done`)
      expect(await guest.run('blockdev --getsize64 /dev/vda; touch /tmp/grown; wait; cat /tmp/loop')).toBe(`${diskSize + 16 * megabyte}\nended`)
      await guest.run(`dd if=/tmp/data of=/dev/vda bs=64k seek=${diskSize / 65_536} oflag=direct`)
      expect(await guest.run('sha256sum < /tmp/data')).toContain(sha256(rangeOf(disk, diskSize, 8 * megabyte)))
    })
  })

  describe('disk over a base, asynchronous, in a worker thread, with a packed ring', () => {
    it('reads as its base does, and keeps what is written, and the base stays as it was', async () => {
      const before = sha256OfFile(base)
      expect(await guest.run('cat /sys/block/vdb/serial; sha256sum /dev/vdb')).toMatch(new RegExp(`^over-a-file\\s*${before}`))
      // RING_PACKED
      expect(await guest.run('cut -c 35 /sys/block/vdb/device/features')).toBe('1')
      await guest.run('dd if=/tmp/data of=/dev/vdb bs=4k seek=3 count=1000 oflag=direct')
      await guest.run('dd if=/dev/vdb bs=4k skip=3 count=1000 iflag=direct 2>/dev/null | cmp -n 4096000 - /tmp/data')
      expect(await guest.run('sha256sum /dev/vdb')).not.toContain(before)
      expect(sha256OfFile(base)).toBe(before)
    })
  })

  describe('card', () => {
    it('gets its address from Node, and Node answers its pings, small and large', async () => {
      await guest.run(`ifconfig eth0 up; ${udhcpc} eth0`)
      expect(await guest.run('ifconfig eth0')).toMatch(/52:54:00:00:00:01[\s\S]*10\.0\.2\.15/i)
      expect(await guest.run(`ping -c 10 -i 0.1 ${gateway}`)).toContain('10 packets received')
      expect(await guest.run(`ping -c 5 -i 0.1 -s 1400 ${gateway}`)).toContain('5 packets received')
    })

    it.skipIf(noPasst !== undefined)(
      `fetches 16 MiB from a server in Node over TCP, and sends as much: the same SHA-256${because(noPasst)}`,
      async () => {
        const content = rangeOf(base, 0, randomSize)
        let posted = ''
        const server = createServer((request, response) => {
          const parts: Buffer[] = []
          request.on('data', (part: Buffer) => parts.push(part))
          request.on('end', () => {
            posted = sha256(Buffer.concat(parts))
            response.end(content)
          })
        })
        ends.push(() => server.close())
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
        const { port } = server.address() as AddressInfo
        await guest.run(`ifconfig eth0 down; ifconfig eth1 up; ${udhcpc} eth1`)
        const url = `http://$(cat /tmp/router.eth1):${port}/`
        expect(await guest.run(`wget -q -O - ${url} | sha256sum`)).toContain(sha256(content))
        // As text: busybox posts no zeroes.
        const text = await guest.run('base64 /tmp/data /tmp/data > /tmp/text; sha256sum /tmp/text')
        expect(await guest.run(`wget -q -O - --post-file /tmp/text ${url} | sha256sum`)).toContain(sha256(content))
        expect(text).toContain(posted)
        // HOST_TSO4 and MRG_RXBUF: neither direction is frame by frame.
        expect(await guest.run('cut -c 12,16 /sys/class/net/eth1/device/features')).toBe('11')
      },
    )
  })

  describe('all of them', () => {
    it('are found again after the machine was reset, and the disk has what was written', async () => {
      const from = guest.output.length
      await guest.run('sync')
      await guest.monitor('system_reset')
      await guest.waitFor(/GUEST-READY/, 60, from)
      expect(await guest.run('sha256sum /dev/vda')).toContain(sha256OfFile(disk))
      expect(Number(await guest.run('dd if=/dev/hwrng bs=4k count=16 iflag=fullblock 2>/dev/null | wc -c'))).toBe(65_536)
      await guest.run(`ifconfig eth0 up; ${udhcpc} eth0`)
      expect(await guest.run(`ping -c 2 -i 0.1 ${gateway}`)).toContain('2 packets received')
    })

    it('end with 0 on SIGTERM, and have nothing to complain of', async () => {
      await guest.stop()
      for (const [name, each] of Object.entries(served)) {
        expect(await each.end(), each.output).toBe(0)
        expect(each.output, name).not.toMatch(/violat|error|refused/i)
      }
    })
  })
})
