/** A part of the memory of QEMU's guest, in our own: Node has no mmap. Changed bytes are carried over while QEMU stands still. */
import { closeSync, openSync, readSync, writeSync } from 'node:fs'

const pageSize = 0x1000

export class MemoryMirror {
  /** Our copy. */
  readonly bytes: Uint8Array
  /** Both copies as they were after the last exchange. */
  readonly #shadow: Uint8Array
  readonly #fresh: Uint8Array
  readonly #fd: number
  readonly #offset: number

  /**
   * @param path - the file of a `memory-backend-file` with share=on
   * @param offset - where the part begins in it
   */
  constructor(path: string, offset: number, length: number) {
    this.bytes = new Uint8Array(length)
    this.#shadow = new Uint8Array(length)
    this.#fresh = new Uint8Array(length)
    this.#offset = offset
    this.#fd = openSync(path, 'r+')
  }

  /** We have changed something. */
  get isChanged(): boolean {
    return Buffer.compare(this.bytes, this.#shadow) !== 0
  }

  /** Writes what we have changed, and nothing else: the bytes beside it are QEMU's. */
  push(): void {
    forEachRun(this.bytes, this.#shadow, (from, to) => {
      writeSync(this.#fd, this.bytes, from, to - from, this.#offset + from)
      this.#shadow.set(this.bytes.subarray(from, to), from)
    })
  }

  /** Takes what QEMU has changed; behind `push`. */
  pull(): void {
    readSync(this.#fd, this.#fresh, 0, this.#fresh.length, this.#offset)
    forEachRun(this.#fresh, this.#shadow, (from, to) => {
      const changed = this.#fresh.subarray(from, to)
      this.bytes.set(changed, from)
      this.#shadow.set(changed, from)
    })
  }

  close(): void {
    closeSync(this.#fd)
  }
}

/** Calls for each run of bytes in which the two differ. */
function forEachRun(a: Uint8Array, b: Uint8Array, run: (from: number, to: number) => void): void {
  if (Buffer.compare(a, b) === 0) return
  for (let page = 0; page < a.length; page += pageSize) {
    const end = Math.min(page + pageSize, a.length)
    if (Buffer.compare(a.subarray(page, end), b.subarray(page, end)) === 0) continue
    for (let at = page; at < end; at++) {
      if (a[at] === b[at]) continue
      const from = at
      while (at < end && a[at] !== b[at]) at++
      run(from, at)
    }
  }
}
