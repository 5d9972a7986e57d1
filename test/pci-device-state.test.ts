/** Saved PCI functions: what comes back, and what is refused. */
import fc from 'fast-check'
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { PCI_COMMAND_MASTER, PCI_MSIX_ENTRY_CTRL_MASKBIT, PCI_MSIX_FLAGS_ENABLE, PCI_MSIX_FLAGS_MASKALL } from 'virtgen/wire/pci'
import { pci_isr, virtio_pci_legacy_header } from 'virtgen/wire/transport-pci'
import { describe, expect, it } from 'vitest'
import type { Chain } from '../runtime/chain.ts'
import { type PciDeviceState, restorePciDevice, savePciDevice } from '../runtime/pci/device-state.ts'
import { pciLayouts } from '../runtime/pci/layout.ts'
import type { PciDeviceOptions } from '../runtime/pci/options.ts'
import { StateError } from '../runtime/saved-value.ts'
import { type DummyDevice, useAll } from './support/dummy-device.ts'
import { offer, usedBy } from './support/offers.ts'
import { DummyNet, live, PciBoard } from './support/pci-board.ts'

const kinds: readonly Partial<PciDeviceOptions>[] = [
  {},
  { transitional: true },
  { layout: pciLayouts.io },
  { layout: pciLayouts.io, transitional: true, byteWrites: true },
  { transitional: true, byteWrites: true, vectors: 2 },
]

/** A function in the middle of its work, with something of everything. */
function busy(options: Partial<PciDeviceOptions>): PciBoard {
  const board = new PciBoard(options)
  board.device.onQueue = useAll
  board.setHeader('interrupt_line', 10)
  for (const { index } of board.pci.bars) board.pci.writeConfig(0x10 + 4 * index, 4, 0xc000_0000 + 0x1_0000 * index)
  const ring = board.start()
  board.set('device_feature_select', 2)
  board.set('driver_feature_select', 3)
  if (board.pci.bars.some(({ index }) => index === 1)) {
    board.enableMsix(2)
    board.set('config_msix_vector', 1)
    board.set('queue_msix_vector', 0)
    board.setEntry(1, 'vector_ctrl', PCI_MSIX_ENTRY_CTRL_MASKBIT)
  }
  offer(ring, 0x2000, 4)
  board.notify(0)
  board.device.config.update(() => {})
  board.readDevice(0, 1)
  board.device.config.update(() => {})
  board.set('queue_select', 2)
  return board
}

const copy = (state: PciDeviceState): PciDeviceState => JSON.parse(JSON.stringify(state)) as PciDeviceState

