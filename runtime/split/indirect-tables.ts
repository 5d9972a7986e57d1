/** The indirect tables of a driver's queue: at most one per descriptor, allocated when first needed and kept. */
import { VirtqDesc } from 'virtgen/wire/split-ring'
import { DriverError } from '../driver/host.ts'
import type { DmaBuffer, DriverMemory } from '../driver/memory.ts'

/** Descriptors of the smallest table. */
const smallest = 8

export class IndirectTables {
  readonly #memory: DriverMemory
  readonly #size: number
  readonly #tables: (DmaBuffer | undefined)[]

  /** @param size - Queue Size: no chain is longer, hence no table */
  constructor(memory: DriverMemory, size: number) {
    this.#memory = memory
    this.#size = size
    this.#tables = new Array<DmaBuffer | undefined>(size).fill(undefined)
  }

  /** Makes sure that the table of a descriptor has room for `count` descriptors. False where there is no memory for that. */
  reserve(head: number, count: number): boolean {
    const table = this.#tables[head]
    if (table !== undefined && table.length >= count * VirtqDesc.size) return true
    const larger = this.#allocate(count)
    if (larger === undefined) return false
    if (table !== undefined) this.#memory.free(table)
    this.#tables[head] = larger
    return true
  }

  /** The table of a descriptor, after `reserve`. */
  at(head: number): DmaBuffer {
    return this.#tables[head] as DmaBuffer
  }

  /** Gives all tables back. */
  free(): void {
    for (let i = 0; i < this.#tables.length; i++) {
      const table = this.#tables[i]
      if (table !== undefined) this.#memory.free(table)
      this.#tables[i] = undefined
    }
  }

  #allocate(count: number): DmaBuffer | undefined {
    let capacity = Math.min(smallest, this.#size)
    while (capacity < count) capacity *= 2
    try {
      return this.#memory.allocate(capacity * VirtqDesc.size, VirtqDesc.size)
    } catch (error) {
      if (error instanceof DriverError) return undefined
      throw error
    }
  }
}
