/** A device behind the registers of Virtio Over MMIO, as the driver and the VMM see it. */
import fc from 'fast-check'
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import { SplitFakeDriver, TestMemory } from 'virtgen/testing'
import { VIRTIO_BLK_F_CONFIG_WCE } from 'virtgen/wire/blk'
import {
  ACKNOWLEDGE,
  DEVICE_NEEDS_RESET,
  DRIVER,
  DRIVER_OK,
  FEATURES_OK,
  NotificationLe,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_NOTIF_CONFIG_DATA,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import { mmio_interrupt, virtio_mmio } from 'virtgen/wire/transport-mmio'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Chain } from '../runtime/chain.ts'
import type { SharedMemory } from '../runtime/device.ts'
import { createDeviceQueue } from '../runtime/device-queue.ts'
import { MmioDevice, type MmioDeviceOptions } from '../runtime/mmio/device.ts'
import { type MmioDeviceState, restoreMmioDevice, saveMmioDevice } from '../runtime/mmio/device-state.ts'
import { StateError } from '../runtime/saved-value.ts'
import { isStatus } from '../runtime/status.ts'
import { DummyDevice, useAll } from './support/dummy-device.ts'
import { offer, usedBy } from './support/offers.ts'

type Register = keyof typeof virtio_mmio
const live = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK
const { used_buffer, config_change } = mmio_interrupt

/** A VMM with one device, and a driver's hands on its registers. */
class Board {
  readonly bytes: Uint8Array
  readonly memory: TestMemory
  readonly device: DummyDevice
  readonly mmio: MmioDevice
  readonly levels: boolean[] = []
  onInterrupt: (level: boolean) => void = () => {}

  constructor(device = new DummyDevice(), bytes: Uint8Array = new Uint8Array(0x4000), options: Partial<MmioDeviceOptions> = {}) {
    this.device = device
    this.bytes = bytes
    this.memory = new TestMemory({ regions: [{ guestAddress: 0, size: bytes.length, source: bytes }] })
    this.mmio = new MmioDevice(device, {
      memory: this.memory,
      createQueue: createDeviceQueue,
      interrupt: (level) => {
        this.levels.push(level)
        this.onInterrupt(level)
      },
      ...options,
    })
  }

  get(register: Register): number {
    return this.mmio.read(virtio_mmio[register].offset, 4)
  }
  set(register: Register, value: number): void {
    this.mmio.write(virtio_mmio[register].offset, 4, value)
  }

  negotiate(features = FeatureSet.of(VIRTIO_F_VERSION_1)): void {
    this.set('Status', ACKNOWLEDGE)
    this.set('Status', ACKNOWLEDGE | DRIVER)
    for (let word = 0; word < 4; word++) {
      this.set('DriverFeaturesSel', word)
      this.set('DriverFeatures', features.word(word))
    }
    this.set('Status', live & ~DRIVER_OK)
  }

  ring(index: number, size = 4): SplitFakeDriver {
    const ring = new SplitFakeDriver(this.memory, { size, index })
    this.set('QueueSel', index)
    this.set('QueueSize', size)
    this.set('QueueDescLow', ring.setup.descriptorArea)
    this.set('QueueDriverLow', ring.setup.driverArea)
    this.set('QueueDeviceLow', ring.setup.deviceArea)
    this.set('QueueReady', 1)
    return ring
  }

  /** Brings the device up with queue 0. */
  start(): SplitFakeDriver {
    this.negotiate()
    const ring = this.ring(0)
    this.set('Status', live)
    return ring
  }
}

let board: Board
beforeEach(() => {
  board = new Board()
})

