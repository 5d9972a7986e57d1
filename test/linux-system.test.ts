/** Memory, eventfds and waiting, on Linux itself. */
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import { cp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  closeFd,
  countDescriptors,
  createEventfd,
  createMemfd,
  describeFd,
  drainEventfd,
  duplicateFd,
  isEventfd,
  type Mapping,
  mappings,
  mapShared,
  openDescriptors,
  Poller,
  punchHole,
  SystemError,
  sealsOf,
  signalEventfd,
  socketPair,
  whyNoSystem,
  windowSize,
  zeroRange,
} from 'virtgen/linux'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { builtSystem, runChild, startChild } from './support/linux-child.ts'

const reason = whyNoSystem()
if (reason !== undefined) console.log(`the system layer is not tested: ${reason}`)

const page = 4096
const code = (error: unknown): string | undefined => (error as SystemError).code
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5))

/** Closed after each test; none may be left. */
let fds: number[] = []
let maps: Mapping[] = []
let before = 0
const keep = (fd: number): number => {
  fds.push(fd)
  return fd
}
const map = (...args: Parameters<typeof mapShared>): Mapping => {
  const mapping = mapShared(...args)
  maps.push(mapping)
  return mapping
}
const memory = (size: number, seal = true): number => keep(createMemfd('virtgen-test', size, { seal }))

