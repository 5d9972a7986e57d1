/** All that a hostile driver can do to a ring, each with the violation that the device has to find. Split and packed. */
import { split_ring_limits, VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from 'virtgen/wire/split-ring'
import type { ViolationKind } from '../violation.ts'
import { type Amendment, type ChainDescription, type ChainElement, type ChainSpec, chain } from './chain.ts'
import type { FakeDriver, RingFormat } from './fake-driver.ts'
import type { ForgedChain, QueueNeeds } from './forged-chain.ts'
import { forgedPackedRings, forgedSplitRings } from './forged-rings.ts'
import type { TestMemory } from './memory.ts'
import { beyond32Bits, endOfMemory, firstHole, longestRange, overHole } from './memory-shape.ts'
import { descriptorSize } from './placed-chain.ts'

const NEXT = VIRTQ_DESC_F_NEXT
const INDIRECT = VIRTQ_DESC_F_INDIRECT
const mostInTable = split_ring_limits.split_ring_index_wrap
const mostBytes = split_ring_limits.split_ring_max_chain_length

/** A chain with one element more than can be: whoever takes it has taken too many. */
function many(count: number): ChainDescription {
  const description = chain().indirect()
  for (let i = 0; i < count; i++) description.readable(1)
  return description
}

function entry(
  title: string,
  formats: readonly RingFormat[],
  kind: ViolationKind,
  spec: (driver: FakeDriver) => ChainSpec,
  needs?: QueueNeeds,
): ForgedChain {
  const violation = Object.fromEntries(formats.map((format) => [format, kind]))
  return { title, violation, forge: (driver) => driver.offer(spec(driver)), ...(needs !== undefined && { needs }) }
}

const split: readonly RingFormat[] = ['split']
const both: readonly RingFormat[] = ['split', 'packed']

const loops: readonly ForgedChain[] = [
  entry('a descriptor that is its own successor', split, 'descriptor-loop', () => chain().readable(1, { amend: { set: NEXT, nextElement: 0 } })),
  entry('a loop over all descriptors', split, 'descriptor-loop', ({ size }) => {
    const description = chain()
    for (let i = 1; i < size; i++) description.readable(1)
    return description.readable(1, { amend: { set: NEXT, nextElement: 0 } })
  }),
  entry('a loop of descriptors without bytes', split, 'descriptor-loop', () => chain().readable(0, { amend: { set: NEXT, nextElement: 0 } })),
  entry('a loop behind the first descriptor', split, 'descriptor-loop', () =>
    chain()
      .readable(1)
      .writable(1)
      .writable(1, { amend: { set: NEXT, nextElement: 1 } }),
  ),
  entry('a loop in an indirect table', split, 'descriptor-loop', () =>
    chain()
      .indirect()
      .readable(1)
      .readable(1, { amend: { set: NEXT, nextElement: 0 } }),
  ),
  entry('a successor outside of the table', split, 'descriptor-index', ({ size }) => chain().readable(1, { amend: { set: NEXT, next: size } })),
  entry('the last successor that there is', split, 'descriptor-index', () => chain().readable(1, { amend: { set: NEXT, next: 0xffff } })),
  entry('a successor outside of the indirect table, though inside the descriptor table', split, 'descriptor-index', () =>
    chain()
      .indirect()
      .readable(1, { amend: { set: NEXT, next: 1 } }),
  ),
]

const lengths: readonly ForgedChain[] = [
  entry('more descriptors than the bound', both, 'chain-length', () => many(21), { maxChainLength: 20 }),
  entry(
    'more descriptors than the bound, in the ring',
    both,
    'chain-length',
    () => {
      const description = chain()
      for (let i = 0; i < 6; i++) description.readable(1)
      return description
    },
    { size: 8, maxChainLength: 5 },
  ),
  entry('more descriptors than the queue size, where the text is taken strictly', both, 'chain-length', ({ size }) => many(size + 1), {
    maxChainLength: 'strict',
  }),
  entry('more than 2^32 bytes', both, 'chain-bytes', ({ memory }) => tooManyBytes(memory), { maxChainLength: mostInTable }),
]

/** The same bytes again and again, in a table. */
function tooManyBytes(memory: TestMemory): ChainSpec {
  const { address, length } = longestRange(memory)
  const description = chain().indirect()
  for (let bytes = 0; bytes <= mostBytes; bytes += length) description.element({ writable: true, at: address, length })
  return description
}

const places: readonly (readonly [string, (memory: TestMemory) => Pick<ChainElement, 'length'> & { address: number | bigint }])[] = [
  ['a buffer that ends one byte behind memory', (memory) => ({ address: endOfMemory(memory) - 15, length: 16 })],
  ['a buffer that begins where memory ends', (memory) => ({ address: endOfMemory(memory), length: 1 })],
  ['a buffer in a hole', (memory) => ({ address: firstHole(memory) + 64, length: 16 })],
  ['a buffer that reaches into a hole', (memory) => ({ address: firstHole(memory) - 4, length: 8 })],
  ['a buffer from one region over a hole into another one', overHole],
  ['a buffer of almost 4 GiB', (memory) => ({ address: memory.regions[0]!.guestAddress, length: 0xffff_ffff })],
  ['a buffer that wraps at 2^64', () => ({ address: 2n ** 64n - 8n, length: 16 })],
  ['a buffer at the last byte of 2^64', () => ({ address: 2n ** 64n - 1n, length: 1 })],
  ['a buffer above 2^53', () => ({ address: 2n ** 53n + 1n, length: 1 })],
  ['an address whose lower half alone would be inside', (memory) => ({ address: beyond32Bits(memory), length: 1 })],
]

const addresses: readonly ForgedChain[] = places.flatMap(([title, place]) => [
  entry(title, both, 'descriptor-address', ({ memory }) => chain().readable(1, { amend: place(memory) })),
  entry(`${title}, for the device to write`, both, 'descriptor-address', ({ memory }) =>
    chain()
      .readable(1)
      .writable(1, { amend: place(memory) }),
  ),
  entry(`${title}, in an indirect table`, both, 'descriptor-address', ({ memory }) =>
    chain()
      .indirect()
      .readable(1)
      .writable(1, { amend: place(memory) }),
  ),
])

const orders: readonly ForgedChain[] = [
  entry('a readable buffer behind a writable one', both, 'descriptor-order', () => chain().writable(1).readable(1)),
  entry('a readable buffer without bytes behind a writable one', both, 'descriptor-order', () => chain().writable(1).readable(0)),
  entry('a readable buffer behind a writable one without bytes', both, 'descriptor-order', () => chain().writable(0).readable(1)),
  entry('a readable buffer behind a writable one in an indirect table', both, 'descriptor-order', () =>
    chain().indirect().readable(1).writable(1).readable(1),
  ),
  entry('a readable buffer in the indirect table behind a writable one in the descriptor table', split, 'descriptor-order', () =>
    chain().writable(1).indirect().readable(1),
  ),
]

const table = (amend: Amendment): ChainDescription => chain().indirect({ amend }).readable(1).writable(1)
/** An element that claims to refer to another table. */
const inner = (address: number): Pick<ChainElement, 'amend'> => ({ amend: { address, length: descriptorSize, flags: INDIRECT } })

const tables: readonly ForgedChain[] = [
  entry('an indirect table in an indirect table', split, 'indirect-nested', ({ memory }) =>
    chain().indirect().readable(1, inner(memory.regions[0]!.guestAddress)),
  ),
  entry('an indirect table in itself', split, 'indirect-nested', ({ memory }) => {
    const at = memory.allocate(descriptorSize, descriptorSize)
    return chain().indirect({ at }).readable(1, inner(at))
  }),
  {
    title: 'an indirect descriptor that refers to itself',
    violation: { split: 'indirect-nested' },
    forge: (driver) => {
      const { descriptors } = driver.put(table({}))
      const own = driver.setup.descriptorArea + descriptors[0]! * descriptorSize
      driver.setDescriptor(descriptors[0]!, { address: own, length: descriptorSize })
      driver.publish()
    },
  },
  entry('an indirect descriptor that goes on', both, 'indirect-next', () => table({ set: NEXT, next: 1 })),
  entry('an indirect table of 0 bytes', both, 'indirect-table', () => table({ length: 0 })),
  entry('an indirect table of less than a descriptor', both, 'indirect-table', () => table({ length: descriptorSize / 2 })),
  entry('an indirect table of one and a half descriptors', both, 'indirect-table', () => table({ length: descriptorSize * 1.5 })),
  entry('an indirect table of almost 4 GiB', both, 'indirect-table', () => table({ length: 0xffff_fff0 })),
  entry('an indirect table with more descriptors than next can name', both, 'indirect-table', () =>
    table({ length: (mostInTable + 1) * descriptorSize }),
  ),
  entry('an indirect table that ends behind memory', both, 'indirect-table', ({ memory }) =>
    table({ address: endOfMemory(memory) - descriptorSize }),
  ),
  entry('an indirect table in a hole', both, 'indirect-table', ({ memory }) => table({ address: firstHole(memory) })),
  entry('an indirect table near 2^64', both, 'indirect-table', () => table({ address: 2n ** 64n - BigInt(descriptorSize) })),
  entry('an indirect table that was not negotiated', both, 'indirect-not-negotiated', () => table({}), { indirect: false }),
  entry(
    'an indirect table that was not negotiated, behind another descriptor',
    split,
    'indirect-not-negotiated',
    () => chain().readable(1).indirect().writable(1),
    {
      indirect: false,
    },
  ),
  entry('an indirect table behind other descriptors', ['packed'], 'indirect-next', () => chain().readable(1).indirect().writable(1)),
  entry('a table that the device is to write, of a wrong length', both, 'indirect-table', () => table({ set: VIRTQ_DESC_F_WRITE, length: 8 })),
]

/**
 * Every kind of chain and ring that is no chain or ring. A device queue must find the violation, once; give no chain; and touch nothing but its own notification
 * words. Let it meet them when it is new, and when it has served chains before.
 *
 * @example
 * it.each(forgedChains.filter(({ violation }) => violation.split))('$title', (forged) => {
 *   const { queue, driver, recorder } = testQueue(forged.needs)
 *   forged.forge(driver)
 *   for (let i = 0; i < (forged.before ?? 0); i++) queue.next()
 *   forged.forgeLater?.(driver)
 *   expect(queue.next()).toBeUndefined()
 *   expect(recorder.violations).toMatchObject([{ kind: forged.violation.split }])
 * })
 */
export const forgedChains: readonly ForgedChain[] = [
  ...loops,
  ...lengths,
  ...addresses,
  ...orders,
  ...tables,
  ...forgedSplitRings,
  ...forgedPackedRings,
]
