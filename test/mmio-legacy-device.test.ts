/** A device behind the legacy registers of Virtio Over MMIO, as a driver of before VIRTIO 1.0 and its VMM see it. */
import fc from 'fast-check'
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { BlkDriver } from 'virtgen/driver/blk'
import { DriverMemory } from 'virtgen/runtime'
import { BlkDevice, type BlkReadRequest, type BlkWriteRequest } from 'virtgen/skeleton/blk'
import { SplitFakeDriver, TestMemory } from 'virtgen/testing'
import { VIRTIO_BLK_F_MQ, virtio_blk_size } from 'virtgen/wire/blk'
import {
  ACKNOWLEDGE,
  DEVICE_NEEDS_RESET,
  DRIVER,
  DRIVER_OK,
  VIRTIO_F_ANY_LAYOUT,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import { mmio_interrupt, virtio_mmio, virtio_mmio_legacy } from 'virtgen/wire/transport-mmio'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Chain } from '../runtime/chain.ts'
import { connectMmio } from '../runtime/mmio/driver.ts'
import { LegacyMmioDevice, type LegacyMmioDeviceOptions } from '../runtime/mmio/legacy-device.ts'
import { type LegacyMmioDeviceState, restoreLegacyMmioDevice, saveLegacyMmioDevice } from '../runtime/mmio/legacy-device-state.ts'
import { StateError } from '../runtime/saved-value.ts'
import type { Violation } from '../runtime/violation.ts'
import { DummyDevice, useAll } from './support/dummy-device.ts'
import { offer, usedBy } from './support/offers.ts'

type Register = keyof typeof virtio_mmio_legacy
const ready = ACKNOWLEDGE | DRIVER | DRIVER_OK
const { used_buffer, config_change } = mmio_interrupt

interface Layout {
  readonly index?: number
  readonly size?: number
  readonly page?: number
  readonly pageSize?: number
  readonly align?: number
}

/** A VMM with one device, and a driver's hands on its registers. */
class Board {
  readonly bytes: Uint8Array
  readonly memory: TestMemory
  readonly device: DummyDevice
  readonly mmio: LegacyMmioDevice
  readonly levels: boolean[] = []
  readonly violations: Violation[] = []

  constructor(device = new DummyDevice(), bytes: Uint8Array = new Uint8Array(0x8000), options: Partial<LegacyMmioDeviceOptions> = {}) {
    this.device = device
    this.bytes = bytes
    this.memory = new TestMemory({ regions: [{ guestAddress: 0, size: bytes.length, source: bytes }] })
    this.mmio = new LegacyMmioDevice(device, {
      memory: this.memory,
      interrupt: (level) => void this.levels.push(level),
      onViolation: (violation) => this.violations.push(violation),
      ...options,
    })
  }

  get(register: Register): number {
    return this.mmio.read(virtio_mmio_legacy[register].offset, 4)
  }
  set(register: Register, value: number): void {
    this.mmio.write(virtio_mmio_legacy[register].offset, 4, value)
  }

  /** Sets up a queue as the text lays it: descriptors, available ring, the used ring at the next multiple of QueueAlign. */
  ring({ index = 0, size = 4, page = 1, pageSize = 0x1000, align = 0x1000 }: Layout = {}): SplitFakeDriver {
    const descriptorArea = page * pageSize
    const driverArea = descriptorArea + 16 * size
    const deviceArea = Math.ceil((driverArea + 2 * (3 + size)) / align) * align
    const ring = new SplitFakeDriver(this.memory, { size, index, areas: { descriptorArea, driverArea, deviceArea } })
    this.set('GuestPageSize', pageSize)
    this.set('QueueSel', index)
    this.set('QueueSize', size)
    this.set('QueueAlign', align)
    this.set('QueuePFN', page)
    return ring
  }

  /** Brings the device up with queue 0. */
  start(layout?: Layout): SplitFakeDriver {
    this.set('Status', ACKNOWLEDGE | DRIVER)
    const ring = this.ring(layout)
    this.set('Status', ready)
    return ring
  }
}

let board: Board
beforeEach(() => {
  board = new Board()
  board.device.onQueue = (index, host) => useAll(index, host)
})

