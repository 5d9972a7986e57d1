/** What a block device stores its sectors in. */

/** Nothing when it is done, or a promise; what is thrown, or rejected with, makes the request fail. */
export type Done = void | Promise<void>

/**
 * Storage. Positions and lengths are bytes and multiples of 512, and lie inside `size`; calls may overlap in time, and those that do have no order.
 *
 * `read` and `write` get the memory as a vector of pieces one behind the other, as `fs.readvSync` takes it. The pieces are the guest's own memory where that is safe: they
 * may be used until the call is done (or its promise settles), and not kept. A vector may have more than a thousand pieces, of any lengths.
 *
 * What is optional and absent is not offered to the driver.
 */
export interface BlkBackend {
  /** Bytes. When it changes, call `updateCapacity` of the device. */
  readonly size: number
  /** Nothing can be written. */
  readonly readOnly?: boolean
  /**
   * No call ever gives a promise. Memory of the guest that may move (a WebAssembly memory that grows) is given in place to such backends alone; others get a copy.
   */
  readonly synchronous?: boolean
  /** Fills the pieces; the backend knows what to do where it has less than it should: throw. */
  read(position: number, into: readonly Uint8Array[]): Done
  write(position: number, from: readonly Uint8Array[]): Done
  /** Makes all writes that are done survive a loss of power. Absent: there is no such promise. */
  flush?(): Done
  /** The bytes are not needed any more; whatever they read as then. */
  discard?(position: number, length: number): Done
  /** Of ranges that `discard` can really give back: bytes that they begin and end at multiples of. */
  readonly discardAlignment?: number
  /**
   * @param unmap - storage may be given back as long as the range reads as zeroes
   */
  writeZeroes?(position: number, length: number, unmap: boolean): Done
  /** `writeZeroes` can give storage back. */
  readonly unmapsZeroes?: boolean
  /** Makes the bytes, and any copy of theirs that there may be in the storage, unrecoverable. */
  secureErase?(position: number, length: number): Done
}

/** A vector of pieces that is used up from its start. */
export class Pieces {
  readonly #pieces: readonly Uint8Array[]
  #next = 0
  /** Bytes of the next piece that are used up. */
  #used = 0

  constructor(pieces: readonly Uint8Array[]) {
    this.#pieces = pieces
  }

  /** The next bytes, in place: as many as are asked for, or as there are. */
  take(length: number): Uint8Array[] {
    const taken: Uint8Array[] = []
    for (let rest = length; rest > 0 && this.#next < this.#pieces.length; ) {
      const piece = this.#pieces[this.#next]!
      const end = Math.min(this.#used + rest, piece.length)
      if (end > this.#used) taken.push(end - this.#used === piece.length ? piece : piece.subarray(this.#used, end))
      rest -= end - this.#used
      this.#used = end === piece.length ? 0 : end
      if (this.#used === 0) this.#next++
    }
    return taken
  }
}

/** Bytes of a vector. */
export function lengthOf(pieces: readonly Uint8Array[]): number {
  let length = 0
  for (const piece of pieces) length += piece.length
  return length
}

/** @throws RangeError where a range does not lie in a storage of so many bytes */
export function checkRange(position: number, length: number, size: number): void {
  if (!(Number.isSafeInteger(position) && position >= 0 && length >= 0 && length <= size - position))
    throw new RangeError(`${length} bytes at ${position} do not lie in ${size} bytes`)
}
