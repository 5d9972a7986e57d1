/** What a device does with a chain that it has: reads, writes, and uses it wrongly; each time with a look at whether the right thing happened. */
import { PvirtqEventSuppress } from 'virtgen/wire/packed-ring'
import type { Chain } from '../runtime/chain.ts'
import type { Arena } from './arena.ts'
import { addressesOf, type Piece } from './chain-reading.ts'
import type { Reading } from './device-model.ts'
import { Failure, require } from './failure.ts'
import type { Random } from './random.ts'
import type { RingRules } from './ring-rules.ts'
import type { Trace } from './trace.ts'

/** Bytes of a chain that are really copied. */
const mostCopied = 2048
const scratch = new Uint8Array(mostCopied)
/** Without a run of the same byte. */
const pattern = Uint8Array.from({ length: mostCopied }, (_, i) => (i * 7 + 1) & 0xff)
/** The same, but not at a place of words. */
const oddPattern = new Uint8Array(mostCopied + 1).subarray(1)
oddPattern.set(pattern)
const part = new Uint8Array(1024)
/** Pieces that are looked at one by one. */
const mostPieces = 4096

export class ChainUse {
  readonly #rules: RingRules
  readonly #arena: Arena
  readonly #random: Random
  readonly #trace: Trace
  readonly #overwritten: (pieces: readonly Piece[]) => void

  /** @param overwritten - told of buffers that were written */
  constructor(rules: RingRules, random: Random, trace: Trace, overwritten: (pieces: readonly Piece[]) => void) {
    this.#rules = rules
    this.#arena = rules.arena
    this.#random = random
    this.#trace = trace
    this.#overwritten = overwritten
  }

  /** What holds for every new chain, whatever it was made of. */
  requireSound({ head, readable, writable }: Chain): void {
    const { maxChainLength, setup } = this.#rules
    require(Number.isInteger(head) && head >= 0 && head <= 0xffff, `the head is ${head}`)
    const most = (maxChainLength === 'strict' ? setup.size : maxChainLength) * this.#arena.regions.length
    require(readable.segments + writable.segments <= most, `a chain has ${readable.segments} + ${writable.segments} pieces`)
    require(readable.length + writable.length <= 2 ** 32, `a chain has ${readable.length} + ${writable.length} bytes`)
    require(readable.position === 0 && writable.position === 0 && writable.written === 0, 'a new chain is not at its start')
    this.#trace.number(head)
    this.#trace.number(readable.length)
    this.#trace.number(writable.length)
  }

  requireAsRead({ readable, writable }: Chain, { readableLength, writableLength }: Reading): void {
    require(readable.length === readableLength, `${readable.length} readable bytes, expected were ${readableLength}`)
    require(writable.length === writableLength, `${writable.length} writable bytes, expected were ${writableLength}`)
  }