describe('the registers', () => {
  it('say what the device is, and that they are version 1', () => {
    const vendor = new Board(undefined, undefined, { vendorId: 0x554d_4551 })
    expect((['MagicValue', 'Version', 'DeviceID', 'VendorID'] as const).map((name) => vendor.get(name))).toEqual([0x74726976, 1, 42, 0x554d_4551])
    expect(() => new Board(undefined, undefined, { vendorId: 2 ** 32 })).toThrow(RangeError)
    expect([vendor.mmio.size, vendor.mmio.device]).toEqual([0x200, vendor.device])
  })

  it('show 32 feature bits, none that needs VIRTIO_F_VERSION_1, and no further word', () => {
    const words = [0, 1, 2, 0xffff_ffff].map((word) => {
      board.set('HostFeaturesSel', word)
      return board.get('HostFeatures')
    })
    expect(words.slice(1)).toEqual([0, 0, 0])
    const offered = FeatureSet.empty.withWord(0, words[0] as number)
    expect([VIRTIO_BLK_F_MQ, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_ANY_LAYOUT, VIRTIO_F_VERSION_1].map((bit) => offered.has(bit))).toEqual([
      true,
      true,
      true,
      false,
    ])
  })

  it('take the features of the first word alone', () => {
    board.set('GuestFeatures', 1 << VIRTIO_BLK_F_MQ)
    board.set('GuestFeaturesSel', 1)
    board.set('GuestFeatures', 1 << VIRTIO_F_INDIRECT_DESC)
    expect(board.mmio.control.features.bits).toEqual([VIRTIO_BLK_F_MQ])
  })

  it('belong to the queue that is selected', () => {
    const seen = [0, 1, 2, 3, 0xffff_ffff].map((index) => {
      board.set('QueueSel', index)
      return [board.get('QueueSizeMax'), board.get('QueuePFN')]
    })
    expect(seen).toEqual([
      [8, 0],
      [0, 0],
      [4, 0],
      [0, 0],
      [0, 0],
    ])
    board.ring({ index: 2, page: 3 })
    expect(board.get('QueuePFN')).toBe(3)
    board.set('QueueSel', 0)
    expect(board.get('QueuePFN')).toBe(0)
  })

  it('read 0 where they are write-only and ignore writes where they are read-only', () => {
    const names = Object.keys(virtio_mmio_legacy) as Register[]
    const readOnly = names.filter((name) => virtio_mmio_legacy[name].access === 'r')
    const before = readOnly.map((name) => board.get(name))
    for (const name of readOnly) board.set(name, 0x5555_5555)
    expect(readOnly.map((name) => board.get(name))).toEqual(before)
    for (const name of names.filter((each) => virtio_mmio_legacy[each].access === 'w')) {
      board.set(name, 1)
      expect([name, board.get(name)]).toEqual([name, 0])
    }
  })

  it('are there for aligned 32-bit accesses only', () => {
    for (const [offset, width] of [
      [0, 1],
      [0, 2],
      [0, 8],
      [1, 4],
      [0xfe, 4],
    ] as const)
      expect(board.mmio.read(offset, width)).toBe(0)
    for (const width of [1, 2, 8, 0, Number.NaN]) board.mmio.write(virtio_mmio_legacy.Status.offset, width, 1)
    board.mmio.write(virtio_mmio_legacy.Status.offset + 1, 4, 1)
    expect(board.get('Status')).toBe(0)
  })

  it('are not those of version 2, except that there is no shared memory', () => {
    const missing = ['SHMLenLow', 'SHMLenHigh', 'SHMBaseLow', 'SHMBaseHigh'] as const
    for (const name of ['QueueReady', 'QueueReset', 'QueueDescLow', 'ConfigGeneration', ...missing] as const) {
      board.mmio.write(virtio_mmio[name].offset, 4, 1)
      expect([name, board.mmio.read(virtio_mmio[name].offset, 4)]).toEqual([name, (missing as readonly string[]).includes(name) ? 0xffff_ffff : 0])
    }
  })

  it('show the configuration space by bytes, halves and words, and let the driver write it at any time', () => {
    const at = virtio_mmio_legacy.Config.offset
    expect([board.mmio.read(at, 1), board.mmio.read(at + 1, 2), board.mmio.read(at + 3, 4), board.mmio.read(at + 16, 4)]).toEqual([
      1, 0x0302, 0x07060504, 0,
    ])
    board.mmio.write(at + 4, 2, 0xabcd)
    expect([board.mmio.read(at + 4, 2), board.device.log]).toEqual([0xabcd, ['config free']])
  })
})

