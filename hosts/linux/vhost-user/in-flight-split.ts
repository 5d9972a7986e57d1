/** The inflight region of a split virtqueue. vhost-user, Inflight I/O tracking. */
import type { QueueState, SplitRingLog, Violation } from 'virtgen/runtime'
import { split_ring_limits } from 'virtgen/wire/split-ring'
import { DescStateSplit, QueueRegionSplit, vhost_user_limits } from 'virtgen/wire/vhost-user'
import { inFlightEntries } from './in-flight.ts'

const indexMask = split_ring_limits.split_ring_index_wrap - 1
const { vhost_user_inflight_version: currentVersion } = vhost_user_limits
const highUnit = 0x1_0000_0000
const version16 = QueueRegionSplit.offsetOf.version / 2
const size16 = QueueRegionSplit.offsetOf.desc_num / 2
const lastHead16 = QueueRegionSplit.offsetOf.last_batch_head / 2
const usedIndex16 = QueueRegionSplit.offsetOf.used_idx / 2
const entries = QueueRegionSplit.offsetOf.desc
const entryBytes = DescStateSplit.size
const { inflight, next, counter } = DescStateSplit.offsetOf

/**
 * Each step is one store behind the other, so that the process may die between any two: a chain is in flight from `inflight` = 1 on. When it is used, its head goes to the
 * front of a list before the driver can see it; the difference between the used index and `used_idx` then says how many of that list the driver has seen, until
 * `inflight` is 0 and `used_idx` follows.
 */
export class SplitInFlight implements SplitRingLog {
  readonly problem: Violation | undefined
  /** Where the queue goes on. */
  readonly state: QueueState
  readonly #bytes: Uint8Array
  readonly #words16: Uint16Array
  readonly #words32: Uint32Array
  /** Heads that are being used and not yet seen to be. */
  readonly #batch: number[] = []
  #lastHead = 0
  #counter = 0

  /**
   * @param size - of the queue
   * @param usedIndex - of the ring, as the driver sees it
   */
  constructor(region: Uint8Array, queue: number, size: number, usedIndex: number) {
    this.#bytes = region
    this.#words16 = new Uint16Array(region.buffer, region.byteOffset, region.length >> 1)
    this.#words32 = new Uint32Array(region.buffer, region.byteOffset, region.length >> 2)
    const found = this.#words16[version16] === 0 ? this.#begin(size, usedIndex) : this.#recover(size, usedIndex)
    if (typeof found === 'string') this.problem = { kind: 'in-flight', queue, detail: `the inflight area of queue ${queue}: ${found}` }
    const inFlight = typeof found === 'string' ? [] : found
    this.state = { available: (usedIndex + inFlight.length) & indexMask, used: usedIndex, inFlight }
  }

  /** The version last: before it the region says nothing. */
  #begin(size: number, usedIndex: number): number[] | string {
    const room = inFlightEntries(this.#bytes, false)
    if (room < size) return `room for ${room} entries, the queue has ${size}`
    for (let head = 0; head < room; head++) this.#setInFlight(head, 0)
    this.#words16[size16] = room
    this.#words16[usedIndex16] = usedIndex
    Atomics.store(this.#words16, version16, currentVersion)
    return []
  }

  /** The heads in flight in the order in which they were taken, or what is wrong. */
  #recover(size: number, usedIndex: number): number[] | string {
    const version = this.#words16[version16]!
    const count = this.#words16[size16]!
    if (version !== currentVersion) return `version ${version}, which must be ${currentVersion}`
    const room = inFlightEntries(this.#bytes, false)
    if (count < size || count > room) return `${count} entries, the queue has ${size} and the area room for ${room}`
    const heads: number[] = []
    for (let head = 0; head < count; head++) if (this.#bytes[this.#at(head)] === 1) heads.push(head)
    const unused = heads.length === 0 ? heads : this.#withoutLastBatch(heads, count, (usedIndex - this.#words16[usedIndex16]!) & indexMask)
    if (typeof unused === 'string') return unused
    // One that is beyond the queue is from another one.
    const largest = unused.at(-1) ?? 0
    if (largest >= size) return `head ${largest} is in flight, the queue has ${size} entries`
    Atomics.store(this.#words16, usedIndex16, usedIndex)
    return this.#inOrder(unused)
  }

  /** Those among the heads that the driver has not seen used: the process may have died between the used index and `inflight`. */
  #withoutLastBatch(heads: number[], count: number, used: number): number[] | string {
    if (used > count) return `used_idx is ${used} behind the used index, and there are ${count} entries`
    const seen = new Set<number>()
    let head = this.#words16[lastHead16]!
    for (let step = 0; step < used; step++) {
      if (head >= count || seen.has(head))
        return `entry ${head} is in the list of the ${used} heads that were used last, ${head < count ? 'twice' : `of ${count}`}`
      seen.add(head)
      head = this.#words16[(this.#at(head) + next) / 2]!
    }
    for (const each of seen) this.#setInFlight(each, 0)
    return heads.filter((each) => !seen.has(each))
  }

  #inOrder(heads: readonly number[]): number[] | string {
    const counters = new Map(heads.map((head) => [head, this.#counterOf(head)]))
    const largest = Math.max(-1, ...counters.values())
    if (largest >= Number.MAX_SAFE_INTEGER) return `a counter of ${largest}`
    this.#counter = largest + 1
    return heads.toSorted((a, b) => counters.get(a)! - counters.get(b)!)
  }

  #at(head: number): number {
    return entries + head * entryBytes
  }

  #counterOf(head: number): number {
    const word = (this.#at(head) + counter) / 4
    return this.#words32[word]! + this.#words32[word + 1]! * highUnit
  }

  /** Atomics, here and below: what is stored before is in memory before. */
  #setInFlight(head: number, value: 0 | 1): void {
    Atomics.store(this.#bytes, this.#at(head) + inflight, value)
  }

  taken(head: number): void {
    const word = (this.#at(head) + counter) / 4
    const count = this.#counter++
    this.#words32[word] = count
    this.#words32[word + 1] = count / highUnit
    this.#setInFlight(head, 1)
  }

  using(head: number): void {
    this.#words16[(this.#at(head) + next) / 2] = this.#lastHead
    this.#lastHead = head
    Atomics.store(this.#words16, lastHead16, head)
    this.#batch.push(head)
  }

  used(usedIndex: number): void {
    for (const head of this.#batch) this.#setInFlight(head, 0)
    this.#batch.length = 0
    Atomics.store(this.#words16, usedIndex16, usedIndex)
  }
}
