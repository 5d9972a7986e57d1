/**
 * A disk image as a virtio block device over MMIO, and the generated driver that reads (and, on an image of its own, writes) all of it through the virtqueue.
 * Device and driver share nothing but guest memory, registers and an interrupt line.
 */
import { createHash, randomFillSync } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdtemp, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Blk } from 'virtgen/devices/blk'
import { BlkDriver } from 'virtgen/driver/blk'
import { connectMmio, MmioDevice } from 'virtgen/mmio'
import { FileBackend } from 'virtgen/node'
import { type DmaBuffer, DriverMemory, GuestMemory } from 'virtgen/runtime'
import { virtio_blk_size } from 'virtgen/wire/blk'
import { virtio_mmio } from 'virtgen/wire/transport-mmio'
import { bytesText, Progress, rate } from './disk/progress.ts'

const usage = `Serves a disk image as a virtio block device over MMIO and reads all of it with the generated driver.

usage: npm start -- [--image FILE] [--size MIB] [--depth N] [--json]

  --image FILE  the image to serve, read-only; without it one is made, written and read
  --size MIB    size of the image that is made (64)
  --depth N     requests in flight (32)
  --json        prints the figures as JSON`

const memoryBytes = 64 * 1024 * 1024
const requestBytes = 256 * 1024

interface Options {
  image: string | undefined
  size: number
  depth: number
  json: boolean
}

function optionsOf(words: string[]): Options {
  const { values } = parseArgs({
    args: words,
    options: { image: { type: 'string' }, size: { type: 'string' }, depth: { type: 'string' }, json: { type: 'boolean' }, help: { type: 'boolean' } },
  })
  if (values.help) {
    console.log(usage)
    process.exit(0)
  }
  return {
    image: values.image,
    size: count('size', values.size ?? '64', 4096) * 1024 * 1024,
    depth: count('depth', values.depth ?? '32', 64),
    json: values.json === true,
  }
}

function count(name: string, text: string, most: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || value > most) throw new TypeError(`--${name} takes a whole number from 1 to ${most}, not "${text}"`)
  return value
}

/** Device and driver, wired to each other, with counters on the wires. */
async function plugIn(disk: Blk) {
  const wires = { notifications: 0, interrupts: 0 }
  const memory = GuestMemory.of(new Uint8Array(memoryBytes))
  const driverMemory = new DriverMemory(memory, 0, memoryBytes)
  let interrupted = (): void => {}
  const transport = new MmioDevice(disk, {
    memory,
    interrupt: (level) => {
      if (!level) return
      wires.interrupts++
      interrupted()
    },
  })
  const bus = {
    read: (offset: number, width: 1 | 2 | 4): number => transport.read(offset, width),
    write: (offset: number, width: 1 | 2 | 4, value: number): void => {
      if (offset === virtio_mmio.QueueNotify.offset) wires.notifications++
      transport.write(offset, width, value)
    },
  }
  const { driver, interrupt } = await connectMmio(bus, BlkDriver, { memory: driverMemory })
  interrupted = interrupt
  return { driver, memory: driverMemory, wires }
}

/** What one pass over the disk did. */
interface Pass {
  requests: number
  bytes: number
  milliseconds: number
  sha256: string
}

/** Moves a piece of the disk; resolves to the bytes that were moved. */
type Transfer = (sector: number, data: DmaBuffer) => Promise<Uint8Array>

/** Runs over the whole disk with `depth` requests in flight, each with a buffer of its own in the memory that both sides share. */
async function pass(title: string, size: number, memory: DriverMemory, depth: number, transfer: Transfer): Promise<Pass> {
  const hash = createHash('sha256')
  const progress = new Progress(title, size)
  const buffers = Array.from({ length: depth }, () => memory.allocate(requestBytes))
  const window: Promise<Uint8Array>[] = []
  let done = 0
  const finishOldest = async (): Promise<void> => {
    const bytes = await (window.shift() as Promise<Uint8Array>)
    hash.update(bytes)
    done += bytes.length
    progress.show(done)
  }
  const requests = Math.ceil(size / requestBytes)
  for (let number = 0; number < requests; number++) {
    if (window.length === depth) await finishOldest()
    const start = number * requestBytes
    const buffer = (buffers[number % depth] as DmaBuffer).part(0, Math.min(requestBytes, size - start))
    window.push(transfer(start / virtio_blk_size.sector_bytes, buffer))
  }
  while (window.length > 0) await finishOldest()
  const milliseconds = progress.end()
  for (const buffer of buffers) memory.free(buffer)
  return { requests, bytes: done, milliseconds, sha256: hash.digest('hex') }
}

