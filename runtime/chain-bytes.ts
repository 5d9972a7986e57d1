/** Cursors over the two parts of a chain. They look into guest memory piece by piece and keep no view of it. */
import { checkInteger, type Struct } from 'virtgen/codegen/v1/wire'
import type { Chain } from './chain.ts'
import { type SegmentSlab, segmentLayout } from './chain-slab.ts'
import { chainJoined, chainLent, chainOut, chainTouched } from './chain-state.ts'
import { copyIn, copyOut, copyWords, viewsOf, wordLayout } from './copy.ts'
import type { GuestMemory } from './memory.ts'

const nothing = new Uint8Array(0)
const { rowWords, rowLow, rowHigh, rowLength, rowPosition, segmentMask } = segmentLayout
// What is imported is loaded, and checked for being initialized, at each use; what a module keeps to itself is folded into the code.
const out = chainOut
const lent = chainLent
const touched = chainTouched
const words = copyWords
const mostInt = 0x7fff_ffff
const { wordMask, wordShift, mostAligned, countMask } = wordLayout
const no64 = new BigUint64Array(0)
const viewsFor = viewsOf

/**
 * A cursor over the device-readable or the device-writable part of a chain. Positions are bytes from the start of the window, which is the whole part at first.
 *
 * After the chain is completed every use throws Error. After a reset the cursor still moves, and copies nothing.
 */
export abstract class ChainBytes {
  declare protected readonly chain: Chain
  declare protected readonly slab: SegmentSlab
  declare protected readonly memory: GuestMemory
  /** @internal Use of the chain that the cursor belongs to. */
  $generation = 0
  /** First segment in the slab, and how many there are. */
  protected first = 0
  protected count = 0
  /** Bytes of the whole part. */
  protected total = 0
  /** The window, and the place of the cursor: bytes from the start of the part. */
  protected start = 0
  protected end = 0
  protected at = 0
  /** Segment that holds the byte at the cursor; the one behind the last where there is none. */
  protected segment = 0

  /** @internal */
  constructor(chain: Chain) {
    this.chain = chain
    this.slab = chain.$slab
    this.memory = chain.$memory
  }

  /** @internal Begins a use of the chain: the part has these segments and bytes. */
  $begin(generation: number, first: number, count: number, total: number): void {
    this.$generation = generation
    this.first = first
    this.count = count
    this.total = total
    this.start = 0
    this.end = total
    this.at = 0
    this.segment = first
  }

  /** Bytes of the window; of the whole part where none was set. */
  get length(): number {
    this.require()
    return this.end - this.start
  }
  /** Bytes from the start of the window. */
  get position(): number {
    this.require()
    return this.at - this.start
  }
  /** Bytes from the position to the end of the window. */
  get remaining(): number {
    this.require()
    return this.end - this.at
  }

  /**
   * Limits the cursor to the bytes `start` to `end` of the part and goes to their start.
   *
   * @throws RangeError outside the part
   */
  window(start: number, end: number): this {
    this.require()
    checkInteger(end, 0, this.total, 'end')
    checkInteger(start, 0, end, 'start')
    return this.$window(start, end)
  }

  /** @internal The same of a chain that is out, with indices that are in the part. */
  $window(start: number, end: number): this {
    this.start = start
    this.end = end
    this.at = start
    this.segment = this.segmentAt(start)
    return this
  }

  /** @internal Bytes of the whole part. */
  get $total(): number {
    return this.total
  }

  /** Pieces of contiguous memory from the position to the end of the window. */
  get segments(): number {
    this.require()
    if (this.at === this.end) return 0
    return this.segmentAt(this.end - 1) - this.segment + 1
  }

  /**
   * The `i`-th of these pieces in place, from the position on. Not to be kept across an `await`, a re-entry of the guest or `onWrite`, except by work that completes
   * the chain when it is done: a reset of the queue waits for that. Empty after a reset.
   *
   * @throws RangeError where there is no such piece
   */
  bytes(i: number): Uint8Array {
    const usable = this.use()
    const segment = this.segment + i
    if (!(Number.isInteger(i) && i >= 0 && segment < this.first + this.count && (i === 0 ? this.at : this.slab.position(segment)) < this.end))
      checkInteger(i, 0, this.segments - 1, 'piece')
    if (!usable) return nothing
    const begin = this.slab.position(segment)
    const length = this.slab.length(segment)
    const address = this.slab.address(segment)
    const from = Math.max(this.at, begin)
    const to = Math.min(this.end, begin + length)
    this.lend(from, to)
    const region = this.memory.regionOf(address, length)
    if (region === undefined) return nothing
    const offset = address - region.guestAddress
    return region.$views.piece(offset + from - begin, to - from)
  }

