/** The indirect tables of a driver's queue: at most one per buffer, allocated when first needed and kept for the next buffer. */
import { VirtqDescSize } from 'virtgen/wire/split-ring'
import type { DmaBuffer, DriverMemory } from './driver/memory.ts'
import type { MemoryRegion } from './memory.ts'

/** Descriptors of the smallest table; those of both ring formats are equally long. */
const smallest = 8

export class IndirectTables {
  /** Typed arrays and tables that were made. */
  allocations = 3
  /** What {@link open} has found. */
  words: Uint32Array = new Uint32Array(0)
  readonly #memory: DriverMemory
  readonly #size: number
  readonly #tables: DmaBuffer[] = []
  /** Of each table: the descriptors that it can hold. */
  readonly #capacity: Uint32Array
  /** Tables that no buffer has. */
  readonly #free: Uint16Array
  #freeCount = 0
  /** Which table each buffer has, plus 1; 0: none. */
  readonly #ofBuffer: Uint16Array
  /** The table that is kept ready for the next buffer, or -1. */
  #ready = -1
  #version = -1
  /** Where the last table was written to; mostly the next one lies there too. */
  #region: MemoryRegion | undefined

  /** @param size - Queue Size: no chain is longer, hence no table */
  constructor(memory: DriverMemory, size: number) {
    this.#memory = memory
    this.#size = size
    this.#capacity = new Uint32Array(size)
    this.#free = new Uint16Array(size)
    this.#ofBuffer = new Uint16Array(size)
  }

  /** Makes sure that a table for `count` descriptors is ready. False where there is no memory for it. */
  reserve(count: number): boolean {
    return this.has(count) || this.#reserve(count)
  }

  /** Says whether a table for `count` descriptors is ready. */
  has(count: number): boolean {
    return this.#ready >= 0 && this.#capacity[this.#ready]! >= count
  }

  /** Guest address of the table that is ready. */
  get address(): number {
    return this.#tables[this.#ready]!.address
  }

  /** Makes `words` those in which the table that is ready lies; returns where it begins there. */
  open(count: number): number {
    const { address } = this
    const region = this.#find(address, count * VirtqDescSize)
    this.words = region.u32
    return (address - region.guestAddress) / 4
  }

  /** Gives the table that is ready to a buffer. */
  take(id: number): void {
    this.#ofBuffer[id] = this.#ready + 1
    this.#ready = -1
  }

  /** A buffer is back, and its table if it has one. */
  give(id: number): void {
    const table = this.#ofBuffer[id]! - 1
    if (table < 0) return
    this.#ofBuffer[id] = 0
    this.#free[this.#freeCount++] = table
  }

  /** Gives all tables back. */
  free(): void {
    for (const table of this.#tables) this.#memory.free(table)
    this.#tables.length = 0
    this.#ofBuffer.fill(0)
    this.#freeCount = 0
    this.#ready = -1
  }

  #reserve(count: number): boolean {
    if (this.#ready < 0 && this.#freeCount > 0) this.#ready = this.#free[--this.#freeCount]!
    if (this.has(count)) return true
    const larger = this.#allocate(count)
    if (larger === undefined) return false
    if (this.#ready < 0) this.#ready = this.#tables.length
    else this.#memory.free(this.#tables[this.#ready]!)
    this.#tables[this.#ready] = larger
    this.#capacity[this.#ready] = larger.length / VirtqDescSize
    return true
  }

  #allocate(count: number): DmaBuffer | undefined {
    let capacity = Math.min(smallest, this.#size)
    while (capacity < count) capacity *= 2
    const table = this.#memory.tryAllocate(capacity * VirtqDescSize, VirtqDescSize)
    if (table !== undefined) this.allocations++
    return table
  }

  #find(address: number, length: number): MemoryRegion {
    const { memory } = this.#memory
    memory.refresh()
    const known = this.#region
    if (known !== undefined && this.#version === memory.version) {
      if (address >= known.guestAddress && address + length <= known.guestAddress + known.size) return known
    }
    const region = memory.regions[memory.indexOf(address, length)]
    if (region === undefined) throw new RangeError(`the indirect table at ${address} is not in the memory any more`)
    this.#region = region
    this.#version = memory.version
    return region
  }
}
