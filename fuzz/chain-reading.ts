/** What descriptors say, read the slow and plain way: the reference that a queue is held against. Shares no code with the runtime. */
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE, VirtqDesc } from 'virtgen/wire/split-ring'
import type { ViolationKind } from '../runtime/violation.ts'
import type { Arena } from './arena.ts'

/** A descriptor of either format; `last` is `next` of a split one and `id` of a packed one, where flags and it have changed places. */
export interface PlainDescriptor {
  readonly address: number
  readonly length: number
  readonly flags: number
  readonly other: number
}

export interface Piece {
  readonly address: number
  readonly length: number
}

const largestChain = 2 ** 32

export const isIndirect = ({ flags }: PlainDescriptor): boolean => (flags & VIRTQ_DESC_F_INDIRECT) !== 0
export const goesOn = ({ flags }: PlainDescriptor): boolean => (flags & VIRTQ_DESC_F_NEXT) !== 0

/** Reads a descriptor byte by byte, wherever it lies. `flagsFirst`: split. */
export function readDescriptor(arena: Arena, at: number, flagsFirst: boolean): PlainDescriptor {
  const byte = (i: number): number => arena.get8(at + i)
  const u16 = (i: number): number => byte(i) + byte(i + 1) * 0x100
  const u32 = (i: number): number => u16(i) + u16(i + 2) * 0x1_0000
  const high = u32(4)
  return {
    // What no number holds exactly is outside of all memory.
    address: high >= 0x20_0000 ? Number.POSITIVE_INFINITY : high * 0x1_0000_0000 + u32(0),
    length: u32(8),
    flags: u16(flagsFirst ? 12 : 14),
    other: u16(flagsFirst ? 14 : 12),
  }
}

/** Says whether memory holds all bytes of a range, in regions that touch. */
export function isHeld(arena: Arena, address: number, length: number): boolean {
  for (let done = 0; done < length; ) {
    const left = arena.leftAt(address + done)
    if (left === 0) return false
    done += left
  }
  return true
}

/** A chain as it is read: its buffers, and everything that is wrong with it. A queue may name any of the problems, and must name one. */
export class ChainReading {
  readonly problems = new Set<ViolationKind>()
  readonly readable: Piece[] = []
  readonly writable: Piece[] = []
  readableLength = 0
  writableLength = 0
  /** Descriptors that hold buffers. */
  count = 0
  /** Entries of the ring that a packed chain takes. */
  slots = 0
  #writing = false

  readonly #arena: Arena
  readonly #maxChainLength: number

  constructor(arena: Arena, maxChainLength: number) {
    this.#arena = arena
    this.#maxChainLength = maxChainLength
  }

  /** Another descriptor would be one too many. */
  get isFull(): boolean {
    return this.count >= this.#maxChainLength
  }

  add(descriptor: PlainDescriptor): void {
    const { address, length, flags } = descriptor
    const writable = (flags & VIRTQ_DESC_F_WRITE) !== 0
    if (++this.count > this.#maxChainLength) this.problems.add('chain-length')
    if (writable) this.#writing = true
    else if (this.#writing) this.problems.add('descriptor-order')
    if (length === 0) return
    if (!isHeld(this.#arena, address, length)) this.problems.add('descriptor-address')
    if (this.readableLength + this.writableLength + length > largestChain) this.problems.add('chain-bytes')
    ;(writable ? this.writable : this.readable).push({ address, length })
    if (writable) this.writableLength += length
    else this.readableLength += length
  }

  /** Checks a descriptor that refers to a table; gives the number of its entries, or 0 where there is none to read. */
  open({ address, length, flags }: PlainDescriptor, isNegotiated: boolean): number {
    if (!isNegotiated) this.problems.add('indirect-not-negotiated')
    if ((flags & VIRTQ_DESC_F_NEXT) !== 0) this.problems.add('indirect-next')
    const entries = length / VirtqDesc.size
    if (!Number.isInteger(entries) || entries === 0 || entries > 0x1_0000 || !isHeld(this.#arena, address, length)) {
      this.problems.add('indirect-table')
      return 0
    }
    return entries
  }
}

/** The first bytes of pieces, as guest addresses; what a cursor over them walks. */
export function* addressesOf(pieces: readonly Piece[], count: number): Generator<number> {
  let left = count
  for (const { address, length } of pieces) {
    for (let i = 0; i < length; i++) {
      if (left-- <= 0) return
      yield address + i
    }
  }
}
