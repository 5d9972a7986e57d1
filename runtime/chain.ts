/** A chain of descriptors: one buffer of the driver, from the time the device takes it until it is used. */
import { ReadableBytes, WritableBytes } from './chain-bytes.ts'
import { placeOf, type SegmentSlab } from './chain-slab.ts'
import type { GuestMemory } from './memory.ts'

export { ChainBytes, ReadableBytes, WritableBytes } from './chain-bytes.ts'

/** What a chain needs of its queue. */
export interface ChainOwner {
  readonly memory: GuestMemory
  readonly slab: SegmentSlab
  /** The chain is completed: its used entry is due. */
  used(chain: Chain, written: number): void
  /** The chain was cancelled, and now nobody works on it any more. */
  released(chain: Chain): void
}

const noBytes = new Uint8Array(0)
/** Bytes of the first storage of a chain. */
const leastStorage = 64

/**
 * A chain of descriptors, taken from a queue and given back with {@link complete}.
 *
 * Chains are pooled: after completion the same object carries another request. Every use in between throws Error, and `generation` tells the uses apart.
 */
export class Chain {
  /** What the driver has for the device to read. */
  readonly readable: ReadableBytes
  /** Where the device writes its answer. */
  readonly writable: WritableBytes
  /** Whatever the user of the queue keeps with the object; it stays when the object carries another request. */
  attachment: unknown
  /** @internal The chain is with the device. */
  $out = false
  /** @internal The driver has not got the chain back: it is out, or about to be completed. */
  $busy = false
  /** @internal Views of guest memory were given out. */
  $lent = false
  /** @internal The end of the reset waits for the chain. */
  $awaited = false
  /** @internal Its range in the slab; a capacity of 0: it has none. */
  $first = 0
  /** @internal */
  $capacity = 0
  /** @internal The chain's own copies of structs. */
  $copies: Uint8Array = noBytes
  /** @internal */
  $copiesView: DataView = new DataView(noBytes.buffer)
  /** @internal */
  readonly $memory: GuestMemory
  /** @internal */
  readonly $slab: SegmentSlab
  readonly #owner: ChainOwner
  #head = 0
  #generation = 0
  #cancelled = false
  /** Segments of both parts. */
  #count = 0
  /** Layout of the memory that the regions of the segments belong to. */
  #layout = 0
  /** Bytes of `$copies` that are in use. */
  #copied = 0
  #storage: Uint8Array = noBytes
  #stored: Uint8Array = noBytes

  /** @internal */
  constructor(owner: ChainOwner) {
    this.#owner = owner
    this.$memory = owner.memory
    this.$slab = owner.slab
    this.readable = new ReadableBytes(this)
    this.writable = new WritableBytes(this)
  }

  /** Index of the first descriptor. */
  get head(): number {
    return this.#head
  }

  /** Counts the uses of this object. Who keeps a chain across an `await` may compare it. */
  get generation(): number {
    return this.#generation
  }

  /** The queue was reset while the chain was out. Copies do nothing any more; `complete` only says that the work on it has ended. */
  get cancelled(): boolean {
    return this.#cancelled
  }

  /**
   * The chain's own storage: `length` bytes, the same ones at each call, and the same object where the length is the same. It grows by powers of two and keeps its
   * content then, and is kept from request to request: it holds what the last one left there.
   *
   * @throws RangeError for what is no length
   */
  storage(length: number): Uint8Array {
    if (!this.$out) this.$misused()
    if (this.#stored.length === length) return this.#stored
    if (!(Number.isSafeInteger(length) && length >= 0)) throw new RangeError(`length must be an integer from 0, not ${length}`)
    if (length > this.#storage.length) {
      const larger = new Uint8Array(powerOfTwo(Math.max(length, leastStorage)))
      larger.set(this.#storage)
      this.#storage = larger
    }
    this.#stored = this.#storage.subarray(0, length)
    return this.#stored
  }

  /**
   * Gives the buffer back to the driver. After a reset of the queue nothing is written anywhere: the call only says that the work on the chain has ended.
   *
   * @param written - bytes written from the start of the writable part on, all of them; default: as far as `writable` knows.
   * @throws RangeError for more than the part has
   * @throws Error when the chain is completed already
   */
  complete(written: number = this.writable.$reached): void {
    if (!this.$out) this.$misused()
    if (!(Number.isInteger(written) && written >= 0 && written <= this.writable.$total) && !this.#cancelled)
      throw new RangeError(`written must be an integer from 0 to the ${this.writable.$total} bytes of the writable part, not ${written}`)
    this.$out = false
    // The guest learns of what was written before it can see the chain used. Whoever is told may reset the queue.
    this.writable.$announce()
    if (this.#cancelled) this.#owner.released(this)
    else this.#owner.used(this, written)
  }

  /** @internal Begins another use, with the segments from `$first` on: those of the readable part, then those of the writable part. */
  $begin(head: number, readableCount: number, readableLength: number, writableCount: number, writableLength: number): void {
    this.#head = head
    this.#generation++
    this.$out = true
    this.$busy = true
    this.$lent = false
    this.#copied = 0
    this.#count = readableCount + writableCount
    this.#layout = this.$memory.layout
    this.readable.$begin(this.$first, readableCount, readableLength)
    this.writable.$begin(this.$first + readableCount, writableCount, writableLength)
  }

  /** @internal The queue is reset. */
  $cancel(): void {
    this.#cancelled = true
  }

  /** @internal Before guest memory is touched: views and regions become those of now. False where nothing may be touched any more. */
  $prepare(): boolean {
    this.$memory.refresh()
    if (this.#layout !== this.$memory.layout) this.#relocate()
    return !this.#cancelled
  }

  /** @internal Room for a copy of a struct in `$copies`: gives its offset. What was copied before stays where it is. */
  $reserve(length: number): number {
    const offset = this.#copied
    if (offset + length <= this.$copies.length) {
      this.#copied = offset + length
      return offset
    }
    // Accessors over the old bytes keep them.
    this.$copies = new Uint8Array(powerOfTwo(Math.max(offset + length, leastStorage)))
    this.$copiesView = new DataView(this.$copies.buffer)
    this.#copied = length
    return 0
  }

  /** @internal */
  $misused(): never {
    throw new Error(`the chain at descriptor ${this.#head} is completed: it must not be used any more`)
  }

  /** Finds the segments in regions that were replaced. */
  #relocate(): void {
    const { address, length, place } = this.$slab
    for (let segment = this.$first; segment < this.$first + this.#count; segment++) {
      const goesOn = (place[segment]! & 1) === 1
      place[segment] = placeOf(this.$memory.indexOf(address[segment]!, length[segment]!), goesOn)
    }
    this.#layout = this.$memory.layout
  }
}

function powerOfTwo(least: number): number {
  let size = 1
  while (size < least) size *= 2
  return size
}
