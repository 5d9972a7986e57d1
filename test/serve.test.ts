/** `virtgen serve` as a process, with our own driver clients as its front-ends: what it serves, logs and counts, and how it ends. */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BlkDriver } from 'virtgen/driver/blk'
import { EntropyDriver } from 'virtgen/driver/entropy'
import { NetDriver } from 'virtgen/driver/net'
import { connectVhostUser, SharedMemory, whyNoSystem } from 'virtgen/linux'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Served, until } from './support/served.ts'

let folder: string
let socket: string
let running: Served[]
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtgen-serve-'))
  socket = join(folder, 's')
  running = []
})
afterEach(async () => {
  await Promise.all(running.map((served) => served.end('SIGKILL')))
  rmSync(folder, { recursive: true, force: true })
})

/** Starts it; resolves when it listens. */
async function serve(...words: string[]): Promise<Served> {
  const served = begin(...words)
  await served.said(/listening at|"event":"serving"/)
  return served
}

function begin(...words: string[]): Served {
  const served = new Served([...words, '--socket', socket])
  running.push(served)
  return served
}

function put(name: string, bytes: Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}

const get = async (url: string, options?: RequestInit) => {
  const response = await fetch(url, options)
  return { status: response.status, type: response.headers.get('content-type'), text: await response.text() }
}

describe.skipIf(whyNoSystem() !== undefined)('a disk', () => {
  const data = randomBytes(256 * 1024)

  it.each([
    ['read and written at once', []],
    ['asynchronously', ['--async']],
    ['in a thread of its own', ['--worker']],
    ['with rings that are looked at for a while', ['--spin', '50']],
    ['asynchronously in a thread of its own, with rings that are looked at', ['--async', '--worker', '--spin', '50']],
  ])('in a file, %s, keeps what is written; SIGTERM ends it with 0 and takes the socket away', async (_, words) => {
    const file = put('disk', new Uint8Array(1 << 20))
    const served = await serve('blk', '--file', file, '--serial', 'of-a-file', ...words)
    const { driver, close } = await connectVhostUser(socket, BlkDriver)
    expect(driver.config.capacity).toBe(2048)
    await Promise.all([0, 1, 2, 3].map((part) => driver.write({ sector: 128 * part }, data.subarray(part << 16, (part + 1) << 16))))
    await driver.flush({})
    expect(Buffer.compare((await driver.read({ sector: 0 }, data.length)).data, data)).toBe(0)
    expect(new TextDecoder().decode((await driver.getId()).id).replace(/\0+$/, '')).toBe('of-a-file')
    await close()
    await served.said(/disconnected/)
    expect(await served.end()).toBe(0)
    expect(existsSync(socket)).toBe(false)
    expect(Buffer.compare(readFileSync(file).subarray(0, data.length), data)).toBe(0)
    expect(served.out).toMatch(
      /listening at .*: disk of 1 MiB in .*\n.*: connected\n.*: disconnected\n.*SIGTERM: finishing what was begun\n.*stopped\n$/,
    )
    expect(served.errors).toBe('')
  })

  it('in a file gives the room of what is discarded back, and makes zeroes', async () => {
    const file = put('disk', randomBytes(1 << 20))
    await serve('blk', '--file', file)
    const { driver, close } = await connectVhostUser(socket, BlkDriver)
    const before = statSync(file).blocks
    await driver.discard({ segments: [{ sector: 0, num_sectors: 1024, flags: 0 }] })
    expect(statSync(file).blocks).toBeLessThanOrEqual(before - 1024)
    await driver.writeZeroes({ segments: [{ sector: 1024, num_sectors: 8, flags: 0 }] })
    expect(
      readFileSync(file)
        .subarray(512 * 1024, 516 * 1024)
        .every((byte) => byte === 0),
    ).toBe(true)
    await close()
  })

  it('of a file that is opened for reading alone cannot be written', async () => {
    const file = put('disk', data)
    const served = await serve('blk', '--file', file, '--readonly')
    const { driver, close } = await connectVhostUser(socket, BlkDriver)
    expect(driver.features.has(5)).toBe(true)
    await expect(driver.write({ sector: 0 }, new Uint8Array(512))).rejects.toThrow()
    await close()
    expect(served.out).toContain('read-only disk of 256 KiB')
  })

  it('over a file forgets what was written', async () => {
    const file = put('disk', data)
    const served = await serve('blk', '--overlay', file, '--size', '1M')
    const first = await connectVhostUser(socket, BlkDriver)
    await first.driver.write({ sector: 1000 }, new Uint8Array(512).fill(7))
    await first.close()
    const second = await connectVhostUser(socket, BlkDriver)
    expect((await second.driver.read({ sector: 1000 }, 512)).data[511]).toBe(7)
    await second.close()
    expect(await served.end()).toBe(0)
    expect(Buffer.compare(readFileSync(file), data)).toBe(0)
  })

  it('of memory, and one that keeps nothing', async () => {
    const served = await serve('blk', '--ram', '1M')
    const ram = await connectVhostUser(socket, BlkDriver)
    await ram.driver.write({ sector: 3 }, new Uint8Array(512).fill(9))
    expect((await ram.driver.read({ sector: 3 }, 512)).data[0]).toBe(9)
    await ram.close()
    await served.end()
    await serve('blk', '--null', '1T')
    const nothing = await connectVhostUser(socket, BlkDriver)
    expect(nothing.driver.config.capacity).toBe(2 ** 31)
    await nothing.driver.write({ sector: 3 }, new Uint8Array(512).fill(9))
    expect((await nothing.driver.read({ sector: 3 }, 512)).data[0]).toBe(0)
    await nothing.close()
  })

  it.each([[[]], [['--worker']]])('grows while it is used, when it is told so by SIGUSR2 (%j)', async (words) => {
    const file = put('disk', new Uint8Array(1 << 20))
    const served = await serve('blk', '--file', file, ...words)
    const { driver, close } = await connectVhostUser(socket, BlkDriver)
    truncateSync(file, 2 << 20)
    served.signal('SIGUSR2')
    await served.said(/the disk has 2 MiB now/)
    await until(() => driver.config.capacity === 4096)
    await driver.write({ sector: 4095 }, new Uint8Array(512).fill(1))
    await close()
  })

  it('that can be written is for one driver at a time; one that comes back at once is waited for', async () => {
    const served = await serve('blk', '--ram', '1M')
    for (let turn = 0; turn < 5; turn++) {
      const { driver, close } = await connectVhostUser(socket, BlkDriver)
      await driver.write({ sector: turn }, new Uint8Array(512).fill(turn))
      if (turn === 0) await expect(connectVhostUser(socket, BlkDriver)).rejects.toThrow()
      await close()
    }
    expect(served.out).toContain('a front-end was sent away')
    expect(await served.end()).toBe(0)
  })

  it('made by --size has a file of that size', async () => {
    const file = join(folder, 'new')
    await serve('blk', '--file', file, '--size', '3M')
    expect(statSync(file).size).toBe(3 << 20)
  })

  it('that looks like an image of another format is served with a warning', async () => {
    const file = put('disk.qcow2', Buffer.concat([Buffer.from('QFI\xfb', 'latin1'), new Uint8Array(2044)]))
    const served = await serve('blk', '--file', file)
    expect(served.out).toMatch(/warning: .*disk.qcow2 looks like an image of qcow2.*qemu-img convert -O raw/)
  })
})

