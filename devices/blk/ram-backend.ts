/** A disk in memory of the host. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import { type BlkBackend, checkRange, lengthOf } from './backend.ts'

/**
 * Bytes of an array. Nothing outlives the process, but for what `bytes` shows; a flush has nothing to do.
 */
export class RamBackend implements BlkBackend {
  readonly synchronous = true
  #bytes: Uint8Array

  /**
   * @param content - the array itself, not a copy of it; or a number of zeroes
   * @throws RangeError for what is no length
   */
  constructor(content: Uint8Array | number) {
    this.#bytes = typeof content === 'number' ? new Uint8Array(checkInteger(content, 0, Number.MAX_SAFE_INTEGER, 'content')) : content
  }

  get size(): number {
    return this.#bytes.length
  }
  /** All of it, as it is now; another array after `resize`. */
  get bytes(): Uint8Array {
    return this.#bytes
  }

  read(position: number, into: readonly Uint8Array[]): void {
    checkRange(position, lengthOf(into), this.size)
    let at = position
    for (const piece of into) {
      piece.set(this.#bytes.subarray(at, at + piece.length))
      at += piece.length
    }
  }

  write(position: number, from: readonly Uint8Array[]): void {
    checkRange(position, lengthOf(from), this.size)
    let at = position
    for (const piece of from) {
      this.#bytes.set(piece, at)
      at += piece.length
    }
  }

  flush(): void {}

  writeZeroes(position: number, length: number): void {
    checkRange(position, length, this.size)
    this.#bytes.fill(0, position, position + length)
  }

  /** There is no other copy of the bytes than the one that is overwritten. */
  secureErase(position: number, length: number): void {
    this.writeZeroes(position, length)
  }

  /**
   * Gets longer, with zeroes, or shorter. Tell the device: `updateCapacity`.
   *
   * @throws RangeError for what is no length
   */
  resize(size: number): void {
    const bytes = new Uint8Array(checkInteger(size, 0, Number.MAX_SAFE_INTEGER, 'size'))
    bytes.set(this.#bytes.subarray(0, size))
    this.#bytes = bytes
  }
}
