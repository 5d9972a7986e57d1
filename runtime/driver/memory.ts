/** Memory that a driver shares with its devices: where rings, headers and payloads lie. */
import type { GuestMemory } from '../memory.ts'
import type { DeviceAddress } from '../queue.ts'
import { DriverError } from './host.ts'

/** Every piece begins and ends at a multiple of this, so that pieces that come back fit together again. */
const granule = 16

/** A piece of memory that devices can reach. Made by `DriverMemory.allocate`. */
export class DmaBuffer implements DeviceAddress {
  readonly address: number
  readonly length: number
  readonly #memory: GuestMemory
  #view: Uint8Array | undefined
  #version = 0
  #freed = false

  /** For `DriverMemory` and `part`. */
  constructor(memory: GuestMemory, address: number, length: number) {
    this.#memory = memory
    this.address = address
    this.length = length
  }

  /**
   * The bytes themselves: the device sees every change, and may change them while the buffer is in a queue. Not to be kept across anything that may grow or
   * replace the memory: ask again.
   *
   * @throws Error when the buffer was freed
   * @throws DriverError `memory` when its region is not there any more
   */
  get bytes(): Uint8Array {
    if (this.#freed) throw new Error(`the buffer at ${this.address} was freed`)
    this.#memory.refresh()
    if (this.#view === undefined || this.#version !== this.#memory.version) {
      this.#view = this.#memory.resolve(this.address, this.length)
      this.#version = this.#memory.version
      if (this.#view === undefined) throw new DriverError('memory', `${this.length} bytes at ${this.address} are not in the memory any more`)
    }
    return this.#view
  }

  /**
   * A part of the buffer, to give less than all of it to a device. It lives as long as the buffer and is not freed itself.
   *
   * @throws RangeError when the part is not inside the buffer
   */
  part(offset: number, length: number): DmaBuffer {
    if (!(Number.isInteger(offset) && Number.isInteger(length) && offset >= 0 && length > 0 && offset + length <= this.length))
      throw new RangeError(`a part must lie inside ${this.length} bytes, ${length} bytes at ${offset} do not`)
    return new DmaBuffer(this.#memory, this.address + offset, length)
  }

  /** For `DriverMemory.free`. */
  $freed(): void {
    this.#freed = true
    this.#view = undefined
  }
}

/** An allocator over a range of guest memory: first fit, neighbours join when they come back. */
export class DriverMemory {
  readonly memory: GuestMemory
  /** The range, as guest addresses: from `start`, up to but without `end`. */
  readonly start: number
  readonly end: number
  /** Free pieces, ascending: where they begin, and where they end. No two of them touch. */
  readonly #begins: number[]
  readonly #ends: number[]
  /** No free piece is longer, as far as is known: who asks again in vain is not searched for. */
  #longest = Number.POSITIVE_INFINITY
  readonly #allocated = new Set<DmaBuffer>()

  /**
   * @param memory - what the devices see
   * @param address - guest address at which the range begins; address 0 is not given out, some transports take it for none
   * @param length - bytes; all of them in one region
   * @throws RangeError when the range is not inside one region
   */
  constructor(memory: GuestMemory, address: number, length: number) {
    if (!(length > 0) || memory.indexOf(address, length) < 0)
      throw new RangeError(`driver memory must lie in one region, ${length} bytes at ${address} do not`)
    this.memory = memory
    this.start = roundUp(Math.max(address, 1), granule)
    this.end = address + length - ((address + length) % granule)
    this.#begins = this.start < this.end ? [this.start] : []
    this.#ends = this.start < this.end ? [this.end] : []
  }

  /** Bytes that are free, though perhaps not in one piece. */
  get available(): number {
    return this.#begins.reduce((sum, begin, i) => sum + (this.#ends[i] as number) - begin, 0)
  }

  /**
   * Takes a piece, filled with zeros: no device sees what another one left there.
   *
   * @param length - bytes, at least 1
   * @param alignment - of the address; a power of 2
   * @throws DriverError `memory` when no free piece is long enough
   */
  allocate(length: number, alignment = granule): DmaBuffer {
    const buffer = this.tryAllocate(length, alignment)
    if (buffer !== undefined) return buffer
    throw new DriverError('memory', `there are no ${length} bytes left of the ${this.end - this.start} bytes of driver memory`)
  }

  /** The same for whom a piece is welcome but not needed: undefined when no free piece is long enough, which is found out at little cost. */
  tryAllocate(length: number, alignment = granule): DmaBuffer | undefined {
    if (!(Number.isSafeInteger(length) && length > 0)) throw new RangeError(`a buffer's length must be a positive integer, not ${length}`)
    if (!(Number.isInteger(alignment) && alignment > 0 && Number.isInteger(Math.log2(alignment))))
      throw new RangeError(`an alignment must be a power of 2, not ${alignment}`)
    const rounded = roundUp(length, granule)
    if (rounded > this.#longest) return undefined
    const step = Math.max(alignment, granule)
    for (let i = 0; i < this.#begins.length; i++) {
      const address = roundUp(this.#begins[i] as number, step)
      if (address + rounded > (this.#ends[i] as number)) continue
      // Memory may have been unplugged, and may come back.
      if (!this.memory.contains(address, rounded)) return undefined
      this.#take(i, address, address + rounded)
      const buffer = new DmaBuffer(this.memory, address, length)
      buffer.bytes.fill(0)
      this.#allocated.add(buffer)
      return buffer
    }
    if (step === granule) this.#longest = rounded - granule
    return undefined
  }

  /**
   * Gives a piece back. No device may use it any more.
   *
   * @throws Error when it was not allocated here, or was freed before
   */
  free(buffer: DmaBuffer): void {
    if (!this.#allocated.delete(buffer)) throw new Error(`the buffer at ${buffer.address} is not one of this memory, or was freed before`)
    buffer.$freed()
    this.#longest = Number.POSITIVE_INFINITY
    this.#give(buffer.address, buffer.address + roundUp(buffer.length, granule))
  }

  #take(i: number, from: number, to: number): void {
    const begin = this.#begins[i] as number
    const end = this.#ends[i] as number
    if (begin < from && to < end) {
      this.#ends[i] = from
      this.#begins.splice(i + 1, 0, to)
      this.#ends.splice(i + 1, 0, end)
    } else if (begin < from) this.#ends[i] = from
    else if (to < end) this.#begins[i] = to
    else {
      this.#begins.splice(i, 1)
      this.#ends.splice(i, 1)
    }
  }

  #give(from: number, to: number): void {
    let i = 0
    while (i < this.#begins.length && (this.#begins[i] as number) < from) i++
    const joinsLower = i > 0 && this.#ends[i - 1] === from
    const joinsUpper = this.#begins[i] === to
    if (joinsLower && joinsUpper) {
      this.#ends[i - 1] = this.#ends[i] as number
      this.#begins.splice(i, 1)
      this.#ends.splice(i, 1)
    } else if (joinsLower) this.#ends[i - 1] = to
    else if (joinsUpper) this.#begins[i] = from
    else {
      this.#begins.splice(i, 0, from)
      this.#ends.splice(i, 0, to)
    }
  }
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step
}