describe('the registers', () => {
  it('say what the device is', () => {
    const vendor = new Board(undefined, undefined, { vendorId: 0xffff_ffff })
    expect((['MagicValue', 'Version', 'DeviceID', 'VendorID'] as const).map((name) => vendor.get(name))).toEqual([0x74726976, 2, 42, 0xffff_ffff])
    expect(board.get('VendorID')).toBe(0)
    for (const vendorId of [-1, 2 ** 32, 0.5]) expect(() => new Board(undefined, undefined, { vendorId })).toThrow(`not ${vendorId}`)
  })

  it('show 32 feature bits at a time, and none beyond bit 127', () => {
    const words = [0, 1, 2, 3, 4, 0xffff_ffff].map((word) => {
      board.set('DeviceFeaturesSel', word)
      return board.get('DeviceFeatures')
    })
    expect(words).toEqual([...[0, 1, 2, 3].map((word) => board.mmio.control.offered.word(word)), 0, 0])
    expect(words[2]).toBe(1 << (70 - 64))
  })

  it('keep the selectors of device features and driver features apart', () => {
    board.set('DriverFeaturesSel', 1)
    board.set('DeviceFeaturesSel', 2)
    board.set('DriverFeatures', 1)
    expect([board.mmio.control.driverFeatures.bits, board.get('DeviceFeatures')]).toEqual([[VIRTIO_F_VERSION_1], 64])
  })

  it('belong to the queue that is selected', () => {
    const seen = [0, 1, 2, 3, 0xffff_ffff].map((index) => {
      board.set('QueueSel', index)
      board.set('QueueSize', index + 10)
      board.set('QueueDescHigh', index + 1)
      return [board.get('QueueSizeMax'), board.get('QueueReady')]
    })
    expect(seen).toEqual([
      [8, 0],
      [0, 0],
      [4, 0],
      [0, 0],
      [0, 0],
    ])
    const { control } = board.mmio
    expect([0, 1, 2].map((index) => [control.queueSize(index), control.queueAddress(index, 'descriptorArea', 1)])).toEqual([
      [10, 1],
      [0, 0],
      [12, 3],
    ])
  })

  it('take both halves of each address', () => {
    const halves = ['QueueDescLow', 'QueueDescHigh', 'QueueDriverLow', 'QueueDriverHigh', 'QueueDeviceLow', 'QueueDeviceHigh'] as const
    halves.forEach((name, index) => {
      board.set(name, 0xffff_fff0 + index)
    })
    const { control } = board.mmio
    const areas = ['descriptorArea', 'driverArea', 'deviceArea'] as const
    expect(areas.flatMap((area) => [control.queueAddress(0, area, 0), control.queueAddress(0, area, 1)])).toEqual(
      [0, 1, 2, 3, 4, 5].map((n) => 0xffff_fff0 + n),
    )
  })

  it('say that there is no shared memory, whatever is selected', () => {
    for (const id of [0, 1, 0xffff_ffff]) {
      board.set('SHMSel', id)
      expect((['SHMLenLow', 'SHMLenHigh', 'SHMBaseLow', 'SHMBaseHigh'] as const).map((name) => board.get(name))).toEqual(Array(4).fill(0xffff_ffff))
    }
  })

  it('read 0 where they are write-only, and where VIRTIO_F_RING_RESET is needed', () => {
    const names = Object.keys(virtio_mmio) as Register[]
    for (const name of names) if (virtio_mmio[name].access === 'w') board.set(name, 1)
    for (const name of [...names.filter((each) => virtio_mmio[each].access === 'w'), 'QueueReset'] as Register[])
      expect([name, board.get(name)]).toEqual([name, 0])
    board.set('QueueReset', 1)
    expect(board.get('QueueReset')).toBe(0)
  })

  it('ignore writes where they are read-only', () => {
    const names = (Object.keys(virtio_mmio) as Register[]).filter((name) => virtio_mmio[name].access === 'r')
    const before = names.map((name) => board.get(name))
    for (const name of names) board.set(name, 0x5555_5555)
    expect(names.map((name) => board.get(name))).toEqual(before)
    expect(saveMmioDevice(board.mmio)).toEqual(saveMmioDevice(new Board().mmio))
  })

  it('are there for aligned 32-bit accesses only', () => {
    for (const [offset, width] of [
      [0, 1],
      [0, 2],
      [0, 8],
      [1, 4],
      [2, 2],
      [0xfe, 4],
    ] as const)
      expect(board.mmio.read(offset, width)).toBe(0)
    for (const width of [1, 2, 8, 0, Number.NaN]) board.mmio.write(virtio_mmio.Status.offset, width, 1)
    board.mmio.write(virtio_mmio.Status.offset + 1, 4, 1)
    expect(board.get('Status')).toBe(0)
  })

  it('take the lower 32 bits of a value, unsigned', () => {
    board.set('QueueSize', 2 ** 32 + 3)
    expect(board.mmio.control.queueSize(0)).toBe(3)
    board.set('QueueSize', -1)
    expect(board.mmio.control.queueSize(0)).toBe(0xffff_ffff)
  })

  it('take QueueReset 1 and no other value, of the queue that is selected, and where VIRTIO_F_RING_RESET is negotiated', () => {
    board.negotiate(FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_RING_RESET))
    board.ring(0)
    board.ring(2)
    board.set('Status', live)
    for (const value of [0, 2, 3, 0xffff_ffff]) board.set('QueueReset', value)
    board.set('QueueSel', 7)
    board.set('QueueReset', 1)
    expect(board.get('QueueReset')).toBe(0)
    const ready = [0, 2].map((index) => {
      board.set('QueueSel', index)
      return board.get('QueueReady')
    })
    board.set('QueueReset', 1)
    expect([ready, board.get('QueueReady'), board.get('QueueReset'), board.device.log.at(-1)]).toEqual([[1, 1], 0, 0, 'queue 2 reset'])
    board.set('QueueSel', 0)
    expect(board.get('QueueReady')).toBe(1)
  })

  it('show QueueReset 1 and QueueReady 1 as long as a queue reset goes on, then 0 in both', async () => {
    let settle = (): void => {}
    board.device.onQueueReset = () =>
      new Promise((resolve) => {
        settle = resolve
      })
    const both = (): number[] => [board.get('QueueReset'), board.get('QueueReady')]
    const settled = async (): Promise<number[]> => {
      settle()
      for (let i = 0; i < 10; i++) await Promise.resolve()
      return both()
    }
    board.negotiate(FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_RING_RESET))
    board.ring(0)
    board.set('Status', live)
    board.set('QueueReset', 1)
    expect(both()).toEqual([1, 1])
    expect(await settled()).toEqual([0, 0])
    board.ring(0, 2)
    expect(both()).toEqual([0, 1])
    board.set('QueueReset', 1)
    board.set('Status', 0)
    expect(both()).toEqual([1, 1])
    expect(await settled()).toEqual([0, 0])
  })

  it('take notification data where that is negotiated', () => {
    const offering = new Board(undefined, undefined, { ringFeatures: FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_NOTIFICATION_DATA) })
    const notify = (vq_index: number): void => {
      const bytes = NotificationLe.encode({ vq_index, next_off: 0x7ffe, next_wrap: 1 })
      offering.set('QueueNotify', new DataView(bytes.buffer).getUint32(0, true))
    }
    offering.negotiate(FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_NOTIFICATION_DATA))
    offering.ring(2)
    offering.set('Status', live)
    offering.device.log.length = 0
    for (const index of [2, 0, 1, 3, 0xffff]) notify(index)
    expect([offering.device.log, offering.mmio.control.announcedAvailable(2)]).toEqual([['queue 2'], 0xfffe])
  })

  it('have no place for values that name the queues: VIRTIO_F_NOTIF_CONFIG_DATA cannot be offered', () => {
    const ringFeatures = FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_NOTIF_CONFIG_DATA)
    expect(() => new Board(undefined, undefined, { ringFeatures })).toThrow('features 39 cannot be offered here')
  })

  it('take QueueReady 0 and 1 and no other value', () => {
    board.start()
    for (const value of [2, 3, 0xffff_ffff]) board.set('QueueReady', value)
    expect(board.get('QueueReady')).toBe(1)
    board.set('QueueReady', 0)
    expect(board.get('QueueReady')).toBe(0)
  })
})

