/** Where shared memory regions are, as registers say it. VIRTIO 1.4, Virtio Over MMIO / MMIO Device Register Layout, SHMSel to SHMBaseHigh. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import type { SharedMemory } from '../device.ts'

/** A region that the guest finds. */
export interface PlacedRegion {
  /** Bytes. */
  readonly length: number
  /** Guest address. */
  readonly address: number
}

/** Says at which guest address a region is; undefined: it is not shown to the guest. */
export type PlaceRegion = (region: SharedMemory) => number | undefined

const word = 2 ** 32
const largestId = 255
/** Either half of what the registers of a region that does not exist read: length and address are 0xffffffffffffffff. */
export const missingHalf = 0xffff_ffff

/**
 * Asks for the place of each region.
 *
 * @throws RangeError for an id that a shown region cannot have or another one has, and for a length or an address that is none
 */
export function placeRegions(regions: readonly SharedMemory[], place: PlaceRegion): ReadonlyMap<number, PlacedRegion> {
  const placed = new Map<number, PlacedRegion>()
  for (const region of regions) {
    const address = place(region)
    if (address === undefined) continue
    const { id, length } = region
    checkInteger(id, 0, largestId, 'id')
    checkInteger(length, 1, Number.MAX_SAFE_INTEGER, 'length')
    checkInteger(address, 0, Number.MAX_SAFE_INTEGER - length, 'address')
    if (placed.has(id)) throw new RangeError(`there are two shared memory regions with id ${id}`)
    placed.set(id, { length, address })
  }
  return placed
}

export function lowHalf(value: number | undefined): number {
  return value === undefined ? missingHalf : value % word
}

export function highHalf(value: number | undefined): number {
  return value === undefined ? missingHalf : Math.floor(value / word)
}