describe('a queue', () => {
  it.each<[string, Layout]>([
    ['as Linux lays it', {}],
    ['of the largest size', { size: 8 }],
    ['with pages of another size', { pageSize: 0x400, page: 9 }],
    ['with a used ring close behind', { align: 64, size: 2 }],
    ['with a used ring far behind', { align: 0x4000 }],
    ['of one entry', { size: 1, align: 4 }],
  ])('%s is one piece of memory from its first page on', (_, layout) => {
    const ring = board.start(layout)
    const head = offer(ring, 0x7000, 4)
    board.set('QueueNotify', 0)
    expect([usedBy(ring), board.violations]).toEqual([[[head, 4]], []])
    expect([board.get('QueuePFN'), board.get('InterruptStatus')]).toEqual([layout.page ?? 1, used_buffer])
  })

  it('may be used before DRIVER_OK, from the first notification on', () => {
    const ring = board.ring()
    const head = offer(ring, 0x7000, 4)
    board.set('QueueNotify', 0)
    expect(usedBy(ring)).toEqual([[head, 4]])
  })

  it('is stopped by page 0, and then set up again elsewhere', () => {
    board.start()
    board.set('QueuePFN', 5)
    expect(board.get('QueuePFN')).toBe(1)
    board.set('QueuePFN', 0)
    expect([board.get('QueuePFN'), board.device.log.at(-1)]).toEqual([0, 'queue 0 reset'])
    const ring = board.ring({ page: 3, size: 8 })
    const head = offer(ring, 0x7000, 4)
    board.set('QueueNotify', 0)
    expect(usedBy(ring)).toEqual([[head, 4]])
  })

  it('has 4096 bytes for page and alignment, and its largest size, until the driver says otherwise', () => {
    const ring = new SplitFakeDriver(board.memory, { size: 8, areas: { descriptorArea: 0x1000, driverArea: 0x1080, deviceArea: 0x2000 } })
    board.set('QueuePFN', 1)
    const head = offer(ring, 0x7000, 4)
    board.set('QueueNotify', 0)
    expect(usedBy(ring)).toEqual([[head, 4]])
  })

  it.each<[string, [Register, number][]]>([
    ['no entries', [['QueueSize', 0]]],
    ['more entries than it can have', [['QueueSize', 16]]],
    ['a size that is no power of 2', [['QueueSize', 3]]],
    ['pages of no bytes', [['GuestPageSize', 0]]],
    ['pages outside of memory', [['QueuePFN', 0xffff_ffff]]],
    ['pages that are misaligned', [['GuestPageSize', 0x1001]]],
    ['an alignment of 0', [['QueueAlign', 0]]],
    ['an alignment that is none', [['QueueAlign', 0x1001]]],
  ])('with %s is a violation', (_, writes) => {
    board.set('GuestPageSize', 0x1000)
    for (const [name, value] of writes) board.set(name, value)
    board.set('QueuePFN', 1)
    board.set('QueueNotify', 0)
    board.set('Status', ready)
    expect([board.violations.length, board.get('Status') & DEVICE_NEEDS_RESET]).toEqual([1, DEVICE_NEEDS_RESET])
  })
})

describe('a reset', () => {
  it('brings all registers back but the page size, which Linux writes before it resets the device', () => {
    board.set('GuestPageSize', 0x400)
    const fresh = saveLegacyMmioDevice(board.mmio)
    board.set('HostFeaturesSel', 1)
    board.set('GuestFeatures', 1 << VIRTIO_BLK_F_MQ)
    offer(board.start({ pageSize: 0x400, page: 9, align: 64 }), 0x7000, 4)
    board.set('QueueNotify', 0)
    board.set('QueueSel', 2)
    board.set('QueueSize', 2)
    board.set('GuestFeaturesSel', 1)
    board.set('Status', 0)
    expect([board.get('Status'), board.get('InterruptStatus'), board.levels]).toEqual([0, 0, [true, false]])
    expect(saveLegacyMmioDevice(board.mmio)).toEqual(fresh)
  })

  it('of the machine brings the page size back as well', () => {
    board.start({ pageSize: 0x400, page: 9 })
    expect(board.mmio.powerOnReset()).toBeUndefined()
    expect(saveLegacyMmioDevice(board.mmio)).toEqual(saveLegacyMmioDevice(new Board().mmio))
  })

  it('that goes on lets no register take a value', async () => {
    let finish = (): void => {}
    board.device.onReset = () =>
      new Promise((resolve) => {
        finish = resolve
      })
    board.start()
    board.set('Status', 0)
    for (const { offset } of Object.values(virtio_mmio_legacy)) board.mmio.write(offset, 4, 2)
    const reset = board.mmio.control.reset()
    expect(board.get('Status')).toBe(ready)
    finish()
    await reset
    expect(saveLegacyMmioDevice(board.mmio)).toEqual(saveLegacyMmioDevice(new Board().mmio))
  })
})

