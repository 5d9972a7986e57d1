/** The inflight region of a packed virtqueue. vhost-user, Inflight I/O tracking. */
import type { PackedRingLog, QueueState, SavedChain, Violation } from 'virtgen/runtime'
import { PvirtqDescOffsets, PvirtqDescSize, VIRTQ_DESC_F_AVAIL, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_USED } from 'virtgen/wire/packed-ring'
import { DescStatePacked, QueueRegionPacked, vhost_user_limits } from 'virtgen/wire/vhost-user'
import { inFlightEntries } from './in-flight.ts'

const { vhost_user_inflight_version: currentVersion } = vhost_user_limits
const highUnit = 0x1_0000_0000
const bothFlags = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED
/** Of a position, whose bit 15 is the wrap counter. */
const wrapBit = 0x8000
const offsetMask = wrapBit - 1

const region = QueueRegionPacked.offsetOf
const version16 = region.version / 2
const size16 = region.desc_num / 2
const free16 = region.free_head / 2
const oldFree16 = region.old_free_head / 2
const used16 = region.used_idx / 2
const oldUsed16 = region.old_used_idx / 2
/** Both wrap counters, the old one above. */
const wraps16 = region.used_wrap_counter / 2
/** used_idx, old_used_idx and both wrap counters, with 16 bits of padding behind them. */
const positions64 = region.used_idx / 8

const entryBytes = DescStatePacked.size
const { inflight, next, last, num, counter, id: entryId, len, addr } = DescStatePacked.offsetOf
/** A descriptor in the ring, and in an entry: the words of its address, of its length, and of id and flags; where the halves of that lie differs. */
const descriptorWords = PvirtqDescSize / 4
const lengthWord = PvirtqDescOffsets.len / 4
const idWord = PvirtqDescOffsets.id / 4
const flagsShift = 16
const idMask = 0xffff

/** The driver's ring, as far as it is needed to find out what the driver has seen. */
export interface PackedRing {
  readonly size: number
  /** Flags of the descriptor in an entry. */
  flags(entry: number): number
}

/** What is in flight: entries of the region, and what they hold. */
interface Taken extends SavedChain {
  readonly entry: number
  readonly last: number
  readonly counter: number
  readonly slots: number
  readonly list: Uint32Array
}

/**
 * Each descriptor of a chain in flight has an entry, as used descriptors are written over those in the ring; free entries are a list. What begins with `old_` is what was
 * true before the use that goes on: when the process dies before the driver can see that use, `old_` counts, otherwise the rest does. A chain is in flight from the moment
 * that `old_free_head` has left its first entry behind.
 */
export class PackedInFlight implements PackedRingLog {
  readonly problem: Violation | undefined
  /** Where the queue goes on. */
  readonly state: QueueState
  readonly #bytes: Uint8Array
  readonly #words16: Uint16Array
  readonly #words32: Uint32Array
  readonly #words64: BigUint64Array
  readonly #size: number
  /** `next` of each entry; what lies in the region can be anything. */
  #next = new Uint16Array(0)
  #free = 0
  /** Where the next used descriptor goes: a position. */
  #used = 0
  /** The position before the use that goes on. */
  #committed = 0
  #counter = 0
  readonly #taken = new Map<number, Pick<Taken, 'entry' | 'last' | 'slots'>>()
  readonly #restored = new Map<number, Uint32Array>()
  /** First entries of what is being used. */
  readonly #batch: number[] = []
  /** The 64-bit word of the positions, to be stored at once. */
  readonly #positions16 = new Uint16Array(4)
  readonly #positions64 = new BigUint64Array(this.#positions16.buffer)

  /** @param used - where the next used descriptor goes, for a region that says nothing yet */
  constructor(bytes: Uint8Array, queue: number, ring: PackedRing, used: number) {
    this.#bytes = bytes
    this.#words16 = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length >> 1)
    this.#words32 = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2)
    this.#words64 = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length >> 3)
    this.#size = ring.size
    this.#used = used
    const found = this.#words16[version16] === 0 ? this.#begin() : this.#recover(ring)
    if (typeof found === 'string') this.problem = { kind: 'in-flight', queue, detail: `the inflight area of queue ${queue}: ${found}` }
    const chains = typeof found === 'string' ? [] : found
    const slots = chains.reduce((sum, chain) => sum + chain.slots, 0)
    this.state = {
      available: this.#moved(this.#used, slots),
      used: this.#used,
      inFlight: chains.map((chain) => ({ head: chain.head, slots: chain.slots })),
    }
  }

