/** A disk in a file of Linux, which can have holes, or on a block device. */
import { type BigIntStats, fstatSync, readFileSync, statSync } from 'node:fs'
import { type BlkBackend, checkRange, type Done } from 'virtgen/devices/blk'
import { FileBackend, type FileOptions } from 'virtgen/node'
import { virtio_blk_size } from 'virtgen/wire/blk'
import { punchHole, SystemError, zeroRange } from './system/index.ts'

export interface LinuxFileOptions extends FileOptions {
  /** Discarded ranges give their room back, where the file system can do that; true by default. */
  readonly discard?: boolean
}

/**
 * A {@link FileBackend} that gives room back: discard makes holes, zeroes are made without writing them where the file system can. The size of a block device need not be told.
 */
export class LinuxFileBackend extends FileBackend {
  readonly discard?: NonNullable<BlkBackend['discard']>
  readonly discardAlignment: number
  readonly unmapsZeroes: boolean
  #zeroes = true

  /** @throws as FileBackend; Error where koffi is missing */
  constructor(path: string, { discard = true, ...options }: LinuxFileOptions = {}) {
    super(path, { ...options, ...sizeOf(path, options) })
    const { blksize } = fstatSync(this.fd)
    this.discardAlignment = blksize
    this.unmapsZeroes = discard && !this.readOnly && this.#canPunch()
    if (this.unmapsZeroes) this.discard = (position, length) => this.#punch(position, length)
  }

  override writeZeroes(position: number, length: number, unmap = false): Done {
    checkRange(position, length, this.size)
    if (length === 0) return
    if (unmap && this.unmapsZeroes) return this.#punch(position, length)
    if (this.#zeroes) {
      try {
        zeroRange(this.fd, position, length)
        return
      } catch (error) {
        if (!isUnsupported(error)) throw error
        this.#zeroes = false
      }
    }
    return super.writeZeroes(position, length)
  }

  override measure(): number {
    const stat = fstatSync(this.fd, { bigint: true })
    return stat.isBlockDevice() ? deviceSize(stat) : super.measure()
  }

  #punch(position: number, length: number): void {
    checkRange(position, length, this.size)
    if (length > 0) punchHole(this.fd, position, length)
  }

  /** A hole behind the end of a file changes nothing, but where there can be none. */
  #canPunch(): boolean {
    const stat = fstatSync(this.fd)
    if (!stat.isFile()) return true
    try {
      punchHole(this.fd, Math.ceil(stat.size / stat.blksize) * stat.blksize, stat.blksize)
      return true
    } catch (error) {
      if (isUnsupported(error)) return false
      throw error
    }
  }
}

function isUnsupported(error: unknown): boolean {
  return error instanceof SystemError && (error.code === 'EOPNOTSUPP' || error.code === 'ENOTSUP' || error.code === 'ENOSYS')
}

function sizeOf(path: string, { size }: FileOptions): { size?: number } {
  if (size !== undefined) return { size }
  const stat = statSync(path, { bigint: true })
  return stat.isBlockDevice() ? { size: deviceSize(stat) } : {}
}

/** sysfs counts sectors of 512 bytes, whatever the device has. */
function deviceSize({ rdev }: BigIntStats): number {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xffff_f000n)
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffff_ff00n)
  return virtio_blk_size.sector_bytes * Number(readFileSync(`/sys/dev/block/${major}:${minor}/size`, 'utf8'))
}