describe('shared memory', () => {
  const regions = [
    { id: 1, length: 0x1000 },
    { id: 255, length: 0x2_0000_0003 },
    { id: 7, length: 8 },
  ]
  const sharing = (list: readonly SharedMemory[]): DummyDevice => Object.defineProperty(new DummyDevice(), 'sharedMemory', { value: list })
  const found = (target: Board, id: number): number[] => {
    target.set('SHMSel', id)
    return (['SHMLenHigh', 'SHMLenLow', 'SHMBaseHigh', 'SHMBaseLow'] as const).map((name) => target.get(name))
  }

  it('is found by its id, where the VMM has put it', () => {
    const places = new Map([
      [1, 0xc000_0000],
      [255, 0x12_3456_7000],
    ])
    const target = new Board(sharing(regions), undefined, { sharedMemory: ({ id }) => places.get(id) })
    expect([1, 255, 7, 0, 257].map((id) => found(target, id))).toEqual([
      [0, 0x1000, 0, 0xc000_0000],
      [2, 3, 0x12, 0x3456_7000],
      ...Array.from({ length: 3 }, () => Array(4).fill(0xffff_ffff)),
    ])
    target.set('Status', 0)
    expect(target.get('SHMLenLow')).toBe(0xffff_ffff)
  })

  it.each<[string, readonly SharedMemory[], number]>([
    ['two regions with one id', [regions[0]!, regions[0]!], 0],
    ['an id of more than 8 bits', [{ id: 256, length: 1 }], 0],
    ['no bytes', [{ id: 0, length: 0 }], 0],
    ['an address that is none', [regions[0]!], -1],
    ['an end beyond what a number holds', [regions[0]!], Number.MAX_SAFE_INTEGER - 0xfff],
  ])('is refused with %s', (_, list, address) => {
    expect(() => new Board(sharing(list), undefined, { sharedMemory: () => address })).toThrow(RangeError)
  })

  it('must be where it was when a saved device goes on, as the guest knows its address', () => {
    const at = (address: number): Board => new Board(sharing(regions.slice(0, 1)), undefined, { sharedMemory: () => address })
    const source = at(0x1000_0000)
    source.set('SHMSel', 1)
    const saved = saveMmioDevice(source.mmio)
    expect(() => restoreMmioDevice(at(0x2000_0000).mmio, saved)).toThrow(StateError)
    expect(() => restoreMmioDevice(board.mmio, saved)).toThrow(StateError)
    const target = at(0x1000_0000)
    restoreMmioDevice(target.mmio, saved)
    expect(target.get('SHMBaseLow')).toBe(0x1000_0000)
  })
})

