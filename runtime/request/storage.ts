import type { Struct } from 'virtgen/codegen/v1/wire'

/** Bytes. */
const mostByHand = 32

/** Memory of our own that grows when it must and is kept. */
export class Storage {
  bytes: Uint8Array
  /** Over the same bytes. */
  view: DataView

  constructor(length: number) {
    this.bytes = new Uint8Array(length)
    this.view = new DataView(this.bytes.buffer)
  }

  /** Makes room for `length` bytes; what lies there stays. */
  reserve(length: number): void {
    if (length <= this.bytes.length) return
    const larger = new Uint8Array(2 ** Math.ceil(Math.log2(length)))
    larger.set(this.bytes)
    this.bytes = larger
    this.view = new DataView(larger.buffer)
  }

  /** Moves an accessor to the first `length` bytes, which are reserved. It does what `at` does, which is common to all structs: the engine does not know of which one a call is. */
  place(struct: Struct, length: number): void {
    struct.$view = this.view
    struct.$offset = 0
    struct.$length = length
  }

  /** Makes the first `length` bytes 0, which are reserved. A call costs more than a few bytes. */
  clear(length: number): void {
    const { bytes } = this
    if (length > mostByHand) bytes.fill(0, 0, length)
    else for (let i = 0; i < length; i++) bytes[i] = 0
  }
}
