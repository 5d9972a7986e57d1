/** A path at which other processes connect. */
import { chmodSync, lstatSync, openSync, unlinkSync } from 'node:fs'
import { closeFd } from './descriptor.ts'
import { attempted, checked } from './libc.ts'
import { linux } from './numbers.ts'
import type { Poller, Watch } from './poller.ts'
import { SystemError } from './system-error.ts'
import { unixAddress } from './unix-address.ts'
import { newSocket, UnixSocket } from './unix-socket.ts'

export interface ListenOptions {
  readonly onConnection: (socket: UnixSocket) => void
  /** Who may connect, as for chmod: 0o600 for this user alone, 0o660 for the group too. Default: what the umask leaves. */
  readonly mode?: number
  /** A connection could not be taken: this process has no descriptor left for it. */
  readonly onError?: (error: Error) => void
}

const backlog = 64
const atOnce = 64
const acceptFlags = linux.SOCK_NONBLOCK | linux.SOCK_CLOEXEC

/** Takes connections at a path, as long as it is open. */
export class UnixListener {
  readonly path: string
  readonly #poller: Poller
  readonly #options: ListenOptions
  readonly #fd: number
  readonly #inode: bigint
  readonly #watch: Watch
  /** Given up where there is no descriptor left, so that a connection can be taken and refused: it would stay in the queue, and wake us for ever. */
  #reserve: number
  #closed = false

  /** @throws SystemError - EADDRINUSE where something listens there, or something else than a socket is there; RangeError for the path */
  constructor(poller: Poller, path: string, options: ListenOptions) {
    this.path = path
    this.#poller = poller
    this.#options = options
    unixAddress(path)
    removeStale(path)
    this.#fd = newSocket()
    let reserve = -1
    try {
      const address = unixAddress(path)
      checked('bind', this.#fd, address.address, address.bytes.length)
      this.#inode = inodeOf(path) ?? 0n
      // Nobody can connect before it listens.
      if (options.mode !== undefined) chmodSync(path, options.mode)
      checked('listen', this.#fd, backlog)
      reserve = openSync('/dev/null', 'r')
      this.#watch = poller.watch(this.#fd, {}, () => this.#accept())
    } catch (error) {
      if (reserve >= 0) closeFd(reserve)
      closeFd(this.#fd)
      throw error
    }
    this.#reserve = reserve
  }

  /** Takes no more connections, and removes the path. Those that were taken stay open. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#watch.close()
    closeFd(this.#fd)
    if (this.#reserve >= 0) closeFd(this.#reserve)
    // Another process may have put its own socket there.
    if (inodeOf(this.path) === this.#inode) unlinkSync(this.path)
  }

  #accept(): void {
    for (let count = 0; count < atOnce && !this.#closed; count++) {
      const fd = attempted('accept4', this.#fd, 0, 0, acceptFlags)
      if (fd === -linux.EMFILE || fd === -linux.ENFILE) this.#refuse(-fd)
      if (fd < 0) return
      this.#options.onConnection(new UnixSocket(this.#poller, fd))
    }
  }

  #refuse(errno: number): void {
    if (this.#reserve >= 0) closeFd(this.#reserve)
    const fd = attempted('accept4', this.#fd, 0, 0, acceptFlags)
    if (fd >= 0) closeFd(fd)
    this.#reserve = openSync('/dev/null', 'r')
    this.#options.onError?.(new SystemError('accept4', errno))
  }
}

function inodeOf(path: string): bigint | undefined {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false })?.ino
}

/** A socket that a process left behind when it died is in the way of the next one. */
function removeStale(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return
  if (!stat.isSocket()) throw new SystemError('bind', linux.EADDRINUSE, `${path} is there already, and is no socket`)
  if (listensThere(path)) throw new SystemError('bind', linux.EADDRINUSE, `another process listens at ${path}`)
  unlinkSync(path)
}

function listensThere(path: string): boolean {
  const address = unixAddress(path)
  const fd = newSocket()
  const result = attempted('connect', fd, address.address, address.bytes.length)
  closeFd(fd)
  // EAGAIN: it does, and many wait for it. EACCES: we may not know.
  return result !== -linux.ECONNREFUSED
}