describe('a saved function', () => {
  it.each(kinds)('comes back as it was: %o', (options) => {
    const board = busy(options)
    const saved = copy(savePciDevice(board.pci))
    const other = new PciBoard(options, new DummyNet(), board.bytes)
    other.device.onQueue = useAll
    restorePciDevice(other.pci, saved)
    expect(savePciDevice(other.pci)).toEqual(saved)
    expect(other.pci.bars.map(({ address }) => address)).toEqual(board.pci.bars.map(({ address }) => address))
    expect(other.moves).toEqual(other.pci.bars.map(({ index, address }) => [index, address]))
    expect(other.levels).toEqual(board.levels)
    expect(other.get('config_generation')).toBe(board.get('config_generation'))
    expect([other.get('queue_select'), other.get('device_status'), other.isr()]).toEqual([2, live, board.isr()])
  })

  it('goes on elsewhere with parked chains', () => {
    const parked: Chain[] = []
    const take: DummyDevice['onQueue'] = (index, host) => {
      for (let chain = host.queue(index)?.next(); chain; chain = host.queue(index)?.next()) parked.push(chain)
    }
    const board = new PciBoard()
    board.device.onQueue = take
    const ring = board.start()
    const heads = [offer(ring, 0x2000, 4), offer(ring, 0x2010, 4)]
    board.notify(0)
    parked[1]?.complete()
    const saved = copy(savePciDevice(board.pci))
    parked.length = 0
    const other = new PciBoard({}, new DummyNet(), board.bytes)
    other.device.onQueue = take
    restorePciDevice(other.pci, saved)
    expect([other.levels, parked.map((chain) => chain.head)]).toEqual([[true], [heads[0]]])
    expect(other.isr()).toBe(pci_isr.queue_interrupt)
    parked[0]?.complete(4)
    expect(usedBy(ring)).toEqual([
      [heads[1], 0],
      [heads[0], 4],
    ])
    expect(other.levels).toEqual([true, false, true])
  })

  it('that was no bus master takes no buffers', () => {
    const board = busy({})
    board.enable(0)
    const other = new PciBoard({}, new DummyNet(), board.bytes)
    other.device.onQueue = useAll
    other.enable()
    restorePciDevice(other.pci, copy(savePciDevice(board.pci)))
    const position = other.pci.control.inspectQueue(0)
    other.notify(0)
    expect([other.pci.control.inspectQueue(0), other.header('command')]).toEqual([position, 0])
  })

  it('keeps pending messages', () => {
    const board = busy({})
    expect(board.pending()).toBe(2)
    const other = new PciBoard({}, new DummyNet(), board.bytes)
    restorePciDevice(other.pci, copy(savePciDevice(board.pci)))
    other.setEntry(1, 'vector_ctrl', 0)
    expect(other.messages).toEqual([[0xfee0_1000, 0x41]])
  })

  it('keeps what has been written in parts', () => {
    const board = new PciBoard({ transitional: true, byteWrites: true })
    const { offset } = virtio_pci_legacy_header.queue_address
    board.pci.writeBar(0, offset, 2, 0x0201)
    const other = new PciBoard({ transitional: true, byteWrites: true })
    restorePciDevice(other.pci, copy(savePciDevice(board.pci)))
    other.pci.writeBar(0, offset + 2, 2, 0)
    expect(other.pci.control.queueAddress(0, 'descriptorArea', 0)).toBe(0x0020_1000)
  })

  it('that uses the legacy interface goes on with it', () => {
    const board = new PciBoard({ transitional: true })
    board.enable()
    board.pci.writeBar(0, virtio_pci_legacy_header.queue_select.offset, 2, 2)
    board.pci.writeBar(0, virtio_pci_legacy_header.queue_address.offset, 4, 1)
    board.pci.writeBar(0, virtio_pci_legacy_header.device_status.offset, 1, 7)
    const other = new PciBoard({ transitional: true }, new DummyNet(), board.bytes)
    restorePciDevice(other.pci, copy(savePciDevice(board.pci)))
    const { queue_select, queue_address, device_status } = virtio_pci_legacy_header
    expect([queue_select, queue_address, device_status].map(({ offset, width }) => other.pci.readBar(0, offset, width))).toEqual([2, 1, 7])
    expect(other.device.log).toContain('activate')
  })

  it('may be saved while a reset goes on: it is that of after the reset', async () => {
    const board = busy({})
    let settle = (): void => {}
    board.device.onReset = () =>
      new Promise((resolve) => {
        settle = resolve
      })
    board.set('device_status', 0)
    const saved = copy(savePciDevice(board.pci))
    settle()
    await board.pci.control.reset()
    expect(saved).toEqual(copy(savePciDevice(board.pci)))
  })
})

