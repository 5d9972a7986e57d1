// vhost-user for hours: a driver and a back-end in two processes. Blocks are read, written, flushed and zeroed side by side while memory is added and removed, rings are reset,
// and connections end in every way; now and then the back-end is killed. Nothing may be lost, and nothing may grow. Ends with 1 where something was.

import { fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isDeepStrictEqual } from 'node:util'
import { BlkDriver } from 'virtgen/driver/blk'
import { connectVhostUser, countDescriptors, mappings, SharedMemory } from 'virtgen/linux'
import { DriverError, driverRingFeatures } from 'virtgen/runtime'
import { VIRTIO_F_RING_PACKED } from 'virtgen/wire/content'
import { readOptions, wholeNumber } from './options.mjs'

const usage = `npm run soak -- [options]

  --seconds N    how long (600)
  --sync         the back-end reads and writes the file at once; by default requests end late and in any order
  --json         prints one JSON object`

const options = readOptions(usage, {
  seconds: { type: 'string', default: '600' },
  sync: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
})
const seconds = wholeNumber(options, 'seconds', usage)
const sector = 512
const workers = 12
const perWorker = 2 ** 20
const diskBytes = workers * perWorker
const most = 64 * 1024
const folder = mkdtempSync(join(tmpdir(), 'virtgen-soak-'))
const [socket, file] = [join(folder, 'socket'), join(folder, 'disk')]
const memory = new SharedMemory(8 * 2 ** 20)
/** Split and packed rings in turn. */
const all = driverRingFeatures.union(BlkDriver.features)
const split = all.without(VIRTIO_F_RING_PACKED)
/** What the disk must hold. */
const disk = new Uint8Array(diskBytes)
const counts = { read: 0, written: 0, zeroed: 0, flushes: 0, ringResets: 0, memoryAdded: 0, reconnects: 0, drops: 0, kills: 0, again: 0 }
const figures = []
const problems = []
const random = (below) => Math.floor(Math.random() * below)
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex')

