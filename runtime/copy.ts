/** Copies between guest memory and arrays of our user. Short ones go through words, as `set(subarray)` makes an object each time and costs more than it copies. */

/** Copies by words of 64 bits. */
export const wordLayout = {
  /** Of an index or a length: 0 where it is whole words. */
  wordMask: 7,
  wordShift: 3,
  /** Bytes: until here words beat `set`; measured in bench/queue.mjs. */
  mostAligned: 512,
  /** Of a number of words in a copy. Where the engine knows how large a number is, it does not check sums for overflow. */
  countMask: 511,
} as const

const { wordMask, wordShift, mostAligned, countMask } = wordLayout
/** The same by words of 32 bits at any alignment. */
const mostUnaligned = 96
/** And byte by byte, into an array that is not used again and again. */
const mostBytewise = 24
/** Up to here, and a short copy further, a number is a 32-bit integer to the engine. */
const mostInt = 0x7fff_0000
/** Views of pieces of a region that are kept, a power of two; each takes about 100 bytes. */
const keptViews = 2048
const keptShift = 32 - 11

const noBytes = new Uint8Array(0)

/** Bytes, and the views of them that copies go through. */
export class ByteViews {
  declare readonly u8: Uint8Array
  declare readonly view: DataView
  /** Where the bytes begin, from the last multiple of 8 on; `u64` is empty unless it is 0. */
  readonly skew: number = 0
  declare readonly u64: BigUint64Array
  /** Views of pieces, with their offsets and lengths: a driver comes back with the same buffers, and then no object is made. */
  #kept: (Uint8Array | undefined)[] | undefined
  #keptPlaces: Int32Array = new Int32Array(0)

  constructor(u8: Uint8Array) {
    this.u8 = u8
    this.view = new DataView(u8.buffer, u8.byteOffset, u8.length)
    this.skew = u8.byteOffset & wordMask
    this.u64 = this.skew === 0 ? new BigUint64Array(u8.buffer, u8.byteOffset, Math.floor(u8.length / (wordMask + 1))) : new BigUint64Array(0)
  }

  /** A piece in place. */
  piece(offset: number, length: number): Uint8Array {
    if (offset > mostInt || length > mostInt) return this.u8.subarray(offset, offset + length)
    const from = offset | 0
    const count = length | 0
    // Buffers lie at round addresses. With this factor pages, parts of pages and frames side by side do not get into each other's places.
    const place = Math.imul(from ^ count, 0xbfb0_d801) >>> keptShift
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

/** The array of our user that was copied from or to last, and its views from the second time on: most devices copy through the same one again and again. */
const last: { bytes: Uint8Array; views: ByteViews } = { bytes: noBytes, views: new ByteViews(noBytes) }

/** Views of an array; undefined where it was not used last time either. */
export function viewsOf(bytes: Uint8Array): ByteViews | undefined {
  const { views } = last
  return views.u8 === bytes ? views : remember(bytes)
}

function remember(bytes: Uint8Array): ByteViews | undefined {
  if (last.bytes !== bytes || mayGrow(bytes.buffer)) {
    last.bytes = bytes
    return undefined
  }
  last.views = new ByteViews(bytes)
  return last.views
}

/** An array over such a buffer may become longer, and views of it would not. */
function mayGrow(buffer: ArrayBufferLike & { readonly resizable?: boolean; readonly growable?: boolean }): boolean {
  return buffer.resizable === true || buffer.growable === true
}

/** Copies `count` bytes of guest memory to an array of our user. */
export function copyOut(source: ByteViews, from: number, target: Uint8Array, to: number, count: number): void {
  if (count <= mostBytewise) copyEach(source.u8, from, target, to, count)
  else target.set(source.piece(from, count), to)
}

/**
 * Copies `count` bytes of an array of our user to guest memory.
 *
 * @param views - those of the source, where there are any
 */
export function copyIn(source: Uint8Array, views: ByteViews | undefined, from: number, target: Uint8Array, to: number, count: number): void {
  if (count <= mostBytewise) copyEach(source, from, target, to, count)
  else if (count === source.length) target.set(source, to)
  else target.set(views === undefined ? source.subarray(from, from + count) : views.piece(from, count), to)
}

/** Copies by words. False, with nothing copied, where that takes longer than `set`. Offsets are below 2^31. */
export function copyWords(source: ByteViews, from: number, target: ByteViews, to: number, count: number): boolean {
  let done = 0
  if (((from | to | source.skew | target.skew) & wordMask) === 0) {
    if (count > mostAligned) return false
    // No BigInt is made: the words go from one array to the other as they are.
    const words = source.u64
    const targetWords = target.u64
    // Where the engine knows how large a number is, it does not check sums for overflow. A step of a loop costs more than the word that it copies.
    const first = from >>> wordShift
    const place = to >>> wordShift
    const end = (count >>> wordShift) & countMask
    let i = 0
    for (const whole = end - 3; i < whole; i += 4) {
      targetWords[place + i] = words[first + i]!
      targetWords[place + i + 1] = words[first + i + 1]!
      targetWords[place + i + 2] = words[first + i + 2]!
      targetWords[place + i + 3] = words[first + i + 3]!
    }
    for (; i < end; i++) targetWords[place + i] = words[first + i]!
    done = end << wordShift
  } else if (count > mostUnaligned) return false
  for (; done + 4 <= count; done += 4) target.view.setUint32(to + done, source.view.getUint32(from + done, true), true)
  for (; done < count; done++) target.u8[to + done] = source.u8[from + done]!
  return true
}

function copyEach(source: Uint8Array, from: number, target: Uint8Array, to: number, count: number): void {
  for (let i = 0; i < count; i++) target[to + i] = source[from + i]!
}
