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
/** The same by words of 32 bits where these are aligned: fewer take no longer without that. */
const leastHalfAligned = 16
const mostHalfAligned = 256
/** And at any alignment. */
const mostUnaligned = 96
/** And byte by byte, into an array that is not used again and again. */
const mostBytewise = 24
/** Up to here, and a short copy further, a number is a 32-bit integer to the engine. */
const mostInt = 0x7fff_0000
/** Views of pieces of a region that are kept, a power of two; each takes about 100 bytes. */
const keptViews = 2048
const keptShift = 32 - 11

const noBytes = new Uint8Array(0)

/** Of words of 32 bits. */
const halfMask = 3
const halfShift = 2

/** Bytes, and the views of them that copies go through. */
export class ByteViews {
  declare readonly u8: Uint8Array
  declare readonly view: DataView
  /** Where the bytes begin, from the last multiple of 8 on; `u64` is empty unless it is 0, and so is `u32`. */
  readonly skew: number = 0
  declare readonly u64: BigUint64Array
  declare readonly u32: Uint32Array
  /** Views of pieces, with their offsets and lengths: a driver comes back with the same buffers, and then no object is made. */
  #kept: (Uint8Array | undefined)[] | undefined
  #keptPlaces: Int32Array = new Int32Array(0)

  constructor(u8: Uint8Array) {
    this.u8 = u8
    this.view = new DataView(u8.buffer, u8.byteOffset, u8.length)
    this.skew = u8.byteOffset & wordMask
    const [begin, length] = this.skew === 0 ? [u8.byteOffset, u8.length] : [0, 0]
    this.u64 = new BigUint64Array(u8.buffer, begin, Math.floor(length / BigUint64Array.BYTES_PER_ELEMENT))
    this.u32 = new Uint32Array(u8.buffer, begin, Math.floor(length / Uint32Array.BYTES_PER_ELEMENT))
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

/** An array of our user that was copied through, and its views from the second time on. */
interface Remembered {
  bytes: Uint8Array
  views: ByteViews
}

const remembered = Array.from({ length: 4 }, (): Remembered => ({ bytes: noBytes, views: new ByteViews(noBytes) }))
const [one, two, three, four] = remembered as [Remembered, Remembered, Remembered, Remembered]
let next = 0

/** Views of an array. Most devices copy through the same few again and again: for headers, payloads, events. Undefined where it was not used lately. */
export function viewsOf(bytes: Uint8Array): ByteViews | undefined {
  if (one.views.u8 === bytes) return one.views
  if (two.views.u8 === bytes) return two.views
  if (three.views.u8 === bytes) return three.views
  if (four.views.u8 === bytes) return four.views
  return remember(bytes)
}

function remember(bytes: Uint8Array): ByteViews | undefined {
  for (const known of remembered)
    if (known.bytes === bytes) {
      if (mayGrow(bytes.buffer)) return undefined
      known.views = new ByteViews(bytes)
      return known.views
    }
  const place = remembered[next] as Remembered
  next = (next + 1) % remembered.length
  place.bytes = bytes
  return undefined
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
  } else if (count >= leastHalfAligned) return copyHalves(source, from, target, to, count)
  return copyRest(source, from, target, to, done, count)
}

/** The same by words of 32 bits. */
function copyHalves(source: ByteViews, from: number, target: ByteViews, to: number, count: number): boolean {
  if (((from | to) & halfMask) !== 0 || source.skew !== 0 || target.skew !== 0)
    return count <= mostUnaligned && copyRest(source, from, target, to, 0, count)
  // Behind a header of 12 bytes, say.
  if (count > mostHalfAligned) return false
  const words = source.u32
  const targetWords = target.u32
  const first = from >>> halfShift
  const place = to >>> halfShift
  const end = (count >>> halfShift) & countMask
  let i = 0
  for (const whole = end - 7; i < whole; i += 8) {
    targetWords[place + i] = words[first + i]!
    targetWords[place + i + 1] = words[first + i + 1]!
    targetWords[place + i + 2] = words[first + i + 2]!
    targetWords[place + i + 3] = words[first + i + 3]!
    targetWords[place + i + 4] = words[first + i + 4]!
    targetWords[place + i + 5] = words[first + i + 5]!
    targetWords[place + i + 6] = words[first + i + 6]!
    targetWords[place + i + 7] = words[first + i + 7]!
  }
  for (; i < end; i++) targetWords[place + i] = words[first + i]!
  return copyRest(source, from, target, to, end << halfShift, count)
}

/** Copies what is left after `done` of the bytes, at any alignment. */
function copyRest(source: ByteViews, from: number, target: ByteViews, to: number, done: number, count: number): true {
  for (; done + 4 <= count; done += 4) target.view.setUint32(to + done, source.view.getUint32(from + done, true), true)
  for (; done < count; done++) target.u8[to + done] = source.u8[from + done]!
  return true
}

function copyEach(source: Uint8Array, from: number, target: Uint8Array, to: number, count: number): void {
  for (let i = 0; i < count; i++) target[to + i] = source[from + i]!
}
