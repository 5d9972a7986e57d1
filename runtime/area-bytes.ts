/** The bytes of an area of a queue whose place the driver, that is we, has chosen. */
import type { GuestMemory } from './memory.ts'
import type { QueueSetup } from './queue.ts'
import type { AreaSizes } from './split/areas.ts'

/**
 * A view of an area. Good until the memory's version changes.
 *
 * @throws RangeError where the area is misaligned or not in one region
 */
export function areaBytes(memory: GuestMemory, setup: QueueSetup, area: keyof AreaSizes, sizes: AreaSizes, alignment: AreaSizes): Uint8Array {
  const address = setup[area]
  if (address % alignment[area] !== 0)
    throw new RangeError(`${area} of queue ${setup.index} must be at a multiple of ${alignment[area]}, not at ${address}`)
  const region = memory.regions[memory.indexOf(address, sizes[area])]
  if (region === undefined) throw new RangeError(`${area} of queue ${setup.index} must lie in one region, ${sizes[area]} bytes at ${address} do not`)
  const start = address - region.guestAddress
  return region.u8.subarray(start, start + sizes[area])
}
