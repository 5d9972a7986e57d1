/** Chains that look odd and are right: what a device must take although it may never have seen it. Split and packed. */
import { split_ring_limits, VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from 'virtgen/wire/split-ring'
import { type ChainDescription, type ChainSpec, chain } from './chain.ts'
import type { FakeDriver, PutOptions, RingFormat } from './fake-driver.ts'
import type { QueueNeeds, UnusualChain } from './forged-chain.ts'
import { endOfMemory, longestRange, meeting } from './memory-shape.ts'
import { descriptorSize } from './placed-chain.ts'

const both: readonly RingFormat[] = ['split', 'packed']
const split: readonly RingFormat[] = ['split']
const mostBytes = split_ring_limits.split_ring_max_chain_length
/** What QEMU takes, and a device queue by default. */
const longChain = 1024

interface Made {
  readonly spec: ChainSpec
  readonly put?: PutOptions
}

function unusual(
  title: string,
  formats: readonly RingFormat[],
  [readable, writable]: readonly [number, number],
  make: (driver: FakeDriver) => ChainSpec | Made,
  needs?: QueueNeeds,
): UnusualChain {
  const forge = (driver: FakeDriver): void => {
    const made = make(driver)
    if ('spec' in made) driver.offer(made.spec, made.put)
    else driver.offer(made)
  }
  return { title, formats, readable, writable, forge, ...(needs !== undefined && { needs }) }
}

function repeated(description: ChainDescription, count: number, length: number): ChainDescription {
  for (let i = 0; i < count; i++) description.readable(length)
  return description
}

/** Flag bits that no format gives a meaning to. */
const meaningless = 0x7f78

/** Chains that a driver may make. A device queue must give them, with that many bytes in each part, and find nothing wrong. */
export const unusualChains: readonly UnusualChain[] = [
  unusual('a buffer without bytes, wherever it lies', both, [0, 0], () => chain().readable(0, { amend: { address: 2n ** 60n } })),
  unusual('buffers without bytes between others', both, [3, 5], () =>
    chain().readable(0).readable(3).readable(0).writable(0).writable(5).writable(0),
  ),
  unusual('a chain with nothing to write', both, [7, 0], () => chain().readable(7)),
  unusual('a chain with nothing to read', both, [0, 7], () => chain().writable(7)),
  unusual('as many descriptors as the ring has', both, [8, 0], ({ size }) => repeated(chain(), size, 1), { size: 8 }),
  unusual('a buffer that ends where memory ends', both, [0, 16], ({ memory }) =>
    chain().element({ writable: true, length: 16, at: endOfMemory(memory) - 16 }),
  ),
  unusual('a buffer that crosses regions that touch', both, [0, 16], ({ memory }) =>
    chain().element({ writable: true, length: 16, at: meeting(memory) - 5 }),
  ),
  unusual('the same bytes to read and to write', both, [16, 16], ({ memory }) => {
    const at = memory.allocate(16)
    return chain().readable(16, { at }).writable(16, { at })
  }),
  unusual(
    'exactly 2^32 bytes',
    both,
    [mostBytes, 0],
    ({ memory }) => {
      const { address, length } = longestRange(memory)
      const description = chain().indirect()
      for (let left = mostBytes; left > 0; left -= length) description.element({ writable: false, at: address, length: Math.min(left, length) })
      return description
    },
    { maxChainLength: 0x1_0000 },
  ),
  unusual('flags that mean nothing', split, [1, 1], () =>
    chain()
      .readable(1, { amend: { set: meaningless } })
      .writable(1, { amend: { set: 0x8080 } }),
  ),
  unusual('flags that mean nothing', ['packed'], [1, 1], () =>
    chain()
      .readable(1, { amend: { set: meaningless } })
      .writable(1, { amend: { set: meaningless } }),
  ),
  unusual('more descriptors in an indirect table than the queue has', both, [2 * longChain, 0], () => repeated(chain().indirect(), longChain, 2)),
  unusual('an indirect table with one descriptor', both, [0, 3], () => chain().indirect().writable(3)),
  unusual('an indirect table that is marked as device-writable', both, [1, 2], () =>
    chain()
      .indirect({ amend: { set: VIRTQ_DESC_F_WRITE } })
      .readable(1)
      .writable(2),
  ),
  unusual('an indirect table at an odd address', both, [1, 2], ({ memory }) =>
    chain()
      .indirect({ at: memory.allocate(64, 16) + 1 })
      .readable(1)
      .writable(2),
  ),
  unusual('an indirect table that is aligned to two bytes', both, [1, 2], ({ memory }) =>
    chain()
      .indirect({ at: memory.allocate(64, 16) + 6 })
      .readable(1)
      .writable(2),
  ),
  unusual('an indirect table that crosses regions that touch', both, [1, 2], ({ memory }) =>
    chain()
      .indirect({ at: meeting(memory) - 24 })
      .readable(1)
      .writable(2),
  ),
  unusual('an indirect table behind other descriptors', split, [3, 2], () => chain().readable(1).readable(1).indirect().readable(1).writable(2)),
  unusual('an indirect table behind another descriptor, at an odd address', split, [3, 2], ({ memory }) =>
    chain()
      .readable(2)
      .indirect({ at: memory.allocate(64, 16) + 1, amend: { set: VIRTQ_DESC_F_WRITE } })
      .readable(1)
      .writable(2),
  ),
  unusual('an indirect table with descriptors that the chain leaves out', split, [1, 2], ({ memory }) => {
    const at = memory.allocate(8 * descriptorSize, descriptorSize)
    memory.poke(at, new Uint8Array(8 * descriptorSize).fill(0xff))
    return chain()
      .indirect({ at, amend: { length: 8 * descriptorSize } })
      .readable(1)
      .writable(2)
  }),
  unusual('descriptors in no order', split, [3, 3], () => ({
    spec: chain().readable(1).readable(2).writable(3),
    put: { descriptors: [6, 0, 3] },
  })),
  // The only valid flag in the table is VIRTQ_DESC_F_WRITE; others are ignored by the device (Indirect Flag: Scatter-Gather Support).
  unusual('an indirect table with flags that do not count there', ['packed'], [3, 4], () =>
    chain()
      .indirect()
      .readable(1, { amend: { set: VIRTQ_DESC_F_INDIRECT } })
      .readable(2, { amend: { set: meaningless | 0x8080, id: 7 } })
      .writable(4, { amend: { set: VIRTQ_DESC_F_NEXT } }),
  ),
  unusual('a list over the end of the ring', ['packed'], [6, 0], (driver) => ({ spec: repeated(chain(), 6, 1), put: { head: driver.size - 1 } }), {
    size: 8,
    position: { available: 5 | 0x8000, used: 5 | 0x8000 },
  }),
  unusual('a buffer id that is larger than the ring', ['packed'], [1, 2], () => ({
    spec: chain().readable(1).writable(2),
    put: { head: 0xffff },
  })),
  unusual('a ring whose size is no power of two', ['packed'], [5, 1], () => repeated(chain(), 5, 1).writable(1), { size: 7 }),
]
