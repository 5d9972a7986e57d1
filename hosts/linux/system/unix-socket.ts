/** A connection through a Unix socket, which carries descriptors too. */
import { closeFd, duplicateFd } from './descriptor.ts'
import { checked, Pinned } from './libc.ts'
import { linux } from './numbers.ts'
import type { Poller, Watch } from './poller.ts'
import { type Received, receiveMessage, sendMessage } from './socket-message.ts'
import { SystemError } from './system-error.ts'
import { unixAddress } from './unix-address.ts'

const streamSocket = linux.SOCK_STREAM | linux.SOCK_NONBLOCK | linux.SOCK_CLOEXEC
/** The most that waits for a peer which does not read. */
const mostQueued = 0x10_0000
const mostQueuedFds = linux.SCM_MAX_FD

interface Waiting {
  bytes: Uint8Array
  /** Copies of the sender's, which may close its own. */
  fds: readonly number[]
}

/**
 * One end of a connection. It never waits. Whatever the other side does is no exception: the connection closes itself and {@link UnixSocket.onClose} says why.
 *
 * Nothing is read before {@link UnixSocket.onReadable} is set.
 */
export class UnixSocket {
  /** Called once, when it is closed: without an error where the other side has ended or {@link UnixSocket.close} was called. */
  onClose: ((error?: Error) => void) | undefined
  readonly #poller: Poller
  readonly #fd: number
  #watch: Watch | undefined
  #onReadable: (() => void) | undefined
  readonly #queue: Waiting[] = []
  #queued = 0
  #queuedFds = 0
  #closed = false

  /** @param fd - a connected stream socket, which belongs to this object from now on */
  constructor(poller: Poller, fd: number) {
    this.#poller = poller
    this.#fd = fd
  }

  /**
   * Connects to who listens at a path.
   *
   * @throws SystemError - ENOENT, ECONNREFUSED where nobody does, EAGAIN where too many others wait there
   */
  static connect(poller: Poller, path: string): UnixSocket {
    const address = unixAddress(path)
    const fd = newSocket()
    try {
      checked('connect', fd, address.address, address.bytes.length)
    } catch (error) {
      closeFd(fd)
      throw error
    }
    return new UnixSocket(poller, fd)
  }

  /** Two ends of one connection. @throws SystemError */
  static pair(poller: Poller, other: Poller = poller): [UnixSocket, UnixSocket] {
    const [one, two] = socketPair()
    return [new UnixSocket(poller, one), new UnixSocket(other, two)]
  }

  get fd(): number {
    return this.#fd
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Bytes that wait for the other side to read. */
  get queued(): number {
    return this.#queued
  }

  /** Called whenever there is something to receive, again and again until it is received. While it is undefined, nothing is read: so reading pauses. */
  get onReadable(): (() => void) | undefined {
    return this.#onReadable
  }

  set onReadable(callback: (() => void) | undefined) {
    this.#onReadable = callback
    this.#update()
  }

  /**
   * What is there, as far as there is room. Descriptors belong to the message whose bytes are the last of those received with them, and to the caller, who closes them.
   *
   * @param into - one byte or more
   * @returns undefined where nothing is there, or nothing will come any more: then this is closed
   */
  receive(into: Uint8Array): Received | undefined {
    if (into.length === 0) throw new RangeError('there must be room for a byte')
    if (this.#closed) return undefined
    try {
      const received = receiveMessage(this.#fd, into)
      if (received?.length !== 0) return received
      received.fds.forEach(closeFd)
      this.#end()
    } catch (error) {
      this.#end(error as Error)
    }
    return undefined
  }

  /**
   * Sends bytes, with descriptors beside the first of them, which the caller may close afterwards. What the other side does not take now, waits: a copy of it, in order, and
   * 1 MiB at most, behind which the connection is closed. Nothing happens where it is closed already.
   *
   * @param fds - 253 at most
   * @throws RangeError where there is no byte, or there are too many descriptors
   */
  send(bytes: Uint8Array, fds: readonly number[] = []): void {
    if (bytes.length === 0) throw new RangeError('a message has a byte or more')
    if (fds.length > linux.SCM_MAX_FD) throw new RangeError(`a message carries ${linux.SCM_MAX_FD} descriptors at most, not ${fds.length}`)
    if (this.#closed) return
    try {
      const sent = this.#queue.length === 0 ? sendMessage(this.#fd, bytes, fds) : 0
      if (sent < bytes.length) this.#wait(bytes.slice(sent), sent === 0 ? fds : [])
    } catch (error) {
      this.#end(error as Error)
    }
  }

  /** Closes it, once. What waits to be sent is lost. */
  close(): void {
    this.#end()
  }

  #wait(bytes: Uint8Array, fds: readonly number[]): void {
    if (this.#queued + bytes.length > mostQueued || this.#queuedFds + fds.length > mostQueuedFds)
      throw new SystemError('sendmsg', linux.ENOBUFS, 'the other side does not read what it is sent')
    this.#queue.push({ bytes, fds: fds.map(duplicateFd) })
    this.#queued += bytes.length
    this.#queuedFds += fds.length
    this.#update()
  }

  #flush(): void {
    for (let first = this.#queue[0]; first !== undefined; first = this.#queue[0]) {
      const sent = sendMessage(this.#fd, first.bytes, first.fds)
      if (sent === 0) return
      this.#queued -= sent
      this.#release(first)
      if (sent < first.bytes.length) first.bytes = first.bytes.subarray(sent)
      else this.#queue.shift()
    }
    this.#update()
  }

  #release(waiting: Waiting): void {
    waiting.fds.forEach(closeFd)
    this.#queuedFds -= waiting.fds.length
    waiting.fds = []
  }

  /** Watches for what is of use now. A descriptor of which nothing is wanted is not watched: epoll would report its end for ever. */
  #update(): void {
    const readable = this.#onReadable !== undefined
    const writable = this.#queue.length > 0
    if (this.#closed || !(readable || writable)) {
      this.#watch?.close()
      this.#watch = undefined
    } else if (this.#watch === undefined)
      this.#watch = this.#poller.watch(this.#fd, { readable, writable }, (read, write) => this.#ready(read, write))
    else this.#watch.update({ readable, writable })
  }

  #ready(readable: boolean, writable: boolean): void {
    if (writable && this.#queue.length > 0) {
      try {
        this.#flush()
      } catch (error) {
        this.#end(error as Error)
      }
    }
    if (readable) this.#onReadable?.()
  }

  #end(error?: Error): void {
    if (this.#closed) return
    this.#closed = true
    this.#update()
    for (const waiting of this.#queue) this.#release(waiting)
    this.#queue.length = 0
    this.#queued = 0
    closeFd(this.#fd)
    this.onClose?.(error)
  }
}

let pair: Pinned | undefined

/** Descriptors of two connected sockets. @throws SystemError */
export function socketPair(): [number, number] {
  pair ??= new Pinned(8)
  checked('socketpair', linux.AF_UNIX, streamSocket, 0, pair.address)
  return [pair.view.getInt32(0, true), pair.view.getInt32(4, true)]
}

/** @internal A socket that listens nowhere yet. */
export const newSocket = (): number => checked('socket', linux.AF_UNIX, streamSocket, 0)
