/** A chain in memory: its buffers have places and their content, its descriptors are still to be written. */
import { VirtqDesc } from 'virtgen/wire/split-ring'
import type { Amendment, ChainElement, ChainSpec } from './chain.ts'
import type { TestMemory } from './memory.ts'

/** Words of a descriptor of either format. */
export interface Words {
  address: number | bigint
  length: number
  flags: number
  /** Split: `next`; packed: the buffer id. */
  last: number
}

export interface PlacedElement extends ChainElement {
  readonly at: number
}

/** Bytes of a descriptor; a packed ring has the same. */
export const descriptorSize: number = VirtqDesc.size

/** Places that a chain has in memory, until it is used. */
export class PlacedChain {
  readonly elements: readonly PlacedElement[]
  readonly spec: ChainSpec
  /** Where the indirect table lies; undefined: there is none. */
  readonly table: number | undefined
  readonly #memory: TestMemory
  readonly #own: number[] = []

  /** @throws RangeError where memory has no place for it, or an element with bytes lies outside of it */
  constructor(memory: TestMemory, spec: ChainSpec) {
    this.#memory = memory
    this.spec = spec
    if (spec.elements.length === 0) throw new RangeError('a chain needs at least one element: chain().readable(…) or .writable(…)')
    this.elements = spec.elements.map((element) => this.#place(element))
    if (spec.table === undefined) return
    this.table = spec.table.at ?? this.#allocate(this.inTable * descriptorSize, descriptorSize)
  }

  /** Elements that lie in the indirect table. */
  get inTable(): number {
    return this.spec.table === undefined ? 0 : this.spec.elements.length - this.spec.table.from
  }
  /** Descriptors that it takes of the ring. */
  get descriptors(): number {
    return this.spec.table === undefined ? this.elements.length : this.spec.table.from + 1
  }

  /** Device-writable bytes. */
  get writable(): number {
    return this.elements.reduce((sum, { writable, length }) => sum + (writable ? length : 0), 0)
  }

  /** The device-writable part. */
  content(): Uint8Array {
    const bytes = new Uint8Array(this.writable)
    let done = 0
    for (const { writable, at, length } of this.elements) {
      if (!writable) continue
      bytes.set(this.#memory.peek(at, length), done)
      done += length
    }
    return bytes
  }

  /** Memory has given it places that it takes back. */
  get ownsPlaces(): boolean {
    return this.#own.length > 0
  }

  /** Gives its places back. */
  release(): void {
    for (const address of this.#own.splice(0)) this.#memory.release(address)
  }

  #place(element: ChainElement): PlacedElement {
    const at = element.at ?? this.#allocate(element.length, 1)
    if (element.bytes !== undefined) this.#memory.poke(at, element.bytes)
    return { ...element, at }
  }

  #allocate(length: number, alignment: number): number {
    const address = this.#memory.allocate(length, alignment)
    this.#own.push(address)
    return address
  }
}

/**
 * Puts into the words of a descriptor what is to stand there instead.
 *
 * @param last - what an amendment says of the last word of the format
 */
export function amended(words: Words, amendment: Amendment | undefined, last: (amendment: Amendment) => number | undefined): Words {
  if (amendment === undefined) return words
  const { address, length, flags, set = 0, clear = 0 } = amendment
  return {
    address: address ?? words.address,
    length: length ?? words.length,
    flags: ((flags ?? words.flags) | set) & ~clear,
    last: last(amendment) ?? words.last,
  }
}

/** Where the words of a descriptor lie. */
export interface WordOffsets {
  readonly addr: number
  readonly len: number
  readonly flags: number
  readonly last: number
}

export function encodeWords({ address, length, flags, last }: Words, at: WordOffsets): Uint8Array {
  const bytes = new Uint8Array(descriptorSize)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(at.addr, BigInt(address), true)
  view.setUint32(at.len, length, true)
  view.setUint16(at.flags, flags, true)
  view.setUint16(at.last, last, true)
  return bytes
}

export function decodeWords(bytes: Uint8Array, at: WordOffsets): Words {
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  return {
    address: Number(view.getBigUint64(at.addr, true)),
    length: view.getUint32(at.len, true),
    flags: view.getUint16(at.flags, true),
    last: view.getUint16(at.last, true),
  }
}
