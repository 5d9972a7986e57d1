/** Descriptors: closing, copying, counting. */
import { readdirSync, readlinkSync } from 'node:fs'
import { checked, libc } from './libc.ts'
import { linux } from './numbers.ts'

/**
 * Closes a descriptor that came from here. (`fs.closeSync` would do, but warns in a worker thread about descriptors that `fs` did not open.)
 *
 * It never throws: Linux frees the descriptor whatever it answers, and a second try could hit another one that has been opened meanwhile.
 */
export function closeFd(fd: number): void {
  libc().close(fd)
}

/**
 * Another descriptor of the same open file.
 *
 * @throws SystemError
 */
export const duplicateFd = (fd: number): number => checked('fcntl', fd, linux.F_DUPFD_CLOEXEC, 0)

/** What a descriptor is, as /proc says it: `anon_inode:[eventfd]`, `/memfd:name (deleted)`, `socket:[17]`, or a path; undefined where it is not open. */
export function describeFd(fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return undefined
  }
}

/** What each open descriptor of this process is ({@link describeFd}): to find out who leaks. */
export function openDescriptors(): Map<number, string> {
  const found = new Map<number, string>()
  for (const name of readdirSync('/proc/self/fd')) {
    const what = describeFd(Number(name))
    // The one that readdir used is gone.
    if (what !== undefined) found.set(Number(name), what)
  }
  return found
}

/** How many descriptors this process has open. */
export const countDescriptors = (): number => readdirSync('/proc/self/fd').length - 1