describe.skipIf(whyNoSystem() !== undefined)('entropy and networks', () => {
  it('entropy differs from read to read, and is limited', async () => {
    const served = await serve('rng', '--rate', '1K', '--json')
    const { driver, close } = await connectVhostUser(socket, EntropyDriver)
    const [first, second] = [(await driver.read(64)).data, (await driver.read(64)).data]
    expect(Buffer.compare(first, second)).not.toBe(0)
    const begun = performance.now()
    for (let i = 0; i < 5; i++) await driver.read(256)
    expect(performance.now() - begun).toBeGreaterThan(300)
    await close()
    expect(await served.end()).toBe(0)
  })

  const frame = new Uint8Array(64).fill(7)
  frame.set([0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1, 0x88, 0xb5])

  it('an echo gives frames back, and counts them', async () => {
    const served = await serve('net', '--echo', '--mac', '52:54:00:12:34:56', '--mtu', '9000')
    const { driver, close } = await connectVhostUser(socket, NetDriver)
    expect([Buffer.from(driver.config.mac).toString('hex'), driver.config.mtu]).toEqual(['525400123456', 9000])
    const arrived: Uint8Array[] = []
    driver.onPacket(({ packet }) => arrived.push(packet.slice()))
    for (let i = 0; i < 10; i++) await driver.transmit({}, frame)
    await until(() => arrived.length === 10)
    expect(arrived[9]).toEqual(frame)
    served.signal('SIGUSR1')
    await served.said(/virtgen_net_frames_total\{.*direction="receive"\} 10/)
    await close()
    served.signal('SIGUSR1')
    await served.said(/virtgen_net_bytes_total\{.*direction="transmit"\} 640\n[\s\S]*virtgen_net_bytes_total\{.*direction="transmit"\} 640\n/)
  })

  it('a link joins the guests of several sockets', async () => {
    const other = join(folder, 'other')
    await serve('net', '--link', '--socket', other)
    await until(() => existsSync(socket) && existsSync(other))
    const [one, two] = [await connectVhostUser(socket, NetDriver), await connectVhostUser(other, NetDriver)]
    const arrived: Uint8Array[] = []
    two.driver.onPacket(({ packet }) => arrived.push(packet.slice()))
    await one.driver.transmit({}, frame)
    await until(() => arrived.length === 1)
    expect(arrived[0]).toEqual(frame)
    await Promise.all([one.close(), two.close()])
  })

  it('a sink takes everything', async () => {
    const served = await serve('net', '--sink', '--queues', '2')
    const { driver, close } = await connectVhostUser(socket, NetDriver)
    for (let i = 0; i < 100; i++) await driver.transmit({}, frame)
    served.signal('SIGUSR1')
    await served.said(/virtgen_net_frames_total\{.*direction="transmit"\} 100/)
    await close()
  })
})

