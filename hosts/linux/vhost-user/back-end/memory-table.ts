/** The memory of a guest as its front-end describes it: regions that are mapped here, and the addresses by which the front-end means them. */
import { fstatSync } from 'node:fs'
import { GuestMemory, type RegionOptions } from 'virtgen/runtime'
import type { VhostUserMemoryRegionValue } from 'virtgen/wire/vhost-user'
import { type Mapping, mapShared } from '../../system/index.ts'
import { ProtocolError } from '../protocol-error.ts'

/** A region of the table. */
export interface TableRegion extends VhostUserMemoryRegionValue {
  readonly mapping: Mapping
  /** Which memory it is, whoever maps it: device and inode of its file. */
  readonly file: string
}

/** What views of memory need: see `RegionOptions`. */
const alignment = 8

/** The regions of one connection. What is mapped stays so until it is released: its owner knows when nothing writes there any more. */
export class MemoryTable {
  readonly memory = new GuestMemory([])
  readonly #unsealed: boolean
  readonly #most: number
  #regions: readonly TableRegion[] = []
  /** All that is mapped: what is in use, and what is about to be. */
  readonly #mapped = new Set<TableRegion>()
  #released = false

  /**
   * @param unsealed - whether memory is taken that could be made shorter, which would end this process
   * @param most - bytes of all regions together; files can be of any length, and have nothing in them
   */
  constructor(unsealed: boolean, most: number) {
    this.#unsealed = unsealed
    this.#most = most
  }

  get regions(): readonly TableRegion[] {
    return this.#regions
  }

  /**
   * Maps a region, which is not yet part of the table.
   *
   * @throws ProtocolError where it cannot be, or its file does not hold it
   */
  map(region: Readonly<VhostUserMemoryRegionValue>, fd: number): TableRegion {
    const { guest_address, size, user_address, mmap_offset } = region
    const isPlace = (address: number): boolean => Number.isSafeInteger(address) && Number.isSafeInteger(address + size)
    if (!(isPlace(guest_address) && isPlace(user_address) && isPlace(mmap_offset) && size > 0)) refuse(region, 'is empty, or reaches beyond 2^53')
    if (guest_address % alignment !== 0 || mmap_offset % alignment !== 0) refuse(region, `does not begin at multiples of ${alignment}`)
    // Mapping alone takes its time.
    this.#requireRoom(region, [...[...this.#mapped].filter((each) => !this.#regions.includes(each)), region])
    try {
      const { dev, ino } = fstatSync(fd)
      const mapping = mapShared(fd, { size, offset: mmap_offset, unsealed: this.#unsealed })
      const mapped = { guest_address, size, user_address, mmap_offset, mapping, file: `${dev}:${ino}` }
      this.#mapped.add(mapped)
      return mapped
    } catch (error) {
      return refuse(region, `cannot be mapped: ${(error as Error).message}`)
    }
  }

  /** @throws ProtocolError where two of the regions overlap, or all of them are too much */
  check(regions: readonly TableRegion[]): void {
    if (regions.length > 0) this.#requireRoom(regions.at(-1)!, regions)
    requireApart(regions, 'guest_address')
    requireApart(regions, 'user_address')
  }

  #requireRoom(last: Readonly<VhostUserMemoryRegionValue>, regions: readonly Readonly<VhostUserMemoryRegionValue>[]): void {
    const bytes = regions.reduce((sum, { size }) => sum + size, 0)
    if (bytes > this.#most) refuse(last, `makes ${bytes} bytes of all, of which there can be ${this.#most} (maxMemory)`)
  }

  /** Takes other regions, which are checked, in place of those that are there, and unmaps all others. Nothing may be at work in those. */
  use(regions: readonly TableRegion[]): void {
    // A connection can end while the change is waited for.
    if (this.#released) return
    this.memory.replace(regions.flatMap(views))
    this.#regions = regions
    for (const region of this.#mapped) if (!regions.includes(region)) this.#unmap(region)
  }

  /** Unmaps everything, for good. Nothing may be at work in it. */
  release(): void {
    this.use([])
    this.#released = true
  }

  /** Gives back what was mapped and cannot be used. */
  unmap(regions: readonly TableRegion[]): void {
    for (const region of regions) this.#unmap(region)
  }

  #unmap(region: TableRegion): void {
    this.#mapped.delete(region)
    region.mapping.unmap()
  }

  /** The region that a front-end means: the offset in its file says nothing. */
  find({ guest_address, size, user_address }: VhostUserMemoryRegionValue): TableRegion | undefined {
    return this.#regions.find((each) => each.guest_address === guest_address && each.size === size && each.user_address === user_address)
  }
}

/** The guest address of what the front-end has at an address of its own; undefined where that is in none of the regions. */
export function guestAddress(regions: readonly TableRegion[], address: number): number | undefined {
  const region = regions.find(({ user_address, size }) => address >= user_address && address - user_address < size)
  return region && region.guest_address + (address - region.user_address)
}

/** A mapping may be several windows, one behind the other. */
function views({ guest_address, mapping }: TableRegion): RegionOptions[] {
  let guestAddress = guest_address
  return mapping.windows.map((source) => {
    const options = { guestAddress, size: source.byteLength, source }
    guestAddress += source.byteLength
    return options
  })
}

function requireApart(regions: readonly TableRegion[], address: 'guest_address' | 'user_address'): void {
  const sorted = regions.toSorted((a, b) => a[address] - b[address])
  sorted.forEach((region, index) => {
    const before = sorted[index - 1]
    if (before !== undefined && before[address] + before.size > region[address])
      refuse(region, `overlaps the one at ${address} 0x${before[address].toString(16)}`)
  })
}

function refuse({ guest_address, size }: VhostUserMemoryRegionValue, problem: string): never {
  throw new ProtocolError('memory', `the region of ${size} bytes at guest address 0x${guest_address.toString(16)} ${problem}`)
}