describe('interrupts', () => {
  it('are those of version 2', () => {
    const ring = board.start()
    offer(ring, 0x7000, 4)
    board.set('QueueNotify', 0)
    board.device.config.update(() => {})
    expect([board.get('InterruptStatus'), board.levels]).toEqual([used_buffer | config_change, [true]])
    board.set('InterruptACK', used_buffer)
    expect(board.levels).toEqual([true])
    board.set('InterruptACK', 0xffff_ffff)
    expect([board.get('InterruptStatus'), board.levels]).toEqual([0, [true, false]])
  })
})

describe('the driver of this package', () => {
  const { sector_bytes } = virtio_blk_size
  class Disk extends BlkDevice {
    readonly bytes = new Uint8Array(8 * sector_bytes)
    protected override read({ header, writable }: BlkReadRequest) {
      writable.copyFrom(this.bytes, header.sector * sector_bytes, header.sector * sector_bytes + writable.length)
    }
    protected override write({ header, readable }: BlkWriteRequest) {
      readable.copyTo(this.bytes, header.sector * sector_bytes, header.sector * sector_bytes + readable.length)
    }
    protected override flush() {}
    protected override getId() {}
  }

  it('writes and reads a disk', async () => {
    const bytes = new Uint8Array(0x5_0000)
    const memory = new TestMemory({ regions: [{ guestAddress: 0, size: bytes.length, source: bytes }] })
    let raise = (): unknown => {}
    const slot = new LegacyMmioDevice(new Disk({ config: { capacity: 8 } }), { memory, interrupt: (level) => level && raise() })
    const own = new DriverMemory(memory, 0x1_0000, 0x4_0000)
    const { driver, interrupt } = await connectMmio(slot, BlkDriver, { memory: own, interface: 'legacy' })
    raise = interrupt
    await driver.write({ sector: 3 }, new Uint8Array(sector_bytes).fill(9))
    const { data } = await driver.read({ sector: 3 }, sector_bytes)
    expect([...new Set(data)]).toEqual([9])
    expect([slot.legacy.active, slot.control.features.has(VIRTIO_F_VERSION_1)]).toEqual([true, false])
    await driver.close()
    expect(slot.control.status).toBe(0)
  })
})

