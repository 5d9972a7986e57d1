/** A chain of descriptors: one buffer of the driver, from the time the device takes it until it is used. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import { ReadableBytes, WritableBytes } from './chain-bytes.ts'
import type { SegmentSlab } from './chain-slab.ts'
import { chainBusy, chainCancelled, chainOut, chainTouched } from './chain-state.ts'
import type { GuestMemory } from './memory.ts'
import type { SavedBuffer } from './queue.ts'

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

// What is imported is loaded, and checked for being initialized, at each use; what a module keeps to itself is folded into the code.
const out = chainOut
const touched = chainTouched
const cancelled = chainCancelled
const begun = chainOut | chainBusy
const usable = chainOut | chainCancelled

const noBytes = new Uint8Array(0)
/** Bytes of the first storage of a chain. */
const leastStorage = 64

/**
 * A chain of descriptors, taken from a queue and given back with {@link complete}.
 *
 * Chains are pooled: after completion the same object carries another request. Every use in between throws Error, and `generation` tells the uses apart.
 */
export class Chain {
  /** Whatever the user of the queue keeps with the object; it stays when the object carries another request. */
  attachment: unknown
  /** @internal See chain-state.ts. */
  $state = 0
  /** @internal Segments, counted from the first, that go on with the descriptor of the one before, as a descriptor that crosses regions makes several. Only with `chainJoined`. */
  $joints: readonly number[] = []
  /** @internal Its range in the slab; a capacity of 0: it has none. */
  $first = 0
  /** @internal */
  $capacity = 0
  /** @internal Number of the use: counts the chains of a queue in the order in which they are taken; wraps at 2^32. */
  $ticket = 0
  /** @internal With VIRTIO_F_IN_ORDER: its number in `InOrder`. */
  $order = 0
  /** @internal Entries of the ring that the chain takes. */
  $slots = 1
  /** @internal The chain's own copies of structs. */
  $copies: Uint8Array = noBytes
  /** @internal */
  $copiesView: DataView = new DataView(noBytes.buffer)
  /** @internal */
  declare readonly $memory: GuestMemory
  /** @internal */
  declare readonly $slab: SegmentSlab
  /** @internal */
  declare readonly $owner: ChainOwner
  /** @internal */
  declare readonly $readable: ReadableBytes
  /** @internal */
  declare readonly $writable: WritableBytes
  #head = 0
  #readableCount = 0
  #readableLength = 0
  #writableCount = 0
  #writableLength = 0
  /** Bytes of `$copies` that are in use. */
  #copied = 0
  #storage: Uint8Array = noBytes
  #stored: Uint8Array = noBytes

  /** @internal */
  constructor(owner: ChainOwner) {
    this.$owner = owner
    this.$memory = owner.memory
    this.$slab = owner.slab
    this.$readable = new ReadableBytes(this)
    this.$writable = new WritableBytes(this)
  }

  /** What the driver has for the device to read. To be asked for anew at each use of the object. */
  get readable(): ReadableBytes {
    const cursor = this.$readable
    // Most chains are asked for one part or the other: a cursor begins when it is first wanted.
    if (cursor.$generation !== this.$ticket) {
      this.#copied = 0
      cursor.$begin(this.$ticket, this.$first, this.#readableCount, this.#readableLength)
    }
    return cursor
  }

  /** Where the device writes its answer. To be asked for anew at each use of the object. */
  get writable(): WritableBytes {
    const cursor = this.$writable
    if (cursor.$generation !== this.$ticket) cursor.$begin(this.$ticket, this.$first + this.#readableCount, this.#writableCount, this.#writableLength)
    return cursor
  }

  /** Index of the first descriptor; packed: the buffer id. */
  get head(): number {
    return this.#head
  }

  /** Differs from one use of this object to the next. Who keeps a chain across an `await` may compare it. */
  get generation(): number {
    return this.$ticket
  }

  /** The queue was reset while the chain was out. Copies do nothing any more; `complete` only says that the work on it has ended. */
  get cancelled(): boolean {
    return (this.$state & cancelled) !== 0
  }

  /**
   * The chain's own storage: `length` bytes, the same ones at each call, and the same object where the length is the same. It grows by powers of two and keeps its
   * content then, and is kept from request to request: it holds what the last one left there.
   *
   * @throws RangeError for what is no length
   */
  storage(length: number): Uint8Array {
    if ((this.$state & out) === 0) this.$misused()
    if (this.#stored.length === length) return this.#stored
    checkInteger(length, 0, Number.MAX_SAFE_INTEGER, 'length')
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
  complete(written: number = this.$written): void {
    const state = this.$state
    // The usual case first, and in few words: then the engine puts it into the code of who calls.
    if ((state & usable) !== out || (written | 0) !== written || written < 0 || written > this.#writableLength) this.#end(written)
    else if ((state & touched) !== 0 && this.$memory.onWrite !== undefined) this.#end(written)
    else this.$owner.used(this, written)
  }

  /** @internal How far the part is written, as far as `writable` knows. */
  get $written(): number {
    return (this.$state & touched) === 0 ? 0 : this.writable.$reached
  }

  #end(written: number): void {
    const state = this.$state
    if ((state & out) === 0) this.$misused()
    if (!(written >= 0 && written <= this.#writableLength && Number.isInteger(written)) && (state & cancelled) === 0)
      checkInteger(written, 0, this.#writableLength, 'written')
    this.$state = state & ~out
    // The guest learns of what was written before it can see the chain used. Whoever is told may reset the queue.
    if ((state & touched) !== 0) this.writable.$announce()
    if ((this.$state & cancelled) !== 0) this.$owner.released(this)
    else this.$owner.used(this, written)
  }

  /** @internal Begins another use, with the segments from `$first` on: those of the readable part, then those of the writable part. */
  $begin(head: number, readableCount: number, readableLength: number, writableCount: number, writableLength: number): void {
    this.#head = head
    this.$state = begun
    this.#readableCount = readableCount
    this.#readableLength = readableLength
    this.#writableCount = writableCount
    this.#writableLength = writableLength
  }

  /** @internal The buffers, for a snapshot. */
  $buffers(): SavedBuffer[] {
    const count = this.#readableCount + this.#writableCount
    return Array.from({ length: count }, (_, i) => {
      const segment = this.$first + i
      return [this.$slab.address(segment), this.$slab.length(segment), i < this.#readableCount ? 0 : 1]
    })
  }

  /** @internal The device-writable part has no bytes. */
  get $isReadOnly(): boolean {
    return this.#writableLength === 0
  }

  /** @internal The queue is reset. */
  $cancel(): void {
    this.$state |= cancelled
  }

  /** @internal Before guest memory is touched: views become those of now. False where nothing may be touched any more. */
  $prepare(): boolean {
    this.$memory.refresh()
    return (this.$state & cancelled) === 0
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
}

function powerOfTwo(least: number): number {
  let size = 1
  while (size < least) size *= 2
  return size
}
