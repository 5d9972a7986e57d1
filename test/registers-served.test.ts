/** Every register and capability of the description is served, and where the generated map says. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { loadEverything } from './support/description.ts'
import type { Board, Core } from './support/registers/board.ts'
import { legacyMmio } from './support/registers/legacy-mmio.ts'
import { legacyPci } from './support/registers/legacy-pci.ts'
import { mmio } from './support/registers/mmio.ts'
import { moved } from './support/registers/moved.ts'
import { capabilityProbes, pciCommon, pciIsr } from './support/registers/pci.ts'
import { loadPci, PciBoard } from './support/registers/pci-board.ts'
import { pciFunction } from './support/registers/pci-function.ts'

/** Registers of the description, and for each of them what it must do. */
interface Block {
  /** Its name in the description. */
  readonly block: string
  /** The generated module with its map. */
  readonly module: string
  readonly probes: Readonly<Record<string, (board: never) => void>>
  readonly load: () => Promise<Core>
  /** A device of its own for each probe. */
  readonly board: (modules: never) => Board<Core>
  /** Registers that stay where they are when the others move. */
  readonly keep?: readonly string[]
  /** Absent: they do. */
  readonly moves?: boolean
}

const model = loadEverything()
const described = model.chapters.flatMap(({ registers }) => registers)
const blocks: readonly Block[] = [mmio, legacyMmio, pciCommon, pciIsr, legacyPci, ...pciFunction]

/** What is described and has no probe: nobody serves it. */
const unserved = {
  blocks: [] as string[],
  virtioCapabilities: [] as string[],
  // A virtio device is used without any of these.
  pciCapabilities: 'PM AGP VPD SLOTID MSI CHSWP PCIX HT DBG CCRC SHPC SSVID AGP3 SECDEV EXP SATA AF EA'
    .split(' ')
    .map((name) => `PCI_CAP_ID_${name}`),
}

function constantsOf(group: string): { name: string; value: number }[] {
  const found = model.chapters.flatMap(({ groups }) => groups).find(({ name }) => name === group)
  return (found?.constants ?? []).map(({ name, value }) => ({ name, value: Number(value) }))
}

describe('the description', () => {
  it('has no block of registers that nobody serves', () => {
    const served = blocks.map(({ block }) => block)
    expect(described.map(({ name }) => name).filter((name) => !served.includes(name))).toEqual(unserved.blocks)
  })

  it.each(blocks)('has no register of $block that nobody serves', ({ block, probes }) => {
    const names = described.find(({ name }) => name === block)?.members.map(({ name }) => name)
    expect(Object.keys(probes).toSorted()).toEqual(names?.toSorted())
  })

  it('has no capability of virtio that is not there', () => {
    const names = constantsOf('virtio_pci_cap_type').map(({ name }) => name)
    expect(names.filter((name) => !(name in capabilityProbes))).toEqual(unserved.virtioCapabilities)
  })
})

describe.each(
  blocks
    .filter(({ moves = true }) => moves)
    .flatMap((block) => [
      { ...block, where: 'where it is' },
      { ...block, where: 'moved' },
    ]),
)('$block, $where:', ({ block, module, probes, load, board, keep = [], where }) => {
  let modules: Core
  beforeAll(async () => {
    vi.resetModules()
    if (where === 'moved') vi.doMock(module, async (original) => moved(await original(), block, keep))
    modules = await load()
  })
  afterAll(() => {
    vi.doUnmock(module)
    vi.resetModules()
  })
  it.each(Object.keys(probes))('%s', (name) => probes[name]?.(board(modules as never) as never))
})

describe.each(blocks.filter(({ moves = true }) => !moves))('$block:', ({ probes, load, board }) => {
  it.each(Object.keys(probes))('%s', async (name) => probes[name]?.(board((await load()) as never) as never))
})

describe('the capabilities of a PCI function:', async () => {
  const modules = await loadPci('virtgen/wire/transport-pci')
  it.each(Object.keys(capabilityProbes))('%s', (name) => capabilityProbes[name]?.(new PciBoard(modules)))

  it('are no others of PCI than these two', () => {
    const there = new Set(new PciBoard(modules).capabilities.map(({ id }) => id))
    const absent = constantsOf('pci_cap_id').filter(({ value }) => !there.has(value))
    expect(absent.map(({ name }) => name)).toEqual(unserved.pciCapabilities)
  })
})
