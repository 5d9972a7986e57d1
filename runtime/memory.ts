/** Guest memory: regions of guest addresses, each over bytes of the host. */

import { ByteViews } from './copy.ts'
import { hex } from './hex.ts'

// Rings and structs are little-endian and are read through typed arrays, which have the byte order of the host.
if (new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1) throw new Error('virtgen needs a little-endian host: rings are read through typed arrays')

/** Where the bytes of a region come from: a typed array, a `WebAssembly.Memory`, or anything whose `buffer` may be another one later. */
export interface RegionSource {
  readonly buffer: ArrayBufferLike
}

/** A piece of guest memory, as it is given to {@link GuestMemory}. */
export interface RegionOptions {
  /** Guest address of its first byte: a multiple of 8. */
  readonly guestAddress: number
  /** Bytes. */
  readonly size: number
  readonly source: RegionSource
  /** Where it begins in the buffer of the source, in bytes: a multiple of 8. Default: the `byteOffset` of the source, or 0 where it has none. */
  readonly byteOffset?: number
}

/** A region and its views, all over the same bytes. The views are replaced when the buffer of the source is another one: do not keep them. */
export interface MemoryRegion {
  /** Guest address of its first byte. */
  readonly guestAddress: number
  /** Bytes. */
  readonly size: number
  readonly u8: Uint8Array
  readonly u16: Uint16Array
  readonly u32: Uint32Array
  readonly view: DataView
  /** @internal What copies go through. */
  readonly $views: ByteViews
  /** @internal Its beginning, whose addresses are compared as 32-bit integers: halves of the first address, and how many bytes, all of which have that upper half. */
  readonly $low: number
  readonly $high: number
  readonly $span: number
}

/** Called after the device wrote `length` bytes at a guest address. */
export type OnWrite = (address: number, length: number) => void

/** A region must allow 64-bit words at guest addresses that are multiples of 8. */
const alignment = 8
const highUnit = 0x1_0000_0000
const mostSpan = 0x7fff_ffff

class Region implements MemoryRegion {
  readonly guestAddress: number
  readonly size: number
  readonly source: RegionSource
  readonly byteOffset: number
  /** The buffer of the source may be another one later. */
  readonly dynamic: boolean
  buffer: ArrayBufferLike
  declare u8: Uint8Array
  declare u16: Uint16Array
  declare u32: Uint32Array
  declare view: DataView
  declare $views: ByteViews
  readonly $low: number = 0
  readonly $high: number = 0
  readonly $span: number = 0

  constructor({ guestAddress, size, source, byteOffset = (source as { byteOffset?: number }).byteOffset ?? 0 }: RegionOptions) {
    requireAddress('guestAddress', guestAddress)
    requireAddress('byteOffset', byteOffset)
    if (!(Number.isSafeInteger(size) && size > 0 && guestAddress + size <= Number.MAX_SAFE_INTEGER))
      throw new RangeError(`a region has 1 byte or more and ends below 2^53, not ${size} bytes at ${hex(guestAddress)}`)
    this.guestAddress = guestAddress
    this.size = size
    this.$low = guestAddress | 0
    this.$high = Math.floor(guestAddress / highUnit) | 0
    this.$span = Math.min(size, mostSpan, highUnit - (this.$low >>> 0))
    this.source = source
    this.byteOffset = byteOffset
    this.dynamic = !ArrayBuffer.isView(source)
    this.buffer = source.buffer
    this.bind(source.buffer)
  }

  bind(buffer: ArrayBufferLike): void {
    const { byteOffset, size } = this
    if (byteOffset + size > buffer.byteLength)
      throw new RangeError(`a region of ${size} bytes at offset ${byteOffset} does not fit into a buffer of ${buffer.byteLength} bytes`)
    this.buffer = buffer
    this.u8 = new Uint8Array(buffer, byteOffset, size)
    this.u16 = new Uint16Array(buffer, byteOffset, Math.floor(size / 2))
    this.u32 = new Uint32Array(buffer, byteOffset, Math.floor(size / 4))
    this.$views = new ByteViews(this.u8)
    this.view = this.$views.view
  }
}

/** What was found last where there is no region: holds nothing. */
const nowhere: MemoryRegion = { ...new Region({ guestAddress: 0, size: alignment, source: new Uint8Array(alignment) }), $span: -1 }

