/** Guest memory that notices who wrote where: for tests of devices, drivers and queues. */
import { GuestMemory, type OnWrite, type RegionOptions, type RegionSource } from '../memory.ts'
import { PlacePool } from './place-pool.ts'

export interface TestRegion {
  /** Guest address of its first byte: a multiple of 8. */
  readonly guestAddress: number
  /** Bytes. */
  readonly size: number
  /** Bytes of your own. By default the region gets some of the memory's buffer, with guard bytes on both sides. */
  readonly source?: RegionSource
}

export interface TestMemoryOptions {
  /** By default two regions that touch, with an address at which one ends and the other one begins, and a small one at 4 GiB: see {@link defaultRegions}. */
  readonly regions?: readonly TestRegion[]
  /** Guard bytes before, between and behind the regions, 4096 by default; a multiple of 8. */
  readonly guard?: number
  /** The buffer is a `SharedArrayBuffer`. */
  readonly shared?: boolean
  readonly onWrite?: OnWrite
}

/** A piece of guest memory. */
export interface Range {
  readonly address: number
  readonly length: number
}

/** 256 KiB from address 0 on, 256 KiB right behind, and 64 KiB at 4 GiB, where an address that was cut to 32 bits is found out. */
export const defaultRegions: readonly TestRegion[] = [
  { guestAddress: 0, size: 0x4_0000 },
  { guestAddress: 0x4_0000, size: 0x4_0000 },
  { guestAddress: 0x1_0000_0000, size: 0x1_0000 },
]

const defaultGuard = 4096
/** What guard bytes hold. */
const guardByte = 0xa5
/** Between two places that are given out stay some bytes: who writes behind the end of one changes what nobody gave him. */
const gap = 16

/**
 * Guest memory for tests. What the test does in place of the other side goes through {@link poke}; {@link changes} then tells which bytes anybody else has changed,
 * and {@link checkGuards} whether anything outside of the regions was written.
 *
 * @example
 * const memory = new TestMemory()
 * const place = memory.allocate(16)
 * memory.poke(place, Uint8Array.of(1, 2, 3))
 * memory.write(place + 1, Uint8Array.of(9))
 * memory.changes() // [{ address: place + 1, length: 1 }]
 */
export class TestMemory extends GuestMemory {
  /** All regions without a `source`, and the guard bytes between them. */
  readonly buffer: ArrayBufferLike
  readonly #guards: readonly (readonly [begin: number, end: number])[]
  /** What each region holds as far as the test knows. */
  readonly #known: readonly { readonly guestAddress: number; readonly bytes: Uint8Array }[]
  readonly #pool: PlacePool

