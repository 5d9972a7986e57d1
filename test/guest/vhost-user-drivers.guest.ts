/** Drivers in user space that are not ours: libblkio's for disks, DPDK's for network cards. No guest is needed. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { debianPackages } from '../../examples/v86/guest/apt.ts'
import { testpmd } from './vhost-user/dpdk.ts'
import { makeImage, megabyte, rangeOf, sha256, sha256OfFile } from './vhost-user/files.ts'
import { Served } from './vhost-user/served.ts'
import { because, noPeers } from './vhost-user/skipped.ts'

let folder: string
let socket: string
let served: Served | undefined
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtgen-drivers-'))
  socket = join(folder, 'socket')
})
afterEach(async () => {
  await served?.end('SIGKILL')
  served = undefined
  rmSync(folder, { recursive: true })
})

describe.skipIf(noPeers !== undefined)(`libblkio drives virtgen serve blk${because(noPeers)}`, () => {
  const program = fileURLToPath(new URL('./programs/libblkio.mjs', import.meta.url))
  interface Report {
    readonly capacity: number
    readonly queues: number
    readonly digest: string
  }

  async function drive(queues: number): Promise<Report> {
    const packages = { name: 'debian-trixie-amd64-libblkio', suite: 'trixie', architectures: ['amd64'], packages: ['libblkio1'] }
    const library = join(debianPackages(packages, console.log), 'usr/lib/x86_64-linux-gnu/libblkio.so.1')
    const { stdout } = await promisify(execFile)(process.execPath, [program, library, socket, String(queues)], { timeout: 60_000 })
    return JSON.parse(stdout) as Report
  }
  const size = 32 * megabyte
  const cases = [
    { title: 'a file, read and written in place', words: ['--file'], queues: 1 },
    { title: 'a file, read and written by other threads, two queues', words: ['--async', '--file'], queues: 2 },
    {
      title: 'a file, in a worker thread that looks at the rings before it sleeps, two queues',
      words: ['--worker', '--spin', '50', '--file'],
      queues: 2,
    },
  ]
  for (const { title, words, queues } of cases)
    it(`${title}: writes random blocks in random order, reads them back, and the file has the same SHA-256`, async () => {
      const path = join(folder, 'disk.img')
      makeImage(path, size, 0)
      served = await Served.command(socket, 'blk', ...words, path, '--queues', '2')
      const report = await drive(queues)
      expect(report).toMatchObject({ capacity: size, queues })
      // The first block was discarded in the end.
      const discarded = 65_536
      expect(rangeOf(path, 0, discarded).every((byte) => byte === 0)).toBe(true)
      expect(sha256(rangeOf(path, discarded, size - discarded))).toBe(report.digest)
      expect(await served.end(), served.output).toBe(0)
    })

  it('memory, for one driver after the other', async () => {
    served = await Served.command(socket, 'blk', '--ram', '16M')
    for (let turn = 0; turn < 5; turn++) expect(await drive(1)).toMatchObject({ capacity: 16 * megabyte })
    expect(await served.end(), served.output).toBe(0)
  })

  it('a file that may not be written: the driver is refused a write, and the file is as it was', async () => {
    const path = join(folder, 'disk.img')
    makeImage(path, megabyte, megabyte)
    const before = sha256OfFile(path)
    served = await Served.command(socket, 'blk', '--file', path, '--readonly')
    await expect(drive(1)).rejects.toThrow()
    expect(sha256OfFile(path)).toBe(before)
    expect(await served.end(), served.output).toBe(0)
  })
})

describe.skipIf(noPeers !== undefined)(`DPDK's virtio-user drives virtgen serve net${because(noPeers)}`, () => {
  const rings = [
    { format: 'split', device: [] },
    { format: 'split, without merged buffers, in order', device: ['mrg_rxbuf=0', 'in_order=1'] },
    { format: 'packed', device: ['packed_vq=1'] },
    { format: 'packed, two queues', device: ['packed_vq=1', 'queues=2'], options: ['--rxq=2', '--txq=2'] },
  ]
  for (const { format, device, options = [] } of rings) {
    it(`${format}: every frame that it sends is counted by the other side`, async () => {
      served = await Served.command(socket, 'net', '--sink', '--queues', '2')
      const { sent, output } = await testpmd({ path: socket, mode: 'txonly', device, options, seconds: 2 })
      // More than the ring holds: the other side has given buffers back.
      expect(sent, output).toBeGreaterThan(256)
      served.signal('SIGUSR1')
      const [, counted] = await served.printed(/virtgen_net_frames_total\{[^}]*direction="transmit"\} (\d+)/)
      expect(Number(counted)).toBeGreaterThanOrEqual(sent - 256)
      expect(Number(counted)).toBeLessThanOrEqual(sent)
      expect(await served.end(), served.output).toBe(0)
    })

    it(`${format}: frames go round and round between it and an echo, and none is lost`, async () => {
      served = await Served.command(socket, 'net', '--echo', '--queues', '2')
      const { sent, received, output } = await testpmd({ path: socket, mode: 'io', device, options: ['--tx-first', ...options], seconds: 2 })
      expect(received, output).toBeGreaterThan(1000)
      // Those of the first burst may be under way in the end.
      expect(sent - received).toBeLessThanOrEqual(64)
      expect(await served.end(), served.output).toBe(0)
    })
  }

  it('which listens itself (server mode): virtgen serve --connect finds it', async () => {
    served = Served.begin(socket, 'net', '--sink', '--connect')
    const { sent, output } = await testpmd({ path: socket, mode: 'txonly', device: ['server=1'], seconds: 4 })
    // More than the ring holds: the other side has given buffers back.
    expect(sent, output).toBeGreaterThan(256)
    expect(await served.end(), served.output).toBe(0)
  })
})