  /**
   * The next piece of contiguous memory in place, at most `limit` bytes of it, and moves behind it; empty at the end of the window and after a reset. As for `bytes`.
   *
   * @throws RangeError for what is no limit
   */
  piece(limit: number = this.end - this.at): Uint8Array {
    checkInteger(limit, 0, Number.MAX_SAFE_INTEGER, 'limit')
    const usable = this.use()
    if (this.at === this.end || limit === 0) return nothing
    const { segment, slab } = this
    const inside = this.at - slab.position(segment)
    const length = slab.length(segment)
    const count = Math.min(limit, length - inside, this.end - this.at)
    const from = this.at
    this.seek(from + count)
    if (!usable) return nothing
    this.lend(from, from + count)
    const address = slab.address(segment)
    const region = this.memory.regionOf(address, length)
    if (region === undefined) return nothing
    const offset = address - region.guestAddress + inside
    return region.$views.piece(offset, count)
  }

  /** What remains, all pieces at once: for calls that gather and scatter. As for `bytes`. */
  vector(): Uint8Array[] {
    const first = this.piece()
    if (first.length === 0) return []
    const pieces = [first]
    while (this.at < this.end) {
      const piece = this.piece()
      if (piece.length === 0) break
      pieces.push(piece)
    }
    return pieces
  }

  /** What remains, piece by piece. */
  *pieces(): IterableIterator<Uint8Array> {
    while (this.remaining > 0) {
      const piece = this.piece()
      if (piece.length === 0) return
      yield piece
    }
  }

  /**
   * Bytes from a position of the window to the end of the descriptor it lies in, at most to the end of the window. What the legacy framing takes lengths from.
   *
   * @throws RangeError outside the window
   */
  descriptorLength(position: number): number {
    this.require()
    const at = this.start + position
    checkInteger(position, 0, this.end - this.start - 1, 'position')
    const behind = this.first + this.count
    let segment = this.segmentAt(at) + 1
    if ((this.chain.$state & chainJoined) !== 0) while (segment < behind && this.chain.$joints.includes(segment - this.chain.$first)) segment++
    const end = segment < behind ? this.slab.position(segment) : this.total
    return Math.min(end, this.end) - at
  }

  /**
   * Moves on by `count` bytes.
   *
   * @throws RangeError where fewer remain
   */
  skip(count: number): this {
    this.require()
    this.requireRemaining(count)
    this.seek(this.at + count)
    return this
  }

  /** Goes back to the start of the window. */
  rewind(): this {
    this.require()
    this.seek(this.start)
    return this
  }

  /** Throws after completion: the cursor may already belong to another request. */
  protected require(): void {
    const { chain } = this
    if ((chain.$state & out) === 0 || this.$generation !== chain.$ticket) chain.$misused()
  }

  /** The same before memory is touched, with views and regions as they are now. False after a reset. */
  protected use(): boolean {
    this.require()
    return this.chain.$prepare()
  }

  /** Whether a segment lies in the beginning of a region, which is the one that was found last then. */
  protected isNear(segment: number): boolean {
    const address = this.slab.address(segment)
    const length = this.slab.length(segment)
    const region = this.memory.regionOf(address, length)
    return region !== undefined && address + length <= region.guestAddress + region.$span
  }

  /** `copyTo` and `copyFrom` with whatever numbers. */
  protected copyAny(bytes: Uint8Array, start = 0, end: number = bytes.length, isOut: boolean): number {
    requireRange(bytes, start, end)
    if (!this.use()) return 0
    const from = this.at
    const count = this.copyFar(bytes, start, end, isOut)
    if (!isOut) this.lend(from, from + count)
    return count
  }

  /** Copies what has room between two indices of an array where segments lie further on, or in no region any more: these read as zeros, and are not written. */
  protected copyFar(bytes: Uint8Array, start: number, end: number, isOut: boolean): number {
    const { slab } = this
    const count = Math.min(this.end - this.at, end - start)
    let index = start
    for (const until = this.at + count; this.at < until; ) {
      const length = slab.length(this.segment)
      const address = slab.address(this.segment)
      const inside = this.at - slab.position(this.segment)
      const piece = Math.min(until - this.at, length - inside)
      const mine = bytes.subarray(index, index + piece)
      const region = this.memory.regionOf(address, length)
      if (region !== undefined) {
        const offset = address - region.guestAddress + inside
        const theirs = region.u8.subarray(offset, offset + piece)
        if (isOut) mine.set(theirs)
        else theirs.set(mine)
      } else if (isOut) mine.fill(0)
      index += piece
      this.at += piece
      if (inside + piece === length) this.segment++
    }
    return count
  }

