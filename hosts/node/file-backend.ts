/** A disk in a file, or on a block device of the host. */
import * as fs from 'node:fs'
import { promisify } from 'node:util'
import { checkInteger } from 'virtgen/codegen/v1/wire'
import { type BlkBackend, checkRange, type Done, lengthOf, Pieces } from 'virtgen/devices/blk'

export interface FileOptions {
  /** The file is opened for reading alone. */
  readonly readOnly?: boolean
  /**
   * Calls of the system go through Node's thread pool, several side by side, and the program goes on meanwhile. Without it they are made at once: each request takes less
   * time of the processor, but nothing else happens before it is done.
   */
  readonly asynchronous?: boolean
  /**
   * Bytes of the disk. The file is made where there is none, and made longer where it is shorter; what is behind stays as it is. By default the file has to be there, and
   * all of it is the disk. A block device needs to be told its size.
   */
  readonly size?: number
}

const fdatasync = promisify(fs.fdatasync)

const zeroes = new Uint8Array(0x10_0000)

/**
 * Bytes of a file, read and written where the guest has them wherever that is safe. A flush is `fdatasync`: data, and what is needed to find them again.
 *
 * Node cannot punch holes into files: there is no discard, and zeroes are written as zeroes.
 */
export class FileBackend implements BlkBackend {
  readonly readOnly: boolean
  readonly synchronous: boolean
  #fd: number
  #size: number

  /** @throws the error of the system where the file cannot be opened, RangeError for a size that cannot be, and for a block device of unknown size */
  constructor(path: string, { readOnly = false, asynchronous = false, size }: FileOptions = {}) {
    this.readOnly = readOnly
    this.synchronous = !asynchronous
    // Before a file is made of that size.
    if (size !== undefined) checkInteger(size, 0, Number.MAX_SAFE_INTEGER, 'size')
    const create = size === undefined || readOnly ? 0 : fs.constants.O_CREAT
    this.#fd = fs.openSync(path, (readOnly ? fs.constants.O_RDONLY : fs.constants.O_RDWR) | create)
    try {
      this.#size = this.#begin(path, size)
    } catch (error) {
      fs.closeSync(this.#fd)
      throw error
    }
  }

  #begin(path: string, size: number | undefined): number {
    const stat = fs.fstatSync(this.#fd)
    if (stat.isFile()) {
      if (size !== undefined && !this.readOnly && size > stat.size) fs.ftruncateSync(this.#fd, size)
      return size ?? stat.size
    }
    if (size === undefined) throw new RangeError(`${path} is no regular file: say how many bytes it has (size)`)
    return size
  }

  get size(): number {
    return this.#size
  }
  /** The descriptor, for what Node has no call for. */
  protected get fd(): number {
    return this.#fd
  }

  read(position: number, into: readonly Uint8Array[]): Done {
    checkRange(position, lengthOf(into), this.#size)
    return this.synchronous ? this.#transfer(position, into, fs.readvSync) : this.#transferLater(position, into, fs.readv)
  }

  write(position: number, from: readonly Uint8Array[]): Done {
    checkRange(position, lengthOf(from), this.#size)
    return this.synchronous ? this.#transfer(position, from, fs.writevSync) : this.#transferLater(position, from, fs.writev)
  }

  flush(): Done {
    if (!this.synchronous) return fdatasync(this.#fd)
    fs.fdatasyncSync(this.#fd)
  }

  writeZeroes(position: number, length: number): Done {
    checkRange(position, length, this.#size)
    let later: Promise<void> | undefined
    for (let done = 0; done < length; done += zeroes.length) {
      const piece = zeroes.subarray(0, Math.min(length - done, zeroes.length))
      const write = (): Done => this.write(position + done, [piece])
      const result = later === undefined ? write() : later.then(write)
      if (typeof result === 'object') later = result
    }
    return later
  }

  /**
   * Makes the file longer, with zeroes, or shorter. Tell the device: `updateCapacity`.
   *
   * @throws the error of the system, RangeError for a size that cannot be
   */
  resize(size: number): void {
    checkInteger(size, 0, Number.MAX_SAFE_INTEGER, 'size')
    fs.ftruncateSync(this.#fd, size)
    this.#size = size
  }

  /** Looks how long the file is by now: somebody else may have made it longer or shorter. Gives the size; tell the device: `updateCapacity`. */
  measure(): number {
    const stat = fs.fstatSync(this.#fd)
    if (stat.isFile()) this.#size = stat.size
    return this.#size
  }

  /** Closes the file, once; nothing may be at work (see `idle` of the device). */
  close(): void {
    if (this.#fd >= 0) fs.closeSync(this.#fd)
    this.#fd = -1
  }

  /** The system may do less than it is asked for: then it is asked again. */
  #transfer(position: number, pieces: readonly Uint8Array[], call: Transfer): void {
    let at = position
    for (let rest = pieces; rest.length > 0; ) {
      const count = call(this.#fd, rest, at)
      rest = behind(rest, count)
      at += count
    }
  }

  /** The same with one promise for all of it: each takes longer than a part of the work. */
  #transferLater(position: number, pieces: readonly Uint8Array[], call: TransferLater): Promise<void> | undefined {
    if (pieces.length === 0) return undefined
    return new Promise((resolve, reject) => {
      let at = position
      let rest = pieces
      const next = (error: Error | null, count: number): void => {
        try {
          if (error !== null) throw error
          rest = behind(rest, count)
          at += count
          if (rest.length === 0) resolve()
          else call(this.#fd, rest, at, next)
        } catch (problem) {
          reject(problem as Error)
        }
      }
      call(this.#fd, rest, at, next)
    })
  }
}

type Transfer = (fd: number, pieces: readonly Uint8Array[], position: number) => number
type TransferLater = (fd: number, pieces: readonly Uint8Array[], position: number, done: (error: Error | null, count: number) => void) => void

/** The pieces behind the first bytes, which are done. */
function behind(pieces: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  if (count === 0) throw new Error('the file ends before the disk does, or has no room')
  const all = lengthOf(pieces)
  if (count === all) return []
  const rest = new Pieces(pieces)
  rest.take(count)
  return rest.take(all - count)
}
