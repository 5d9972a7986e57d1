/** The memory in which chains in flight are noted: made here, kept by the front-end, and given to the next back-end. vhost-user protocol, Inflight I/O tracking. */
import type { VhostUserInflightValue } from 'virtgen/wire/vhost-user'
import { createMemfd, type Mapping, mapShared } from '../../system/index.ts'
import { clearInFlight, inFlightRegion, inFlightSize } from '../in-flight.ts'
import { ProtocolError } from '../protocol-error.ts'

/** Of the largest numbers in it. */
const alignment = 8

/** An area that is mapped, with a region for each queue. */
export class InFlightArea {
  readonly #mapping: Mapping
  readonly #regions: readonly Uint8Array[]
  readonly #packed: boolean

  private constructor(mapping: Mapping, regions: readonly Uint8Array[], packed: boolean) {
    this.#mapping = mapping
    this.#regions = regions
    this.#packed = packed
  }

  /**
   * A new one, in which nothing is in flight.
   *
   * @returns what the front-end is told of it, and its descriptor
   */
  static create({ num_queues, queue_size }: InFlightShape, packed: boolean): { readonly value: VhostUserInflightValue; readonly fd: number } {
    const mmap_size = inFlightSize(num_queues, queue_size, packed)
    return { value: { mmap_size, mmap_offset: 0, num_queues, queue_size }, fd: createMemfd('vhost-user-inflight', mmap_size) }
  }

  /**
   * One that the front-end has.
   *
   * @throws ProtocolError where it cannot be mapped, or is too small for what is to be in it
   */
  static map(
    { mmap_size, mmap_offset, num_queues, queue_size }: VhostUserInflightValue,
    fd: number,
    { packed, unsealed }: InFlightKind,
  ): InFlightArea {
    // A number that is not where such numbers lie costs both sides dearly, and is not written at once.
    if (mmap_offset % alignment !== 0) refuse(`it begins at ${mmap_offset}, which must be a multiple of ${alignment}`)
    const size = inFlightSize(num_queues, queue_size, packed)
    if (mmap_size < size) refuse(`${mmap_size} bytes are too few for ${num_queues} queues of ${queue_size}`)
    let mapping: Mapping
    try {
      mapping = mapShared(fd, { size, offset: mmap_offset, unsealed })
    } catch (error) {
      return refuse((error as Error).message)
    }
    const [area] = mapping.windows
    const regions = Array.from({ length: num_queues }, (_, index) => area && inFlightRegion(area, index, queue_size, packed))
    const there = regions.filter((region) => region !== undefined)
    if (there.length === num_queues) return new InFlightArea(mapping, there, packed)
    mapping.unmap()
    return refuse('no 64-bit numbers can lie there')
  }

  /** The region of a queue; undefined where the area has none for it. */
  region(index: number): Uint8Array | undefined {
    return this.#regions[index]
  }

  /** The driver has reset the device, and waits for nothing. */
  clear(): void {
    for (const region of this.#regions) clearInFlight(region, this.#packed)
  }

  release(): void {
    this.#mapping.unmap()
  }
}

export interface InFlightKind {
  readonly packed: boolean
  /** Whether memory is taken that could be made shorter, which would end this process. */
  readonly unsealed: boolean
}

type InFlightShape = Pick<VhostUserInflightValue, 'num_queues' | 'queue_size'>

function refuse(problem: string): never {
  throw new ProtocolError('memory', `the inflight area: ${problem}`)
}