/**
 * The memory that a device or a driver reaches by guest addresses: regions with holes between them. Addresses are integers up to 2^53 - 1.
 *
 * @example
 * const memory = new GuestMemory([{ guestAddress: 0, size: 1 << 20, source: new WebAssembly.Memory({ initial: 16 }) }])
 */
export class GuestMemory {
  /**
   * Called after bytes were written: by `write`, and by queues for payload and ring words alike (for a chain at its completion, before the driver sees it used).
   * It may run the guest or let its memory grow.
   */
  onWrite: OnWrite | undefined
  #regions: Region[] = []
  /** First guest addresses, and those behind the last bytes, ascending: what `indexOf` looks through. */
  #starts = new Float64Array(0)
  #ends = new Float64Array(0)
  /** The regions whose views must be compared. */
  #dynamic: Region[] = []
  /** Where the last look-up ended, with its first address and that behind its last byte; most look-ups end there again. */
  #last = 0
  #lastStart = 0
  #lastEnd = 0
  #lastRegion!: MemoryRegion
  #version = 0
  #layout = 0

  /**
   * @param regions - in any order; none: every address is outside, as before a transport has learned where memory is
   * @throws RangeError for a region that is empty, misaligned, outside its buffer or over another one
   */
  constructor(regions: readonly RegionOptions[], options: { onWrite?: OnWrite } = {}) {
    this.onWrite = options.onWrite
    this.replace(regions)
  }

  /** A memory of one region over these bytes. */
  static of(bytes: Uint8Array, guestAddress = 0, options: { onWrite?: OnWrite } = {}): GuestMemory {
    return new GuestMemory([{ guestAddress, size: bytes.byteLength, source: bytes }], options)
  }

  /** Ascending by guest address. */
  get regions(): readonly MemoryRegion[] {
    return this.#regions
  }
  /** Changes whenever any view was made anew: who keeps a view compares it. */
  get version(): number {
    return this.#version
  }
  /** Changes whenever the regions were replaced: who keeps the index of a region compares it. */
  get layout(): number {
    return this.#layout
  }

  /** The buffer of some source may be another one later: no view is good across an `await`. */
  get mayMove(): boolean {
    return this.#dynamic.length > 0
  }

  /**
   * Makes the views anew where the buffer of a source is another one; costs one comparison for each source that is not a typed array.
   *
   * @returns true when views were made anew
   * @throws RangeError when a buffer has become too short
   */
  refresh(): boolean {
    return this.$stamp < 0 && this.#refreshDynamic()
  }