  protected requireRemaining(count: number): void {
    checkInteger(count, 0, this.end - this.at, 'count')
  }

  /** Notes that these bytes of the part were given out. */
  protected lend(_from: number, _to: number): void {
    this.chain.$state |= lent
  }

  protected seek(at: number): void {
    this.at = at
    this.segment = this.segmentAt(at)
  }

  /** Segment that holds a byte of the part; the one behind the last for the end of the part. */
  protected segmentAt(at: number): number {
    if (at >= this.total) return this.first + this.count
    const { slab } = this
    const here = this.segment
    // Mostly the cursor is there already, or right before.
    if (here < this.first + this.count) {
      const inside = at - slab.position(here)
      const length = slab.length(here)
      if (inside >= 0 && inside < length) return here
      if (inside === length && slab.length(here + 1) > 0) return here + 1
    }
    let low = this.first
    let high = this.first + this.count - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (slab.position(middle) <= at) low = middle
      else high = middle - 1
    }
    return low
  }

  /** Makes another cursor one over the next `count` bytes and moves behind them. */
  protected split<T extends ChainBytes>(other: T, count: number): T {
    this.require()
    this.requireRemaining(count)
    other.$begin(this.$generation, this.first, this.count, this.total)
    other.window(this.at, this.at + count)
    this.seek(this.at + count)
    return other
  }
}

/** A cursor over what the device reads. */
export class ReadableBytes extends ChainBytes {
  /**
   * Copies to `target`, from its index `start` (0) up to `end` (its length), what remains and has room there, and moves on.
   *
   * @returns how many bytes; 0 after a reset
   * @throws RangeError for a range outside the target
   */
  copyTo(target: Uint8Array, start?: number, end?: number): number {
    // Integers of 32 bits from here on; any other numbers are for `copyAny`, which throws what there is to throw.
    let to = 0
    let last = target.length | 0
    if (start !== undefined || end !== undefined || target.length > mostInt) {
      if (start !== undefined) to = start | 0
      if (end !== undefined) last = end | 0
      if (to < 0 || to > last || last > target.length || to !== (start ?? 0) || last !== (end ?? target.length))
        return this.copyAny(target, start, end, true)
    }
    if (!this.use()) return 0
    const count = Math.min(this.end - this.at, last - to)
    if (count === 0) return 0
    const rows = this.slab.words
    const views = viewsFor(target)
    const target64 = views === undefined ? no64 : views.u64
    /** Or-ed to an index: its lower bits are 0 where words are aligned. */
    const skew = views === undefined ? 1 : views.skew
    let region = this.memory.$last
    // What each piece needs stands in locals, as the engine checks a field at each turn of a loop.
    let { $low: low, $high: high, $span: span } = region
    let source64 = region.$views.u64
    let { segment } = this
    let inside = this.at === 0 ? 0 : (this.at - rows[(segment & segmentMask) * rowWords + rowPosition]!) | 0
    for (let rest = count; ; ) {
      const row = (segment & segmentMask) * rowWords
      // 2 GiB or more are below 0.
      const length = rows[row + rowLength]! | 0
      const offset = (rows[row + rowLow]! - low) | 0
      // Nothing here overflows: offset and length are compared with a span as non-negative integers.
      if ((length | offset) < 0 || offset > ((span - length) | 0) || (rows[row + rowHigh]! | 0) !== high) {
        if (!this.isNear(segment)) {
          this.at += count - rest
          this.segment = segment
          return count - rest + this.copyFar(target, to, to + rest, true)
        }
        region = this.memory.$last
        low = region.$low
        high = region.$high
        span = region.$span
        source64 = region.$views.u64
        continue
      }
      const left = (length - inside) | 0
      const piece = Math.min(rest, left)
      const from = (offset + inside) | 0
      if (((from | to | piece | skew) & wordMask) === 0 && piece <= mostAligned) {
        // As in `copyWords`, which would not be put into this loop each time.
        const first = from >>> wordShift
        const place = to >>> wordShift
        const end = (piece >>> wordShift) & countMask
        let i = 0
        for (const whole = end - 7; i < whole; i += 8) {
          target64[place + i] = source64[first + i]!
          target64[place + i + 1] = source64[first + i + 1]!
          target64[place + i + 2] = source64[first + i + 2]!
          target64[place + i + 3] = source64[first + i + 3]!
          target64[place + i + 4] = source64[first + i + 4]!
          target64[place + i + 5] = source64[first + i + 5]!
          target64[place + i + 6] = source64[first + i + 6]!
          target64[place + i + 7] = source64[first + i + 7]!
        }
        if ((end & 4) !== 0) {
          target64[place + i] = source64[first + i]!
          target64[place + i + 1] = source64[first + i + 1]!
          target64[place + i + 2] = source64[first + i + 2]!
          target64[place + i + 3] = source64[first + i + 3]!
          i += 4
        }
        for (; i < end; i++) target64[place + i] = source64[first + i]!
      } else if (views === undefined || !words(region.$views, from, views, to, piece)) copyOut(region.$views, from, target, to, piece)
      if (piece === left) segment++
      rest -= piece
      if (rest === 0) break
      to += piece
      inside = 0
    }
    this.at += count
    this.segment = segment
    return count
  }

