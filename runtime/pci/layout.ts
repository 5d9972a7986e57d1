/** Which part of the device is in which BAR. VIRTIO 1.4, Virtio Over PCI Bus / PCI Device Layout. */
import { pci_bar_size, pci_size } from 'virtgen/wire/pci'
import type { PciBar } from './function-device.ts'

/**
 * A part of a device: one of the structures of the text, the MSI-X table (`msix`), all shared memory regions of the device (`shared`) or the legacy configuration structure
 * of a transitional device (`legacy`).
 */
export type PciRegion = 'common' | 'isr' | 'device' | 'notify' | 'msix' | 'shared' | 'legacy'

/** A BAR of a layout. */
export interface PciBarLayout {
  readonly kind: PciBar['kind']
  /** Default: where it has shared memory and nothing else. Of the other regions, `isr` has a side effect on reads. */
  readonly prefetchable?: boolean
  /** 0–5, by default the first that is free; a 64-bit one takes the next as well. */
  readonly index?: number
  /** Bytes at least: a power of two. By default as many as the regions need. */
  readonly size?: number
  /** What is in it, from its start. A region that the device does not need takes no place, and a BAR without any does not exist. */
  readonly regions: readonly PciRegion[]
}

/**
 * All BARs of a device. A region that is in two of them has two capabilities, of which the driver prefers the first: for instance `notify` in an I/O BAR and then in a
 * memory BAR.
 */
export type PciLayout = readonly PciBarLayout[]

/** Layouts that serve most. */
export const pciLayouts = {
  /** Memory BARs alone, numbered as QEMU does: 1 the MSI-X table, 2 shared memory, 4 the rest; 0 is free for the legacy configuration structure. */
  memory: [
    { kind: 'memory64', index: 4, prefetchable: true, regions: ['common', 'isr', 'device', 'notify'] },
    { kind: 'memory32', index: 1, regions: ['msix'] },
    { kind: 'memory64', index: 2, prefetchable: true, regions: ['shared'] },
  ],
  /** Everything in one I/O BAR, for a VMM to which ports are cheaper than memory. There is no MSI-X, whose table must be in memory; shared memory takes a BAR of its own. */
  io: [
    { kind: 'io', index: 0, regions: ['common', 'isr', 'device', 'notify'] },
    { kind: 'memory64', index: 2, prefetchable: true, regions: ['shared'] },
  ],
} as const satisfies Record<string, PciLayout>

/** What a layout is to hold: bytes of each region, none or 0 for those that the device does not need. Of shared memory one for each region. */
export interface PciNeeds {
  readonly lengths: Readonly<Record<Exclude<PciRegion, 'shared'>, number>>
  readonly shared: readonly number[]
}

/** A region in its BAR. */
export interface PlacedRegion {
  readonly region: PciRegion
  readonly bar: number
  /** Bytes from the start of the BAR. */
  readonly offset: number
  readonly length: number
  /** Of shared memory: which of the regions. */
  readonly sharedIndex: number
}

export interface PlacedBar {
  readonly index: number
  readonly kind: PciBar['kind']
  readonly prefetchable: boolean
  readonly size: number
  readonly regions: readonly PlacedRegion[]
}

/** So that each region can be mapped by itself, as pages are. */
const memoryAlignment = 0x1000
/** What every register needs. */
const ioAlignment = 4
/** Ports of a PC. */
const largestIo = 0x1_0000
const largestMemory32 = 0x8000_0000
/** Beyond it addresses are not exact. */
const largestMemory64 = 2 ** 52
const structures: readonly PciRegion[] = ['common', 'isr', 'notify']

/**
 * Gives every region its place.
 *
 * @returns the BARs that exist, in the order of the layout
 * @throws RangeError for a layout that cannot be: says why
 */
export function placeLayout(layout: PciLayout, needs: PciNeeds): PlacedBar[] {
  const wanted = withLegacy(layout, needs)
  checkRegions(wanted, needs)
  const bars = wanted.filter(({ regions }) => regions.some((region) => piecesOf(region, needs).length > 0))
  const taken = new Set<number>()
  // Those with a number first: the others have what is left.
  const indices = new Map<PciBarLayout, number>()
  for (const bar of bars) if (bar.index !== undefined) indices.set(bar, takeIndex(bar, bar.index, taken))
  for (const bar of bars) if (bar.index === undefined) indices.set(bar, takeIndex(bar, freeIndex(bar, taken), taken))
  return bars.map((bar) => placeBar(bar, indices.get(bar) as number, needs))
}

