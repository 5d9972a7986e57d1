/** TAP interfaces. */
import { closeSync, constants, openSync } from 'node:fs'
import { checked, Pinned } from './libc.ts'
import { linux } from './numbers.ts'

export interface OpenTapOptions {
  /** Bytes of the virtio_net_hdr before each packet: 0 (default) for none, 10 or 12. */
  readonly header?: 0 | 10 | 12
  /** One of several queues of the interface. */
  readonly multiQueue?: boolean
}

const flagsAt = linux.IFNAMSIZ
/** What an ioctl is given; the next one gets the same. */
let argument: Pinned | undefined

/**
 * Opens a TAP interface, which is made where there is none (that needs CAP_NET_ADMIN). Reading and writing do not wait (EAGAIN).
 *
 * @param name - 1 to 15 bytes
 * @returns its descriptor
 * @throws RangeError for the name, the error of the system: EPERM, EBUSY where it is open elsewhere
 */
export function openTap(name: string, { header = 0, multiQueue = false }: OpenTapOptions = {}): number {
  const bytes = new TextEncoder().encode(name)
  if (bytes.length === 0 || bytes.length >= linux.IFNAMSIZ || bytes.includes(0))
    throw new RangeError(`an interface has a name of 1 to 15 bytes, not "${name}"`)
  argument ??= new Pinned(linux.IFREQ_SIZE)
  argument.bytes.fill(0)
  argument.bytes.set(bytes)
  const flags = linux.IFF_TAP | linux.IFF_NO_PI | (header > 0 ? linux.IFF_VNET_HDR : 0) | (multiQueue ? linux.IFF_MULTI_QUEUE : 0)
  argument.view.setUint16(flagsAt, flags, true)
  const fd = openSync('/dev/net/tun', constants.O_RDWR | constants.O_NONBLOCK)
  try {
    checked('ioctl', fd, linux.TUNSETIFF, argument.address)
    argument.view.setInt32(0, header, true)
    if (header > 0) checked('ioctl', fd, linux.TUNSETVNETHDRSZ, argument.address)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}
