/** Frames in a stream of bytes, each behind its length: what QEMU's `-netdev stream` and passt speak. */

/** Bytes of the length, big-endian. */
const lengthBytes = 4

/** Puts a frame behind its length. */
export function packFrame(frame: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(lengthBytes + frame.length)
  bytes.writeUInt32BE(frame.length)
  bytes.set(frame, lengthBytes)
  return bytes
}

/** Finds the frames in what comes in pieces of any length. What one frame costs does not depend on the pieces. */
export class FrameReader {
  readonly #longest: number
  readonly #length = Buffer.alloc(lengthBytes)
  #lengthHave = 0
  /** The frame that has begun, as far as it has come; undefined between frames. */
  #frame: Buffer | undefined
  #frameHave = 0

  /** @param longest - bytes of a frame, at most */
  constructor(longest: number) {
    this.#longest = longest
  }

  /** Forgets what has come of a frame. */
  reset(): void {
    this.#lengthHave = 0
    this.#frame = undefined
  }

  /**
   * Takes a piece of the stream.
   *
   * @param emit - gets each frame, good until it returns; false: no more for now
   * @returns how many bytes were taken, fewer than there are where `emit` has said false
   * @throws RangeError for a frame that is too long; the stream is of no use then
   */
  read(bytes: Buffer, emit: (frame: Uint8Array) => boolean): number {
    let at = 0
    while (at < bytes.length) {
      if (this.#frame === undefined) {
        at = this.#readLength(bytes, at)
        if (this.#lengthHave < lengthBytes) break
        const length = this.#length.readUInt32BE()
        if (length > this.#longest) throw new RangeError(`a frame of ${length} bytes; there are none with more than ${this.#longest}`)
        this.#lengthHave = 0
        // Mostly all of it is there.
        if (bytes.length - at >= length) {
          at += length
          if (length > 0 && !emit(bytes.subarray(at - length, at))) break
          continue
        }
        this.#frame = Buffer.allocUnsafe(length)
        this.#frameHave = 0
      }
      const frame = this.#frame
      const piece = bytes.copy(frame, this.#frameHave, at)
      at += piece
      this.#frameHave += piece
      if (this.#frameHave < frame.length) break
      this.#frame = undefined
      if (!emit(frame)) break
    }
    return at
  }

  #readLength(bytes: Buffer, at: number): number {
    const piece = bytes.copy(this.#length, this.#lengthHave, at)
    this.#lengthHave += piece
    return at + piece
  }
}