describe.skipIf(reason !== undefined)('the system layer', () => {
  beforeEach(() => {
    fds = []
    maps = []
    before = countDescriptors()
  })
  afterEach(() => {
    for (const mapping of maps) mapping.unmap()
    fds.forEach(closeFd)
    expect([mappings.count, mappings.bytes]).toEqual([0, 0])
  })

  describe('mapped memory', () => {
    it('is the same memory for all who map it', () => {
      const fd = memory(4 * page)
      const all = map(fd, { size: 4 * page })
      const part = map(fd, { size: page, offset: 2 * page })
      all.windows[0]![2 * page + 5] = 42
      expect(part.windows[0]![5]).toBe(42)
      expect([mappings.count, mappings.bytes]).toEqual([2, 5 * page])
    })

    it('begins anywhere in the file', () => {
      const fd = memory(40 * page)
      map(fd, { size: 40 * page }).windows[0]![0x1_2345] = 7
      const odd = map(fd, { size: 3, offset: 0x1_2345 })
      expect(odd.windows[0]).toEqual(Uint8Array.of(7, 0, 0))
      expect(odd.address % BigInt(page)).toBe(0x345n)
    })

    it('outlives its descriptor', () => {
      const fd = createMemfd('virtgen-test', page)
      const mapping = map(fd, { size: page })
      closeFd(fd)
      mapping.windows[0]![0] = 1
      expect(mapping.windows[0]![0]).toBe(1)
    })

    it('leaves empty views behind, however often it is unmapped', () => {
      const mapping = map(memory(page), { size: page })
      const [bytes] = mapping.windows as [Uint8Array]
      const words = new Uint16Array(bytes.buffer)
      mapping.unmap()
      mapping.unmap()
      expect([bytes.length, words.length, mapping.windows.length, mapping.mapped]).toEqual([0, 0, 0, false])
      expect(words[0]).toBeUndefined()
    })

    it('of more than 4 GiB comes in windows that this Node can hold', () => {
      const size = 5 * 2 ** 30
      const mapping = map(memory(size), { size })
      expect(mapping.windows.reduce((sum, { length }) => sum + length, 0)).toBe(size)
      expect(mapping.windows.length).toBe(Math.ceil(size / windowSize))
      const last = mapping.windows.at(-1)!
      last[last.length - 1] = 9
      expect(map(fds[0]!, { size: 1, offset: size - 1 }).windows[0]![0]).toBe(9)
    })

    it('is refused where the file ends before', () => {
      const fd = memory(2 * page)
      for (const [size, offset] of [
        [2 * page + 1, 0],
        [page, page + 1],
        [1, 2 * page],
        [Number.MAX_SAFE_INTEGER, 0],
        [page, Number.MAX_SAFE_INTEGER],
      ] as const)
        expect(() => map(fd, { size, offset })).toThrow(RangeError)
    })

    it.each([0, -1, 1.5, Number.NaN, 2 ** 60])('has a whole number of bytes, not %s', (size) => {
      const fd = memory(page)
      expect(() => map(fd, { size })).toThrow(RangeError)
      expect(() => map(fd, { size: 1, offset: size === 0 ? -2 : size })).toThrow(RangeError)
    })

    it('is refused where its file could be made shorter, unless that is wanted', () => {
      const fd = memory(page, false)
      expect(sealsOf(fd)).toEqual({ seal: false, shrink: false, grow: false, write: false })
      expect(() => map(fd, { size: page })).toThrow(/F_SEAL_SHRINK/)
      expect(map(fd, { size: page, unsealed: true }).size).toBe(page)
    })

    it('of a sealed memfd keeps its size', () => {
      const fd = memory(page)
      expect(sealsOf(fd)).toEqual({ seal: true, shrink: true, grow: true, write: false })
      expect(() => fs.ftruncateSync(fd, 0)).toThrow(/EPERM/)
    })

    it('is refused for what is no file', () => {
      expect(() => map(keep(createEventfd()), { size: page, unsealed: true })).toThrow(RangeError)
      expect(() => map(keep(fs.openSync('/dev/zero', 'r+')), { size: page, unsealed: true })).toThrow(RangeError)
    })

    it('that may only be read refuses a file that may only be written, as the system does', () => {
      const path = join(tmpdir(), `virtgen-map-${process.pid}`)
      fs.writeFileSync(path, new Uint8Array(page).fill(3))
      const fd = keep(fs.openSync(path, 'r'))
      fs.unlinkSync(path)
      let failure: unknown
      try {
        map(fd, { size: page, unsealed: true })
      } catch (error) {
        failure = error
      }
      expect(failure).toBeInstanceOf(SystemError)
      expect(failure).toMatchObject({ name: 'SystemError', code: 'EACCES', errno: 13, syscall: 'mmap' })
      expect(map(fd, { size: page, unsealed: true, readOnly: true }).windows[0]![page - 1]).toBe(3)
    })

    it('reads zeroes afterwards where an engine cannot detach its views', async () => {
      const { output, code } = await runChild(`
        ArrayBuffer.prototype.transfer = () => { throw new Error('no') }
        const fd = linux.createMemfd('x', 4096)
        const mapping = linux.mapShared(fd, { size: 4096 })
        const [bytes] = mapping.windows
        bytes[7] = 1
        mapping.unmap()
        console.log(bytes.length, bytes[7], linux.mappings.count)`)
      expect([output, code]).toEqual(['4096 0 0', 0])
    })

    it('can be mapped and unmapped for ever', () => {
      const fd = memory(page)
      const lines = (): number => fs.readFileSync('/proc/self/maps', 'utf8').split('virtgen-test').length
      for (let count = 0; count < 2000; count++) mapShared(fd, { size: page }).unmap()
      expect(lines()).toBe(1)
    })
  })

  describe('a descriptor', () => {
    it('is counted and named', () => {
      expect(countDescriptors()).toBe(before)
      const fd = keep(createEventfd())
      expect(countDescriptors()).toBe(before + 1)
      expect(openDescriptors().get(fd)).toBe('anon_inode:[eventfd]')
      expect(describeFd(memory(1))).toContain('/memfd:virtgen-test')
      expect(describeFd(100_000)).toBeUndefined()
    })

    it('has copies, which are closed one by one', () => {
      const fd = createEventfd()
      const copy = keep(duplicateFd(fd))
      closeFd(fd)
      closeFd(fd)
      expect(describeFd(fd)).toBeUndefined()
      signalEventfd(copy)
      expect(drainEventfd(copy)).toBe(true)
    })

    it('that is not open is an error with a name', () => {
      expect(() => duplicateFd(100_000)).toThrow(/fcntl: EBADF: /)
    })
  })

  describe('an eventfd', () => {
    it('counts as one signal, however often it is signalled', () => {
      const fd = keep(createEventfd())
      expect(drainEventfd(fd)).toBe(false)
      signalEventfd(fd)
      signalEventfd(fd)
      expect([drainEventfd(fd), drainEventfd(fd)]).toEqual([true, false])
    })

    it('that is full stays full, and nobody waits', () => {
      const fd = keep(createEventfd())
      fs.writeSync(fd, new Uint8Array(new BigUint64Array([0xffff_ffff_ffff_fffen]).buffer))
      signalEventfd(fd)
      expect(drainEventfd(fd)).toBe(true)
    })

    it('of another process, in blocking mode, is not waited for', async () => {
      // Python makes a blocking one, which is full, and one which is empty; a blocking pipe without room is the third.
      const program = `
import os, sys, fcntl
full = os.eventfd(0, 0); os.eventfd_write(full, 2**64 - 2)
empty = os.eventfd(0, 0)
r, w = os.pipe()
fcntl.fcntl(w, fcntl.F_SETFL, os.O_NONBLOCK)
try:
  while True: os.write(w, bytes(4096))
except BlockingIOError: pass
fcntl.fcntl(w, fcntl.F_SETFL, 0)
for fd in (full, empty, r, w): os.set_inheritable(fd, True)
os.execvp(sys.argv[1], sys.argv[1:-1] + [sys.argv[-1].replace('FDS', f'{full}, {empty}, {w}')])`
      const { output, errors } = await runChild(
        `const [full, empty, pipe] = [FDS]
        for (const fd of [full, pipe]) linux.signalEventfd(fd)
        console.log(linux.drainEventfd(empty), linux.drainEventfd(full), linux.isEventfd(full), linux.isEventfd(pipe))`,
        ['python3', '-c', program],
      )
      expect([output, errors]).toEqual(['false true true false', ''])
    })

    it('is told from everything else', () => {
      const pair = socketPair().map(keep)
      expect([createEventfd(), memory(1), pair[0]!].map((fd) => isEventfd(keep(fd)))).toEqual([true, false, false])
    })
  })

  describe('a poller', () => {
    let poller: Poller
    beforeEach(() => {
      poller = new Poller()
    })
    afterEach(() => poller.close())

    it('calls back for what is signalled, and once only where it watches for edges', async () => {
      const [edge, level] = [keep(createEventfd()), keep(createEventfd())]
      const calls = { edge: 0, level: 0 }
      poller.watch(edge, { edge: true }, () => calls.edge++)
      const watch = poller.watch(level, {}, () => {
        if (++calls.level === 3) watch.close()
      })
      signalEventfd(edge)
      signalEventfd(level)
      await turn()
      await turn()
      expect(calls).toEqual({ edge: 1, level: 3 })
      signalEventfd(edge)
      await turn()
      expect(calls.edge).toBe(2)
    })

    it('calls back at once where something had happened before', async () => {
      const fd = keep(createEventfd())
      signalEventfd(fd)
      let called = false
      poller.watch(fd, { edge: true }, () => {
        called = true
      })
      await turn()
      expect(called).toBe(true)
    })

    it('has promises of callbacks go on', async () => {
      const fd = keep(createEventfd())
      const { promise, resolve } = deferred()
      poller.watch(fd, { edge: true }, () => void Promise.resolve().then(() => Promise.resolve().then(resolve)))
      // Nothing else happens in this process that would have them go on.
      signalEventfd(fd)
      await promise
    })

    it('says what has happened', async () => {
      const [one, two] = socketPair().map(keep) as [number, number]
      const seen: [boolean, boolean][] = []
      const watch = poller.watch(one, { edge: true, writable: true }, (...events) => seen.push(events))
      await turn()
      fs.writeSync(two, 'x')
      await turn()
      watch.update({ edge: true, readable: true, writable: false })
      await turn()
      closeFd(two)
      await turn()
      expect(seen).toEqual([
        [false, true],
        [true, true],
        [true, false],
        [true, true],
      ])
      fds = [one]
    })

    it('does not call back for a watch that another callback has closed, nor for the next owner of its number', async () => {
      const [one, two] = [createEventfd(), createEventfd()]
      let calls = 0
      let strangers = 0
      const watches = [one, two].map((fd, index) =>
        poller.watch(fd, { edge: true }, () => {
          calls++
          watches[1 - index]!.close()
          closeFd([one, two][1 - index]!)
          const next = keep(createEventfd())
          expect(next).toBe([one, two][1 - index])
          poller.watch(next, { edge: true }, () => strangers++)
          keep([one, two][index]!)
        }),
      )
      signalEventfd(one)
      signalEventfd(two)
      await turn()
      expect([calls, strangers]).toEqual([1, 0])
    })

    it('goes on where a callback polls', async () => {
      const all = Array.from({ length: 100 }, () => keep(createEventfd()))
      const seen: number[] = []
      for (const fd of all)
        poller.watch(fd, { edge: true }, () => {
          seen.push(fd)
          while (poller.poll() > 0);
        })
      for (const fd of all) signalEventfd(fd)
      await turn()
      expect(seen.toSorted((a, b) => a - b)).toEqual(all.toSorted((a, b) => a - b))
      expect(poller.poll()).toBe(0)
    })

    it('answers what cannot be watched with an error', () => {
      const fd = keep(createEventfd())
      poller.watch(fd, {}, () => {})
      expect(() => poller.watch(fd, {}, () => {})).toThrow(expect.objectContaining({ code: 'EEXIST' }))
      expect(() => poller.watch(keep(fs.openSync(fileURLToPath(import.meta.url))), {}, () => {})).toThrow(expect.objectContaining({ code: 'EPERM' }))
      expect(() => poller.watch(100_000, {}, () => {})).toThrow(expect.objectContaining({ code: 'EBADF' }))
      expect(poller.size).toBe(1)
      poller.close()
      expect(() => poller.watch(fd, {}, () => {})).toThrow(TypeError)
    })

    it('gives its descriptors back', async () => {
      const fd = keep(createEventfd())
      const watch = poller.watch(fd, {}, () => {})
      await turn()
      watch.close()
      watch.close()
      poller.close()
      poller.close()
      await turn()
      expect(countDescriptors()).toBe(before + 1)
      poller = new Poller()
    })

    it('survives what is collected: 3000 events later it is still awake', async () => {
      const fd = keep(createEventfd())
      let left = 3000
      const { promise, resolve } = deferred()
      poller.watch(fd, { edge: true }, () => {
        new Uint8Array(100_000).fill(left)
        if (--left > 0) setImmediate(() => signalEventfd(fd))
        else resolve()
      })
      signalEventfd(fd)
      await promise
      expect(left).toBe(0)
    })
  })

  describe('a process', () => {
    const watching = `const fd = linux.createEventfd(); const poller = linux.Poller.shared; const watch = poller.watch(fd, {}, () => {});`

    it('stays alive while something is watched, and ends when nothing is', async () => {
      const { output, code } = await runChild(`${watching} setTimeout(() => { console.log('still here'); watch.close() }, 100).unref()`)
      expect([output, code]).toEqual(['still here', 0])
    })

    it('ends where what is watched is not to keep it', async () => {
      expect(await runChild(`${watching} poller.unref()`)).toMatchObject({ code: 0 })
      expect(await runChild(`const idle = new linux.Poller()`)).toMatchObject({ code: 0 })
    })

    it('ends by process.exit at any time, also within a callback', async () => {
      expect(await runChild(`${watching} process.exit(3)`)).toMatchObject({ code: 3 })
      expect(await runChild(`${watching} setTimeout(() => process.exit(4), 20)`)).toMatchObject({ code: 4 })
      expect(await runChild(`${watching} watch.close(); poller.watch(fd, {}, () => process.exit(5)); linux.signalEventfd(fd)`)).toMatchObject({
        code: 5,
      })
    })

    it.each([
      ['are at rest, by terminate', '', 'await worker.terminate()'],
      ['are at work, by process.exit there', 'storm(); setTimeout(() => process.exit(1), 20)', 'await ended'],
      ['are at work and fail', "process.stderr.write = () => true; storm(); setTimeout(() => { throw new Error('no') }, 20)", 'await ended'],
      ['are at work and close their poller', 'storm(); setTimeout(() => { poller.close(); process.exitCode = 1 }, 20)', 'await ended'],
    ])('ends threads that %s', async (_, program, end) => {
      const thread = `
        const { parentPort } = require('node:worker_threads')
        import(${JSON.stringify(builtSystem)}).then((linux) => {
          const poller = linux.Poller.shared
          const fds = [linux.createEventfd(), linux.createEventfd()]
          fds.forEach((fd, index) => poller.watch(fd, { edge: true }, () => linux.signalEventfd(fds[1 - index])))
          const storm = () => linux.signalEventfd(fds[0])
          parentPort.postMessage('ready')
          ${program}
        })`
      const { output, errors, code } = await runChild(`
        import { Worker } from 'node:worker_threads'
        for (let count = 0; count < 5; count++) {
          const worker = new Worker(${JSON.stringify(thread)}, { eval: true, execArgv: [] })
          worker.on('error', () => {})
          const ended = new Promise((resolve) => worker.once('exit', resolve))
          await new Promise((resolve) => worker.once('message', resolve))
          console.log(${end})
        }`)
      expect([output, errors, code]).toEqual(['1\n1\n1\n1\n1', '', 0])
    })

    it('ends at once where that is asked for, whatever its threads do', async () => {
      const { code } = await runChild(`
        import { Worker } from 'node:worker_threads'
        const worker = new Worker("setInterval(() => { for (const end = Date.now() + 50; Date.now() < end; ); }, 0); require('node:worker_threads').parentPort.postMessage(1)", { eval: true, execArgv: [] })
        worker.once('message', () => linux.exitNow(7))
        process.on('exit', () => { process.exitCode = 8 })`)
      expect(code).toBe(7)
    })

    it('hears of an error in a callback, and the other callbacks are called', async () => {
      const { output, code } = await runChild(`
        const fds = [linux.createEventfd(), linux.createEventfd(), linux.createEventfd()]
        let left = fds.length
        process.on('uncaughtException', ({ message }) => { console.log(message); if (--left === 0) process.exit(0) })
        for (const fd of fds) linux.Poller.shared.watch(fd, { edge: true }, () => { throw new Error('error ' + fds.indexOf(fd)) })
        fds.forEach(linux.signalEventfd)`)
      expect(output.split('\n').sort()).toEqual(['error 0', 'error 1', 'error 2'])
      expect(code).toBe(0)
    })

    it('can be told of the end of who started it', async () => {
      const inner = `linux.signalOnParentDeath('SIGTERM'); process.on('SIGTERM', () => { console.log('told'); process.exit(0) }); setInterval(() => {}, 1000); console.log('ready')`
      const child = startChild(inner, ['sh', '-c', '"$@" & wait', 'sh'])
      let output = ''
      child.stdout.on('data', (data) => {
        output += data
        if (output === 'ready\n') child.kill('SIGKILL')
      })
      await new Promise((resolve) => child.stdout.on('close', resolve))
      expect(output).toBe('ready\ntold\n')
    })

    it('without koffi says what to install', async () => {
      const folder = fs.mkdtempSync(join(tmpdir(), 'virtgen-no-koffi-'))
      await cp(fileURLToPath(new URL('../dist/hosts/linux/system', import.meta.url)), join(folder, 'system'), { recursive: true })
      fs.writeFileSync(join(folder, 'package.json'), '{"type": "module"}')
      const program = `const linux = await import('${folder}/system/index.js'); console.log(linux.whyNoSystem()); linux.createEventfd()`
      let message = ''
      try {
        execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8', stdio: 'pipe' })
      } catch (error) {
        const { stdout, stderr } = error as { stdout: string; stderr: string }
        message = stdout + stderr
      }
      await rm(folder, { recursive: true })
      expect(message.match(/npm install koffi/g)?.length).toBeGreaterThanOrEqual(2)
    })
  })

  describe('room in a file', () => {
    const path = join(tmpdir(), `virtgen-space-${process.pid}`)
    let fd = -1
    beforeEach(() => {
      fs.writeFileSync(path, new Uint8Array(64 * page).fill(1))
      fd = keep(fs.openSync(path, 'r+'))
      fs.fsyncSync(fd)
    })
    afterEach(() => fs.rmSync(path))
    const zeroes = (): number => fs.readFileSync(path).reduce((count, byte) => count + (byte === 0 ? 1 : 0), 0)

    it('is given back, and reads as zeroes', () => {
      const blocks = fs.fstatSync(fd).blocks
      punchHole(fd, 16 * page, 16 * page)
      expect(zeroes()).toBe(16 * page)
      expect(fs.fstatSync(fd).size).toBe(64 * page)
      expect(fs.fstatSync(fd).blocks).toBeLessThan(blocks)
    })

    it('becomes zeroes without writing them, where the file system can', () => {
      try {
        zeroRange(fd, page, 3)
      } catch (error) {
        expect(code(error)).toBe('EOPNOTSUPP')
        return
      }
      expect(zeroes()).toBe(3)
    })

    it('is not given back where there is none', () => {
      expect(() => punchHole(fd, 0, 0)).toThrow(expect.objectContaining({ code: 'EINVAL', syscall: 'fallocate' }))
    })
  })
})

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {}
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { promise, resolve }
}
