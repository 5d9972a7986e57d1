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
  allocator: DriverMemory | undefined
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

  /**
   * Takes a region away. No back-end may have it any more.
   *
   * @throws RangeError where there is no such region, Error where something of it is allocated
   */
  remove(region: SharedRegion): void {
    const found = this.#find(region)
    this.requireFree(region)
    this.#replace(this.#regions.filter((each) => each !== found))
    unmap(found)
  }

  /**
   * The allocator over a region, the first one by default: always the same one, for all who take memory there.
   *
   * @throws RangeError where there is no such region
   */
  allocator(region: SharedRegion | undefined = this.#regions[0]): DriverMemory {
    const found = this.#find(region)
    found.allocator ??= new DriverMemory(this.memory, found.guestAddress, found.size)
    return found.allocator
  }

  /** @throws RangeError where there is no such region, Error where something of it is allocated */
  requireFree(region: SharedRegion): void {
    const { allocator, guestAddress } = this.#find(region)
    if (allocator !== undefined && allocator.available < allocator.end - allocator.start)
      throw new Error(`the region at ${guestAddress} is in use: rings or buffers in it are not freed`)
  }

  /** Takes all regions away. */
  close(): void {
    const regions = this.#regions
    this.#replace([])
    regions.forEach(unmap)
  }

  #find(region: SharedRegion | undefined): MappedRegion {
    const found = this.#regions.find((each) => each === region)
    if (found === undefined) throw new RangeError(`there is no such region, ${region?.size ?? 0} bytes at ${region?.guestAddress}`)
    return found
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
    return { guestAddress, size, fd, userAddress: Number(mapping.address), mapping, allocator: undefined }
  } catch (error) {
    closeFd(fd)
    throw error
  }
}

function unmap({ mapping, fd }: MappedRegion): void {
  mapping.unmap()
  closeFd(fd)
}