describe('the window', () => {
  it('has at least 512 bytes, and room for the configuration space', () => {
    expect(board.mmio.size).toBe(0x200)
    const device = new DummyDevice()
    Object.assign(device, { config: { length: 0x100 } })
    expect(new Board(device).mmio.size).toBe(0x200)
    Object.assign(device, { config: { length: 0x101 } })
    expect(new Board(device).mmio.size).toBe(0x400)
  })

  it('shows the configuration space by bytes, halves and words at any alignment, and its generation', () => {
    const at = virtio_mmio.Config.offset
    expect([board.mmio.read(at, 1), board.mmio.read(at + 1, 2), board.mmio.read(at + 3, 4), board.mmio.read(at + 16, 4)]).toEqual([
      1, 0x0302, 0x07060504, 0,
    ])
    expect(board.get('ConfigGeneration')).toBe(0)
    board.device.config.update(() => {})
    expect(board.get('ConfigGeneration')).toBe(1)
  })

  it('lets the driver write what it may', () => {
    board.mmio.write(virtio_mmio.Config.offset + 2, 4, 0xffff_ffff)
    expect(board.device.log).toEqual(['config free'])
    expect([...board.device.config.bytes.subarray(0, 8)]).toEqual([1, 2, 3, 4, 0xff, 0xff, 7, 8])
  })
})