describe.skipIf(whyNoSystem() !== undefined)('metrics', () => {
  it.each([[[]], [['--worker']]])('are served to this machine alone, for Prometheus (%j)', async (words) => {
    const served = await serve('blk', '--ram', '1M', '--metrics', '0', ...words)
    const [, url = ''] = await served.said(/metrics at (http:\/\/127\.0\.0\.1:\d+\/metrics)\n/)
    const { driver, close } = await connectVhostUser(socket, BlkDriver)
    for (let i = 0; i < 70; i++) await driver.read({ sector: i }, 512)
    const { status, type, text } = await get(url)
    expect({ status, type }).toEqual({ status: 200, type: 'text/plain; version=0.0.4; charset=utf-8' })
    const labels = `socket="${socket}"`
    expect(text).toContain(`virtgen_connections{${labels}} 1\n`)
    expect(text).toContain(`virtgen_blk_requests_total{${labels},type="read"} 70\n`)
    expect(text).toContain(`virtgen_blk_bytes_total{${labels},type="read"} 35840\n`)
    expect(text).toContain(`virtgen_blk_request_seconds_count{${labels},type="read"} 2\n`)
    expect(text).toMatch(/process_resident_memory_bytes \d+\n/)
    expect((await get(url.replace('metrics', ''))).status).toBe(404)
    expect((await get(url, { method: 'POST' })).status).toBe(405)
    await close()
    expect(await served.end()).toBe(0)
  })

  it.each([
    ['text', []],
    ['JSON', ['--json']],
  ])('are printed as %s on SIGUSR1, and no debugger is started', async (form, words) => {
    const served = await serve('blk', '--ram', '1M', ...words)
    const { driver, close } = await connectVhostUser(socket, BlkDriver)
    await driver.read({ sector: 0 }, 512)
    served.signal('SIGUSR1')
    if (form === 'text') await served.said(/virtgen_blk_request_seconds\{.*type="read"\} 1 measured, 50 % within \d/)
    else {
      await served.said(/"event":"metrics"/)
      const { metrics } = served.events.find(({ event }) => event === 'metrics') as unknown as { metrics: { name: string; samples: object[] }[] }
      const requests = metrics.find(({ name }) => name === 'virtgen_blk_requests_total')
      expect(requests?.samples[0]).toEqual({ labels: { socket, type: 'read' }, value: 1 })
    }
    await close()
    await served.end()
    expect(served.errors).toBe('')
  })

  it('need a port that is free', async () => {
    const taken = createHttpServer().listen(0, '127.0.0.1')
    await until(() => taken.listening)
    const { port } = taken.address() as { port: number }
    const served = begin('blk', '--ram', '1M', '--metrics', String(port))
    expect(await served.ended()).toBe(1)
    expect(served.errors).toBe(`virtgen: port ${port} of 127.0.0.1 is taken\n  hint: another --metrics PORT; 0 takes any that is free\n`)
    expect(existsSync(socket)).toBe(false)
    taken.close()
  })
})

describe.skipIf(whyNoSystem() !== undefined)('the log', () => {
  it('is lines of JSON with --json', async () => {
    const served = await serve('blk', '--ram', '1M', '--json')
    const { close } = await connectVhostUser(socket, BlkDriver)
    await close()
    await served.said(/"disconnected"/)
    await served.end('SIGINT')
    expect(served.events.map(({ event }) => event)).toEqual(['serving', 'connected', 'disconnected', 'stopping', 'stopped'])
    expect(served.events[0]).toMatchObject({ socket, device: 'blk', title: 'disk of 1 MiB in memory', connects: false })
    expect(served.events[3]).toMatchObject({ reason: 'SIGINT' })
    for (const { time } of served.events) expect(new Date(time as string).toISOString()).toBe(time)
  })

  it('names who breaks the protocol, and goes on', async () => {
    const served = await serve('rng')
    const stranger = connect(socket)
    stranger.on('error', () => {})
    stranger.write(new Uint8Array(64).fill(255))
    await served.said(/the front-end broke the protocol \(.+\): .+/)
    const { driver, close } = await connectVhostUser(socket, EntropyDriver)
    expect((await driver.read(16)).data).toHaveLength(16)
    await close()
    stranger.destroy()
  })
})