describe('a saved device', () => {
  it('goes on elsewhere with its registers, pending interrupts and parked chains', () => {
    const parked: Chain[] = []
    const take: DummyDevice['onQueue'] = (index, host) => {
      for (let chain = host.queue(index)?.next(); chain; chain = host.queue(index)?.next()) parked.push(chain)
    }
    board.device.onQueue = take
    const ring = board.start({ pageSize: 0x400, page: 8, align: 64 })
    const heads = [offer(ring, 0x7000, 4), offer(ring, 0x7010, 4)]
    board.set('QueueNotify', 0)
    parked[1]?.complete()
    board.set('QueueSel', 2)
    board.set('QueueSize', 2)
    board.set('QueueAlign', 128)

    const saved = JSON.parse(JSON.stringify(saveLegacyMmioDevice(board.mmio))) as LegacyMmioDeviceState
    parked.length = 0
    const other = new Board(new DummyDevice(), board.bytes)
    other.device.onQueue = take
    restoreLegacyMmioDevice(other.mmio, saved)
    expect([other.get('QueueSizeMax'), other.get('Status'), other.get('InterruptStatus'), other.levels]).toEqual([4, ready, used_buffer, [true]])
    expect(JSON.stringify(saveLegacyMmioDevice(other.mmio))).toBe(JSON.stringify(saved))
    other.set('QueueSel', 0)
    expect([other.get('QueuePFN'), parked.map((chain) => chain.head)]).toEqual([8, [heads[0]]])
    parked[0]?.complete(4)
    expect(usedBy(ring)).toEqual([
      [heads[1], 0],
      [heads[0], 4],
    ])
  })

  it.each<[string, (state: LegacyMmioDeviceState) => unknown]>([
    ['nothing', () => null],
    ['another version', (state) => ({ ...state, version: 2 })],
    ['selectors that are none', (state) => ({ ...state, queueSel: 2 ** 32 })],
    ['no page size', (state) => ({ ...state, guestPageSize: undefined })],
    ['events that do not exist', (state) => ({ ...state, interruptStatus: 4 })],
    ['other queues', (state) => ({ ...state, queues: [] })],
    ['a queue that is not there', (state) => ({ ...state, queues: state.queues.map(() => ({ size: 1, align: 1 })) })],
    ['a queue that is null', (state) => ({ ...state, queues: state.queues.map(() => null) })],
    ['an alignment that is none', (state) => ({ ...state, queues: state.queues.map((queue) => queue && { ...queue, align: -1 }) })],
    ['a control that is wrong', (state) => ({ ...state, interruptStatus: 1, control: { ...state.control, status: 8 } })],
    [
      'that of a driver that uses the other layout',
      ({ control: _, ...state }) => ({ ...state, control: { ...saveLegacyMmioDevice(new Board().mmio).control, status: ACKNOWLEDGE } }),
    ],
  ])('is refused when it is %s, and nothing has changed', (_, spoil) => {
    board.start()
    const other = new Board()
    other.set('GuestPageSize', 0x400)
    const fresh = saveLegacyMmioDevice(other.mmio)
    expect(() => restoreLegacyMmioDevice(other.mmio, spoil(saveLegacyMmioDevice(board.mmio)) as LegacyMmioDeviceState)).toThrow(StateError)
    expect([saveLegacyMmioDevice(other.mmio), other.levels]).toEqual([fresh, []])
  })
})

describe('a hostile driver', () => {
  const offsets = Object.values(virtio_mmio_legacy).map(({ offset }) => offset)
  const access = fc.record({
    write: fc.boolean(),
    offset: fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom(...offsets) },
      { weight: 2, arbitrary: fc.integer({ min: -8, max: 0x220 }) },
      { weight: 1, arbitrary: fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, -1e300, 2 ** 53, 0.5) },
    ),
    width: fc.oneof({ weight: 8, arbitrary: fc.constant(4) }, { weight: 1, arbitrary: fc.constantFrom(0, 1, 2, 3, 8, -4, 1.5, Number.NaN) }),
    value: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(0, 1, 2, 3, 4, 7, 64, 128, 0x1000) },
      { weight: 2, arbitrary: fc.integer({ min: 0, max: 0xffff_ffff }) },
      { weight: 1, arbitrary: fc.constantFrom(-1, 2 ** 32, 2 ** 53, Number.NaN, 0.5) },
    ),
  })

  it('gets no exception out of registers, whatever it reads and writes, and a reset clears all that it did', () => {
    fc.assert(
      fc.property(fc.array(access, { maxLength: 60 }), fc.boolean(), (list, isLive) => {
        const target = new Board()
        target.device.onQueue = (index, host) => useAll(index, host)
        if (isLive) offer(target.start(), 0x7000, 4)
        for (const { write, offset, width, value } of list) {
          if (write) target.mmio.write(offset, width, value)
          const read = target.mmio.read(offset, width)
          expect(Number.isInteger(read) && read >= 0 && read <= 0xffff_ffff).toBe(true)
          expect(target.levels.length % 2).toBe(target.get('InterruptStatus') === 0 ? 0 : 1)
        }
        target.set('Status', 0)
        target.set('GuestPageSize', 0x1000)
        const clean = ({ control, ...state }: LegacyMmioDeviceState) => [{ ...state }, { ...control, config: '', configGeneration: 0 }]
        expect(clean(saveLegacyMmioDevice(target.mmio))).toEqual(clean(saveLegacyMmioDevice(new Board().mmio)))
      }),
      { numRuns: 500 },
    )
  })
})