describe('interrupts', () => {
  it('raise the line with the first event and lower it with the last acknowledgement', () => {
    board.device.onQueue = (index, host) => useAll(index, host)
    const ring = board.start()
    offer(ring, 0x2000, 4)
    board.set('QueueNotify', 0)
    board.device.config.update(() => {})
    offer(ring, 0x2000, 4)
    board.set('QueueNotify', 0)
    expect([board.get('InterruptStatus'), board.levels]).toEqual([used_buffer | config_change, [true]])
    board.set('InterruptACK', used_buffer)
    expect([board.get('InterruptStatus'), board.levels]).toEqual([config_change, [true]])
    board.set('InterruptACK', 0xffff_ffff)
    board.set('InterruptACK', 0xffff_ffff)
    expect([board.get('InterruptStatus'), board.levels]).toEqual([0, [true, false]])
  })

  it('may be handled inside the callback: all is consistent by then', () => {
    board.device.onQueue = (index, host) => useAll(index, host)
    const ring = board.start()
    const seen: unknown[] = []
    board.onInterrupt = (level) => {
      seen.push(level)
      if (!level) return
      const status = board.get('InterruptStatus')
      seen.push(status, usedBy(ring))
      board.set('InterruptACK', status)
      seen.push('acknowledged')
    }
    const head = offer(ring, 0x2000, 4)
    board.set('QueueNotify', 0)
    expect(seen).toEqual([true, used_buffer, [[head, 4]], false, 'acknowledged'])
    expect(board.get('InterruptStatus')).toBe(0)
    // And again: the line is low by now.
    offer(ring, 0x2000, 4)
    board.set('QueueNotify', 0)
    expect(board.levels).toEqual([true, false, true, false])
  })

  it('tell that the device needs a reset', () => {
    board.device.onQueue = (index, host) => useAll(index, host)
    board.start().jumpTo(1000)
    board.set('QueueNotify', 0)
    expect([board.get('InterruptStatus'), board.get('Status'), board.levels]).toEqual([config_change, live | DEVICE_NEEDS_RESET, [true]])
  })

  it('are void with a reset, at once, also while the reset goes on', async () => {
    board.start()
    board.device.config.update(() => {})
    board.device.onReset = () => Promise.resolve()
    board.set('Status', 0)
    expect([board.get('InterruptStatus'), board.levels, board.get('Status')]).toEqual([0, [true, false], live])
    await board.mmio.control.reset()
    expect([board.get('Status'), board.get('QueueReady')]).toEqual([0, 0])
  })

  it('do not come before DRIVER_OK', () => {
    board.device.config.update(() => {})
    board.negotiate()
    board.device.config.update(() => {})
    expect([board.levels, board.get('InterruptStatus')]).toEqual([[], 0])
  })
})

describe('a reset', () => {
  it('brings all registers back', () => {
    const fresh = saveMmioDevice(board.mmio)
    board.set('DeviceFeaturesSel', 2)
    board.start()
    board.set('QueueSel', 2)
    board.set('QueueSize', 2)
    board.set('Status', 0)
    expect(saveMmioDevice(board.mmio)).toEqual(fresh)
  })
})

describe('while a reset goes on', () => {
  it('no register takes a value, so none outlives it', async () => {
    let finish = (): void => {}
    board.device.onReset = () =>
      new Promise((resolve) => {
        finish = resolve
      })
    board.start()
    board.set('Status', 0)
    for (const { offset } of Object.values(virtio_mmio)) board.mmio.write(offset, 4, 2)
    const reset = board.mmio.control.reset()
    expect(board.get('Status')).toBe(live)
    finish()
    await reset
    expect(saveMmioDevice(board.mmio)).toEqual(saveMmioDevice(new Board().mmio))
  })
})

describe('a reset of the machine', () => {
  it('is that of the device', () => {
    board.start()
    expect(board.mmio.powerOnReset()).toBeUndefined()
    expect([board.get('Status'), saveMmioDevice(board.mmio)]).toEqual([0, saveMmioDevice(new Board().mmio)])
  })
})