describe('is refused, and nothing has changed:', () => {
  function refused(state: unknown, options: Partial<PciDeviceOptions> = {}, device: DummyDevice = new DummyNet()): string {
    const target = new PciBoard(options, device)
    const fresh = savePciDevice(target.pci)
    let error: unknown
    try {
      restorePciDevice(target.pci, state as PciDeviceState)
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(StateError)
    expect([savePciDevice(target.pci), target.levels, target.messages, target.moves]).toEqual([fresh, [], [], []])
    return (error as StateError).member
  }

  it.each<[string, string, (state: PciDeviceState) => unknown]>([
    ['it', 'nothing', () => null],
    ['version', 'another version', (state) => ({ ...state, version: 2 })],
    ['queueSelect', 'a selector that is none', (state) => ({ ...state, queueSelect: 0x1_0000 })],
    ['isr', 'events that do not exist', (state) => ({ ...state, isr: 4 })],
    ['configVector', 'a vector that is none', (state) => ({ ...state, configVector: 4 })],
    ['queueVectors', 'too few vectors', (state) => ({ ...state, queueVectors: [0] })],
    ['queueVectors[1]', 'a vector that is no number', (state) => ({ ...state, queueVectors: [0, null, 0] })],
    ['config', 'a configuration space that is too short', (state) => ({ ...state, config: state.config.slice(2) })],
    ['config[2]', 'another device id', (state) => ({ ...state, config: `${state.config.slice(0, 4)}42${state.config.slice(6)}` })],
    ['msix', 'no MSI-X', ({ msix: _, ...state }) => state],
    ['msix.table', 'a table that is too short', (state) => ({ ...state, msix: { ...state.msix, table: '00' } })],
    ['parts', 'parts where there are none', (state) => ({ ...state, parts: { common: '', legacy: '', notify: 0 } })],
    ['control', 'no control', ({ control: _, ...state }) => state],
    [
      'control.legacy',
      'a legacy driver of a function that is not transitional',
      (state) => ({ ...state, control: { ...state.control, legacy: { live: true } } }),
    ],
    ['status', 'a control that is wrong', (state) => ({ ...state, control: { ...state.control, status: 4 } })],
  ])('%s, for %s', (member, _, spoil) => {
    expect(refused(spoil(copy(savePciDevice(busy({}).pci))))).toBe(member)
  })

  it.each<[string, Partial<PciDeviceOptions>, DummyDevice?]>([
    ['another layout', { layout: pciLayouts.io }],
    ['transitional', { transitional: true }],
    ['fewer vectors', { vectors: 3 }],
    ['another multiplier', { notifyOffMultiplier: 2 }],
    ['another class', { classCode: 1 }],
    ['other data of vendors', { vendorData: [{ vendorId: 1, data: new Uint8Array(2) }] }],
    ['byteWrites', { byteWrites: true }],
    ['other queues', {}, new DummyNet([8, 0])],
    ['other queue sizes', {}, new DummyNet([8, 0, 2])],
    [
      'fewer features',
      { ringFeatures: FeatureSet.of(VIRTIO_F_VERSION_1), maxChainLength: 1 },
      Object.assign(new DummyNet(), { offered: FeatureSet.empty }),
    ],
  ])('a function of other options: %s', (_, options, device) => {
    const board = new PciBoard()
    board.start(board.pci.control.offered)
    refused(copy(savePciDevice(board.pci)), options, device)
  })
})

describe('a saved function that somebody has changed', () => {
  function pathsOf(value: unknown): string[][] {
    if (typeof value !== 'object' || value === null) return [[]]
    return [[], ...Object.entries(value).flatMap(([name, member]) => pathsOf(member).map((path) => [name, ...path]))]
  }

  function changed(value: unknown, path: readonly string[], put: unknown): unknown {
    const [name, ...rest] = path
    if (name === undefined) return put
    const members = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string, unknown>
    members[name] = changed(members[name], rest, put)
    return members
  }

  const anything = fc.oneof(
    fc.constantFrom(undefined, null, true, '', '0x1', 'x', -1, 0.5, Number.NaN, 2 ** 53, 2 ** 32, 65536, [], {}, [[]], [1, 2]),
    fc.integer({ min: 0, max: 10 }),
    fc.integer({ min: 0, max: 0xffff }),
    fc.jsonValue(),
  )

  it('is refused with a RangeError, or goes on and nothing throws', () => {
    const snapshots = kinds.map((options) => copy(savePciDevice(busy(options).pci)))
    let refused = 0
    let taken = 0
    fc.assert(
      fc.property(fc.nat({ max: kinds.length - 1 }), fc.nat(), anything, fc.nat({ max: 255 }), fc.boolean(), (kind, place, put, byte, digits) => {
        const state = snapshots[kind] as PciDeviceState
        const paths = pathsOf(state)
        const at = 2 * (place % 256)
        const spoilt = digits
          ? { ...state, config: state.config.slice(0, at) + byte.toString(16).padStart(2, '0') + state.config.slice(at + 2) }
          : changed(state, paths[place % paths.length] as string[], put)
        const target = new PciBoard(kinds[kind])
        target.device.onQueue = useAll
        const fresh = JSON.stringify(savePciDevice(target.pci))
        try {
          restorePciDevice(target.pci, spoilt as PciDeviceState)
          taken++
        } catch (error) {
          refused++
          expect(error).toBeInstanceOf(RangeError)
          expect(JSON.stringify(savePciDevice(target.pci))).toBe(fresh)
        }
        for (let offset = 0; offset < 256; offset += 4) target.pci.readConfig(offset, 4)
        target.enable(PCI_COMMAND_MASTER)
        if (target.pci.$msix)
          for (const flags of [PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, PCI_MSIX_FLAGS_ENABLE, 0]) target.setMsixFlags(flags)
        target.notify(0)
        target.set('device_status', 0)
        expect(target.get('device_status')).toBe(0)
      }),
      { numRuns: 1000 },
    )
    expect(Math.min(refused, taken)).toBeGreaterThan(100)
  })
})