async function hashOfFile(path: string, size: number): Promise<string> {
  const hash = createHash('sha256')
  if (size > 0) for await (const chunk of createReadStream(path, { end: size - 1 })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

async function run(path: string, isOwn: boolean, { depth, json }: Options): Promise<boolean> {
  const file = new FileBackend(path, { readOnly: !isOwn, asynchronous: true })
  const disk = new Blk(file, { serial: 'virtgen-file-disk', onError: (error) => console.error('the device failed:', error) })
  const { driver, memory, wires } = await plugIn(disk)
  const size = driver.config.capacity * virtio_blk_size.sector_bytes
  const passes: Record<string, Pass> = {}
  if (isOwn) {
    passes.wrote = await pass('write', size, memory, depth, async (sector, data) => {
      randomFillSync(data.bytes)
      await driver.write({ sector }, data)
      return data.bytes
    })
    await driver.flush()
  }
  passes.read = await pass('read', size, memory, depth, async (sector, data) => (await driver.read({ sector }, data)).data)
  await driver.close()
  file.close()
  const ofImage = await hashOfFile(path, size)
  const hashes = [...Object.values(passes).map(({ sha256 }) => sha256), ofImage]
  const same = hashes.every((hash) => hash === ofImage)
  if (json) console.log(JSON.stringify({ image: isOwn ? null : path, size, depth, ...passes, ...wires, sha256OfImage: ofImage, same }))
  else report({ path, isOwn, size, depth, passes, wires, ofImage, same })
  return same
}

interface Report {
  path: string
  isOwn: boolean
  size: number
  depth: number
  passes: Record<string, Pass>
  wires: { notifications: number; interrupts: number }
  ofImage: string
  same: boolean
}

function report({ path, isOwn, size, depth, passes, wires, ofImage, same }: Report): void {
  const rows: [string, string][] = [['image', isOwn ? `${bytesText(size)}, made for this run` : `${path}, ${size} bytes in whole sectors, read-only`]]
  for (const [verb, { requests, bytes, milliseconds }] of Object.entries(passes))
    rows.push([
      verb,
      `${bytesText(bytes)} in ${requests} requests, ${depth} in flight: ${(milliseconds / 1000).toFixed(2)} s, ${rate(bytes, milliseconds)}`,
    ])
  rows.push(['wires', `${wires.notifications} available buffer notifications, ${wires.interrupts} interrupts`])
  for (const [verb, { sha256 }] of Object.entries(passes)) rows.push(['sha-256', `${sha256}  what the driver ${verb}`])
  rows.push(['sha-256', `${ofImage}  the image`])
  for (const [name, text] of rows) console.log(`  ${name.padEnd(8)} ${text}`)
  console.log(same ? '  the same on both sides' : '  THE HASHES DIFFER')
}

async function withOwnImage<T>(size: number, use: (path: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'virtgen-disk-'))
  try {
    const path = join(folder, 'disk.img')
    await writeFile(path, '')
    await truncate(path, size)
    return await use(path)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function main(): Promise<boolean> {
  const options = optionsOf(process.argv.slice(2))
  if (options.image === undefined) return withOwnImage(options.size, (path) => run(path, true, options))
  const { size } = await stat(options.image)
  if (size < virtio_blk_size.sector_bytes) throw new TypeError(`${options.image} has ${size} bytes: not one sector`)
  return run(options.image, false, options)
}

main().then(
  (same) => {
    process.exitCode = same ? 0 : 1
  },
  (error: unknown) => {
    console.error(error instanceof TypeError || isRefusal(error) ? `disk: ${(error as Error).message}` : error)
    process.exitCode = error instanceof TypeError ? 2 : 1
  },
)

/** What the system does not let us do; the message names the call and the path. */
function isRefusal(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error
}
