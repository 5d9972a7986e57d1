/** Memory that can be given to another process: memfd and its seals. */
import { ftruncateSync } from 'node:fs'
import { closeFd } from './descriptor.ts'
import { attempted, checked } from './libc.ts'
import { linux } from './numbers.ts'

export interface MemfdOptions {
  /** Nobody can change its size any more: whoever maps it is safe from SIGBUS. Default true. */
  readonly seal?: boolean
}

/** What may not be done to the file of a descriptor any more. */
export interface Seals {
  readonly seal: boolean
  readonly shrink: boolean
  readonly grow: boolean
  readonly write: boolean
}

/**
 * New memory, full of zeroes, that another process can map.
 *
 * @param name - what /proc shows, at most 249 bytes
 * @param size - bytes
 * @throws SystemError
 */
export function createMemfd(name: string, size: number, { seal = true }: MemfdOptions = {}): number {
  if (!(Number.isSafeInteger(size) && size >= 0)) throw new RangeError(`memory has a whole number of bytes, not ${size}`)
  const fd = checked('memfd_create', name, linux.MFD_CLOEXEC | linux.MFD_ALLOW_SEALING)
  try {
    ftruncateSync(fd, size)
    if (seal) checked('fcntl', fd, linux.F_ADD_SEALS, linux.F_SEAL_SEAL | linux.F_SEAL_SHRINK | linux.F_SEAL_GROW)
    return fd
  } catch (error) {
    closeFd(fd)
    throw error
  }
}

/** The seals of a descriptor: undefined where its file knows none (only memory does: memfd, tmpfs, hugetlbfs). */
export function sealsOf(fd: number): Seals | undefined {
  const seals = attempted('fcntl', fd, linux.F_GET_SEALS, 0)
  if (seals < 0) return undefined
  const has = (seal: number): boolean => (seals & seal) !== 0
  return { seal: has(linux.F_SEAL_SEAL), shrink: has(linux.F_SEAL_SHRINK), grow: has(linux.F_SEAL_GROW), write: has(linux.F_SEAL_WRITE) }
}