  #begin(): Taken[] | string {
    const room = inFlightEntries(this.#bytes, true)
    if (room < this.#size) return `room for ${room} entries, the queue has ${this.#size}`
    if ((this.#used & offsetMask) >= this.#size) return `the queue begins at ${this.#used & offsetMask}, and has ${this.#size} entries`
    this.#next = new Uint16Array(room)
    this.#words16[size16] = room
    for (let entry = 0; entry < room; entry++) {
      this.#bytes[this.#at(entry) + inflight] = 0
      this.#setNext(entry, entry + 1)
    }
    this.#words16[free16] = this.#words16[oldFree16] = 0
    this.#storeUsed(this.#used, this.#used)
    Atomics.store(this.#words16, version16, currentVersion)
    return []
  }

  // ---- Recovery

  #recover(ring: PackedRing): Taken[] | string {
    const version = this.#words16[version16]!
    const count = this.#words16[size16]!
    if (version !== currentVersion) return `version ${version}, which must be ${currentVersion}`
    const room = inFlightEntries(this.#bytes, true)
    if (count < this.#size || count > room) return `${count} entries, the queue has ${this.#size} and the area room for ${room}`
    const unsettled = this.#settle(ring)
    if (unsettled !== undefined) return unsettled
    this.#next = Uint16Array.from({ length: count }, (_, entry) => this.#words16[(this.#at(entry) + next) / 2]!)
    /** 1: in the list of free entries, or in a chain. */
    const isKnown = new Uint8Array(count)
    for (let entry = this.#free; entry < count; entry = this.#next[entry]!) {
      if (isKnown[entry] === 1) return `the list of free entries comes to ${entry} twice`
      isKnown[entry] = 1
      // The process may have died before it said so.
      this.#setInFlight(entry, 0)
    }
    return this.#chains(isKnown)
  }

  /** Decides whether the driver has seen the last use. */
  #settle(ring: PackedRing): string | undefined {
    const [index, oldIndex, wraps] = [this.#words16[used16]!, this.#words16[oldUsed16]!, this.#words16[wraps16]!]
    const used = index | ((wraps & 1) === 0 ? 0 : wrapBit)
    const old = oldIndex | ((wraps & 0x100) === 0 ? 0 : wrapBit)
    if (index >= this.#size || oldIndex >= this.#size) return `the used index ${Math.max(index, oldIndex)} in a ring of ${this.#size} entries`
    const available = (old & wrapBit) === 0 ? VIRTQ_DESC_F_USED : VIRTQ_DESC_F_AVAIL
    const isSeen = used !== old && (ring.flags(oldIndex) & bothFlags) !== available
    this.#used = isSeen ? used : old
    this.#free = this.#words16[isSeen ? free16 : oldFree16]!
    // In this order, so that the same is decided where the process dies in between.
    this.#words16[isSeen ? oldFree16 : free16] = this.#free
    this.#storeUsed(this.#used, this.#used)
    return undefined
  }

  /** The chains in flight in the order in which they were taken, or what is wrong. */
  #chains(isKnown: Uint8Array): Taken[] | string {
    const chains: Taken[] = []
    const ids = new Set<number>()
    let slots = 0
    for (let entry = 0; entry < isKnown.length; entry++) {
      if (this.#bytes[this.#at(entry) + inflight] !== 1) continue
      const chain = this.#chain(entry, isKnown)
      if (typeof chain === 'string') return chain
      slots += chain.slots
      if (ids.has(chain.head)) return `two chains in flight have the buffer id ${chain.head}`
      if (slots > this.#size) return `more descriptors in flight than the ${this.#size} of the queue`
      ids.add(chain.head)
      chains.push(chain)
    }
    // Else there would be none for a chain that the ring has room for.
    const lost = isKnown.indexOf(0)
    if (lost >= 0) return `entry ${lost} is neither free nor in flight`
    chains.sort((a, b) => a.counter - b.counter)
    const largest = chains.at(-1)?.counter ?? -1
    if (largest >= Number.MAX_SAFE_INTEGER) return `a counter of ${largest}`
    this.#counter = largest + 1
    for (const chain of chains) {
      this.#taken.set(chain.head, chain)
      this.#restored.set(chain.head, chain.list)
    }
    return chains
  }

  #chain(first: number, isKnown: Uint8Array): Taken | string {
    const slots = this.#words16[(this.#at(first) + num) / 2]!
    if (slots === 0 || slots > this.#size) return `the chain at entry ${first} has ${slots} descriptors, the queue ${this.#size}`
    const list = new Uint32Array(slots * descriptorWords)
    let entry = first
    let end = first
    for (let slot = 0; slot < slots; slot++) {
      if (entry >= isKnown.length || isKnown[entry] === 1) return `the chain at entry ${first} goes on at ${entry}, which is no entry or another's`
      isKnown[entry] = 1
      this.#read(entry, list, slot * descriptorWords, slot + 1 < slots)
      end = entry
      entry = this.#next[entry]!
    }
    // The buffer id is in the last descriptor.
    const head = list[(slots - 1) * descriptorWords + idWord]! & idMask
    const at = (this.#at(first) + counter) / 4
    return { entry: first, last: end, counter: this.#words32[at]! + this.#words32[at + 1]! * highUnit, head, slots, list }
  }

  /** A descriptor out of an entry, available with a wrap counter of 1: which it was, counts no more. */
  #read(entry: number, list: Uint32Array, at: number, goesOn: boolean): void {
    const word = this.#at(entry) / 4
    list[at] = this.#words32[word + addr / 4]!
    list[at + 1] = this.#words32[word + addr / 4 + 1]!
    list[at + lengthWord] = this.#words32[word + len / 4]!
    const both = this.#words32[word + entryId / 4]!
    const flags = ((both >>> flagsShift) & ~(bothFlags | VIRTQ_DESC_F_NEXT)) | VIRTQ_DESC_F_AVAIL | (goesOn ? VIRTQ_DESC_F_NEXT : 0)
    list[at + idWord] = (both & idMask) | (flags << flagsShift)
  }

  restore(id: number): Uint32Array | undefined {
    const list = this.#restored.get(id)
    this.#restored.delete(id)
    return list
  }

  // ---- Steps

  taken(id: number, words: Uint32Array, first: number, slots: number): void {
    const entry = this.#free
    let end = entry
    let free = entry
    for (let slot = 0; slot < slots; slot++) {
      end = free
      this.#write(end, words, ((first + slot) % this.#size) * descriptorWords)
      free = this.#next[end]!
    }
    // The id that counts is that of the last descriptor, which the driver may have written over by now.
    this.#words16[(this.#at(end) + entryId) / 2] = id
    const at = this.#at(entry)
    const count = this.#counter++
    this.#words16[(at + last) / 2] = end
    this.#words16[(at + num) / 2] = slots
    this.#words32[(at + counter) / 4] = count
    this.#words32[(at + counter) / 4 + 1] = count / highUnit
    this.#setInFlight(entry, 1)
    this.#free = free
    this.#words16[free16] = free
    Atomics.store(this.#words16, oldFree16, free)
    this.#taken.set(id, { entry, last: end, slots })
  }

  #write(entry: number, words: Uint32Array, at: number): void {
    const word = this.#at(entry) / 4
    this.#words32[word + addr / 4] = words[at]!
    this.#words32[word + addr / 4 + 1] = words[at + 1]!
    this.#words32[word + len / 4] = words[at + lengthWord]!
    this.#words32[word + entryId / 4] = words[at + idWord]!
  }

  using(id: number): void {
    const { entry, last: end, slots } = this.#taken.get(id)!
    this.#taken.delete(id)
    this.#setNext(end, this.#free)
    this.#free = entry
    Atomics.store(this.#words16, free16, entry)
    const before = this.#used
    this.#used = this.#moved(before, slots)
    this.#batch.push(entry)
    this.#storeUsed(this.#used, this.#committed)
  }

  used(): void {
    for (const entry of this.#batch) this.#setInFlight(entry, 0)
    this.#batch.length = 0
    Atomics.store(this.#words16, oldFree16, this.#free)
    this.#storeUsed(this.#used, this.#used)
  }

  // ---- Words

  /** Both positions at once: of two stores, a process that dies between them would leave a position in which offset and wrap counter do not belong together. */
  #storeUsed(used: number, old: number): void {
    this.#committed = old
    this.#positions16[0] = used & offsetMask
    this.#positions16[1] = old & offsetMask
    this.#positions16[2] = (used >>> 15) | ((old >>> 15) << 8)
    Atomics.store(this.#words64, positions64, this.#positions64[0]!)
  }

  #setNext(entry: number, following: number): void {
    this.#next[entry] = following
    this.#words16[(this.#at(entry) + next) / 2] = following
  }

  #setInFlight(entry: number, value: 0 | 1): void {
    Atomics.store(this.#bytes, this.#at(entry) + inflight, value)
  }

  #at(entry: number): number {
    return region.desc + entry * entryBytes
  }

  #moved(position: number, slots: number): number {
    const offset = (position & offsetMask) + slots
    return offset < this.#size ? position + slots : ((position & wrapBit) ^ wrapBit) | (offset - this.#size)
  }
}
