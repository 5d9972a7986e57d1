/** Memory of another process, mapped. */
import { constants } from 'node:buffer'
import { fstatSync } from 'node:fs'
import { detach } from './detach.ts'
import { checked, libc } from './libc.ts'
import { sealsOf } from './memfd.ts'
import { linux } from './numbers.ts'

/** What every supported machine's page size divides: 64 KiB pages exist on arm64. */
const largestPage = 0x1_0000

/** The most bytes of one window: 4 GiB on Node 20, where a longer view ends the process, and more than any memory on later ones. A multiple of each page size. */
export const windowSize: number = Math.floor(Number(constants.MAX_LENGTH) / largestPage) * largestPage

export interface MapOptions {
  /** Bytes. */
  readonly size: number
  /** Where it begins in the file, in bytes. Default 0. */
  readonly offset?: number
  /** Writing to it ends this process with SIGSEGV. */
  readonly readOnly?: boolean
  /**
   * Whether the file may be one that others can make shorter (memory of DPDK and libblkio, files in hugetlbfs), after which touching what is gone ends this process with
   * SIGBUS. Without it the file must be sealed against shrinking, as QEMU's memfd are.
   */
  readonly unsealed?: boolean
}

/** Live mappings of this thread: for tests of leaks and for metrics. */
export const mappings = { count: 0, bytes: 0 }

/** Mapped memory, in windows. */
export class Mapping {
  /** Bytes. */
  readonly size: number
  /** Where it is in this process. Another thread can look at it there, for as long as it stays mapped. */
  readonly address: bigint
  #windows: readonly Uint8Array[]
  /** What was mapped: whole pages. */
  readonly #pages: { readonly address: number; readonly length: number }
  #mapped = true

  /** @internal Use {@link mapShared}. */
  constructor(pages: { address: number; length: number }, skip: number, size: number) {
    this.size = size
    this.address = BigInt(pages.address + skip)
    this.#pages = pages
    this.#windows = windowsOf(pages.address + skip, size)
    mappings.count++
    mappings.bytes += size
  }

  /** One behind the other, each {@link windowSize} or less. None once it is unmapped. */
  get windows(): readonly Uint8Array[] {
    return this.#windows
  }

  get mapped(): boolean {
    return this.#mapped
  }

  /**
   * Gives the memory back, once. First all views of it are detached (they have length 0 then): what still holds one, reads nothing. Operations of the system that are at work
   * in it (`fs.read`) must have ended: their bytes would go to whatever is mapped there next.
   */
  unmap(): void {
    if (!this.#mapped) return
    this.#mapped = false
    mappings.count--
    mappings.bytes -= this.size
    let safe = true
    for (const window of this.#windows) safe = detach(window.buffer as ArrayBuffer) && safe
    this.#windows = []
    const { address, length } = this.#pages
    if (safe) checked('munmap', address, length)
    else replaceByZeroes(address, length)
  }
}

/** Views that cannot be detached read zeroes; the memory is given back, the addresses are not. */
function replaceByZeroes(address: number, length: number): void {
  const flags = linux.MAP_FIXED | linux.MAP_ANONYMOUS | linux.MAP_PRIVATE | linux.MAP_NORESERVE
  checked('mmap', address, length, linux.PROT_READ | linux.PROT_WRITE, flags, -1, 0)
}

function windowsOf(address: number, size: number): readonly Uint8Array[] {
  const windows: Uint8Array[] = []
  for (let at = 0; at < size; at += windowSize) windows.push(new Uint8Array(libc().koffi.view(BigInt(address + at), Math.min(windowSize, size - at))))
  return windows
}

/**
 * Maps a file that another process shares. The descriptor can be closed afterwards.
 *
 * @throws RangeError where size or offset is no whole number of bytes, the file ends before, or it could be made shorter and `unsealed` is not set
 * @throws SystemError
 */
export function mapShared(fd: number, { size, offset = 0, readOnly = false, unsealed = false }: MapOptions): Mapping {
  requireRange(size, offset)
  const granularity = requireFile(fd, offset + size, unsealed)
  const skip = offset % granularity
  const length = Math.ceil((skip + size) / granularity) * granularity
  const protection = readOnly ? linux.PROT_READ : linux.PROT_READ | linux.PROT_WRITE
  const address = checked('mmap', 0, length, protection, linux.MAP_SHARED, fd, offset - skip)
  return new Mapping({ address, length }, skip, size)
}

function requireRange(size: number, offset: number): void {
  if (!(Number.isSafeInteger(size) && size > 0)) throw new RangeError(`what is mapped has 1 byte or more, not ${size}`)
  if (!(Number.isSafeInteger(offset) && offset >= 0)) throw new RangeError(`a mapping begins at a whole number of bytes, not ${offset}`)
  if (offset + size > Number.MAX_SAFE_INTEGER - largestPage) throw new RangeError(`a mapping ends below 2^53, not at ${offset} + ${size}`)
}

/** Checks what could end this process later. The bytes that an offset must be a multiple of: a page, or a huge page where the file has such. */
function requireFile(fd: number, end: number, unsealed: boolean): number {
  const stat = fstatSync(fd)
  if (!stat.isFile()) throw new RangeError('only memory (memfd, hugetlbfs) and files can be mapped')
  if (stat.size < end) throw new RangeError(`the file has ${stat.size} bytes, and ends before ${end}`)
  if (!(unsealed || sealsOf(fd)?.shrink)) throw new RangeError('the file is not sealed against shrinking (F_SEAL_SHRINK)')
  return stat.blksize % largestPage === 0 ? Math.max(largestPage, stat.blksize) : largestPage
}
