/** The three parts of a virtqueue in guest memory, as views that cover them and nothing else: no index can reach other memory. */
import type { GuestMemory } from './memory.ts'
import type { QueueSetup } from './queue.ts'
import type { AreaSizes } from './split/areas.ts'
import type { Violation } from './violation.ts'

/** The areas, as a violation names them. */
const names = { descriptorArea: 'descriptor area', driverArea: 'driver area', deviceArea: 'device area' } as const

export interface RingAreas {
  readonly descriptorArea: Uint8Array
  readonly driverArea: Uint8Array
  readonly deviceArea: Uint8Array
}

/** Gives the areas, or says what is wrong with the place that the driver chose. */
export function ringAreas(memory: GuestMemory, setup: QueueSetup, sizes: AreaSizes, alignment: AreaSizes): RingAreas | Violation {
  const views: Partial<Record<keyof RingAreas, Uint8Array>> = {}
  for (const area of ['descriptorArea', 'driverArea', 'deviceArea'] as const) {
    const address = setup[area]
    const region = memory.regionOf(address, sizes[area])
    const detail =
      address % alignment[area] !== 0
        ? `the ${names[area]} at 0x${address.toString(16)} is not aligned to ${alignment[area]} bytes`
        : `the ${names[area]}, ${sizes[area]} bytes at 0x${address.toString(16)}, is not in one region`
    if (region === undefined || address % alignment[area] !== 0) return { kind: 'queue-address', queue: setup.index, detail }
    const start = address - region.guestAddress
    views[area] = region.u8.subarray(start, start + sizes[area])
  }
  return views as RingAreas
}

export function words16(bytes: Uint8Array): Uint16Array {
  return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length >> 1)
}

export function words32(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2)
}