/** Transitional devices MUST expose the Legacy Interface in I/O space in BAR0: it comes first there, or has that BAR for itself. */
function withLegacy(layout: PciLayout, { lengths }: PciNeeds): PciLayout {
  if (lengths.legacy === 0 || layout.some(({ regions }) => regions.includes('legacy'))) return layout
  const first = layout.find(({ index }) => index === 0)
  if (first === undefined) return [{ kind: 'io', index: 0, regions: ['legacy'] }, ...layout]
  return layout.map((bar) => (bar === first ? { ...bar, regions: ['legacy', ...bar.regions] } : bar))
}

function checkRegions(layout: PciLayout, needs: PciNeeds): void {
  const places = (region: PciRegion): PciLayout => layout.filter(({ regions }) => regions.includes(region))
  for (const region of structures) if (places(region).length === 0) throw new RangeError(`a PCI layout must have a place for ${region}`)
  for (const region of ['device', 'shared', 'msix'] as const)
    if (piecesOf(region, needs).length > 0 && places(region).length === 0)
      throw new RangeError(`the PCI layout has no place for ${region}, which the device needs`)
  for (const region of ['shared', 'msix', 'legacy'] as const)
    if (places(region).length > 1) throw new RangeError(`a PCI layout can have ${region} in one BAR only`)
  for (const { kind, index, regions } of layout) {
    if (new Set(regions).size !== regions.length)
      throw new RangeError(`BAR ${index ?? ''} of the PCI layout has a region twice: ${regions.join(', ')}`)
    if (kind === 'io' && (regions.includes('msix') || regions.includes('shared')))
      throw new RangeError('in a PCI layout msix and shared must be in a memory BAR')
    if (regions.includes('legacy') && (kind !== 'io' || index !== 0 || regions[0] !== 'legacy'))
      throw new RangeError('in a PCI layout legacy must be the first region of BAR 0, an I/O BAR')
  }
}

/** Lengths of what a region consists of. */
function piecesOf(region: PciRegion, { lengths, shared }: PciNeeds): readonly number[] {
  if (region === 'shared') return shared
  return lengths[region] === 0 ? [] : [lengths[region]]
}

function takeIndex({ kind }: PciBarLayout, index: number, taken: Set<number>): number {
  const width = kind === 'memory64' ? 2 : 1
  const last = pci_size.PCI_STD_NUM_BARS - width
  if (!(Number.isInteger(index) && index >= 0 && index <= last))
    throw new RangeError(`a BAR of the kind ${kind} must have an index from 0 to ${last}, not ${index}`)
  for (let at = index; at < index + width; at++) {
    if (taken.has(at)) throw new RangeError(`BAR ${at} is in the PCI layout twice`)
    taken.add(at)
  }
  return index
}

function freeIndex({ kind }: PciBarLayout, taken: ReadonlySet<number>): number {
  const width = kind === 'memory64' ? 2 : 1
  for (let index = 0; index + width <= pci_size.PCI_STD_NUM_BARS; index++) if (!taken.has(index) && !taken.has(index + width - 1)) return index
  throw new RangeError(`a PCI layout has at most ${pci_size.PCI_STD_NUM_BARS} BARs, where one of 64 bits counts twice`)
}

function placeBar(bar: PciBarLayout, index: number, needs: PciNeeds): PlacedBar {
  const { kind, regions, prefetchable = regions.every((region) => region === 'shared') } = bar
  const placed: PlacedRegion[] = []
  let end = 0
  for (const region of regions) {
    piecesOf(region, needs).forEach((length, sharedIndex) => {
      const offset = roundUp(end, alignmentOf(kind, region, length))
      placed.push({ region, bar: index, offset, length, sharedIndex })
      end = offset + length
    })
  }
  return { index, kind, prefetchable: kind !== 'io' && prefetchable, size: barSize(bar, end), regions: placed }
}

/** Shared memory is aligned to its size: a VMM may want to map it in large pages. */
function alignmentOf(kind: PciBar['kind'], region: PciRegion, length: number): number {
  if (kind === 'io') return ioAlignment
  return region === 'shared' ? powerOf2From(length, memoryAlignment) : memoryAlignment
}

function barSize({ kind, size: least = 1 }: PciBarLayout, needed: number): number {
  if (!Number.isInteger(Math.log2(least))) throw new RangeError(`the size of a BAR must be a power of 2, not ${least}`)
  const smallest = kind === 'io' ? pci_bar_size.pci_io_bar_size_min : memoryAlignment
  const largest = kind === 'io' ? largestIo : kind === 'memory32' ? largestMemory32 : largestMemory64
  const size = powerOf2From(Math.max(needed, least), smallest)
  if (size > largest) throw new RangeError(`a BAR of the kind ${kind} can have ${largest} bytes, not ${size}`)
  return size
}

function powerOf2From(value: number, smallest: number): number {
  let power = smallest
  while (power < value) power *= 2
  return power
}

function roundUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment
}
