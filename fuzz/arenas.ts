/** The memories that executions run in. */
import { packed_ring_entry_size, packed_ring_fixed_size } from 'virtgen/wire/packed-ring'
import { split_ring_entry_size, split_ring_fixed_size, VirtqDesc } from 'virtgen/wire/split-ring'
import type { QueueSetup } from '../runtime/queue.ts'
import { Arena, type ArenaKind, type ArenaRegion } from './arena.ts'
import type { Random } from './random.ts'
import { tableEntries } from './split-hand.ts'

/** Bytes of the region that holds the rings: enough for {@link largestSize} entries and their indirect tables. */
const home = 0x3000
export const largestSize = 64

const layouts: readonly (readonly ArenaRegion[])[] = [
  [{ guestAddress: 0, size: home }],
  // Regions that touch, a hole, and one of an odd size.
  [
    { guestAddress: 0x800, size: 0x800 },
    { guestAddress: 0x1000, size: home },
    { guestAddress: 0x1000 + home, size: 0x400 },
    { guestAddress: 0x8000, size: 0x1b },
  ],
  // Across 4 GiB.
  [
    { guestAddress: 0xffff_f800, size: 0x800 },
    { guestAddress: 0x1_0000_0000, size: home },
  ],
  // A region across 4 GiB, and one that is as far above 4 GiB as another one is above 0.
  [
    { guestAddress: 0x1000, size: 0x400 },
    { guestAddress: 0xffff_f000, size: home },
    { guestAddress: 0x1_0000_1000 + home, size: 0x400 },
  ],
  // As high as memory can be.
  [
    { guestAddress: 0, size: 0x40 },
    { guestAddress: Number.MAX_SAFE_INTEGER + 1 - home - 0x800, size: home },
    { guestAddress: Number.MAX_SAFE_INTEGER + 1 - 0x800, size: 0x7ff },
  ],
  // In crumbs: buffers that cross many, so that some of them take all the room that there is.
  [{ guestAddress: 0x1_0000, size: home }, ...Array.from({ length: 128 }, (_, i) => ({ guestAddress: 0x1_0000 + home + i * 8, size: 8 }))],
]

/** Makes the memories, once for all executions. */
export function makeArenas(...kinds: readonly ArenaKind[]): readonly Arena[] {
  return kinds.flatMap((kind) => layouts.map((regions) => new Arena(regions, kind)))
}

/** Whether a buffer may cross many regions there. */
export const isInCrumbs = ({ regions }: Arena): boolean => regions.length > 50

/** Number of the region that holds the rings. */
export function homeOf({ regions }: Arena): number {
  return regions.findIndex(({ size }) => size === home)
}

export interface Places {
  readonly setup: QueueSetup
  /** Guest address of the memory for indirect tables; aligned or not. */
  readonly tables: number
  /** Guest address behind all of it, in the same region: from here on, and in all other regions, there is room for buffers. */
  readonly room: number
}

/** Bytes of the three parts of a ring. */
export interface Parts {
  readonly descriptorArea: number
  readonly driverArea: number
  readonly deviceArea: number
}

export function splitParts(size: number): Parts {
  return {
    descriptorArea: size * VirtqDesc.size,
    driverArea: split_ring_fixed_size.available_ring + size * split_ring_entry_size.available_ring,
    deviceArea: split_ring_fixed_size.used_ring + size * split_ring_entry_size.used_ring,
  }
}

export function packedParts(size: number): Parts {
  return {
    descriptorArea: size * packed_ring_entry_size.descriptor_ring,
    driverArea: packed_ring_fixed_size.driver_event_suppression,
    deviceArea: packed_ring_fixed_size.device_event_suppression,
  }
}

const gaps = [0, 0, 0, 16, 48, 256]

/** Places the parts of a ring somewhere in the home region, in any order. */
export function place(random: Random, arena: Arena, size: number, parts: Parts): Places {
  const { guestAddress } = arena.regions[homeOf(arena)]!
  const at: Record<keyof Parts, number> = { descriptorArea: 0, driverArea: 0, deviceArea: 0 }
  let next = guestAddress
  for (const part of random.pick(orders)) {
    next = Math.ceil((next + random.pick(gaps)) / 16) * 16
    at[part] = next
    next += parts[part]
  }
  const tables = Math.ceil(next / 16) * 16 + (random.oneIn(4) ? random.below(16) : 0)
  return { setup: { index: random.pick([0, 1, 65535]), size, ...at }, tables, room: tables + size * tableEntries * VirtqDesc.size }
}

const orders: readonly (readonly (keyof Parts)[])[] = [
  ['descriptorArea', 'driverArea', 'deviceArea'],
  ['deviceArea', 'descriptorArea', 'driverArea'],
  ['driverArea', 'deviceArea', 'descriptorArea'],
]

/** A place that no driver may choose, or that is a strange one. */
export function misplace(random: Random, arena: Arena, { setup, ...places }: Places): Places {
  const part = random.pick(['descriptorArea', 'driverArea', 'deviceArea'] as const)
  const { guestAddress, size } = random.pick(arena.regions)
  const wrong = random.pick([
    setup[part] + random.between(1, 15),
    guestAddress + size - random.below(64),
    setup.descriptorArea,
    setup.deviceArea,
    2 ** 53,
    2 ** 64,
    random.word(),
  ])
  const queueSize = random.oneIn(3) ? random.pick([0, 3, 12, 0x8001, 0x1_0000, 0x8000_0000, 0xffff_ffff]) : setup.size
  return { setup: { ...setup, [part]: wrong, size: queueSize }, ...places }
}