  /** @throws RangeError as `GuestMemory`, and for a guard that is no multiple of 8 */
  constructor(options: TestMemoryOptions = {}) {
    const { regions = defaultRegions, guard = defaultGuard, shared = false, onWrite } = options
    const { buffer, guards, placed } = layOut(regions, guard, shared)
    super(placed, onWrite === undefined ? {} : { onWrite })
    this.buffer = buffer
    this.#guards = guards
    this.#known = regions.map(({ guestAddress, size, source }) => {
      const bytes = new Uint8Array(size)
      if (source !== undefined) this.read(guestAddress, bytes)
      return { guestAddress, bytes }
    })
    // Address 0 is not given out: some transports take it for none.
    this.#pool = new PlacePool(this.regions.map(({ guestAddress, size }) => [Math.max(guestAddress, gap), guestAddress + size]))
  }

  /**
   * A place of that many bytes inside one region, with a few bytes between it and any other.
   *
   * @throws RangeError where there is none
   */
  allocate(length: number, alignment = 1): number {
    return this.#pool.take(length, alignment, gap)
  }

  /** Gives a place of {@link allocate} back. @throws RangeError for what is none */
  release(address: number): void {
    this.#pool.give(address)
  }

  /**
   * Writes as the test, which stands for the other side: `onWrite` hears nothing, and {@link changes} takes the bytes for known.
   *
   * @throws RangeError where not all of it is in regions
   */
  poke(address: number, bytes: Uint8Array): void {
    const { onWrite } = this
    this.onWrite = undefined
    const done = this.write(address, bytes)
    this.onWrite = onWrite
    if (!done) throw new RangeError(`there are no ${bytes.length} bytes of memory at 0x${address.toString(16)}`)
    this.#know(address, bytes)
  }

  /** A copy of what lies there. @throws RangeError where not all of it is in regions */
  peek(address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    if (length > 0 && !this.read(address, bytes)) throw new RangeError(`there are no ${length} bytes of memory at 0x${address.toString(16)}`)
    return bytes
  }

  /** A little-endian 16-bit word. Where it is aligned it is one atomic store: who reads it from another thread sees all that was written before. */
  poke16(address: number, value: number): void {
    this.#pokeWord(address, Uint16Array.of(value))
  }
  /** A little-endian 16-bit word. Where it is aligned it is one atomic load. */
  peek16(address: number): number {
    return this.#peekWord(address, new Uint16Array(1))
  }
  /** As {@link poke16}, of 32 bits. */
  poke32(address: number, value: number): void {
    this.#pokeWord(address, Uint32Array.of(value))
  }
  /** As {@link peek16}, of 32 bits. */
  peek32(address: number): number {
    return this.#peekWord(address, new Uint32Array(1))
  }

  /** Which bytes hold something else than the test knows: somebody else wrote them since the last `settle`. Neighbours are one range. */
  changes(): Range[] {
    return this.#known.flatMap(({ guestAddress, bytes }) => {
      const now = this.resolve(guestAddress, bytes.length)
      return now === undefined ? [] : differences(bytes, now, guestAddress)
    })
  }

  /** Takes all there is for known: `changes` begins anew. */
  settle(): void {
    for (const { guestAddress, bytes } of this.#known) this.read(guestAddress, bytes)
  }

  /** @throws Error where a byte outside of the regions has changed */
  checkGuards(): void {
    const bytes = new Uint8Array(this.buffer)
    for (const [begin, end] of this.#guards) {
      const at = bytes.subarray(begin, end).findIndex((byte) => byte !== guardByte)
      if (at >= 0) throw new Error(`byte ${begin + at} of the buffer was written, which belongs to no region: guard bytes from ${begin} to ${end}`)
    }
  }

  #pokeWord(address: number, word: Uint16Array | Uint32Array): void {
    const bytes = new Uint8Array(word.buffer)
    const place = this.resolve(address, bytes.length)
    if (place === undefined || place.byteOffset % bytes.length !== 0) {
      this.poke(address, bytes)
      return
    }
    if (word instanceof Uint16Array) Atomics.store(new Uint16Array(place.buffer, place.byteOffset, 1), 0, word[0]!)
    else Atomics.store(new Uint32Array(place.buffer, place.byteOffset, 1), 0, word[0]!)
    this.#know(address, bytes)
  }

  #peekWord(address: number, word: Uint16Array | Uint32Array): number {
    const length = word.byteLength
    const place = this.resolve(address, length)
    if (place === undefined || place.byteOffset % length !== 0) {
      new Uint8Array(word.buffer).set(this.peek(address, length))
      return word[0]!
    }
    if (word instanceof Uint16Array) return Atomics.load(new Uint16Array(place.buffer, place.byteOffset, 1), 0)
    return Atomics.load(new Uint32Array(place.buffer, place.byteOffset, 1), 0)
  }

  #know(address: number, bytes: Uint8Array): void {
    for (const known of this.#known) {
      const begin = Math.max(address, known.guestAddress)
      const end = Math.min(address + bytes.length, known.guestAddress + known.bytes.length)
      if (begin < end) known.bytes.set(bytes.subarray(begin - address, end - address), begin - known.guestAddress)
    }
  }
}

function layOut(regions: readonly TestRegion[], guard: number, shared: boolean) {
  if (!(Number.isSafeInteger(guard) && guard >= 0 && guard % 8 === 0)) throw new RangeError(`guard must be a multiple of 8 from 0, not ${guard}`)
  const guards: [number, number][] = []
  const offsets: number[] = []
  let end = 0
  for (const { size, source } of regions) {
    if (source !== undefined) {
      offsets.push(0)
      continue
    }
    // A region begins at a multiple of 8; what its size leaves up to there is guard, too.
    const begin = Math.ceil(end / 8) * 8 + guard
    guards.push([end, begin])
    offsets.push(begin)
    end = begin + size
  }
  const total = Math.ceil(end / 8) * 8 + guard
  guards.push([end, total])
  const buffer = shared ? new SharedArrayBuffer(total) : new ArrayBuffer(total)
  for (const [from, to] of guards) new Uint8Array(buffer, from, to - from).fill(guardByte)
  const placed: RegionOptions[] = regions.map(({ guestAddress, size, source }, i) =>
    source === undefined ? { guestAddress, size, source: new Uint8Array(buffer), byteOffset: offsets[i]! } : { guestAddress, size, source },
  )
  return { buffer, guards, placed }
}

/** Ranges in which two pieces of memory of the same length differ. */
export function differences(before: Uint8Array, after: Uint8Array, address = 0): Range[] {
  const ranges: Range[] = []
  const { length } = before
  const step = 4096
  for (let at = 0; at < length; at += step) {
    const end = Math.min(at + step, length)
    if (isSame(before, after, at, end)) continue
    for (let i = at; i < end; i++) {
      if (before[i] === after[i]) continue
      const begin = i
      while (i < end && before[i] !== after[i]) i++
      const last = ranges.at(-1)
      if (last !== undefined && last.address + last.length === address + begin)
        ranges[ranges.length - 1] = { ...last, length: last.length + i - begin }
      else ranges.push({ address: address + begin, length: i - begin })
    }
  }
  return ranges
}

function isSame(a: Uint8Array, b: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (a[i] !== b[i]) return false
  return true
}
