/** Bytes in the making: zero until something is written. */

/** More than any message: what claims to be longer is a mistake. */
const maximumLength = 2 ** 31 - 1

export class Output {
  #bytes = new Uint8Array(64)
  #view = new DataView(this.#bytes.buffer)
  /** Where the next byte goes. */
  position = 0
  /** End of what has been written or left as zero. */
  length = 0

  /** Moves to a place, ahead or back; what is passed over stays as it is. */
  moveTo(position: number, path: string): void {
    this.#reserve(position, path)
    this.position = position
    this.length = Math.max(this.length, position)
  }

  put(bytes: Uint8Array, path: string): void {
    const start = this.position
    this.moveTo(start + bytes.length, path)
    this.#bytes.set(bytes, start)
  }

  putInteger(value: bigint, size: 1 | 2 | 4 | 8, littleEndian: boolean, path: string): void {
    const at = this.position
    this.moveTo(at + size, path)
    if (size === 1) this.#view.setUint8(at, Number(value))
    else if (size === 2) this.#view.setUint16(at, Number(value), littleEndian)
    else if (size === 4) this.#view.setUint32(at, Number(value), littleEndian)
    else this.#view.setBigUint64(at, value, littleEndian)
  }

  /** Takes back what was written behind a place. */
  cut(position: number): void {
    this.#bytes.fill(0, position, this.length)
    this.length = Math.min(this.length, position)
    this.position = Math.min(this.position, position)
  }

  /** What stands at the place already. */
  getInteger(size: 1 | 2 | 4 | 8, littleEndian: boolean, path: string): bigint {
    this.#reserve(this.position + size, path)
    if (size === 1) return BigInt(this.#view.getUint8(this.position))
    if (size === 2) return BigInt(this.#view.getUint16(this.position, littleEndian))
    if (size === 4) return BigInt(this.#view.getUint32(this.position, littleEndian))
    return this.#view.getBigUint64(this.position, littleEndian)
  }

  bytes(from = 0, to: number = this.length): Uint8Array {
    return this.#bytes.slice(from, to)
  }

  #reserve(length: number, path: string): void {
    if (length <= this.#bytes.length) return
    if (length > maximumLength) throw new RangeError(`${path} ends at byte ${length}; at most ${maximumLength} can be written`)
    const bytes = new Uint8Array(Math.min(maximumLength, Math.max(length, this.#bytes.length * 2)))
    bytes.set(this.#bytes)
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer)
  }
}
