/** Waiting for descriptors, without a thread: one epoll for all of them, which libuv's loop watches. */
import { setImmediate as immediately } from 'node:timers'
import { isMainThread } from 'node:worker_threads'
import { closeFd } from './descriptor.ts'
import { attempted, checked, libc, Pinned, type PollHandle } from './libc.ts'
import { linux } from './numbers.ts'

export interface WatchOptions {
  /** Called once whenever something new comes, and not again while it is still there: an eventfd then needs no reading. */
  readonly edge?: boolean
  /** Wait until it can be read (default true). */
  readonly readable?: boolean
  /** Wait until it can be written. Default false. */
  readonly writable?: boolean
}

/** What has happened. An error, or the other side's end, is both. */
export type WatchCallback = (readable: boolean, writable: boolean) => void

/** A descriptor that is watched. */
export interface Watch {
  readonly fd: number
  /** What to wait for from now on, in place of what was said before. @throws SystemError */
  update(options: WatchOptions): void
  /** Ends it, once; to be done before the descriptor is closed. The callback is not called any more, also not for what has happened already. */
  close(): void
}

/** `struct epoll_event` is packed on x86-64 alone. */
const dataAt = process.arch === 'x64' ? 4 : 8
const eventSize = dataAt + 8
const batch = 64
const ended = linux.EPOLLERR | linux.EPOLLHUP

const readable = { readable: true }
const noop = (): void => {}
/** koffi calls outside of any scope of Node, and since Node 25 promises and ticks of the callbacks would wait for something else to happen. Before, they run behind each. */
const needsTurn = Number.parseInt(process.versions.node, 10) > 24

/**
 * Watches descriptors for one thread. The process stays alive while one is watched, unless {@link Poller.unref} was called.
 *
 * There is one handle of libuv for all: koffi ends the process where that is given a descriptor which cannot be watched, while epoll answers with an error.
 *
 * In a worker thread: close the poller there, and the thread ends by itself, or by `process.exit()` there. `worker.terminate()`, and `process.exit()` of the main thread
 * meanwhile, end the whole process (SIGABRT) where something happens at a descriptor just then, since koffi cannot call a thread that is being ended (see
 * {@link exitNow}).
 */
export class Poller {
  static #shared: Poller | undefined

  /** One for all who need no poller of their own in this thread. It must not be closed. */
  static get shared(): Poller {
    Poller.#shared ??= new Poller()
    return Poller.#shared
  }

  readonly #epoll: number
  readonly #event = new Pinned(eventSize)
  readonly #events = new Pinned(eventSize * batch)
  /** What has happened and is not dispatched yet: descriptor, serial, events. A callback that polls goes on with it. */
  readonly #happened: number[] = []
  #next = 0
  readonly #watches = new Map<number, Watched>()
  #serial = 0
  /** Must stay referred to: koffi closes what is collected. */
  #handle: PollHandle | undefined
  #referenced = true
  #closed = false
  /** A worker thread that ends with koffi's handle open could be called once more, and take the process with it. */
  readonly #end = (): void => this.close()

