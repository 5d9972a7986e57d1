/** Paths of sockets. */
import { Pinned } from './libc.ts'
import { linux } from './numbers.ts'

const pathAt = 2

let address: Pinned | undefined

/**
 * `struct sockaddr_un` of a path, for one call: the next one has it in the same place.
 *
 * @throws RangeError where the path is empty or too long for a socket
 */
export function unixAddress(path: string): Pinned {
  const bytes = new TextEncoder().encode(path)
  const most = linux.UNIX_PATH_MAX - 1
  if (bytes.length === 0 || bytes.length > most || bytes.includes(0))
    throw new RangeError(`the path of a socket has 1 to ${most} bytes and no zero among them; this one has ${bytes.length}: ${path}`)
  address ??= new Pinned(pathAt + linux.UNIX_PATH_MAX)
  address.bytes.fill(0)
  address.view.setUint16(0, linux.AF_UNIX, true)
  address.bytes.set(bytes, pathAt)
  return address
}
