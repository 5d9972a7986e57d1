/** The configuration space of a virtio device on PCI: identity, base address registers, capabilities, as software sees them. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { deviceIds, VIRTIO_F_NOTIFICATION_DATA, VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import {
  PCI_BASE_ADDRESS_MEM_PREFETCH,
  PCI_BASE_ADDRESS_MEM_TYPE_64,
  PCI_BASE_ADDRESS_SPACE_IO,
  PCI_CAP_ID_MSIX,
  PCI_CLASS_NETWORK_ETHERNET,
  PCI_CLASS_OTHERS,
  PCI_COMMAND_IO,
  PCI_COMMAND_MEMORY,
  PCI_STATUS_CAP_LIST,
  pci_header,
} from 'virtgen/wire/pci'
import {
  VIRTIO_PCI_CAP_COMMON_CFG,
  VIRTIO_PCI_CAP_DEVICE_CFG,
  VIRTIO_PCI_CAP_ISR_CFG,
  VIRTIO_PCI_CAP_NOTIFY_CFG,
  VIRTIO_PCI_CAP_PCI_CFG,
  VIRTIO_PCI_CAP_SHARED_MEMORY_CFG,
  VIRTIO_PCI_CAP_VENDOR_CFG,
  VirtioPciCap64,
  VirtioPciNotifyCap,
  VirtioPciVndrData,
} from 'virtgen/wire/transport-pci'
import { describe, expect, it } from 'vitest'
import { ConfigSpace } from '../runtime/config-space.ts'
import type { SharedMemory } from '../runtime/device.ts'
import { pciLayouts } from '../runtime/pci/layout.ts'
import type { PciDeviceOptions } from '../runtime/pci/options.ts'
import { DummyDevice } from './support/dummy-device.ts'
import { DummyNet, live, PciBoard } from './support/pci-board.ts'

const io = pciLayouts.io
const regions = ['common', 'isr', 'device', 'notify'] as const

function sharing(...shared: SharedMemory[]): DummyNet {
  return Object.assign(new DummyNet(), { sharedMemory: shared })
}

describe('the header', () => {
  it('says what the device is: not transitional', () => {
    const board = new PciBoard()
    expect([board.header('vendor_id'), board.header('device_id'), board.header('revision_id')]).toEqual([0x1af4, 0x1041, 1])
    expect([board.header('subsystem_vendor_id'), board.header('subsystem_id')]).toEqual([0x1af4, 0x1041])
    expect([board.header('class_device'), board.header('class_prog'), board.header('header_type')]).toEqual([PCI_CLASS_NETWORK_ETHERNET, 0, 0])
    expect([board.header('status'), board.header('command'), board.header('interrupt_pin')]).toEqual([PCI_STATUS_CAP_LIST, 0, 1])
  })

  it('says what the device is: transitional', () => {
    const board = new PciBoard({ transitional: true })
    expect([board.header('vendor_id'), board.header('device_id'), board.header('revision_id'), board.header('subsystem_id')]).toEqual([
      0x1af4, 0x1000, 0, 1,
    ])
  })

  it.each([
    ['net', 0x1000],
    ['blk', 0x1001],
    ['balloon', 0x1002],
    ['console', 0x1003],
    ['scsi', 0x1004],
    ['entropy', 0x1005],
    ['p9', 0x1009],
  ] as const)('has the transitional id of %s', (name, expected) => {
    class Device extends DummyDevice {
      override readonly id = deviceIds[name] as never
    }
    expect(new PciBoard({ transitional: true }, new Device()).header('device_id')).toBe(expected)
    expect(new PciBoard({}, new Device()).header('device_id')).toBe(0x1040 + deviceIds[name])
  })

  it('says what the VMM wants', () => {
    const board = new PciBoard({ classCode: 0xff01fe, revision: 7, subsystemVendorId: 0x1234, subsystemId: 0x1100, interruptPin: 4 })
    expect([board.pci.readConfig(pci_header.revision_id.offset, 4), board.header('subsystem_vendor_id'), board.header('subsystem_id')]).toEqual([
      0xff01fe07, 0x1234, 0x1100,
    ])
    expect(board.header('interrupt_pin')).toBe(4)
    expect(new PciBoard({}, new DummyDevice()).header('class_device')).toBe(PCI_CLASS_OTHERS)
  })

  it('is written only where software may, by bytes, halves and words at any offset', () => {
    const board = new PciBoard()
    const before = Array.from({ length: 16 }, (_, index) => board.pci.readConfig(4 * index, 4))
    for (let at = 0; at < 64; at++) board.pci.writeConfig(at, 1, 0xff)
    const after = Array.from({ length: 16 }, (_, index) => board.pci.readConfig(4 * index, 4))
    expect(after.map((word, index) => (word ^ (before[index] as number)) >>> 0)).toEqual([
      // The vectors, the layout's BARs at 1 (32 bits) and 4 (64 bits), and the interrupt line.
      0, 0x547, 0, 0xffff, 0, 0xffff_f000, 0, 0, 0xffff_c000, 0xffff_ffff, 0, 0, 0, 0, 0, 0xff,
    ])
    board.pci.writeConfig(pci_header.interrupt_line.offset - 1, 4, 0x0000_0b00)
    expect(board.pci.readConfig(pci_header.interrupt_line.offset - 1, 4)).toBe(0x0001_0b00 & 0xffff_ffff)
    expect([board.pci.readConfig(pci_header.device_id.offset + 1, 1), board.pci.readConfig(1, 2)]).toEqual([0x10, 0x411a])
  })

  it('answers nothing to what no bus can ask for', () => {
    const board = new PciBoard()
    for (const [at, width] of [
      [-1, 4],
      [0, 3],
      [0, 8],
      [0.5, 1],
      [Number.NaN, 1],
      [256, 4],
      [4096, 4],
      [2 ** 40, 2],
    ] as const) {
      board.pci.writeConfig(at, width, 0xffff_ffff)
      expect(board.pci.readConfig(at, width)).toBe(0)
    }
    // Behind the end there is nothing.
    expect(board.pci.readConfig(255, 4)).toBe(0)
  })
})

describe('base address registers', () => {
  it('say by written ones how large they are and of what kind', () => {
    const board = new PciBoard({ transitional: true })
    for (let index = 0; index < 6; index++) board.pci.writeConfig(pci_header.base_address_0.offset + 4 * index, 4, 0xffff_ffff)
    const registers = Array.from({ length: 6 }, (_, index) => board.pci.readConfig(pci_header.base_address_0.offset + 4 * index, 4))
    const wide = PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH
    expect(registers).toEqual([(0xffff_ffc0 | PCI_BASE_ADDRESS_SPACE_IO) >>> 0, 0xffff_f000, 0, 0, (0xffff_c000 | wide) >>> 0, 0xffff_ffff])
    expect(board.pci.bars.map(({ index, kind, prefetchable, size }) => [index, kind, prefetchable, size])).toEqual([
      [0, 'io', false, 0x40],
      [1, 'memory32', false, 0x1000],
      [4, 'memory64', true, 0x4000],
    ])
  })

  it('are decoded where the command register says so, and the VMM is told when they move', () => {
    const board = new PciBoard({ transitional: true })
    const addresses = (): (number | undefined)[] => board.pci.bars.map(({ address }) => address)
    const [first] = board.pci.bars
    board.setHeader('base_address_0', 0xc041)
    board.setHeader('base_address_1', 0xfebd_1000)
    board.setHeader('base_address_4', 0xfe00_4000)
    board.setHeader('base_address_5', 0x12)
    expect([addresses(), board.moves]).toEqual([[undefined, undefined, undefined], []])
    board.enable(PCI_COMMAND_IO)
    expect(addresses()).toEqual([0xc040, undefined, undefined])
    board.enable(PCI_COMMAND_MEMORY)
    expect(addresses()).toEqual([undefined, 0xfebd_1000, 0x12_fe00_4000])
    board.setHeader('base_address_5', 0)
    expect(board.moves).toEqual([
      [0, 0xc040],
      [0, undefined],
      [1, 0xfebd_1000],
      [4, 0x12_fe00_4000],
      [4, 0xfe00_4000],
    ])
    expect(board.pci.bars[0]).toBe(first)
  })

  it('are not decoded without an address, nor while their size is asked for', () => {
    const board = new PciBoard({ transitional: true })
    board.enable(PCI_COMMAND_IO | PCI_COMMAND_MEMORY)
    for (const value of [0, 0xffff_ffff]) {
      for (let index = 0; index < 6; index++) board.pci.writeConfig(pci_header.base_address_0.offset + 4 * index, 4, value)
      expect(board.pci.bars.map(({ address }) => address)).toEqual([undefined, undefined, undefined])
    }
    // Halves of 64 bits one by one: the upper one all ones, the lower one all ones.
    board.setHeader('base_address_4', 0xfe00_0000)
    expect(board.pci.bars[2]?.address).toBeUndefined()
    board.setHeader('base_address_5', 0)
    expect(board.pci.bars[2]?.address).toBe(0xfe00_0000)
    board.setHeader('base_address_4', 0xffff_ffff)
    expect(board.pci.bars[2]?.address).toBeUndefined()
  })

  it('may be moved back from inside the callback', () => {
    const board = new PciBoard()
    board.enable(PCI_COMMAND_MEMORY)
    board.onMove = ({ index, address }) => {
      if (index === 4 && address === 0xfe00_0000) board.setHeader('base_address_4', 0xfd00_0000)
    }
    board.setHeader('base_address_4', 0xfe00_0000)
    expect([board.pci.bars[1]?.address, board.moves]).toEqual([
      0xfd00_0000,
      [
        [4, 0xfe00_0000],
        [4, 0xfd00_0000],
      ],
    ])
  })
})

describe('a layout', () => {
  it('in memory is that of QEMU: each structure has a page', () => {
    const board = new PciBoard()
    const places = [VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_CAP_ISR_CFG, VIRTIO_PCI_CAP_DEVICE_CFG, VIRTIO_PCI_CAP_NOTIFY_CFG].map((type) => {
      const { bar, offset, length } = board.place(type)
      return [bar, offset, length]
    })
    expect(places).toEqual([
      [4, 0, 64],
      [4, 0x1000, 1],
      [4, 0x2000, 16],
      [4, 0x3000, 2 * 4 + 4],
    ])
    expect([board.msixPlace('table'), board.msixPlace('pba')]).toEqual([
      { bar: 1, offset: 0 },
      { bar: 1, offset: 4 * 16 },
    ])
  })

  it('can be one I/O BAR, as on v86', () => {
    const board = new PciBoard({ layout: io, notifyOffMultiplier: 2 })
    expect(board.pci.bars.map(({ index, kind, size }) => [index, kind, size])).toEqual([[0, 'io', 128]])
    expect(
      [VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_CAP_ISR_CFG, VIRTIO_PCI_CAP_DEVICE_CFG, VIRTIO_PCI_CAP_NOTIFY_CFG].map((type) => board.place(type)),
    ).toEqual([
      { bar: 0, offset: 0, length: 64 },
      { bar: 0, offset: 64, length: 1 },
      { bar: 0, offset: 68, length: 16 },
      { bar: 0, offset: 84, length: 2 * 2 + 4 },
    ])
    expect(board.capabilities(PCI_CAP_ID_MSIX)).toEqual([])
    board.start()
    expect(board.get('device_status')).toBe(live)
  })

  it('puts the legacy structure first in BAR 0 where the rest of the device is there as well', () => {
    const board = new PciBoard({ layout: io, transitional: true })
    expect(board.pci.bars.map(({ index, size }) => [index, size])).toEqual([[0, 256]])
    expect(board.place(VIRTIO_PCI_CAP_COMMON_CFG)).toEqual({ bar: 0, offset: 40, length: 64 })
    expect([board.pci.readBar(0, 0, 4), board.get('num_queues')]).not.toContain(0)
  })

  it('has a region in two BARs where it lists it twice, and the first one is preferred', () => {
    const board = new PciBoard({ layout: [{ kind: 'io', regions: ['notify'] }, ...pciLayouts.memory] })
    expect([0, 1].map((which) => board.place(VIRTIO_PCI_CAP_NOTIFY_CFG, which))).toEqual([
      { bar: 0, offset: 0, length: 12 },
      { bar: 4, offset: 0x3000, length: 12 },
    ])
    board.start()
    board.device.log.length = 0
    board.pci.writeBar(0, 0, 2, 0)
    board.pci.writeBar(4, 0x3000, 2, 0)
    expect(board.device.log).toEqual(['queue 0', 'queue 0'])
  })

  it('leaves out what the device does not have', () => {
    const device = new DummyNet([])
    Object.assign(device, { config: ConfigSpace.empty() })
    const board = new PciBoard({ vectors: 0 }, device)
    expect([board.virtio(VIRTIO_PCI_CAP_DEVICE_CFG), board.capabilities(PCI_CAP_ID_MSIX), board.pci.bars.map(({ index }) => index)]).toEqual([
      [],
      [],
      [4],
    ])
    expect([board.get('num_queues'), board.place(VIRTIO_PCI_CAP_NOTIFY_CFG).length]).toEqual([0, 4])
  })

  it('can give numbers and sizes to its BARs', () => {
    const board = new PciBoard({
      layout: [
        { kind: 'memory32', index: 5, size: 0x2_0000, regions },
        { kind: 'memory64', regions: ['msix'] },
      ],
    })
    expect(board.pci.bars.map(({ index, kind, size }) => [index, kind, size])).toEqual([
      [0, 'memory64', 0x1000],
      [5, 'memory32', 0x2_0000],
    ])
  })

  it.each<[string, Partial<PciDeviceOptions>]>([
    ['must have a place for notify', { layout: [{ kind: 'io', regions: ['common', 'isr', 'device'] }] }],
    ['no place for device', { layout: [{ kind: 'io', regions: ['common', 'isr', 'notify'] }] }],
    [
      'have msix in one BAR only',
      {
        layout: [
          { kind: 'memory32', regions: [...regions, 'msix'] },
          { kind: 'memory32', regions: ['msix'] },
        ],
      },
    ],
    ['must be in a memory BAR', { layout: [{ kind: 'io', regions: [...regions, 'msix'] }] }],
    ['a region twice', { layout: [{ kind: 'io', regions: [...regions, 'isr'] }] }],
    [
      'BAR 1 is in the PCI layout twice',
      {
        layout: [
          { kind: 'memory64', index: 0, regions },
          { kind: 'io', index: 1, regions: ['isr'] },
        ],
      },
    ],
    ['from 0 to 4, not 5', { layout: [{ kind: 'memory64', index: 5, regions }] }],
    [
      'at most 6 BARs',
      {
        layout: [
          { kind: 'memory64', regions },
          { kind: 'memory64', regions: ['isr'] },
          { kind: 'memory64', regions: ['isr'] },
          { kind: 'io', regions: ['isr'] },
        ],
      },
    ],
    ['power of 2, not 300', { layout: [{ kind: 'io', size: 300, regions }] }],
    ['can have 65536 bytes, not 131072', { layout: [{ kind: 'io', size: 0x2_0000, regions }] }],
    ['legacy must be the first region', { layout: [{ kind: 'io', index: 1, regions: ['legacy', ...regions] }] }],
    ['legacy must be the first region', { transitional: true, layout: [{ kind: 'memory32', index: 0, regions }] }],
    ['vectors must be 0, not 3', { layout: io, vectors: 3 }],
    ['not 2049', { vectors: 2049 }],
    ['not 5', { interruptPin: 5 }],
    ['not 3', { notifyOffMultiplier: 3 }],
    ['from 2 to', { notifyOffMultiplier: 1 }],
    ['from 4 to', { notifyOffMultiplier: 2, ringFeatures: FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_NOTIFICATION_DATA) }],
    ['not 4', { adminQueues: 4 }],
    ['not 256', { revision: 256 }],
    ['not 1 and 1', { transitional: true, revision: 1 }],
    ['must not be 6900', { vendorData: [{ vendorId: 0x1af4, data: new Uint8Array(2) }] }],
    ['has room for 192', { vendorData: Array(5).fill({ vendorId: 1, data: new Uint8Array(30) }) }],
    ['not 1008', { vendorData: [{ vendorId: 1, data: new Uint8Array(1000) }] }],
  ])('is refused with “%s”', (words, options) => {
    expect(() => new PciBoard(options)).toThrow(words)
    expect(() => new PciBoard(options)).toThrow(RangeError)
  })

  it('is refused for shared memory regions that no capabilities can tell of', () => {
    expect(() => new PciBoard({}, sharing({ id: 1, length: 1 }, { id: 2, length: 1 }, { id: 1, length: 1 }))).toThrow('ids that differ, not 1, 2, 1')
    expect(() => new PciBoard({}, sharing({ id: 256, length: 1 }))).toThrow('not 256')
    expect(() => new PciBoard({}, sharing({ id: 0, length: 0 }))).toThrow('not 0')
    expect(() => new PciBoard({}, sharing({ id: 0, length: 2 ** 52 + 1 }))).toThrow('can have 4503599627370496 bytes')
    for (const length of [7, 9])
      expect(() => new PciBoard({}, sharing({ id: 5, length: 8, bytes: new Uint8Array(length) }))).toThrow(
        `region 5 has 8 bytes, its \`bytes\` must be as many, not ${length}`,
      )
  })

  it('is refused for a type that has no transitional id, or no PCI device id', () => {
    expect(() => new PciBoard({ transitional: true }, new DummyDevice())).toThrow('type 42 cannot be transitional, only one of 1, 2, 3, 4, 5, 8, 9')
    class Far extends DummyDevice {
      override readonly id = 64 as never
    }
    expect(() => new PciBoard({}, new Far())).toThrow('not 64')
  })
})

describe('the capabilities', () => {
  it('tell the multiplier of the notification structure', () => {
    for (const notifyOffMultiplier of [0, 2, 4, 4096]) {
      const board = new PciBoard({ notifyOffMultiplier })
      const at = board.virtio(VIRTIO_PCI_CAP_NOTIFY_CFG)[0] as number
      const { notify_off_multiplier, cap } = VirtioPciNotifyCap.decode(board.capabilityBytes(at))
      expect([notify_off_multiplier, cap.length]).toEqual([notifyOffMultiplier, 2 * notifyOffMultiplier + 4])
    }
  })

  it('tell of shared memory with 64 bits, and serve what the device gave', () => {
    const bytes = Uint8Array.of(1, 2, 3, 4, 5)
    const board = new PciBoard({}, sharing({ id: 7, length: 5, bytes }, { id: 0, length: 3 * 2 ** 32 }))
    const found = board.virtio(VIRTIO_PCI_CAP_SHARED_MEMORY_CFG).map((at) => VirtioPciCap64.decode(board.capabilityBytes(at)))
    expect(found.map(({ cap, offset_hi, length_hi }) => [cap.id, cap.bar, offset_hi, cap.offset, length_hi, cap.length])).toEqual([
      [7, 2, 0, 0, 0, 5],
      [0, 2, 4, 0, 3, 0],
    ])
    expect(board.pci.bars.find(({ index }) => index === 2)).toMatchObject({ kind: 'memory64', prefetchable: true, size: 8 * 2 ** 32 })
    board.setHeader('base_address_2', 0xffff_ffff)
    board.setHeader('base_address_3', 0xffff_ffff)
    expect([board.header('base_address_2'), board.header('base_address_3')]).toEqual([0xc, 0xffff_fff8])
    board.setHeader('base_address_3', 0x18)
    board.enable()
    expect(board.pci.bars.find(({ index }) => index === 2)?.address).toBe(0x18 * 2 ** 32)
    expect([board.pci.readBar(2, 1, 4), board.pci.readBar(2, 4, 4), board.pci.readBar(2, 5, 1), board.pci.readBar(2, 4 * 2 ** 32, 4)]).toEqual([
      0x05040302, 5, 0, 0,
    ])
    board.pci.writeBar(2, 3, 4, 0xaabbccdd)
    board.pci.writeBar(2, 4 * 2 ** 32, 4, 1)
    expect([...bytes]).toEqual([1, 2, 3, 0xdd, 0xcc])
  })

  it('hold data of vendors, in whole words', () => {
    const vendorData = [
      { vendorId: 0x1234, data: Uint8Array.of(1, 2) },
      { vendorId: 0x1234, data: Uint8Array.of(9, 8, 7) },
    ]
    const board = new PciBoard({ vendorData })
    const found = board.virtio(VIRTIO_PCI_CAP_VENDOR_CFG).map((at) => VirtioPciVndrData.decode(board.capabilityBytes(at)))
    expect(found.map(({ vendor_id, cap_len, data }) => [vendor_id, cap_len, [...data]])).toEqual([
      [0x1234, 8, [1, 2]],
      [0x1234, 12, [9, 8, 7, 0, 0, 0]],
    ])
  })

  it('are read-only, but for the window to the BARs', () => {
    const board = new PciBoard({ vendorData: [{ vendorId: 1, data: new Uint8Array(4) }] })
    const window = board.virtio(VIRTIO_PCI_CAP_PCI_CFG)[0] as number
    const bytes = (): number[] => Array.from({ length: 192 }, (_, index) => board.pci.readConfig(64 + index, 1))
    const before = bytes()
    for (let at = 64; at < 256; at++) board.pci.writeConfig(at, 1, before[at - 64]! ^ 0xff)
    const changed = bytes().flatMap((byte, index) => (byte === before[index] ? [] : [64 + index]))
    // bar, offset, length, pci_cfg_data; of MSI-X the two upper bits of message control.
    const writable = [4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19].map((at) => window + at)
    expect(changed.sort((a, b) => a - b)).toEqual([...writable, board.msixAt + 3].sort((a, b) => a - b))
  })
})

describe('the window to the BARs', () => {
  function aim(board: PciBoard, bar: number, length: number, offset: number): number {
    const at = board.virtio(VIRTIO_PCI_CAP_PCI_CFG)[0] as number
    board.pci.writeConfig(at + 4, 1, bar)
    board.pci.writeConfig(at + 12, 4, length)
    board.pci.writeConfig(at + 8, 4, offset)
    return at + 16
  }

  it('reads and writes what the BARs hold, whether they are decoded or not', () => {
    const board = new PciBoard()
    const { bar, offset } = board.place(VIRTIO_PCI_CAP_COMMON_CFG)
    let data = aim(board, bar, 2, offset + 0x12)
    expect(board.pci.readConfig(data, 2)).toBe(3)
    data = aim(board, bar, 2, offset + 0x16)
    board.pci.writeConfig(data, 2, 2)
    data = aim(board, bar, 2, offset + 0x18)
    expect(board.pci.readConfig(data, 4)).toBe(4)
    data = aim(board, bar, 1, offset + 0x14)
    board.pci.writeConfig(data, 1, 1)
    expect([board.get('device_status'), board.get('queue_select')]).toEqual([1, 2])
  })

  it('takes from ISR status as a read of the BAR does', () => {
    const board = new PciBoard()
    board.start()
    board.device.config.update(() => {})
    const { bar, offset } = board.place(VIRTIO_PCI_CAP_ISR_CFG)
    const data = aim(board, bar, 1, offset)
    expect([board.pci.readConfig(data, 1), board.pci.readConfig(data, 1), board.levels]).toEqual([2, 0, [true, false]])
  })

  it('does nothing where the aim is no aligned access of 1, 2 or 4 bytes, or no BAR', () => {
    const board = new PciBoard()
    const { bar, offset } = board.place(VIRTIO_PCI_CAP_COMMON_CFG)
    for (const [where, length, at] of [
      [bar, 0, offset],
      [bar, 3, offset],
      [bar, 8, offset],
      [bar, 0xffff_ffff, offset],
      [bar, 4, offset + 2],
      [bar, 2, offset + 0x13],
      [3, 4, offset],
      [6, 4, offset],
      [255, 4, offset],
    ] as const) {
      const data = aim(board, where, length, at)
      board.pci.writeConfig(data, 4, 0xffff_ffff)
      const read = board.pci.readConfig(data, 4)
      // Where there is an access, what lies at its aim is nothing.
      expect([0xffff_ffff, 0]).toContain(read)
    }
    expect([board.get('device_feature_select'), board.get('device_status')]).toEqual([0, 0])
  })
})