/** The back-end's process. */
class BackEnd {
  #waiting = new Map()
  #next = 1
  start() {
    const program = fileURLToPath(new URL('./soak/back-end.mjs', import.meta.url))
    this.process = fork(program, [socket, file, options.sync ? '0' : '1'], { execArgv: ['--expose-gc'] })
    this.exited = new Promise((resolve) => this.process.once('exit', (code, signal) => resolve(signal ?? code)))
    this.process.on('message', ({ id, result }) => {
      this.#waiting.get(id)?.(result)
      this.#waiting.delete(id)
    })
    return new Promise((resolve) => this.#waiting.set(0, resolve))
  }
  ask(command) {
    const id = this.#next++
    return Promise.race([
      this.exited.then((how) => {
        if (command !== 'end') throw new Error(`the back-end has ended by itself: ${how}`)
      }),
      new Promise((resolve) => {
        this.#waiting.set(id, resolve)
        this.process.send({ id, command })
      }),
    ])
  }
  async kill() {
    this.process.kill('SIGKILL')
    await this.exited
    await this.start()
  }
}

const backEnd = new BackEnd()
let connection
let connecting
/** A ring is being reset. */
let resetting
let over = false
let began = 0

/** The device, once there is one again. */
async function device() {
  while (connecting !== undefined) await connecting
  return connection
}

/** Ends the connection in some way, and makes another one over the same memory, as a hypervisor does. */
async function reconnect(end) {
  if (connecting !== undefined) return
  connecting = (async () => {
    const before = connection
    await end(before)
    // Its rings and buffers are free then, also where the back-end has gone.
    await before?.close()
    connection = await connectVhostUser(socket, BlkDriver, { memory, features: counts.reconnects++ % 2 === 0 ? all : split })
  })()
  try {
    await connecting
  } finally {
    connecting = undefined
  }
}

/** Makes a request until it is done: where the connection or the ring goes meanwhile, nobody knows how far it came. */
async function request(make) {
  for (;;) {
    const now = await device()
    try {
      return await make(now)
    } catch (error) {
      if (!(error instanceof DriverError)) throw error
      counts.again++
      // What was asked for is made again only when nothing of it is at work any more: otherwise it could overwrite what comes later.
      await resetting
      if (now === connection && connecting === undefined) await pause(1)
    }
  }
}

/** Owns a part of the disk, and does one thing after the other there. */
async function work(index) {
  const first = index * perWorker
  while (!over) {
    const length = sector * (1 + random(Math.random() < 0.8 ? 8 : most / sector))
    const at = first + sector * random((perWorker - length) / sector)
    const where = { sector: at / sector }
    const choice = random(100)
    if (choice < 45) {
      const { data } = await request(({ driver }) => driver.read(where, length))
      if (Buffer.compare(data, disk.subarray(at, at + length)) !== 0) problems.push(`${length} bytes at ${at} are not those that were written`)
      counts.read += length
    } else if (choice < 92) {
      const bytes = disk.subarray(at, at + length)
      bytes.fill(random(256))
      new DataView(disk.buffer, at).setFloat64(0, Math.random())
      await request(({ driver }) => driver.write(where, bytes))
      counts.written += length
    } else if (choice < 95) {
      disk.fill(0, at, at + length)
      const segment = { sector: at / sector, num_sectors: length / sector, flags: { unmap: random(2) } }
      await request(({ driver }) => driver.writeZeroes({ segments: [segment] }))
      counts.zeroed += length
    } else {
      await request(({ driver }) => driver.flush())
      counts.flushes++
    }
  }
}

/** The connection may end at any moment. */
async function whereGone(error) {
  if (!(error instanceof DriverError)) throw error
  await pause(1)
}

/** What disturbs them. */
const disturbances = [
  async function resetRing() {
    const { driver } = await device()
    resetting = driver.resetQueue(random(2)).catch((error) => error)
    const error = await resetting
    resetting = undefined
    if (error !== undefined) throw error
    counts.ringResets++
  },
  async function addMemory() {
    const { frontend } = await device()
    await frontend.addMemory(2 ** (16 + random(6))).catch(whereGone)
    await pause(random(30))
    while (memory.regions.length > 1) {
      const { frontend } = await device()
      await frontend.removeMemory(memory.regions.at(-1)).catch(whereGone)
    }
    counts.memoryAdded++
  },
  async function leave() {
    await reconnect((before) => before.close())
  },
  async function vanish() {
    await reconnect(async ({ driver, frontend }) => {
      frontend.release()
      await driver.close().catch(() => {})
    })
    counts.drops++
  },
  async function drop() {
    await reconnect(() => backEnd.ask('drop'))
    counts.drops++
  },
  /** In the first fifth of the time: what a back-end holds would not be seen to grow otherwise. */
  async function kill() {
    if (performance.now() - began > seconds * 200) return
    await reconnect(() => backEnd.kill())
    counts.kills++
  },
]
const chances = [8, 8, 2, 2, 2, 1]

async function disturb() {
  const bag = disturbances.flatMap((each, index) => new Array(chances[index]).fill(each))
  while (!over) {
    await pause(random(60))
    const disturbance = bag[random(bag.length)]
    try {
      await disturbance()
    } catch (error) {
      if (!(error instanceof DriverError)) throw new Error(`${disturbance.name}: ${error.message}`, { cause: error })
    }
  }
}

async function measure(since) {
  while (!over) {
    await pause(Math.min(5000, seconds * 100))
    if (over || connecting !== undefined) continue
    globalThis.gc?.()
    const { rss, heapUsed } = process.memoryUsage()
    const theirs = await backEnd.ask('figures').catch(() => undefined)
    if (theirs === undefined) continue
    problems.push(...theirs.problems)
    figures.push({
      seconds: (performance.now() - since) / 1000,
      kills: counts.kills,
      ours: { rss, heapUsed, descriptors: countDescriptors(), mappings: mappings.count },
      theirs,
    })
  }
}

/** What both sides hold while there is no connection. */
async function held() {
  await pause(100)
  const { descriptors, mappings: mapped, connections } = await backEnd.ask('figures')
  return {
    ours: { descriptors: countDescriptors(), mappings: mappings.count, regions: memory.regions.length, free: memory.allocator().available },
    theirs: { descriptors, mappings: mapped, connections },
  }
}

/** Throws where this does not end in time. */
async function inTime(what, promise, milliseconds = 60_000) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it hangs: ${what}`)), milliseconds)
  })
  await Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

async function main() {
  const fd = openSync(file, 'w')
  ftruncateSync(fd, diskBytes)
  closeSync(fd)
  await backEnd.start()
  await reconnect(async () => {})
  await connection.close()
  const idle = await held()
  await reconnect(async () => {})
  began = performance.now()
  const ofMemory = measure(began)
  const everything = Promise.all([...Array.from({ length: workers }, (_, index) => work(index)), disturb(), ofMemory])
  await Promise.race([everything, pause(seconds * 1000)])
  over = true
  await inTime('the last requests', everything)
  // What each side holds where nothing is going on: one connection, its memory and its rings.
  await reconnect((before) => before.close())
  const { driver } = connection
  const read = new Uint8Array(diskBytes)
  for (let at = 0; at < diskBytes; at += most) read.set((await driver.read({ sector: at / sector }, most)).data, at)
  await driver.flush()
  await connection.close()
  const rest = await held()
  memory.close()
  problems.push(...(await backEnd.ask('figures')).problems)
  await backEnd.ask('end')
  const exit = await backEnd.exited
  const sums = { expected: sha256(disk), read: sha256(read), file: sha256(readFileSync(file)) }
  return { seconds, counts, sums, idle, rest, growth: { ours: growth('ours'), theirs: growth('theirs') }, exit, figures: figures.length, problems }
}

/** How much more memory there is in the last quarter of the time than in the second, the least of each: garbage comes and goes. */
function growth(side) {
  const least = (from, to) =>
    Math.min(...figures.slice(Math.floor(from * figures.length), Math.ceil(to * figures.length)).map((each) => each[side].heapUsed))
  const leastRss = (from, to) =>
    Math.min(...figures.slice(Math.floor(from * figures.length), Math.ceil(to * figures.length)).map((each) => each[side].rss))
  return { heapUsed: least(0.75, 1) - least(0.25, 0.5), rss: leastRss(0.75, 1) - leastRss(0.25, 0.5) }
}

const mostGrowth = 16 * 2 ** 20
let result
try {
  result = await main()
  const { sums, idle, rest, growth, exit } = result
  if (sums.read !== sums.expected) problems.push('the disk as the driver reads it is not what was written')
  if (sums.file !== sums.expected) problems.push('the file is not what was written')
  if (!isDeepStrictEqual(rest, idle)) problems.push('descriptors, mappings or connections are left behind')
  if (exit !== 0) problems.push(`the back-end ends with ${exit}`)
  for (const side of ['ours', 'theirs'])
    if (growth[side].rss > mostGrowth && growth[side].heapUsed > mostGrowth / 4) problems.push(`${side}: memory grows`)
} catch (error) {
  problems.push(error.stack)
  result = { counts, problems, figures: figures.slice(-2) }
  backEnd.process?.kill('SIGKILL')
} finally {
  rmSync(folder, { recursive: true, force: true })
}
if (options.json) console.log(JSON.stringify(result))
else console.dir(result, { depth: 6 })
process.exit(problems.length > 0 ? 1 : 0)