  #refreshDynamic(): boolean {
    const before = this.#version
    for (let i = 0; i < this.#dynamic.length; i++) {
      const region = this.#dynamic[i]!
      const buffer = region.source.buffer
      if (buffer === region.buffer) continue
      region.bind(buffer)
      // At once: the buffer of a later source may be too short.
      this.#version++
    }
    return this.#version !== before
  }

  /**
   * Takes other regions: memory was plugged or unplugged. Chains that are out find their bytes in the new regions; where these do not hold a piece any more, it
   * reads as zeros, writes to it are dropped, and `bytes` gives an empty view.
   *
   * @throws RangeError as the constructor; then the old regions stay
   */
  replace(regions: readonly RegionOptions[]): void {
    const sorted = regions.map((options) => new Region(options)).sort((a, b) => a.guestAddress - b.guestAddress)
    sorted.forEach((region, i) => {
      const before = sorted[i - 1]
      if (before !== undefined && before.guestAddress + before.size > region.guestAddress)
        throw new RangeError(`the region at ${hex(region.guestAddress)} overlaps ${before.size} bytes at ${hex(before.guestAddress)}`)
    })
    this.#regions = sorted
    // Without any region one that holds no address: look-ups need not ask.
    const isEmpty = sorted.length === 0
    this.#starts = isEmpty ? Float64Array.of(Infinity) : Float64Array.from(sorted, (region) => region.guestAddress)
    this.#ends = isEmpty ? Float64Array.of(0) : Float64Array.from(sorted, (region) => region.guestAddress + region.size)
    this.#dynamic = sorted.filter((region) => region.dynamic)
    this.#remember(0)
    this.#version++
    this.#layout++
    this.$stamp = this.#dynamic.length > 0 ? -1 : this.#version
  }

  /** @internal First guest addresses of the regions, ascending, and those behind their last bytes. */
  get $starts(): Float64Array {
    return this.#starts
  }
  /** @internal */
  get $ends(): Float64Array {
    return this.#ends
  }
  /** @internal `version` where only `replace` makes views anew; -1 where `refresh` must be asked, as some region's buffer may be another one. */
  $stamp = 0

  /** @internal The region that was found last. */
  get $last(): MemoryRegion {
    return this.#lastRegion
  }

  /** Says whether one region holds all bytes of the range. */
  contains(address: number, length: number): boolean {
    // length <= end - address cannot overflow, and is false for a negative difference.
    return (address >= this.#lastStart && length <= this.#lastEnd - address) || this.#search(address, length) >= 0
  }

  /** The region that holds all bytes of the range, or undefined. */
  regionOf(address: number, length: number): MemoryRegion | undefined {
    if (address >= this.#lastStart && length <= this.#lastEnd - address) return this.#lastRegion
    return this.#regions[this.#search(address, length)]
  }

  /** Index of the region that holds all bytes of the range, or -1. No range wraps: an address of 2^53 or more is in no region. */
  indexOf(address: number, length: number): number {
    // length <= end - address cannot overflow, and is false for a negative difference.
    if (address >= this.#lastStart && length <= this.#lastEnd - address) return this.#last
    return this.#search(address, length)
  }

  #remember(index: number): void {
    this.#last = index
    this.#lastStart = this.#starts[index]!
    this.#lastEnd = this.#ends[index]!
    this.#lastRegion = this.#regions[index] ?? nowhere
  }

  #search(address: number, length: number): number {
    const found = regionAt(this.#starts, address)
    if (!(address >= this.#starts[found]! && length <= this.#ends[found]! - address)) return -1
    this.#remember(found)
    return found
  }

  /** Index of the region that holds the byte at the address, or -1. */
  indexAt(address: number): number {
    const index = regionAt(this.#starts, address)
    return address >= this.#starts[index]! && address < this.#ends[index]! ? index : -1
  }

  /** The bytes of a range in place, or undefined where no region holds all of it. The view is good until memory may grow or be replaced. */
  resolve(address: number, length: number): Uint8Array | undefined {
    this.refresh()
    const index = this.indexOf(address, length)
    if (index < 0) return undefined
    const region = this.#regions[index]!
    return region.u8.subarray(address - region.guestAddress, address - region.guestAddress + length)
  }

  /**
   * Copies guest memory into `target`. The range may cross regions that touch.
   *
   * @returns false, with nothing copied, where not all of it is there
   */
  read(address: number, target: Uint8Array): boolean {
    this.refresh()
    if (!this.holds(address, target.length)) return false
    for (let done = 0; done < target.length; ) {
      const region = this.#regions[this.indexAt(address + done)]!
      const from = address + done - region.guestAddress
      const count = Math.min(target.length - done, region.size - from)
      target.set(region.u8.subarray(from, from + count), done)
      done += count
    }
    return true
  }

  /**
   * Copies `source` into guest memory and calls `onWrite`. The range may cross regions that touch.
   *
   * @returns false, with nothing copied, where not all of it is there
   */
  write(address: number, source: Uint8Array): boolean {
    this.refresh()
    if (!this.holds(address, source.length)) return false
    for (let done = 0; done < source.length; ) {
      const region = this.#regions[this.indexAt(address + done)]!
      const to = address + done - region.guestAddress
      const count = Math.min(source.length - done, region.size - to)
      region.u8.set(source.subarray(done, done + count), to)
      done += count
    }
    if (source.length > 0) this.onWrite?.(address, source.length)
    return true
  }

  /** Says whether regions hold all bytes of a range; it may cross regions that touch. */
  holds(address: number, length: number): boolean {
    if (this.indexOf(address, length) >= 0) return true
    for (let done = 0; done < length; ) {
      const index = this.indexAt(address + done)
      if (index < 0) return false
      done = this.#ends[index]! - address
    }
    return length > 0
  }
}

function requireAddress(name: string, value: number): void {
  if (!(Number.isSafeInteger(value) && value >= 0 && value % alignment === 0))
    throw new RangeError(`${name} must be a multiple of ${alignment} from 0 to 2^53 - 1, not ${value}`)
}

/** The last region that begins at or before an address, or the first one. */
export function regionAt(starts: Float64Array, address: number): number {
  let low = 0
  let high = starts.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (starts[middle]! <= address) low = middle
    else high = middle - 1
  }
  return low
}
