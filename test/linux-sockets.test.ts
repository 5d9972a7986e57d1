/** Connections that carry descriptors, on Linux itself. */
import * as fs from 'node:fs'
import { connect as connectByNode, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  closeFd,
  countDescriptors,
  createEventfd,
  createMemfd,
  describeFd,
  isEventfd,
  mapShared,
  Poller,
  type Received,
  type SystemError,
  signalEventfd,
  UnixListener,
  UnixSocket,
  whyNoSystem,
} from 'virtgen/linux'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runChild } from './support/linux-child.ts'

const reason = whyNoSystem()
const folder = fs.mkdtempSync(join(tmpdir(), 'virtgen-sockets-'))
const path = join(folder, 'socket')
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (of: Uint8Array): string => new TextDecoder().decode(of)

let poller: Poller
let before = 0
/** Closed after each test. */
let open: { close(): void }[] = []
const keep = <T extends { close(): void }>(one: T): T => {
  open.push(one)
  return one
}

const eventually = async (what: () => boolean): Promise<void> => {
  for (let count = 0; !what(); count++) {
    if (count > 1000) throw new Error('it does not happen')
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** All that comes, and how it ends. */
class Inbox {
  readonly received: (Received & { text: string })[] = []
  readonly ends: (Error | undefined)[] = []
  constructor(socket: UnixSocket, room = 100) {
    const into = new Uint8Array(room)
    socket.onReadable = () => {
      const received = socket.receive(into)
      if (received !== undefined) this.received.push({ ...received, text: text(into.subarray(0, received.length)) })
    }
    socket.onClose = (error) => this.ends.push(error)
  }
  get text(): string {
    return this.received.map((each) => each.text).join('')
  }
  get fds(): number[] {
    return this.received.flatMap(({ fds }) => fds)
  }
}

const pair = (): [UnixSocket, UnixSocket] => UnixSocket.pair(poller).map(keep) as [UnixSocket, UnixSocket]

describe.skipIf(reason !== undefined)('sockets', () => {
  beforeEach(() => {
    before = countDescriptors()
    poller = new Poller()
    open = []
  })
  afterEach(() => {
    for (const one of open) one.close()
    poller.close()
    expect(countDescriptors()).toBe(before)
    expect(fs.existsSync(path)).toBe(false)
  })

  describe('a connection', () => {
    it('carries bytes and descriptors both ways', async () => {
      const [one, two] = pair()
      const [left, right] = [new Inbox(one), new Inbox(two)]
      const event = createEventfd()
      const memory = createMemfd('virtgen-test', 4096)
      one.send(bytes('hello'), [event, memory])
      two.send(bytes('good evening'))
      closeFd(memory)
      await eventually(() => left.received.length + right.received.length === 2)
      expect([left.text, right.text, left.fds]).toEqual(['good evening', 'hello', []])
      const [theirEvent, theirMemory] = right.fds as [number, number]
      expect([isEventfd(theirEvent), describeFd(theirMemory)]).toEqual([true, '/memfd:virtgen-test (deleted)'])
      const mapping = mapShared(theirMemory, { size: 4096 })
      mapping.unmap()
      for (const fd of [event, ...right.fds]) closeFd(fd)
    })

    it('gives descriptors to other programs only where they are given', async () => {
      const [one, two] = pair()
      const inbox = new Inbox(two)
      one.send(bytes('x'), [0])
      await eventually(() => inbox.fds.length === 1)
      const { output } = await runChild(`console.log(linux.describeFd(${inbox.fds[0]}))`)
      expect(output).not.toContain('socket')
      // FD_CLOEXEC is bit 0o2000000 of the flags that /proc shows.
      expect(fs.readFileSync(`/proc/self/fdinfo/${inbox.fds[0]}`, 'utf8')).toMatch(/flags:\s0?2\d{6}/)
      inbox.fds.forEach(closeFd)
    })

    it('ends what it receives behind the bytes that descriptors came with', async () => {
      const [one, two] = pair()
      one.send(bytes('first.'))
      one.send(bytes('second.'), [0])
      one.send(bytes('third.'))
      one.send(bytes('fourth.'), [0, 0])
      const inbox = new Inbox(two)
      await eventually(() => inbox.text.endsWith('fourth.'))
      expect(inbox.received.map((each) => [each.text, each.fds.length])).toEqual([
        ['first.second.', 1],
        ['third.fourth.', 2],
      ])
      inbox.fds.forEach(closeFd)
    })

    it('gives descriptors with the first of their bytes, where room is short', async () => {
      const [one, two] = pair()
      one.send(bytes('0123456789'), [0, 0, 0])
      const inbox = new Inbox(two, 4)
      await eventually(() => inbox.text.length === 10)
      expect(inbox.received.map(({ fds }) => fds.length)).toEqual([3, 0, 0])
      inbox.fds.forEach(closeFd)
    })

    it('carries 253 descriptors at once and not more', async () => {
      const [one, two] = pair()
      const inbox = new Inbox(two)
      one.send(bytes('x'), new Array(253).fill(0))
      expect(() => one.send(bytes('x'), new Array(254).fill(0))).toThrow(RangeError)
      await eventually(() => inbox.fds.length === 253)
      inbox.fds.forEach(closeFd)
    })

    it('refuses a message without a byte, and room for none', () => {
      const [one] = pair()
      expect(() => one.send(new Uint8Array(0), [0])).toThrow(RangeError)
      expect(() => one.receive(new Uint8Array(0))).toThrow(RangeError)
      expect(one.receive(new Uint8Array(1))).toBeUndefined()
      expect(one.closed).toBe(false)
    })

    it('keeps in order what the other side does not take yet, with its descriptors', async () => {
      const [one, two] = pair()
      const event = createEventfd()
      const chunk = new Uint8Array(100_000)
      for (let count = 0; count < 8; count++) one.send(chunk.fill(count), count === 7 ? [event] : [])
      signalEventfd(event)
      closeFd(event)
      expect(one.queued).toBeGreaterThan(0)
      let length = 0
      let last = 0
      const fds: number[] = []
      const into = new Uint8Array(30_000)
      two.onReadable = () => {
        const received = two.receive(into)
        for (const byte of into.subarray(0, received?.length ?? 0)) {
          if (byte !== Math.floor(length++ / chunk.length)) two.close()
          last = byte
        }
        fds.push(...(received?.fds ?? []))
      }
      await eventually(() => length === 800_000)
      expect([last, one.queued, fds.map(isEventfd)]).toEqual([7, 0, [true]])
      fds.forEach(closeFd)
    })

    it('ends where the other side does not read at all', () => {
      const [one, two] = pair()
      new Inbox(two)
      two.onReadable = undefined
      const inbox = new Inbox(one)
      for (let count = 0; count < 40; count++) one.send(new Uint8Array(100_000), [0])
      expect(inbox.ends).toEqual([expect.objectContaining({ code: 'ENOBUFS', syscall: 'sendmsg' })])
      expect([one.closed, one.queued]).toEqual([true, 0])
    })

    it('ends where the other side takes messages, but not all of their descriptors', () => {
      const [one] = pair()
      const inbox = new Inbox(one)
      // Fills the queue of the system first; then only few bytes, but many descriptors, would wait.
      while (one.queued === 0) one.send(new Uint8Array(100_000))
      for (let count = 0; count < 3; count++) one.send(bytes('x'), new Array(200).fill(0))
      expect(inbox.ends).toHaveLength(1)
      expect(countDescriptors()).toBeLessThan(before + 10)
    })

    it('reads nothing while nobody wants to', async () => {
      const [one, two] = pair()
      one.send(bytes('a'))
      one.close()
      await new Promise((resolve) => setTimeout(resolve, 10))
      expect(poller.size).toBe(0)
      const inbox = new Inbox(two)
      await eventually(() => inbox.ends.length === 1)
      expect(inbox.text).toBe('a')
    })

    it('can pause', async () => {
      const [one, two] = pair()
      const inbox = new Inbox(two)
      const read = two.onReadable
      two.onReadable = undefined
      one.send(bytes('x'))
      await new Promise((resolve) => setTimeout(resolve, 10))
      expect(inbox.text).toBe('')
      two.onReadable = read
      await eventually(() => inbox.text === 'x')
    })

    it('ends where the other side does, once, behind all that had come', async () => {
      const [one, two] = pair()
      const inbox = new Inbox(two, 2)
      one.send(bytes('bye'))
      one.close()
      one.close()
      await eventually(() => two.closed)
      two.close()
      two.send(bytes('into nothing'))
      expect([inbox.text, inbox.ends]).toEqual(['bye', [undefined]])
    })

    it('ends where the other side has left without reading', async () => {
      const [one, two] = pair()
      const inbox = new Inbox(two)
      two.send(bytes('unread'))
      one.close()
      await eventually(() => two.closed)
      expect(inbox.ends).toEqual([expect.objectContaining({ code: 'ECONNRESET' })])
    })

    it('ends by what is sent to nobody, without a signal', () => {
      const [one, two] = pair()
      const inbox = new Inbox(two)
      one.close()
      two.send(bytes('x'))
      expect(inbox.ends).toEqual([expect.objectContaining({ code: 'EPIPE' })])
    })

    it('closes descriptors that nobody has received', async () => {
      const [one, two] = pair()
      for (let count = 0; count < 5; count++) one.send(bytes('x'), [0, 0])
      two.close()
      one.close()
      expect(countDescriptors()).toBe(before + 1)
    })

    it('ends where descriptors are lost, since this process may not have so many', async () => {
      const { output, code } = await runChild(
        `const [one, two] = linux.UnixSocket.pair(linux.Poller.shared)
        const start = linux.countDescriptors()
        two.onClose = (error) => { console.log(error?.code, error?.syscall, linux.countDescriptors() - start); one.close() }
        two.onReadable = () => { two.receive(new Uint8Array(10)) }
        one.send(new Uint8Array(1), new Array(100).fill(0))`,
        ['sh', '-c', 'ulimit -n 64; exec "$@"', 'sh'],
      )
      expect([output, code]).toEqual(['EMFILE recvmsg -1', 0])
    })
  })

  describe('a listener', () => {
    const listen = (onConnection: (socket: UnixSocket) => void = (socket) => keep(socket), options = {}): UnixListener =>
      keep(new UnixListener(poller, path, { onConnection, ...options }))
    const peers: Socket[] = []
    const peer = (): Socket => {
      const socket = connectByNode(path)
      peers.push(socket)
      return socket
    }
    afterEach(async () => {
      const last = peers.splice(0)
      await Promise.all(last.map((socket) => new Promise((resolve) => (socket.closed ? resolve(0) : socket.once('close', resolve).destroy()))))
    })

    it('takes connections of ours and of others', async () => {
      const inboxes: Inbox[] = []
      listen((socket) => inboxes.push(new Inbox(keep(socket))))
      keep(UnixSocket.connect(poller, path)).send(bytes('ours'))
      const other = peer()
      other.write('other')
      await eventually(() => inboxes.length === 2 && inboxes.every((inbox) => inbox.text !== ''))
      expect(inboxes.map((inbox) => inbox.text).sort()).toEqual(['other', 'ours'])
      other.destroy()
      await eventually(() => inboxes.some((inbox) => inbox.ends.length === 1))
    })

    it('removes its path, and only its own', () => {
      const first = listen()
      expect(fs.statSync(path).isSocket()).toBe(true)
      first.close()
      first.close()
      expect(fs.existsSync(path)).toBe(false)
      const second = listen()
      fs.unlinkSync(path)
      fs.writeFileSync(path, 'of somebody else')
      second.close()
      expect(fs.readFileSync(path, 'utf8')).toBe('of somebody else')
      fs.unlinkSync(path)
    })

    it('takes the place of a dead one, and of nothing else', async () => {
      const dead = listen()
      fs.linkSync(path, `${path}-left`)
      dead.close()
      fs.renameSync(`${path}-left`, path)
      const alive = listen()
      const failure = (): SystemError => {
        try {
          listen()
        } catch (error) {
          return error as SystemError
        }
        throw new Error('no error')
      }
      expect(failure()).toMatchObject({ code: 'EADDRINUSE', message: expect.stringContaining('another process listens') })
      alive.close()
      fs.writeFileSync(path, '')
      expect(failure()).toMatchObject({ code: 'EADDRINUSE', message: expect.stringContaining('no socket') })
      fs.unlinkSync(path)
    })

    it('lets those in who may', () => {
      listen(undefined, { mode: 0o600 })
      expect(fs.statSync(path).mode & 0o777).toBe(0o600)
    })

    it('is not there where nobody listens', () => {
      expect(() => UnixSocket.connect(poller, path)).toThrow(expect.objectContaining({ code: 'ENOENT', syscall: 'connect' }))
    })

    it.each(['', 'x'.repeat(108), 'a\0b'])('has no path that a socket cannot have: %j', (bad) => {
      expect(() => new UnixListener(poller, bad, { onConnection: () => {} })).toThrow(RangeError)
      expect(() => UnixSocket.connect(poller, bad)).toThrow(RangeError)
    })

    it('refuses who comes while no descriptor is left, and goes on', async () => {
      const { output, code } = await runChild(
        `import { connect } from 'node:net'
        const taken = []
        const listener = new linux.UnixListener(linux.Poller.shared, ${JSON.stringify(path)}, {
          onConnection: (socket) => { socket.onClose = () => taken.pop(); socket.onReadable = () => socket.receive(new Uint8Array(9)); taken.push(socket) },
          onError: (error) => { refused.add(error.code) },
        })
        const refused = new Set()
        const fds = []
        const peer = connect(${JSON.stringify(path)})
        peer.on('error', () => {})
        while (true) try { fds.push(linux.createEventfd()) } catch { break }
        await new Promise((resolve) => peer.once('close', resolve).resume())
        fds.forEach(linux.closeFd)
        const next = connect(${JSON.stringify(path)})
        await new Promise((resolve) => setTimeout(resolve, 50))
        console.log([...refused].join(), taken.length)
        next.destroy()
        listener.close()`,
        ['sh', '-c', 'ulimit -n 80; exec "$@"', 'sh'],
      )
      expect([output, code]).toEqual(['EMFILE 1', 0])
    })
  })
})
