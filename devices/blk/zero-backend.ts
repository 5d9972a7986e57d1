/** A disk that holds nothing. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import { type BlkBackend, checkRange, lengthOf } from './backend.ts'

/** Reads as zeroes, whatever was written; of any size. What is below an overlay, or measures a device without its storage. */
export class ZeroBackend implements BlkBackend {
  readonly size: number
  readonly synchronous = true
  readonly unmapsZeroes = true

  /** @throws RangeError for what is no length */
  constructor(size: number) {
    this.size = checkInteger(size, 0, Number.MAX_SAFE_INTEGER, 'size')
  }

  read(position: number, into: readonly Uint8Array[]): void {
    checkRange(position, lengthOf(into), this.size)
    for (const piece of into) piece.fill(0)
  }
  write(position: number, from: readonly Uint8Array[]): void {
    checkRange(position, lengthOf(from), this.size)
  }
  flush(): void {}
  discard(position: number, length: number): void {
    checkRange(position, length, this.size)
  }
  writeZeroes(position: number, length: number): void {
    checkRange(position, length, this.size)
  }
}