  /**
   * Copies the bytes that the struct needs at least into the chain's own storage, puts the accessor there and moves on. The guest cannot change them any more, and
   * they stay until the chain is completed. After a reset they are zeros.
   *
   * @throws RangeError where fewer bytes remain
   */
  struct<S extends Struct>(accessor: S): S {
    this.require()
    const length = accessor.$minimum
    this.requireRemaining(length)
    const offset = this.chain.$reserve(length)
    const copies = this.chain.$copies
    const copied = this.copyTo(copies, offset, offset + length)
    if (copied < length) copies.fill(0, offset + copied, offset + length)
    return accessor.at(this.chain.$copiesView, offset, length)
  }

  /** A cursor of its own over the next `count` bytes; this one moves behind them. Allocates. */
  take(count: number): ReadableBytes {
    return this.split(new ReadableBytes(this.chain), count)
  }
}

/** A cursor over what the device writes. */
export class WritableBytes extends ChainBytes {
  /** How far the part is written: bytes from its start. */
  protected reached = 0
  /** Bytes of the part that were written or given out lie between these. */
  protected low = 0
  protected high = 0

  /** @internal */
  override $begin(generation: number, first: number, count: number, total: number): void {
    super.$begin(generation, first, count, total)
    this.reached = 0
    this.low = total
    this.high = 0
  }

  /**
   * How many bytes of the window are written, as far as this cursor knows: up to the highest position that `copyFrom`, `fill` and `skip` reached, or through the
   * end of the pieces that `bytes` gave out. To be set by who writes less through a view, from 0 to `length`.
   */
  get written(): number {
    this.require()
    return Math.max(0, Math.min(this.reached, this.end) - this.start)
  }
  set written(value: number) {
    this.require()
    checkInteger(value, 0, this.end - this.start, 'written')
    this.reached = this.start + value
    this.chain.$state |= touched
    const whole = this.chain.writable
    if (whole !== this) whole.reached = Math.max(whole.reached, this.reached)
  }

  /** @internal The same of the whole part. */
  get $reached(): number {
    return this.reached
  }
  /**
   * Copies from `source`, from its index `start` (0) up to `end` (its length), what has room in the window, and moves on.
   *
   * @returns how many bytes; 0 after a reset
   * @throws RangeError for a range outside the source
   */
  copyFrom(source: Uint8Array, start?: number, end?: number): number {
    // As in `copyTo`.
    let from = 0
    let last = source.length | 0
    if (start !== undefined || end !== undefined || source.length > mostInt) {
      if (start !== undefined) from = start | 0
      if (end !== undefined) last = end | 0
      if (from < 0 || from > last || last > source.length || from !== (start ?? 0) || last !== (end ?? source.length))
        return this.copyAny(source, start, end, false)
    }
    if (!this.use()) return 0
    const count = Math.min(this.end - this.at, last - from)
    this.touch(this.at, this.at + count, true)
    const rows = this.slab.words
    const views = viewsFor(source)
    let region = this.memory.$last
    let { at, segment } = this
    // As in `copyTo`.
    for (let rest = count; rest > 0; ) {
      const row = (segment & segmentMask) * rowWords
      const length = rows[row + rowLength]! | 0
      const offset = (rows[row + rowLow]! - region.$low) | 0
      if (length < 0 || offset < 0 || offset > ((region.$span - length) | 0) || (rows[row + rowHigh]! | 0) !== region.$high) {
        if (!this.isNear(segment)) {
          this.at = at
          this.segment = segment
          return count - rest + this.copyFar(source, from, from + rest, false)
        }
        region = this.memory.$last
        continue
      }
      const inside = (at - rows[row + rowPosition]!) | 0
      const left = (length - inside) | 0
      const piece = Math.min(rest, left)
      const to = (offset + inside) | 0
      if (views === undefined || !words(views, from, region.$views, to, piece)) copyIn(source, views, from, region.u8, to, piece)
      from += piece
      rest -= piece
      at += piece
      if (piece === left) segment++
    }
    this.at = at
    this.segment = segment
    return count
  }