describe('a saved device', () => {
  it('goes on elsewhere with its selectors, pending interrupts and parked chains', () => {
    const parked: Chain[] = []
    const take: DummyDevice['onQueue'] = (index, host) => {
      for (let chain = host.queue(index)?.next(); chain; chain = host.queue(index)?.next()) parked.push(chain)
    }
    board.device.onQueue = take
    const ring = board.start()
    board.set('DeviceFeaturesSel', 2)
    board.set('DriverFeaturesSel', 3)
    board.set('QueueSel', 2)
    const heads = [offer(ring, 0x2000, 4), offer(ring, 0x2010, 4)]
    board.set('QueueNotify', 0)
    parked[1]?.complete()
    expect(board.get('InterruptStatus')).toBe(used_buffer)

    const saved = JSON.parse(JSON.stringify(saveMmioDevice(board.mmio))) as MmioDeviceState
    parked.length = 0
    const other = new Board(new DummyDevice(), board.bytes)
    other.device.onQueue = take
    restoreMmioDevice(other.mmio, saved)
    expect([other.get('DeviceFeatures'), other.get('QueueSizeMax'), other.get('Status'), other.get('InterruptStatus')]).toEqual([
      64,
      4,
      live,
      used_buffer,
    ])
    expect([other.levels, parked.map((chain) => chain.head)]).toEqual([[true], [heads[0]]])
    expect(JSON.stringify(saveMmioDevice(other.mmio))).toBe(JSON.stringify(saved))
    other.set('InterruptACK', used_buffer)
    parked[0]?.complete(4)
    expect(usedBy(ring)).toEqual([
      [heads[1], 0],
      [heads[0], 4],
    ])
    expect(other.levels).toEqual([true, false, true])
  })

  it.each<[string, (state: MmioDeviceState) => unknown]>([
    ['nothing', () => null],
    ['another version', (state) => ({ ...state, version: 2 })],
    ['selectors that are none', (state) => ({ ...state, queueSel: 2 ** 32 })],
    ['a selector of shared memory that is none', (state) => ({ ...state, shmSel: -1 })],
    ['shared memory that is not here', (state) => ({ ...state, regions: [[1, 0, 4096]] })],
    ['no list of shared memory', (state) => ({ ...state, regions: undefined })],
    ['events that do not exist', (state) => ({ ...state, interruptStatus: 4 })],
    ['no control', (state) => ({ ...state, interruptStatus: 1, queueSel: 1, control: undefined })],
    [
      'that of a driver that uses the legacy interface',
      ({ control: _, ...state }) => ({ ...state, control: { ...saveMmioDevice(new Board().mmio).control, legacy: { live: false } } }),
    ],
    ['a control that is wrong', (state) => ({ ...state, interruptStatus: 1, control: { ...state.control, status: 4 } })],
  ])('is refused when it is %s, and nothing has changed', (_, spoil) => {
    board.start()
    const other = new Board()
    const fresh = saveMmioDevice(other.mmio)
    expect(() => restoreMmioDevice(other.mmio, spoil(saveMmioDevice(board.mmio)) as MmioDeviceState)).toThrow(StateError)
    expect([saveMmioDevice(other.mmio), other.levels]).toEqual([fresh, []])
  })

  it('is not put over one that a driver has begun with, which goes on as it was', () => {
    const saved = saveMmioDevice(new Board().mmio)
    board.start()
    board.device.config.update(() => {})
    board.set('QueueSel', 2)
    expect(() => restoreMmioDevice(board.mmio, saved)).toThrow('no driver has begun with')
    expect([board.get('QueueSizeMax'), board.get('InterruptStatus'), board.levels]).toEqual([4, config_change, [true]])
  })
})