  /** @throws SystemError, Error without koffi */
  constructor() {
    this.#epoll = checked('epoll_create1', linux.EPOLL_CLOEXEC)
    if (!isMainThread) process.once('exit', this.#end)
  }

  /** How many descriptors are watched. */
  get size(): number {
    return this.#watches.size
  }

  /**
   * Calls back whenever something happens at a descriptor. What a callback throws becomes an uncaught exception of the process, and the others are called all the same.
   *
   * @throws SystemError - EPERM where it cannot be watched (a file), EEXIST where it is watched already, EBADF
   */
  watch(fd: number, options: WatchOptions, callback: WatchCallback): Watch {
    if (this.#closed) throw new TypeError('this poller is closed')
    this.#serial = (this.#serial + 1) >>> 0
    const watched = new Watched(this, fd, this.#serial, callback)
    this.#control(linux.EPOLL_CTL_ADD, watched, options)
    this.#watches.set(fd, watched)
    this.#hold()
    return watched
  }

  /**
   * Calls back for what has happened by now, and does not wait: for a loop that spins.
   *
   * @returns how many callbacks were made
   */
  poll(): number {
    if (this.#closed) return 0
    if (this.#next === this.#happened.length) this.#fetch()
    let count = 0
    while (this.#next < this.#happened.length) {
      this.#dispatchNext()
      count++
    }
    this.#happened.length = 0
    this.#next = 0
    return count
  }

  /** The process stays alive while a descriptor is watched: the default. */
  ref(): void {
    this.#referenced = true
    this.#hold()
  }

  /** What is watched keeps the process not alive. */
  unref(): void {
    this.#referenced = false
    this.#hold()
  }

  /** Ends all watches. The descriptors stay open. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    process.off('exit', this.#end)
    for (const watched of this.#watches.values()) watched.open = false
    this.#watches.clear()
    this.#handle?.close()
    this.#handle = undefined
    closeFd(this.#epoll)
  }

  /** @internal */
  $update(watched: Watched, options: WatchOptions): void {
    if (watched.open) this.#control(linux.EPOLL_CTL_MOD, watched, options)
  }

  /** @internal */
  $close(watched: Watched): void {
    if (!watched.open) return
    watched.open = false
    this.#watches.delete(watched.fd)
    // Where the descriptor was closed before, the kernel has forgotten it by itself.
    attempted('epoll_ctl', this.#epoll, linux.EPOLL_CTL_DEL, watched.fd, 0)
    this.#hold()
  }

  #control(operation: number, { fd, serial }: Watched, options: WatchOptions): void {
    const { view, address } = this.#event
    const events = (options.readable === false ? 0 : linux.EPOLLIN) | (options.writable ? linux.EPOLLOUT : 0) | (options.edge ? linux.EPOLLET : 0)
    view.setUint32(0, events >>> 0, true)
    view.setInt32(dataAt, fd, true)
    view.setUint32(dataAt + 4, serial, true)
    checked('epoll_ctl', this.#epoll, operation, fd, address)
  }

  /** The handle exists from the first watch on, and holds the process only while there are watches. */
  #hold(): void {
    if (this.#closed) return
    if (this.#watches.size > 0) this.#handle ??= libc().koffi.node.poll(this.#epoll, readable, this.#woken)
    if (this.#referenced && this.#watches.size > 0) this.#handle?.ref()
    else this.#handle?.unref()
  }

  readonly #woken = (): void => {
    this.poll()
    if (needsTurn) immediately(noop)
  }

  #fetch(): void {
    // A signal that interrupts it is as good as nothing: libuv comes again.
    const count = libc().epoll_wait(this.#epoll, this.#events.address, batch, 0)
    const { view } = this.#events
    for (let at = 0; at < count * eventSize; at += eventSize)
      this.#happened.push(view.getInt32(at + dataAt, true), view.getUint32(at + dataAt + 4, true), view.getUint32(at, true))
  }

  #dispatchNext(): void {
    const at = this.#next
    this.#next += 3
    const watched = this.#watches.get(this.#happened[at] as number)
    const events = this.#happened[at + 2] as number
    // An earlier callback may have ended the watch, and the number may belong to another descriptor by now.
    if (watched === undefined || watched.serial !== this.#happened[at + 1]) return
    const end = (events & ended) !== 0
    try {
      watched.callback(end || (events & linux.EPOLLIN) !== 0, end || (events & linux.EPOLLOUT) !== 0)
    } catch (error) {
      immediately(() => {
        throw error
      })
    }
  }
}

class Watched implements Watch {
  readonly fd: number
  readonly serial: number
  readonly callback: WatchCallback
  readonly #poller: Poller
  open = true

  constructor(poller: Poller, fd: number, serial: number, callback: WatchCallback) {
    this.#poller = poller
    this.fd = fd
    this.serial = serial
    this.callback = callback
  }

  update(options: WatchOptions): void {
    this.#poller.$update(this, options)
  }

  close(): void {
    this.#poller.$close(this)
  }
}
