/** Copies between guest memory and arrays of our user. Short ones go through words, as `set(subarray)` makes an object each time and costs more than it copies. */

import { segmentLayout } from './chain-slab.ts'

/** Copies up to that many bytes go by words of 64 bits where both sides are aligned, which beats `set` until there; measured in bench/queue.mjs. */
export const mostAligned = 512
/** The same by words of 32 bits at any alignment. */
const mostUnaligned = 96
/** And byte by byte, into an array that is not used again and again. */
const mostBytewise = 24
/** Up to here, and a short copy further, a number is a 32-bit integer to the engine. */
export const mostInt = 0x7fff_0000
const wordBytes = 8
/** Views of pieces of a region that are kept, a power of two; each takes about 100 bytes. */
const keptViews = 2048
const keptShift = 32 - 11

const noBytes = new Uint8Array(0)
const { rowWords, rowLow, rowHigh, rowLength } = segmentLayout

/** Bytes, and the views of them that copies go through. */
export class ByteViews {
  readonly u8: Uint8Array
  readonly view: DataView
  /** The bytes before the first one since a multiple of 8: or-ed to an index, it shows what is misaligned. Where it is not 0, the words are empty. */
  readonly skew: number
  readonly u64: BigUint64Array
  readonly u32: Uint32Array
  /** Views of pieces, with their offsets and lengths: a driver comes back with the same buffers, and then no object is made. */
  #kept: (Uint8Array | undefined)[] | undefined
  #keptPlaces: Int32Array = new Int32Array(0)

  constructor(u8: Uint8Array) {
    this.u8 = u8
    this.view = new DataView(u8.buffer, u8.byteOffset, u8.length)
    this.skew = u8.byteOffset % wordBytes
    const whole = this.skew === 0 ? u8.length : 0
    this.u64 = new BigUint64Array(u8.buffer, whole > 0 ? u8.byteOffset : 0, Math.floor(whole / wordBytes))
    this.u32 = new Uint32Array(u8.buffer, whole > 0 ? u8.byteOffset : 0, Math.floor(whole / 4))
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

/** Where the last copy by words ended. */
export const wordCopy = { segment: 0 }

/** A region as copies by words see it: it begins at `low + high * 2^32`, and is smaller than 2^31 bytes. */
export interface RegionViews {
  /** As a signed 32-bit number, like all integers of the engine. */
  readonly low: number
  readonly high: number
  readonly size: number
  readonly views: ByteViews
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
 * Copies pieces of one region to an array of our user, as long as they are short and aligned.
 *
 * @returns how many bytes were copied; `wordCopy.segment` says in which segment the next ones lie
 */
export function copyOutWords(
  rows: Uint32Array,
  segment: number,
  skip: number,
  source: RegionViews,
  target: ByteViews,
  to: number,
  count: number,
): number {
  const { low, high, size, views } = source
  const { u32, u64 } = views
  const { u32: target32, u64: target64, skew } = target
  let done = 0
  let at = segment
  let inside = skip
  while (done < count) {
    const row = at * rowWords
    const length = rows[row + rowLength]!
    // The difference is right modulo 2^32, and a region here is smaller than half of that.
    const offset = (rows[row + rowLow]! - low) | 0
    if (rows[row + rowHigh] !== high || offset < 0 || length > size - offset) break
    const left = length - inside
    const piece = left < count - done ? left : count - done
    const from = (offset + inside) | 0
    const place = (to + done) | 0
    const misaligned = from | place | piece | skew
    if (piece > mostAligned || (misaligned & 3) !== 0) break
    if ((misaligned & 7) === 0) copy64(u64, from >> 3, target64, place >> 3, piece >> 3)
    else copy32(u32, from >> 2, target32, place >> 2, piece >> 2)
    done += piece
    inside += piece
    if (inside === length) {
      inside = 0
      at++
    }
  }
  wordCopy.segment = at
  return done
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
  const misaligned = first | place | count | source.skew | target.skew
  if ((misaligned & 3) === 0) {
    if ((misaligned & 7) === 0) copy64(source.u64, first >> 3, target.u64, place >> 3, count >> 3)
    else copy32(source.u32, first >> 2, target.u32, place >> 2, count >> 2)
    return true
  }
  if (count > mostUnaligned) return false
  let done = 0
  for (; done + 4 <= count; done += 4) target.view.setUint32(place + done, source.view.getUint32(first + done, true), true)
  for (; done < count; done++) target.u8[place + done] = source.u8[first + done]!
  return true
}

/** No BigInt is made: the words go from one array to the other as they are. */
export function copy64(source: BigUint64Array, from: number, target: BigUint64Array, to: number, count: number): void {
  let i = 0
  for (; i + 4 <= count; i += 4) {
    target[to + i] = source[from + i]!
    target[to + i + 1] = source[from + i + 1]!
    target[to + i + 2] = source[from + i + 2]!
    target[to + i + 3] = source[from + i + 3]!
  }
  for (; i < count; i++) target[to + i] = source[from + i]!
}

export function copy32(source: Uint32Array, from: number, target: Uint32Array, to: number, count: number): void {
  for (let i = 0; i < count; i++) target[to + i] = source[from + i]!
}

function copyEach(source: Uint8Array, from: number, target: Uint8Array, to: number, count: number): void {
  const first = from | 0
  const place = to | 0
  for (let i = 0; i < count; i++) target[place + i] = source[first + i]!
}