describe.skipIf(whyNoSystem() !== undefined)('what cannot be served', () => {
  it.each([
    ['a file that is not there', ['blk', '--file', '/nonexistent/disk'], /^virtgen: ENOENT: no such file or directory.*\n$/],
    ['the same, in a thread of its own', ['blk', '--worker', '--file', '/nonexistent/disk'], /^virtgen: ENOENT: no such file or directory.*\n$/],
    [
      'a file that is no disk',
      ['blk', '--file', '/dev/null'],
      /^virtgen: \/dev\/null is no regular file.*\n {2}hint: a disk is a file, or a block device\n$/,
    ],
    ['more memory than there can be', ['blk', '--ram', '8000T'], /^virtgen: there is no memory for a disk of 7.81 PiB\n {2}hint: Node .*\n$/],
    [
      'a network that is not there',
      ['net', '--passt', '/nonexistent/passt'],
      /^virtgen: there is no socket \/nonexistent\/passt\n {2}hint: passt --foreground --socket.*\n$/,
    ],
  ])('%s is said, and exits with 1', async (_, words, message) => {
    const served = begin(...words)
    expect(await served.ended()).toBe(1)
    expect(served.errors).toMatch(message)
    expect(existsSync(socket)).toBe(false)
  })

  it('a socket that something listens at is left alone; one that was left behind is replaced', async () => {
    const first = await serve('rng')
    const second = begin('rng')
    expect(await second.ended()).toBe(1)
    expect(second.errors).toMatch(/^virtgen: .*EADDRINUSE/)
    const { driver, close } = await connectVhostUser(socket, EntropyDriver)
    expect((await driver.read(16)).data).toHaveLength(16)
    await close()
    await first.end('SIGKILL')
    expect(existsSync(socket)).toBe(true)
    await serve('rng')
    await (await connectVhostUser(socket, EntropyDriver)).close()
  })
})

describe.skipIf(whyNoSystem() !== undefined)('the end', () => {
  it('waits for what was begun: a write that was sent before the signal is in the file', async () => {
    const file = put('disk', new Uint8Array(64 << 20))
    const served = await serve('blk', '--file', file, '--async')
    const { driver, close } = await connectVhostUser(socket, BlkDriver, { memory: new SharedMemory(32 << 20) })
    const written = driver.write({ sector: 0 }, new Uint8Array(16 << 20).fill(5))
    const outcome = written.then(
      () => 'done',
      () => 'gone',
    )
    await new Promise((resolve) => setImmediate(resolve))
    expect(await served.end()).toBe(0)
    if ((await outcome) === 'done') expect(readFileSync(file)[(16 << 20) - 1]).toBe(5)
    await close().catch(() => {})
  })

  it('is not held up by requests that wait for their turn', async () => {
    const served = await serve('rng', '--rate', '1')
    const { driver, close } = await connectVhostUser(socket, EntropyDriver)
    await driver.read(4096)
    void driver.read(4096).catch(() => {})
    await until(() => true)
    expect(await served.end()).toBe(0)
    await close().catch(() => {})
  })

  it('comes at once, with 1, when the signal comes again after a moment', async () => {
    const served = await serve('rng', '--rate', '1')
    const { driver, close } = await connectVhostUser(socket, EntropyDriver)
    await driver.read(4096)
    void driver.read(4096).catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, 100))
    served.signal('SIGTERM')
    // The same signal by another way is none.
    served.signal('SIGTERM')
    await new Promise((resolve) => setTimeout(resolve, 800))
    expect(served.child.exitCode).toBeNull()
    expect(await served.end()).toBe(1)
    await close().catch(() => {})
  })
})

describe.skipIf(whyNoSystem() !== undefined)('--connect', () => {
  it('waits for a front-end that listens, and comes back when the connection is lost', async () => {
    const served = begin('rng', '--connect')
    await served.said(/waiting/)
    let connections = 0
    const listener = createServer((client) => {
      connections++
      setTimeout(() => client.destroy(), 100)
    }).listen(socket)
    await until(() => connections >= 2)
    listener.close()
    expect(await served.end()).toBe(0)
    expect(served.out.match(/waiting/g)?.length).toBeGreaterThanOrEqual(1)
    expect(served.out).toMatch(/connecting to .*: entropy\n/)
  })
})
