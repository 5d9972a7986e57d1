/** Guest memory with guards: bytes that no queue may reach, between and around the regions. */
import { GuestMemory, type RegionOptions } from '../runtime/memory.ts'
import { Failure, require } from './failure.ts'

/** Where a region lies for the guest. All of them lie apart in the host's buffer, also where they touch for the guest. */
export interface ArenaRegion {
  readonly guestAddress: number
  readonly size: number
}

/**
 * How the bytes of a memory come about: in arrays that stay (`fixed`) or that another thread has, too (`shared`), or in what may have another buffer at any time
 * (`moving`), as a WebAssembly memory has when it grows.
 */
export type ArenaKind = 'fixed' | 'moving' | 'shared'

/** Bytes of a guard; fewer where there are many. */
const guardSize = 0x100
const smallGuard = 16
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
  readonly #kind: ArenaKind
  /** Where a moving memory finds its buffer. */
  readonly #source: { buffer: ArrayBufferLike }
  /** Where the last address was; mostly the next one is there too. */
  #near = 0
  /** Regions that are not there now. */
  readonly #unplugged = new Set<number>()
  /** Two to move between. */
  readonly #buffers: readonly ArrayBufferLike[]
  #current = 0
  #buffer: ArrayBufferLike
  #bytes: Uint8Array
  #view: DataView
  /** What the regions and guards hold as far as somebody was entitled to write it. */
  readonly #shadow: Buffer

  constructor(regions: readonly ArenaRegion[], kind: ArenaKind) {
    this.regions = regions
    const offsets: number[] = []
    const guard = regions.length > 50 ? smallGuard : guardSize
    let at = guard
    for (const { size } of regions) {
      offsets.push(at)
      at = align(at + size) + guard
    }
    this.#offsets = offsets
    this.#total = at
    this.#kind = kind
    this.#buffers = kind === 'shared' ? [new SharedArrayBuffer(at)] : [new ArrayBuffer(at), new ArrayBuffer(at)]
    this.#buffer = this.#buffers[0]!
    this.#bytes = new Uint8Array(this.#buffer)
    this.#view = new DataView(this.#buffer)
    this.#shadow = Buffer.alloc(at)
    this.#source = { buffer: this.#buffer }
    this.memory = new GuestMemory(this.#options())
  }

  /** The regions as `GuestMemory` takes them. */
  #options(): RegionOptions[] {
    const source = this.#kind === 'moving' ? this.#source : this.#bytes
    return this.regions.flatMap(({ guestAddress, size }, i) =>
      this.#unplugged.has(i) ? [] : [{ guestAddress, size, source, byteOffset: this.#offsets[i]! }],
    )
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
    if (this.#unplugged.size > 0) this.plug()
    this.#bytes.fill(poison)
    for (let i = 0; i < this.regions.length; i++) this.#bytes.fill(content, this.#offsets[i]!, this.#offsets[i]! + this.regions[i]!.size)
    this.remember()
  }

  /** Moves everything to another buffer; who still looks at the old one finds poison. */
  move(): void {
    if (this.#kind === 'shared') return
    const from = this.#bytes
    this.#current = 1 - this.#current
    this.#buffer = this.#buffers[this.#current]!
    this.#bytes = new Uint8Array(this.#buffer)
    this.#view = new DataView(this.#buffer)
    this.#bytes.set(from)
    from.fill(this.poison)
    if (this.#kind === 'moving') this.#source.buffer = this.#buffer
    else this.memory.replace(this.#options())
  }

  /** Takes a region away: who reads there finds zeros, who writes there writes nowhere. */
  unplug(region: number): void {
    this.#unplugged.add(region)
    this.memory.replace(this.#options())
  }
  /** All regions are there again, as they were. */
  plug(): void {
    this.#unplugged.clear()
    this.memory.replace(this.#options())
  }
  get isWhole(): boolean {
    return this.#unplugged.size === 0
  }

  /** Where a byte of the guest lies in the buffer; -1: nowhere. */
  offsetOf(address: number): number {
    const i = this.#regionOf(address)
    return i < 0 ? -1 : this.#offsets[i]! + (address - this.regions[i]!.guestAddress)
  }

  /** The region of an address that is there; -1: none. */
  #regionOf(address: number): number {
    if (!this.#holds(this.#near, address)) {
      const found = this.regions.findIndex((_, i) => this.#holds(i, address))
      if (found < 0) return -1
      this.#near = found
    }
    return this.#unplugged.has(this.#near) ? -1 : this.#near
  }

  #holds(region: number, address: number): boolean {
    const { guestAddress, size } = this.regions[region]!
    return address >= guestAddress && address < guestAddress + size
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
  leftAt(address: number): number {
    const i = this.#regionOf(address)
    if (i < 0) return 0
    const { guestAddress, size } = this.regions[i]!
    return guestAddress + size - address
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

  /** 0 where nothing is. */
  get8(address: number): number {
    const at = this.offsetOf(address)
    return at < 0 ? 0 : this.#bytes[at]!
  }
  set8(address: number, value: number): void {
    const at = this.offsetOf(address)
    if (at >= 0) this.#bytes[at] = value
    this.expect8(address, value)
  }
  /** Expects that the device writes a byte. */
  expect8(address: number, value: number): void {
    const at = this.offsetOf(address)
    if (at >= 0) this.#shadow[at] = value
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
