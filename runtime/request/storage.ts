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
}
