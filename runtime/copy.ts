/** Copies between guest memory and arrays of our user. Short ones go through words, as `set(subarray)` makes an object each time and costs more than it copies. */

/** Copies up to that many bytes go by words of 64 bits where both sides are aligned, which beats `set` until there; measured in bench/queue.mjs. */
const mostAligned = 512
/** The same by words of 32 bits at any alignment. */
const mostUnaligned = 96
/** And byte by byte, into an array that is not used again and again. */
const mostBytewise = 24
/** Up to here, and a short copy further, a number is a 32-bit integer to the engine. */
const mostInt = 0x7fff_0000
const wordBytes = 8
/** Views of pieces of a region that are kept, a power of two; each takes about 100 bytes. */
const keptViews = 2048
const keptShift = 32 - 11

const noBytes = new Uint8Array(0)

/** Bytes, and the views of them that copies go through. */
export class ByteViews {
  readonly u8: Uint8Array
  readonly view: DataView
  /** Whether the bytes begin at a multiple of 8; otherwise `u64` is empty. */
  readonly isAligned: boolean
  readonly u64: BigUint64Array
  /** Views of pieces, with their offsets and lengths: a driver comes back with the same buffers, and then no object is made. */
  #kept: (Uint8Array | undefined)[] | undefined
  #keptPlaces: Int32Array = new Int32Array(0)

  constructor(u8: Uint8Array) {
    this.u8 = u8
    this.view = new DataView(u8.buffer, u8.byteOffset, u8.length)
    this.isAligned = u8.byteOffset % wordBytes === 0
    this.u64 = this.isAligned ? new BigUint64Array(u8.buffer, u8.byteOffset, Math.floor(u8.length / wordBytes)) : new BigUint64Array(0)
  }

  /** A piece in place. */
  piece(offset: number, length: number): Uint8Array {
    if (offset > mostInt || length > mostInt) return this.u8.subarray(offset, offset + length)
    const from = offset | 0
    const count = length | 0
    // Buffers lie at round addresses: all bits of the offset must count.
    const place = Math.imul(from ^ count, 0x9e37_79b1) >>> keptShift
    const places = this.#keptPlaces
    if (places.length > 0 && places[2 * place] === from && places[2 * place + 1] === count) return this.#kept![place]!
    return this.#keep(place, from, count)
  }

  #keep(place: number, from: number, count: number): Uint8Array {
    if (this.#kept === undefined) {
      this.#kept = new Array<Uint8Array | undefined>(keptViews).fill(undefined)
      this.#keptPlaces = new Int32Array(2 * keptViews).fill(-1)
    }
    const made = this.u8.subarray(from, from + count)
    this.#kept[place] = made
    this.#keptPlaces[2 * place] = from
    this.#keptPlaces[2 * place + 1] = count
    return made
  }
}

const none = new ByteViews(noBytes)
/** The array of our user that was copied from or to last, and its views from the second time on: most devices copy through the same one again and again. */
let last: Uint8Array = noBytes
let lastViews = none

/** Views of an array; undefined where it was not used last time either. */
export function viewsOf(bytes: Uint8Array): ByteViews | undefined {
  return lastViews.u8 === bytes ? lastViews : remember(bytes)
}

function remember(bytes: Uint8Array): ByteViews | undefined {
  if (last !== bytes) {
    last = bytes
    return undefined
  }
  lastViews = new ByteViews(bytes)
  return lastViews
}

/**
 * Copies `count` bytes of guest memory to an array of our user.
 *
 * @param views - those of the target, where there are any
 */
export function copyOut(source: ByteViews, from: number, target: Uint8Array, views: ByteViews | undefined, to: number, count: number): void {
  if (count <= mostAligned && from <= mostInt) {
    if (views === undefined) {
      if (count <= mostBytewise) {
        copyEach(source.u8, from, target, to, count)
        return
      }
    } else if (copyWords(source, from, views, to, count)) return
  }
  target.set(source.piece(from, count), to)
}

/**
 * Copies `count` bytes of an array of our user to guest memory.
 *
 * @param views - those of the source, where there are any
 */
export function copyIn(source: Uint8Array, views: ByteViews | undefined, from: number, target: ByteViews, to: number, count: number): void {
  if (count <= mostAligned && to <= mostInt) {
    if (views === undefined) {
      if (count <= mostBytewise) {
        copyEach(source, from, target.u8, to, count)
        return
      }
    } else if (copyWords(views, from, target, to, count)) return
  }
  if (count === source.length) target.u8.set(source, to)
  else target.u8.set(source.subarray(from, from + count), to)
}

/** Copies by words. False, with nothing copied, where that takes longer than `set`. */
function copyWords(source: ByteViews, from: number, target: ByteViews, to: number, count: number): boolean {
  // Offsets come from differences of addresses, which are floating-point numbers to the engine: as indices of a loop they cost five times as much.
  const first = from | 0
  const place = to | 0
  let done = 0
  if (((first | place) & 7) === 0 && count >= wordBytes && source.isAligned && target.isAligned) {
    // No BigInt is made: the words go from one array to the other as they are.
    const words = source.u64
    const targetWords = target.u64
    const firstWord = first >> 3
    const placeWord = place >> 3
    const end = count >> 3
    let i = 0
    for (; i + 4 <= end; i += 4) {
      targetWords[placeWord + i] = words[firstWord + i]!
      targetWords[placeWord + i + 1] = words[firstWord + i + 1]!
      targetWords[placeWord + i + 2] = words[firstWord + i + 2]!
      targetWords[placeWord + i + 3] = words[firstWord + i + 3]!
    }
    for (; i < end; i++) targetWords[placeWord + i] = words[firstWord + i]!
    done = end << 3
  } else if (count > mostUnaligned) return false
  else for (; done + 4 <= count; done += 4) target.view.setUint32(place + done, source.view.getUint32(first + done, true), true)
  for (; done < count; done++) target.u8[place + done] = source.u8[first + done]!
  return true
}

function copyEach(source: Uint8Array, from: number, target: Uint8Array, to: number, count: number): void {
  const first = from | 0
  const place = to | 0
  for (let i = 0; i < count; i++) target[place + i] = source[first + i]!
}
