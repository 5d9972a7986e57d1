/** eventfds: how one process wakes another. */
import { describeFd } from './descriptor.ts'
import { attempted, checked, libc, Pinned } from './libc.ts'
import { linux } from './numbers.ts'
import { SystemError } from './system-error.ts'

const wordSize = 8
const eventsAt = 4

interface Scratch {
  readonly one: Pinned
  readonly word: Pinned
  readonly polled: Pinned
}

let scratch: Scratch | undefined

function ours(): Scratch {
  if (scratch === undefined) {
    scratch = { one: new Pinned(wordSize), word: new Pinned(wordSize), polled: new Pinned(wordSize) }
    scratch.one.view.setBigUint64(0, 1n, true)
  }
  return scratch
}

/**
 * A new eventfd: it counts, and neither reading nor writing ever waits.
 *
 * @throws SystemError
 */
export const createEventfd = (): number => checked('eventfd', 0, linux.EFD_CLOEXEC | linux.EFD_NONBLOCK)

/** Whether a descriptor that somebody gave us is an eventfd: writing to anything else could wait, or do anything at all. */
export const isEventfd = (fd: number): boolean => describeFd(fd) === 'anon_inode:[eventfd]'

/**
 * Wakes who waits for an eventfd. It does not wait, also where the descriptor is another process's and in blocking mode: a counter that is full already wakes. (Only a
 * process that fills the counter of a blocking one between the look and the write, on purpose, could hold this one up.)
 *
 * @throws SystemError - EBADF where it is not open
 */
export function signalEventfd(fd: number): void {
  if (ready(fd, linux.POLLOUT)) ignoreAgain('write', attempted('write', fd, ours().one.address, wordSize))
}

/**
 * Sets an eventfd back to 0. Not needed where it is watched with `edge`.
 *
 * @returns whether anybody had signalled it
 * @throws SystemError - EBADF where it is not open
 */
export function drainEventfd(fd: number): boolean {
  return ready(fd, linux.POLLIN) && ignoreAgain('read', attempted('read', fd, ours().word.address, wordSize))
}

/** Whether a call on the descriptor would not wait now. */
function ready(fd: number, events: number): boolean {
  const { address, view } = ours().polled
  view.setInt32(0, fd, true)
  view.setInt32(eventsAt, events, true)
  return libc().poll(address, 1, 0) > 0
}

function ignoreAgain(syscall: string, result: number): boolean {
  if (result < 0 && result !== -linux.EAGAIN) throw new SystemError(syscall, -result)
  return result >= 0
}