  /** What a chain says of itself, where nobody can know what it was made of. */
  readingOf({ readable, writable }: Chain): Reading {
    const piecesOf = (part: typeof readable | typeof writable): Piece[] =>
      Array.from({ length: Math.min(part.segments, mostPieces) }, (_, i) => part.bytes(i)).flatMap((view) => {
        this.#arena.requireInside(view)
        // Memory that is gone has empty views.
        return view.length === 0 ? [] : [{ address: this.#arena.addressOf(view.byteOffset), length: view.length }]
      })
    return {
      readable: piecesOf(readable),
      writable: piecesOf(writable),
      readableLength: readable.length,
      writableLength: writable.length,
      // As good as any number: with callbacks that change everything nobody counts.
      slots: 1,
    }
  }

  read({ readable }: Chain, reading: Reading): void {
    readable.rewind()
    const count = readable.copyTo(scratch)
    require(count === Math.min(mostCopied, reading.readableLength), `${count} bytes were copied of ${reading.readableLength}`)
    let i = 0
    for (const address of addressesOf(reading.readable, count)) {
      const byte = this.#arena.get8(address)
      require(scratch[i] === byte, `byte ${i} of a chain is ${scratch[i]}, in memory it is ${byte}`)
      this.#trace.number(byte)
      i++
    }
    this.#readPart(readable, count)
    readable.rewind()
    const pieces = Math.min(readable.segments, mostPieces)
    for (let piece = 0; piece < pieces; piece++) this.#arena.requireInside(readable.bytes(piece))
    if (readable.remaining >= PvirtqEventSuppress.size && this.#random.oneIn(2)) this.#keep(readable, reading)
  }

  /** From anywhere to anywhere, in two goes; `scratch` has the first `count` bytes of the chain. */
  #readPart(readable: Chain['readable'], count: number): void {
    const random = this.#random
    const from = random.below(count + 1)
    const length = random.below(Math.min(count - from, 600) + 1)
    const half = random.below(length + 1)
    const target = random.oneIn(2) ? part : part.subarray(1)
    const to = random.below(24)
    target.fill(0, 0, to + length + 1)
    readable.rewind().skip(from)
    const done = readable.copyTo(target, to, to + half) + readable.copyTo(target, to + half, to + length)
    require(done === length, `${done} bytes were copied, there were ${length}`)
    for (let i = 0; i < length; i++)
      require(target[to + i] === scratch[from + i], `byte ${from + i} of a chain is another one when it is copied to ${to + i}`)
    require(target[to + length] === 0 && (to === 0 || target[to - 1] === 0), 'more was copied than was asked for')
  }

  /** A struct is a copy: what the driver does to the original later changes nothing. */
  #keep(readable: Chain['readable'], reading: Reading): void {
    const struct = readable.struct(new PvirtqEventSuppress())
    const before = struct.desc
    for (const address of addressesOf(reading.readable, 1)) this.#arena.set8(address, this.#arena.get8(address) ^ 0xff)
    require(struct.desc === before, 'a struct changed after it was copied')
    this.#overwritten(reading.readable)
  }

  /** @returns how many bytes were written from the start on */
  write({ writable }: Chain, reading: Reading): number {
    const random = this.#random
    writable.rewind()
    const way = random.below(3)
    if (way === 2 && this.#arena.isWhole) return this.#writeInPlace(writable, reading)
    const count = Math.min(reading.writableLength, random.pick([1, 16, 64, 600, mostCopied - 16]))
    const value = random.below(256)
    const start = random.below(16)
    const half = random.below(count + 1)
    const source = random.oneIn(2) ? pattern : oddPattern
    const done =
      way === 1
        ? writable.fill(value, count)
        : writable.copyFrom(source, start, start + half) + writable.copyFrom(source, start + half, start + count)
    require(done === count, `${done} bytes were written, there was room for ${count}`)
    this.#expect(reading, count, (i) => (way === 1 ? value : pattern[start + i]!))
    if (this.#arena.isWhole && random.oneIn(4)) this.#put(writable, reading, count)
    return count
  }

  /** Writes over some of what was written. */
  #put(writable: Chain['writable'], reading: Reading, count: number): void {
    const position = this.#random.below(count + 1)
    const length = this.#random.below(Math.min(count - position, 40) + 1)
    writable.putAt(position, pattern, 1, 1 + length)
    let i = 0
    for (const address of addressesOf(reading.writable, position + length)) {
      if (i >= position) this.#arena.expect8(address, pattern[1 + i - position]!)
      i++
    }
  }

  #writeInPlace(writable: Chain['writable'], reading: Reading): number {
    const value = this.#random.below(256)
    const pieces = Math.min(writable.segments, 4)
    let done = 0
    for (let i = 0; i < pieces; i++) {
      const view = writable.bytes(i)
      this.#arena.requireInside(view)
      view.fill(value)
      done += view.length
    }
    this.#expect(reading, done, () => value)
    return done
  }

  /** The first bytes of the writable part must be these; nothing else may change. */
  #expect(reading: Reading, count: number, byteAt: (i: number) => number): void {
    let i = 0
    for (const address of addressesOf(reading.writable, count)) this.#arena.expect8(address, byteAt(i++))
    this.#overwritten(reading.writable)
  }

  /** A chain that was out when its queue was reset: whatever is done with it must do nothing. */
  useCancelled(chain: Chain): void {
    require(chain.cancelled, 'a chain is not cancelled after a reset')
    require(chain.readable.rewind().copyTo(scratch) === 0, 'a cancelled chain was read')
    require(chain.writable.rewind().copyFrom(pattern) === 0, 'a cancelled chain was written')
    require(chain.writable.fill(1) === 0, 'a cancelled chain was filled')
    require(chain.readable.segments === 0 || chain.readable.rewind().bytes(0).length === 0, 'a view of a cancelled chain')
    chain.complete(0)
  }

  /** Whatever the chain is: what is copied out of it is in the regions, where no byte is that of a guard unless the device wrote it. */
  requireNoGuard({ readable }: Chain): void {
    const { poison } = this.#arena
    readable.rewind()
    const count = readable.copyTo(scratch)
    for (let i = 0; i + 3 < count; i++) {
      const isGuard = scratch[i] === poison && scratch[i + 1] === poison && scratch[i + 2] === poison && scratch[i + 3] === poison
      require(!isGuard, 'a guard was read')
    }
  }

  /** Writes into a chain of which nobody knows what it was made of. */
  writeSome({ writable }: Chain): void {
    writable.rewind()
    writable.fill(1, Math.min(writable.length, mostCopied))
    writable.rewind()
    writable.copyFrom(pattern, 0, 16)
  }

  /** What our own user does wrong is an exception, and changes nothing. */
  misuse(chain: Chain, { readableLength, writableLength }: Reading): void {
    const { readable, writable } = chain
    requireRefused(() => chain.complete(writableLength + 1))
    requireRefused(() => chain.complete(-1))
    requireRefused(() => readable.rewind().skip(readableLength + 1))
    requireRefused(() => writable.window(0, writableLength + 1))
    requireRefused(() => writable.bytes(1_000_000))
    requireRefused(() => writable.putAt(writableLength, pattern))
  }
}

/** @throws Failure where the call does not throw */
export function requireRefused(call: () => void): void {
  try {
    call()
  } catch (error) {
    if (error instanceof Failure) throw error
    return
  }
  throw new Failure(`a wrong call was accepted: ${call}`)
}
