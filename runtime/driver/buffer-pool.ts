/** Small buffers that requests and events use again and again. */
import type { DmaBuffer, DriverMemory } from './memory.ts'

/** Bytes of the smallest buffers; the others are this times a power of 2. */
const smallest = 64
/** Larger ones are allocated for one use. */
const largest = 4096

/** Free buffers by size. There are never more than were in use at once, and those are bounded by the sizes of the queues. */
export class BufferPool {
  readonly #memory: DriverMemory
  readonly #free = new Map<number, DmaBuffer[]>()

  constructor(memory: DriverMemory) {
    this.#memory = memory
  }

  /**
   * A buffer of at least that many bytes.
   *
   * @throws DriverError `memory` when there is no memory left, not even when the pool gives back all it keeps
   */
  take(length: number): DmaBuffer {
    if (length > largest) return this.#allocate(length)
    let size = smallest
    while (size < length) size *= 2
    return this.#free.get(size)?.pop() ?? this.#allocate(size)
  }

  /** Takes a buffer back that no device uses any more. */
  give(buffer: DmaBuffer): void {
    if (buffer.length > largest) {
      this.#memory.free(buffer)
      return
    }
    // The next device, or the next request, has no business with what lies there.
    buffer.bytes.fill(0)
    const free = this.#free.get(buffer.length)
    if (free === undefined) this.#free.set(buffer.length, [buffer])
    else free.push(buffer)
  }

  /** Gives all buffers that are not in use back to the memory. */
  free(): void {
    for (const free of this.#free.values()) for (const buffer of free) this.#memory.free(buffer)
    this.#free.clear()
  }

  #allocate(length: number): DmaBuffer {
    const buffer = this.#memory.tryAllocate(length)
    if (buffer !== undefined) return buffer
    this.free()
    return this.#memory.allocate(length)
  }
}
