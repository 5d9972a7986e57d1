/** The order in which chains were taken, where they must be used in that order (VIRTIO_F_IN_ORDER). VIRTIO 1.4, In-order use of descriptors. */
import type { SavedChain } from './queue.ts'

/** A ring whose used entries may tell of several buffers. */
export interface UsedRing {
  /**
   * Writes a used entry, not yet visible, and moves on.
   *
   * @param slots - entries of the ring that the buffers have which it tells of
   * @param count - how many buffers it tells of: more than one only with VIRTIO_F_IN_ORDER, and then the head is that of the last
   */
  $use(head: number, written: number, slots: number, count: number): void
}

/** What `written` holds of a chain that is not complete. */
const incomplete = -1

/**
 * Chains that are complete wait here for those that were taken before them. Those that have become due are put into batches: a used entry may tell of several
 * buffers, and then the skipped ones count as used completely. So that no driver learns less of what was written than before, only buffers without a
 * device-writable part are skipped.
 */
export class InOrder {
  readonly #mask: number
  readonly #heads: Uint16Array
  readonly #slots: Uint16Array
  readonly #written: Float64Array
  /** 1: the buffer has no device-writable part. */
  readonly #skippable: Uint8Array
  /** Free-running numbers: of the oldest chain, and of the next to be taken. */
  #first = 0
  #next = 0
  // The batch that is open: its last buffer, and what all of them have.
  #batchCount = 0
  #batchSlots = 0
  #batchHead = 0
  #batchWritten = 0
  #batchSkippable = 0

  /** @param size - most chains at the same time */
  constructor(size: number) {
    const places = 2 ** Math.ceil(Math.log2(Math.max(size, 1)))
    this.#mask = places - 1
    this.#heads = new Uint16Array(places)
    this.#slots = new Uint16Array(places)
    this.#written = new Float64Array(places)
    this.#skippable = new Uint8Array(places)
  }

  /** A chain was taken: gives its number. */
  take(head: number, slots: number): number {
    const order = this.#next
    const place = order & this.#mask
    this.#heads[place] = head
    this.#slots[place] = slots
    this.#written[place] = incomplete
    this.#next = (order + 1) | 0
    return order
  }

  /** Says whether no chain was taken after this one. */
  isLast(order: number): boolean {
    return ((order + 1) | 0) === this.#next
  }

  /** The chain taken last is not taken any more. */
  putBack(): void {
    this.#next = (this.#next - 1) | 0
  }

  complete(order: number, written: number, skippable: boolean): void {
    this.#written[order & this.#mask] = written
    this.#skippable[order & this.#mask] = skippable ? 1 : 0
  }

  /** Uses the oldest chain, if it is complete. Gives its head, or -1. */
  advance(ring: UsedRing): number {
    const place = this.#first & this.#mask
    if (this.#first === this.#next || this.#written[place] === incomplete) return -1
    this.#first = (this.#first + 1) | 0
    if (this.#batchSkippable === 0) this.flush(ring)
    this.#batchCount++
    this.#batchSlots += this.#slots[place]!
    this.#batchHead = this.#heads[place]!
    this.#batchWritten = this.#written[place]!
    this.#batchSkippable = this.#skippable[place]!
    return this.#batchHead
  }

  /** Writes the used entry of the open batch. */
  flush(ring: UsedRing): void {
    if (this.#batchCount === 0) return
    ring.$use(this.#batchHead, this.#batchWritten, this.#batchSlots, this.#batchCount)
    this.#batchCount = 0
    this.#batchSlots = 0
    this.#batchSkippable = 0
  }

  /**
   * The chains that the driver has not got back, oldest first; undefined for one that is not complete.
   *
   * @param withSlots - the ring is packed
   */
  held(withSlots: boolean): (SavedChain | undefined)[] {
    const all: (SavedChain | undefined)[] = []
    for (let order = this.#first; order !== this.#next; order = (order + 1) | 0) {
      const place = order & this.#mask
      const chain = { head: this.#heads[place]!, written: this.#written[place]! }
      all.push(chain.written === incomplete ? undefined : withSlots ? { ...chain, slots: this.#slots[place]! } : chain)
    }
    return all
  }
}
