/** Guest memory with guards: bytes that no queue may reach, between and around the regions. */
import { GuestMemory, type RegionOptions } from '../runtime/memory.ts'
import { Failure, require } from './failure.ts'

/** Where a region lies for the guest. All of them lie apart in the host's buffer, also where they touch for the guest. */
export interface ArenaRegion {
  readonly guestAddress: number
  readonly size: number
}

/** Bytes of a guard. */
const guardSize = 0x100
const align = (value: number): number => Math.ceil(value / 8) * 8

/**
 * Regions of guest memory in one buffer, each between two guards. A write outside of the regions changes a guard, or what the arena last knew of the regions; a read
 * outside is found by running the same execution over other guards ({@link poison}): nothing that can be seen may differ.
 */
export class Arena {
  readonly regions: readonly ArenaRegion[]
  readonly memory: GuestMemory
  /** What the guards are filled with; never a byte of the regions unless somebody has written it. */
  poison = 0
  /** Where the regions begin in the buffer. */
  readonly #offsets: readonly number[]
  readonly #total: number
  readonly #sources: { buffer: ArrayBufferLike }[]
  readonly #shared: boolean
  /** Two to move between. */
  readonly #buffers: readonly ArrayBufferLike[]
  #current = 0
  #buffer: ArrayBufferLike
  #bytes: Uint8Array
  #view: DataView
  /** What the regions and guards hold as far as somebody was entitled to write it. */
  readonly #shadow: Buffer

  /** @param shared - whether the bytes can be given to another thread */
  constructor(regions: readonly ArenaRegion[], shared = false) {
    this.regions = regions
    const offsets: number[] = []
    let at = guardSize
    for (const { size } of regions) {
      offsets.push(at)
      at = align(at + size) + guardSize
    }
    this.#offsets = offsets
    this.#total = at
    this.#shared = shared
    this.#buffers = shared ? [new SharedArrayBuffer(at)] : [new ArrayBuffer(at), new ArrayBuffer(at)]
    this.#buffer = this.#buffers[0]!
    this.#bytes = new Uint8Array(this.#buffer)
    this.#view = new DataView(this.#buffer)
    this.#shadow = Buffer.alloc(at)
    this.#sources = regions.map(() => ({ buffer: this.#buffer }))
    this.memory = new GuestMemory(this.options())
  }

