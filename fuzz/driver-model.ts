/** What the driver side of a virtqueue must make of what its device writes: plain arrays, and memory read anew at each look. */
import {
  PvirtqDesc,
  PvirtqEventSuppress,
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
} from 'virtgen/wire/packed-ring'
import { VIRTQ_USED_F_NO_NOTIFY, VirtqUsed, VirtqUsedElem } from 'virtgen/wire/split-ring'
import type { ViolationKind } from '../runtime/violation.ts'
import type { RingRules } from './ring-rules.ts'

/** A buffer in the ring. */
export interface BufferOut {
  readonly token: number
  /** Bytes that the device may write. */
  readonly writable: number
  /** Index of the first descriptor, or buffer id. */
  readonly head: number
  /** Descriptors of the ring that it takes. */
  readonly slots: number
  isVisible: boolean
}

export type DriverOutcome =
  | { readonly kind: 'none' }
  | { readonly kind: 'used'; readonly buffer: BufferOut; readonly written: number }
  | { readonly kind: 'violation'; readonly kinds: ReadonlySet<ViolationKind> }

interface UsedEntry {
  readonly id: number
  readonly length: number
  /** Places of the ring that the device has gone on by; no limit where nothing says so. */
  readonly most: number
  /** The device has not said that the length is one: it counts only where it can be one. */
  readonly isDoubtful?: boolean
}

const nothing: DriverOutcome = { kind: 'none' }
const violation = (...kinds: ViolationKind[]): DriverOutcome => ({ kind: 'violation', kinds: new Set(kinds) })

/** What both formats have in common. */
export abstract class DriverModel {
  readonly rules: RingRules
  /** In the order in which they were added. */
  readonly out: BufferOut[] = []
  /** Buffers of a batch in order that are still to be given, and the bytes of the last one. */
  #batch = 0
  #batchWritten = 0

  constructor(rules: RingRules) {
    this.rules = rules
  }

  get visible(): number {
    return this.out.filter(({ isVisible }) => isVisible).length
  }

  /** What `completed` must give. `seen`: up to where the queue says it has seen used buffers. */
  next(seen: number): DriverOutcome {
    if (this.#batch > 0) return { kind: 'used', buffer: this.out[0]!, written: this.#batch === 1 ? this.#batchWritten : this.out[0]!.writable }
    const entry = this.entry(seen)
    if ('kind' in entry) return entry
    const at = this.out.findIndex(({ head, isVisible }) => isVisible && head === entry.id)
    const named = this.out[at]
    if (named === undefined) return this.visible === 0 ? violation('used-id', 'used-index') : violation('used-id')
    const length = lengthOf(entry, named)
    if (length > named.writable) return violation('used-length')
    if (!this.rules.inOrder) return { kind: 'used', buffer: named, written: length }
    if (at + 1 > entry.most) return violation('used-id')
    return { kind: 'used', buffer: this.out[0]!, written: at === 0 ? length : this.out[0]!.writable }
  }

  /** `completed` has given it. */
  completed(buffer: BufferOut, seen: number): void {
    if (this.#batch === 0 && this.rules.inOrder) {
      const entry = this.entry(seen)
      if (!('kind' in entry)) {
        const last = this.out.findIndex(({ head }) => head === entry.id)
        this.#batch = last + 1
        this.#batchWritten = lengthOf(entry, this.out[last]!)
      }
    }
    if (this.#batch > 0) this.#batch--
    this.out.splice(this.out.indexOf(buffer), 1)
    this.advance(buffer)
  }

  /** The next entry that the device has written. */
  protected abstract entry(seen: number): UsedEntry | DriverOutcome
  protected abstract advance(buffer: BufferOut): void
  /** Says whether the device wants to be told of what was just made available: entries, or descriptors, of which the first one stood at `from`. */
  abstract wantsNotification(from: number, count: number): boolean
}

/** Bytes that an entry says were written of the buffer that it names. */
function lengthOf({ length, isDoubtful = false }: UsedEntry, { writable }: BufferOut): number {
  return isDoubtful && length > writable ? 0 : length
}

const wrap = 0x1_0000

export class SplitDriverModel extends DriverModel {
  used = 0

  protected override entry(seen: number): UsedEntry | DriverOutcome {
    const { arena, setup } = this.rules
    const index = seen === this.used ? arena.get16(setup.deviceArea + VirtqUsed.offsetOf.idx) : seen
    const count = (index - this.used + wrap) % wrap
    if (count > this.visible) return violation('used-index')
    if (count === 0) return nothing
    const at = setup.deviceArea + VirtqUsed.offsetOf.ring + (this.used % setup.size) * VirtqUsedElem.size
    return { id: arena.get32(at + VirtqUsedElem.offsetOf.id), length: arena.get32(at + VirtqUsedElem.offsetOf.len), most: count }
  }

  protected override advance(): void {
    this.used = (this.used + 1) % wrap
  }

  override wantsNotification(from: number, count: number): boolean {
    const { arena, setup, eventIndex } = this.rules
    if (!eventIndex) return (arena.get16(setup.deviceArea + VirtqUsed.offsetOf.flags) & VIRTQ_USED_F_NO_NOTIFY) === 0
    const event = arena.get16(setup.deviceArea + VirtqUsed.offsetOf.ring + setup.size * VirtqUsedElem.size)
    for (let i = 0; i < count; i++) if ((from + i) % wrap === event) return true
    return false
  }
}

export class PackedDriverModel extends DriverModel {
  at = 0
  wrap = true

  protected override entry(): UsedEntry | DriverOutcome {
    const { arena, setup } = this.rules
    const at = setup.descriptorArea + this.at * PvirtqDesc.size
    const flags = arena.get16(at + PvirtqDesc.offsetOf.flags)
    const isMarked = (flag: number): boolean => (flags & flag) !== 0
    if (isMarked(VIRTQ_DESC_F_AVAIL) !== this.wrap || isMarked(VIRTQ_DESC_F_USED) !== this.wrap) return nothing
    const length = arena.get32(at + PvirtqDesc.offsetOf.len)
    const isDoubtful = !isMarked(VIRTQ_DESC_F_WRITE)
    return { id: arena.get16(at + PvirtqDesc.offsetOf.id), length, isDoubtful, most: Number.POSITIVE_INFINITY }
  }

  protected override advance({ slots }: BufferOut): void {
    this.at += slots
    if (this.at < this.rules.setup.size) return
    this.at -= this.rules.setup.size
    this.wrap = !this.wrap
  }

  /** `from`: position with the wrap counter in bit 15. */
  override wantsNotification(from: number, count: number): boolean {
    const { arena, setup, eventIndex } = this.rules
    const flags = arena.get16(setup.deviceArea + PvirtqEventSuppress.offsetOf.flags) & 3
    if (!eventIndex || flags !== RING_EVENT_FLAGS_DESC) return flags !== RING_EVENT_FLAGS_DISABLE
    const event = arena.get16(setup.deviceArea + PvirtqEventSuppress.offsetOf.desc)
    for (let i = 0, at = from; i < count; i++) {
      if (at === event) return true
      at = (at & 0x7fff) + 1 === setup.size ? (at & 0x8000) ^ 0x8000 : at + 1
    }
    return false
  }
}
