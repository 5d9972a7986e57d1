/** Bytes and descriptors through a socket: sendmsg and recvmsg with SCM_RIGHTS. */
import { closeFd } from './descriptor.ts'
import { addressOf, attempted, Pinned } from './libc.ts'
import { linux } from './numbers.ts'
import { SystemError } from './system-error.ts'

/** struct msghdr, struct iovec and struct cmsghdr, as 64-bit machines have them. */
const msghdr = { iov: 16, iovlen: 24, control: 32, controllen: 40, flags: 48 }
const iovecAt = 56
const controlAt = 72
const cmsg = { level: 8, type: 12, data: 16 }
const fdSize = 4
const align = (bytes: number): number => Math.ceil(bytes / 8) * 8
const controlSize = align(cmsg.data + linux.SCM_MAX_FD * fdSize)

let pinned: Pinned | undefined
/** What the last call was given: an address alone would not keep it from being collected. */
export let $inUse: Uint8Array | undefined

/** The message, prepared for bytes of the caller. */
function prepare(bytes: Uint8Array, controlLength: number): Pinned {
  $inUse = bytes
  pinned ??= new Pinned(controlAt + controlSize)
  const { view, address } = pinned
  const set = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true)
  pinned.bytes.fill(0, 0, controlAt)
  set(msghdr.iov, address + iovecAt)
  set(msghdr.iovlen, 1)
  set(iovecAt, addressOf(bytes))
  set(iovecAt + 8, bytes.length)
  if (controlLength > 0) {
    set(msghdr.control, address + controlAt)
    set(msghdr.controllen, controlLength)
  }
  return pinned
}

/** What one call received. */
export interface Received {
  /** Bytes: 0 where the other side has ended. */
  readonly length: number
  /** Descriptors: theirs who receive them, to close. */
  readonly fds: readonly number[]
}

/**
 * Receives what is there, and does not wait.
 *
 * @returns undefined where nothing is there
 * @throws SystemError - also where descriptors were lost, since this process may not have so many: EMFILE
 */
export function receiveMessage(fd: number, into: Uint8Array): Received | undefined {
  const { view, address } = prepare(into, controlSize)
  const length = attempted('recvmsg', fd, address, linux.MSG_DONTWAIT | linux.MSG_CMSG_CLOEXEC)
  if (length === -linux.EAGAIN) return undefined
  if (length < 0) throw new SystemError('recvmsg', -length)
  const fds = descriptorsIn(view)
  if ((view.getInt32(msghdr.flags, true) & linux.MSG_CTRUNC) === 0) return { length, fds }
  fds.forEach(closeFd)
  throw new SystemError(
    'recvmsg',
    linux.EMFILE,
    'descriptors that came with a message are lost: this process may not have so many (ulimit -n, LimitNOFILE=)',
  )
}

function descriptorsIn(view: DataView): number[] {
  const fds: number[] = []
  const end = controlAt + Number(view.getBigUint64(msghdr.controllen, true))
  for (let at = controlAt; at + cmsg.data <= end; ) {
    const length = Number(view.getBigUint64(at, true))
    if (length < cmsg.data || at + length > end) break
    const rights = view.getInt32(at + cmsg.level, true) === linux.SOL_SOCKET && view.getInt32(at + cmsg.type, true) === linux.SCM_RIGHTS
    if (rights) for (let fd = at + cmsg.data; fd + fdSize <= at + length; fd += fdSize) fds.push(view.getInt32(fd, true))
    at += align(length)
  }
  return fds
}

/**
 * Sends what the socket takes, and does not wait. The descriptors go with the first byte.
 *
 * @returns how many bytes it took: 0 where it takes nothing now
 * @throws SystemError
 */
export function sendMessage(fd: number, bytes: Uint8Array, fds: readonly number[]): number {
  const rights = fds.length === 0 ? 0 : cmsg.data + fds.length * fdSize
  const { view, address } = prepare(bytes, rights)
  if (rights > 0) {
    view.setBigUint64(controlAt, BigInt(rights), true)
    view.setInt32(controlAt + cmsg.level, linux.SOL_SOCKET, true)
    view.setInt32(controlAt + cmsg.type, linux.SCM_RIGHTS, true)
    fds.forEach((each, index) => {
      view.setInt32(controlAt + cmsg.data + index * fdSize, each, true)
    })
  }
  const length = attempted('sendmsg', fd, address, linux.MSG_DONTWAIT | linux.MSG_NOSIGNAL)
  if (length < 0 && length !== -linux.EAGAIN) throw new SystemError('sendmsg', -length)
  return Math.max(length, 0)
}