  /** The regions as `GuestMemory` takes them. */
  options(): RegionOptions[] {
    return this.regions.map(({ guestAddress, size }, i) => ({ guestAddress, size, source: this.#sources[i]!, byteOffset: this.#offsets[i]! }))
  }

  get buffer(): ArrayBufferLike {
    return this.#buffer
  }
  /** The whole buffer, guards included. */
  get bytes(): Uint8Array {
    return this.#bytes
  }

  /** Fills everything: the regions with one byte, the guards with another. */
  clear(content: number, poison: number): void {
    this.poison = poison
    this.#bytes.fill(poison)
    for (let i = 0; i < this.regions.length; i++) this.#bytes.fill(content, this.#offsets[i]!, this.#offsets[i]! + this.regions[i]!.size)
    this.remember()
  }

  /** Moves everything to another buffer, as a WebAssembly memory does that grows; who still looks at the old one finds poison. */
  move(): void {
    if (this.#shared) return
    const from = this.#bytes
    this.#current = 1 - this.#current
    this.#buffer = this.#buffers[this.#current]!
    this.#bytes = new Uint8Array(this.#buffer)
    this.#view = new DataView(this.#buffer)
    this.#bytes.set(from)
    from.fill(this.poison)
    for (const source of this.#sources) source.buffer = this.#buffer
  }

  /** Where a byte of the guest lies in the buffer; -1: nowhere. */
  offsetOf(address: bigint | number): number {
    for (let i = 0; i < this.regions.length; i++) {
      const { guestAddress, size } = this.regions[i]!
      if (address >= guestAddress && address < guestAddress + size) return this.#offsets[i]! + (Number(address) - guestAddress)
    }
    return -1
  }

  /** The guest's address of a byte of the buffer, which must be in a region. */
  addressOf(offset: number): number {
    const region = this.#regionAt(offset)
    require(region >= 0, `byte ${offset} of the buffer is in no region`)
    // Near 2^53 the order of the operations matters.
    return this.regions[region]!.guestAddress + (offset - this.#offsets[region]!)
  }

  #regionAt(offset: number): number {
    return this.#offsets.findIndex((start, i) => offset >= start && offset < start + this.regions[i]!.size)
  }

  /** How many bytes from this one on lie in its region. */
  leftAt(address: bigint | number): number {
    for (const { guestAddress, size } of this.regions) {
      if (address >= guestAddress && address < guestAddress + size) return guestAddress + size - Number(address)
    }
    return 0
  }

  // What the other side of the ring reads and writes; it knows what it wrote. Addresses must be in a region, with all bytes of the word.
  get16(address: number): number {
    return this.#view.getUint16(this.offsetOf(address), true)
  }
  get32(address: number): number {
    return this.#view.getUint32(this.offsetOf(address), true)
  }
  set16(address: number, value: number): void {
    const at = this.offsetOf(address)
    this.#view.setUint16(at, value, true)
    this.#shadow[at] = value
    this.#shadow[at + 1] = value >>> 8
  }
  set32(address: number, value: number): void {
    this.set16(address, value)
    this.set16(address + 2, value >>> 16)
  }

  get8(address: number): number {
    return this.#bytes[this.offsetOf(address)]!
  }
  set8(address: number, value: number): void {
    this.#bytes[this.offsetOf(address)] = value
    this.expect8(address, value)
  }
  /** Expects that the device writes a byte. */
  expect8(address: number, value: number): void {
    this.#shadow[this.offsetOf(address)] = value
  }

  /** Takes what a range of addresses holds for right; tells which bytes of it are new, as offsets into the buffer. All of it must be in one region. */
  accept(start: number, end: number, onNew: (offset: number) => void): void {
    const from = this.offsetOf(start)
    const to = from + (end - start)
    for (let i = from; i < to; i++) {
      if (this.#shadow[i] === this.#bytes[i]) continue
      onNew(i)
      this.#shadow[i] = this.#bytes[i]!
    }
  }

  /** Takes a 16-bit word of the buffer for right. */
  acceptWord(place: number): void {
    for (const i of [2 * place, 2 * place + 1]) this.#shadow[i] = this.#bytes[i]!
  }

  /** Takes everything for right. */
  remember(): void {
    this.#shadow.set(this.#bytes)
  }

  /** Says where the first byte lies that nobody was entitled to write; -1: there is none. */
  changed(): number {
    // A comparison of the whole is one call of the machine's memcmp.
    if (this.#shadow.equals(this.#bytes)) return -1
    for (let i = 0; i < this.#total; i++) if (this.#bytes[i] !== this.#shadow[i]) return i
    return -1
  }

  /** Says whether all guards are as they were. */
  guardsAreWhole(): boolean {
    let at = 0
    for (let i = 0; i <= this.regions.length; i++) {
      const end = this.#offsets[i] ?? this.#total
      for (; at < end; at++) if (this.#bytes[at] !== this.poison) return false
      at = end + (this.regions[i]?.size ?? 0)
    }
    return true
  }

  /** Fails unless the view lies inside one region. */
  requireInside(view: Uint8Array): void {
    if (view.length === 0) return
    if (view.buffer !== this.#buffer) throw new Failure('a view is not of the memory as it is now')
    const start = view.byteOffset
    const end = start + view.byteLength
    const region = this.#offsets.findIndex((offset, i) => start >= offset && end <= offset + this.regions[i]!.size)
    if (region < 0) throw new Failure(`a view of ${view.byteLength} bytes at ${start} is not inside a region`)
  }

  /** Which of the guest's bytes stands there, for reports. */
  describe(offset: number): string {
    return this.#regionAt(offset) < 0 ? 'a guard' : `0x${this.addressOf(offset).toString(16)}`
  }

  /** Everything in the regions, as 32-bit numbers. */
  forEachWord(take: (word: number) => void): void {
    for (let i = 0; i < this.regions.length; i++) {
      const end = this.#offsets[i]! + this.regions[i]!.size
      for (let at = this.#offsets[i]!; at < end; at += 4) take(at + 4 <= end ? this.#view.getUint32(at, true) : this.#bytes[at]!)
    }
  }
}