  /**
   * Writes the same byte `length` times, by default to the end of the window, and moves on.
   *
   * @returns how many bytes; 0 after a reset
   * @throws RangeError for a byte outside 0 to 255, or where fewer bytes remain
   */
  fill(value: number, length: number = this.end - this.at): number {
    checkInteger(value, 0, 255, 'value')
    const usable = this.use()
    this.requireRemaining(length)
    if (!usable) return 0
    const until = this.at + length
    this.touch(this.at, until, true)
    while (this.at < until) {
      const segment = this.segment
      const length = this.slab.length(segment)
      const inside = this.at - this.slab.position(segment)
      const left = length - inside
      const piece = Math.min(until - this.at, left)
      const address = this.slab.address(segment)
      const region = this.memory.regionOf(address, length)
      if (region !== undefined) {
        const to = address - region.guestAddress + inside
        region.u8.fill(value, to, to + piece)
      }
      this.at += piece
      if (piece === left) this.segment++
    }
    return length
  }

  /**
   * Writes bytes of `source` at a position of the whole part, whatever the window is; neither the position nor `written` changes. Nothing after a reset.
   *
   * @throws RangeError outside the part or the source
   */
  putAt(position: number, source: Uint8Array, start = 0, end: number = source.length): void {
    requireRange(source, start, end)
    this.require()
    checkInteger(position, 0, this.total - end + start, 'position')
    this.$putAt(position, source, start, end)
  }

  /** @internal The same of a chain that is out, with indices that are in the part and in the source. */
  $putAt(position: number, source: Uint8Array, start: number, end: number): void {
    if (!this.chain.$prepare() || start === end) return
    const { slab } = this
    const until = position + end - start
    this.touch(position, until, false)
    let segment = this.segmentAt(position)
    let from = start
    for (let at = position; at < until; segment++) {
      const length = slab.length(segment)
      const inside = at - slab.position(segment)
      const piece = Math.min(until - at, length - inside)
      const address = slab.address(segment)
      const region = this.memory.regionOf(address, length)
      if (region !== undefined) copyIn(source, undefined, from, region.u8, address - region.guestAddress + inside, piece)
      from += piece
      at += piece
    }
  }

  override skip(count: number): this {
    super.skip(count)
    this.chain.$state |= touched
    this.reach(this.at)
    return this
  }

  /** A cursor of its own over the next `count` bytes; this one moves behind them, and counts as written only what the other one writes. Allocates. */
  take(count: number): WritableBytes {
    return this.split(new WritableBytes(this.chain), count)
  }

  /** @internal Tells `onWrite` of all bytes written or given out so far. */
  $announce(): void {
    const { low, high } = this
    // What was given out may still be written: it is told again at the end.
    if ((this.chain.$state & lent) === 0) {
      this.low = this.total
      this.high = 0
    }
    if (low >= high || this.memory.onWrite === undefined) return
    let segment = this.segmentAt(low)
    for (let at = low; at < high; segment++) {
      const inside = at - this.slab.position(segment)
      const piece = Math.min(high - at, this.slab.length(segment) - inside)
      const address = this.slab.address(segment) + inside
      // Nothing was written where memory is not any more.
      if (this.memory.contains(address, piece)) this.memory.onWrite?.(address, piece)
      at += piece
    }
  }

  protected override lend(from: number, to: number): void {
    this.chain.$state |= lent
    this.touch(from, to, true)
  }

  /** Notes what is written; `counts`: as far as that, the part is written. */
  private touch(from: number, to: number, counts: boolean): void {
    this.chain.$state |= touched
    const whole = this.chain.$writable
    if (from < whole.low) whole.low = from
    if (to > whole.high) whole.high = to
    if (counts) this.reach(to)
  }

  private reach(to: number): void {
    const whole = this.chain.$writable
    if (to > this.reached) this.reached = to
    if (to > whole.reached) whole.reached = to
  }
}

function requireRange(bytes: Uint8Array, start: number, end: number): void {
  if (Number.isInteger(start) && Number.isInteger(end) && start >= 0 && start <= end && end <= bytes.length) return
  checkInteger(end, 0, bytes.length, 'end')
  checkInteger(start, 0, end, 'start')
}
