/** What the system refused. */
import { getSystemErrorName } from 'node:util'

/** A call of the system that failed: which, why, and what to do about it where that is known. */
export class SystemError extends Error {
  override readonly name = 'SystemError'
  /** The name of the error: `EAGAIN`. */
  readonly code: string
  /** The system's own number of it. */
  readonly errno: number
  /** The call: `mmap`. */
  readonly syscall: string

  constructor(syscall: string, errno: number, detail?: string) {
    const code = nameOf(errno)
    const more = detail ?? advice[code]
    super(`${syscall}: ${code}${more === undefined ? '' : `: ${more}`}`)
    this.syscall = syscall
    this.errno = errno
    this.code = code
  }
}

const advice: Readonly<Record<string, string>> = {
  EMFILE: 'this process has no descriptors left: raise its limit (ulimit -n, LimitNOFILE=)',
  ENFILE: 'this machine has no descriptors left (sysctl fs.file-max)',
  ENOMEM: 'no memory, or too many mappings (sysctl vm.max_map_count)',
  EACCES: 'permission denied',
  EPERM: 'not permitted, or not for this kind of descriptor',
  EBADF: 'this is no open descriptor',
  ENOENT: 'there is no such file',
  ECONNREFUSED: 'nothing listens there',
  ETOOMANYREFS: 'too many descriptors are on their way (ulimit -n)',
}

function nameOf(errno: number): string {
  try {
    return getSystemErrorName(-errno)
  } catch {
    return `E${errno}`
  }
}
