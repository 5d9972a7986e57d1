/** The C library, by koffi. The only module that knows koffi. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isMainThread } from 'node:worker_threads'
import { linux } from './numbers.ts'
import { SystemError } from './system-error.ts'

/** A handle of libuv's loop that watches one descriptor. It closes itself where nobody refers to it. */
export interface PollHandle {
  close(): void
  ref(): void
  unref(): void
}

/** What is used of koffi. */
interface Koffi {
  load(library: null): { func(prototype: string): unknown }
  address(value: ArrayBuffer | Uint8Array): bigint
  view(address: bigint, length: number): ArrayBuffer
  errno(): number
  readonly node: { poll(fd: number, events: { readable: boolean }, callback: () => void): PollHandle }
}

/**
 * The calls that are used. Addresses are numbers: those of a process are below 2^47. Structures are laid out by hand in pinned memory: koffi is not asked to marshal, which
 * would cost more than the call.
 */
const prototypes = {
  close: 'int close(int fd)',
  fcntl: 'int fcntl(int fd, int command, int argument)',
  ioctl: 'int ioctl(int fd, unsigned long request, uintptr_t argument)',
  mmap: 'intptr_t mmap(uintptr_t address, size_t length, int protection, int flags, int fd, int64_t offset)',
  munmap: 'int munmap(uintptr_t address, size_t length)',
  memfd_create: 'int memfd_create(str name, unsigned int flags)',
  eventfd: 'int eventfd(unsigned int value, int flags)',
  read: 'intptr_t read(int fd, uintptr_t buffer, size_t length)',
  write: 'intptr_t write(int fd, uintptr_t buffer, size_t length)',
  poll: 'int poll(uintptr_t fds, unsigned long count, int timeout)',
  epoll_create1: 'int epoll_create1(int flags)',
  epoll_ctl: 'int epoll_ctl(int epoll, int operation, int fd, uintptr_t event)',
  epoll_wait: 'int epoll_wait(int epoll, uintptr_t events, int count, int timeout)',
  socket: 'int socket(int domain, int type, int protocol)',
  socketpair: 'int socketpair(int domain, int type, int protocol, uintptr_t pair)',
  bind: 'int bind(int fd, uintptr_t address, unsigned int length)',
  listen: 'int listen(int fd, int backlog)',
  accept4: 'int accept4(int fd, uintptr_t address, uintptr_t length, int flags)',
  connect: 'int connect(int fd, uintptr_t address, unsigned int length)',
  sendmsg: 'intptr_t sendmsg(int fd, uintptr_t message, int flags)',
  recvmsg: 'intptr_t recvmsg(int fd, uintptr_t message, int flags)',
  fallocate: 'int fallocate(int fd, int mode, int64_t offset, int64_t length)',
  dlopen: 'uintptr_t dlopen(str path, int flags)',
  _exit: 'void _exit(int code)',
  prctl: 'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
} as const

type Call = (...values: (number | string)[]) => number
type Calls = Readonly<Record<keyof typeof prototypes, Call>>

/** The layouts of msghdr and size_t are those of 64-bit machines. */
const machines: readonly string[] = ['x64', 'arm64', 'riscv64', 'loong64']

interface Libc extends Calls {
  readonly koffi: Koffi
}

let loaded: Libc | undefined

/**
 * The C library: loaded when it is first needed.
 *
 * @throws Error where this is no 64-bit Linux, or koffi is not installed
 */
export function libc(): Libc {
  loaded ??= load()
  return loaded
}

/** Whether {@link libc} works here: why not, else undefined. */
export function whyNoSystem(): string | undefined {
  try {
    libc()
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

function load(): Libc {
  if (process.platform !== 'linux' || !machines.includes(process.arch))
    throw new Error(`virtgen/linux needs Linux on ${machines.join(', ')}; this is ${process.platform} on ${process.arch}`)
  const koffi = requireKoffi()
  const library = koffi.load(null)
  const calls = Object.fromEntries(Object.entries(prototypes).map(([name, prototype]) => [name, library.func(prototype)]))
  if (!isMainThread) keepLibrary(calls as Calls)
  return { koffi, ...(calls as Calls) }
}

/**
 * Has koffi stay in memory for good. Where a thread alone has loaded it, Node unloads it when that thread ends, and libuv, which closes koffi's handles afterwards, would call
 * code that is gone.
 */
function keepLibrary({ dlopen }: Calls): void {
  const line = readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .find((mapped) => mapped.endsWith('/koffi.node'))
  if (line !== undefined) dlopen(line.slice(line.indexOf('/')), linux.RTLD_LAZY | linux.RTLD_NOLOAD | linux.RTLD_NODELETE)
}

function requireKoffi(): Koffi {
  try {
    return createRequire(import.meta.url)('koffi') as Koffi
  } catch (cause) {
    throw new Error('virtgen/linux calls the system through the package koffi, which cannot be loaded here: npm install koffi', { cause })
  }
}

/** The error that the last call left. */
export const lastError = (): number => libc().koffi.errno()

/**
 * Makes a call again as long as a signal interrupts it.
 *
 * @returns what it answers
 * @throws SystemError
 */
export function checked(syscall: keyof typeof prototypes, ...values: (number | string)[]): number {
  const result = attempted(syscall, ...values)
  if (result < 0) throw new SystemError(syscall, -result)
  return result
}

/** The same, but a failure is the negative errno. */
export function attempted(syscall: keyof typeof prototypes, ...values: (number | string)[]): number {
  const call = libc()[syscall]
  for (;;) {
    const result = call(...values)
    if (result >= 0) return result
    const errno = lastError()
    if (errno !== linux.EINTR) return -errno
  }
}

/** Bytes whose address the system may be given: they stay where they are as long as this object is referred to, which a call that is given the address alone does not.
 * So these are kept: one for each use, not one for each call. */
export class Pinned {
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly address: number

  constructor(length: number) {
    const buffer = new ArrayBuffer(length)
    this.bytes = new Uint8Array(buffer)
    this.view = new DataView(buffer)
    this.address = Number(libc().koffi.address(buffer))
  }
}

/** Where bytes of the caller are. They must stay referred to until the call is over. */
export const addressOf = (bytes: Uint8Array): number => (bytes.length === 0 ? 0 : Number(libc().koffi.address(bytes)))
