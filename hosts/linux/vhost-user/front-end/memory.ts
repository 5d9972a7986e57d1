/** Memory that a driver shares with back-ends: a memfd for each region. */
import { DriverMemory, GuestMemory } from 'virtgen/runtime'
import { closeFd, createMemfd, type Mapping, mapShared, windowSize } from '../../system/index.ts'

/** A piece of memory that a back-end can be given. */
export interface SharedRegion {
  readonly guestAddress: number
  /** Bytes. */
  readonly size: number
  readonly fd: number
  /** By which rings are named: where this process has it. */
  readonly userAddress: number
}

interface MappedRegion extends SharedRegion {
  readonly mapping: Mapping
}

const pageSize = 4096

export class SharedMemory {
  readonly memory = new GuestMemory([])
  #regions: readonly MappedRegion[] = []

  /** @param size - bytes of the first region, which begins at guest address 0 */
  constructor(size: number) {
    this.add(size)
  }

  get regions(): readonly SharedRegion[] {
    return this.#regions
  }

  /**
   * Adds a region behind the others, full of zeros.
   *
   * @param size - bytes, rounded up to whole pages
   * @throws RangeError for a size that no region has; SystemError
   */
  add(size: number): SharedRegion {
    if (!(Number.isSafeInteger(size) && size > 0 && size <= windowSize)) throw new RangeError(`a region has 1 to ${windowSize} bytes, not ${size}`)
    const last = this.#regions.at(-1)
    const guestAddress = last === undefined ? 0 : last.guestAddress + last.size
    const region = mapped(guestAddress, Math.ceil(size / pageSize) * pageSize)
    this.#replace([...this.#regions, region])
    return region
  }

  /** Takes a region away. No back-end may have it any more. */
  remove(region: SharedRegion): void {
    const found = this.#regions.find((each) => each === region)
    if (found === undefined) throw new RangeError(`there is no region at ${region.guestAddress}`)
    this.#replace(this.#regions.filter((each) => each !== found))
    unmap(found)
  }

  /** An allocator over a region, the first one by default. */
  allocator(region: SharedRegion | undefined = this.#regions[0]): DriverMemory {
    if (region === undefined) throw new RangeError('there is no region')
    return new DriverMemory(this.memory, region.guestAddress, region.size)
  }

  /** Takes all regions away. */
  close(): void {
    const regions = this.#regions
    this.#replace([])
    regions.forEach(unmap)
  }

  #replace(regions: readonly MappedRegion[]): void {
    this.memory.replace(regions.map(({ guestAddress, size, mapping }) => ({ guestAddress, size, source: mapping.windows[0] as Uint8Array })))
    this.#regions = regions
  }
}

function mapped(guestAddress: number, size: number): MappedRegion {
  const fd = createMemfd('virtgen-driver', size)
  try {
    const mapping = mapShared(fd, { size })
    return { guestAddress, size, fd, userAddress: Number(mapping.address), mapping }
  } catch (error) {
    closeFd(fd)
    throw error
  }
}

function unmap({ mapping, fd }: MappedRegion): void {
  mapping.unmap()
  closeFd(fd)
}