describe('a snapshot that somebody has changed', () => {
  const base = FeatureSet.of(VIRTIO_F_VERSION_1, VIRTIO_F_RING_RESET)
  const position = { available: 3, used: 1 }
  const packed = {
    slots: 1,
    buffers: [
      [0x2000, 8, 0],
      [0x2010, 8, 1],
    ],
  }
  const heads = [{ head: 1 }, { head: 2, written: 4 }]
  /** The features of the snapshot, and its first queue. */
  const kinds = [
    [base, { ...position, inFlight: [1, 2] }],
    [base.with(VIRTIO_F_IN_ORDER), { ...position, inFlight: heads }],
    [
      base.with(VIRTIO_F_RING_PACKED, VIRTIO_F_IN_ORDER),
      { available: 0x8003, used: 0x8001, inFlight: heads.map((chain) => ({ ...chain, ...packed })) },
    ],
  ] as const

  function snapshot([features, queue]: (typeof kinds)[number]): MmioDeviceState {
    const source = new Board(undefined, undefined, { ringFeatures: features })
    source.negotiate(features)
    source.ring(0)
    source.set('Status', live)
    const state = saveMmioDevice(source.mmio)
    const queues = [{ ...state.control.queues[0], queue }, ...state.control.queues.slice(1)]
    return JSON.parse(JSON.stringify({ ...state, control: { ...state.control, queues } })) as MmioDeviceState
  }

  /** All places in a value, as paths. */
  function pathsOf(value: unknown): string[][] {
    if (typeof value !== 'object' || value === null) return [[]]
    return [[], ...Object.entries(value).flatMap(([name, member]) => pathsOf(member).map((path) => [name, ...path]))]
  }

  function changed(value: unknown, path: readonly string[], put: unknown): unknown {
    const [name, ...rest] = path
    if (name === undefined) return put
    const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string, unknown>
    copy[name] = changed(copy[name], rest, put)
    return copy
  }

  const anything = fc.oneof(
    fc.constantFrom(undefined, null, true, '', '0x1', 'x', -1, 0.5, Number.NaN, 2 ** 53, 2 ** 32, 65536, [], {}, [[]], [1, 2]),
    fc.integer({ min: 0, max: 10 }),
    fc.integer({ min: 0, max: 0xffff }),
    fc.jsonValue(),
  )

  it('is refused with a RangeError, or the device goes on with it and nothing throws', () => {
    const snapshots = kinds.map(snapshot)
    let refused = 0
    let taken = 0
    fc.assert(
      fc.property(fc.integer({ min: 0, max: kinds.length - 1 }), fc.nat(), anything, (kind, place, put) => {
        const state = snapshots[kind] as MmioDeviceState
        const paths = pathsOf(state)
        const spoilt = changed(state, paths[place % paths.length] as string[], put)
        const target = new Board(undefined, undefined, { ringFeatures: (kinds[kind] as (typeof kinds)[number])[0] })
        target.device.onQueue = (index, host) => useAll(index, host)
        const fresh = JSON.stringify(saveMmioDevice(target.mmio))
        try {
          restoreMmioDevice(target.mmio, spoilt as MmioDeviceState)
          taken++
        } catch (error) {
          refused++
          expect(error).toBeInstanceOf(RangeError)
          expect(JSON.stringify(saveMmioDevice(target.mmio))).toBe(fresh)
        }
        for (const name of ['QueueNotify', 'QueueReady', 'QueueReset', 'Status'] as const) target.set(name, 0)
        expect(target.get('Status')).toBe(0)
      }),
      { numRuns: 1000 },
    )
    expect(Math.min(refused, taken)).toBeGreaterThan(100)
  })

  it.each(kinds)('goes on where nobody has: %s', (features, queue) => {
    const target = new Board(undefined, undefined, { ringFeatures: features })
    const delivered: Chain[] = []
    target.device.onQueue = (index, host) => {
      const chain = host.queue(index)?.next()
      if (chain) delivered.push(chain)
    }
    restoreMmioDevice(target.mmio, snapshot([features, queue] as (typeof kinds)[number]))
    expect([delivered.map(({ head }) => head), target.get('Status')]).toEqual([[1], live])
  })
})

describe('a hostile driver', () => {
  const registerOffsets = Object.values(virtio_mmio).map(({ offset }) => offset)
  const offset = fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(...registerOffsets) },
    { weight: 2, arbitrary: fc.integer({ min: -8, max: 0x220 }) },
    { weight: 1, arbitrary: fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, -1e300, 2 ** 53, 0.5, 256.5) },
  )
  const width = fc.oneof({ weight: 8, arbitrary: fc.constant(4) }, { weight: 1, arbitrary: fc.constantFrom(0, 1, 2, 3, 8, -4, 1.5, Number.NaN) })
  const value = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(0, 1, 2, 3, 4, 8, 11, 15, 64, 128, 0x1000, 0x1400, 0x2000) },
    { weight: 2, arbitrary: fc.integer({ min: 0, max: 0xffff_ffff }) },
    { weight: 1, arbitrary: fc.constantFrom(-1, 2 ** 32, 2 ** 53, Number.NaN, 0.5) },
  )
  const access = fc.record({ write: fc.boolean(), offset, width, value })
  const kick = fc.record({
    write: fc.constant(true),
    offset: fc.constant(virtio_mmio.QueueNotify.offset),
    width: fc.constant(4),
    value: fc.constantFrom(0, 1, 2),
  })
  const accesses = fc.array(fc.oneof({ weight: 4, arbitrary: access }, { weight: 1, arbitrary: kick }), { maxLength: 60 })

  const largest = new Map([
    [1, 0xff],
    [2, 0xffff],
    [4, 0xffff_ffff],
  ])

  const rings = FeatureSet.of(28, 29, VIRTIO_F_RING_PACKED, VIRTIO_F_IN_ORDER, VIRTIO_F_NOTIFICATION_DATA, VIRTIO_F_RING_RESET)
  const ringFeatures = fc.subarray(rings.bits as number[]).map((bits) => FeatureSet.of(VIRTIO_F_VERSION_1, ...bits))

  /** Does what is asked and checks what must hold after each access. */
  function attack(target: Board, list: readonly { write: boolean; offset: number; width: number; value: number }[]): void {
    for (const { write, offset: at, width: bytes, value: written } of list) {
      if (write) target.mmio.write(at, bytes, written)
      const read = target.mmio.read(at, bytes)
      expect(Number.isInteger(read) && read >= 0 && read <= (largest.get(bytes) ?? 0)).toBe(true)
      expect(isStatus(target.get('Status'))).toBe(true)
      expect(target.levels.every((level, index) => level === (index % 2 === 0))).toBe(true)
      expect(target.levels.length % 2).toBe(target.get('InterruptStatus') === 0 ? 0 : 1)
    }
    expect(target.device.log.length).toBeLessThanOrEqual(4 * list.length)
  }

  it('gets no exception out of registers, whatever it reads and writes', () => {
    fc.assert(
      fc.property(accesses, ringFeatures, fc.boolean(), (list, features, restless) => {
        const target = new Board(undefined, undefined, { ringFeatures: features })
        if (restless) target.device.onReset = target.device.onQueueReset = () => new Promise(() => {})
        target.device.onQueue = (index, host) => useAll(index, host)
        attack(target, list)
      }),
      { numRuns: 1000 },
    )
  })

  it('gets none out of a device at work either, with anything in the rings', () => {
    fc.assert(
      fc.property(
        accesses,
        ringFeatures,
        fc.array(fc.tuple(fc.integer({ min: 0x1000, max: 0x17ff }), fc.integer({ min: 0, max: 255 })), { maxLength: 40 }),
        (list, features, pokes) => {
          const target = new Board(undefined, undefined, { ringFeatures: features })
          target.device.onQueue = (index, host) => useAll(index, host)
          target.negotiate(features.with(VIRTIO_BLK_F_CONFIG_WCE))
          const rings = [target.ring(0), target.ring(2)]
          target.set('Status', live)
          for (const ring of rings) offer(ring, 0x2000, 16)
          for (const [at, byte] of pokes) target.bytes[at] = byte
          target.device.log.length = 0
          target.levels.length = 0
          attack(target, [{ write: true, offset: virtio_mmio.QueueNotify.offset, width: 4, value: 0 }, ...list])
        },
      ),
      { numRuns: 1000 },
    )
  })
})
