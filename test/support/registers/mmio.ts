/** What each register of Virtio Over MMIO does, on a device behind it. A register is served if what happens there is what the text says. */
import { expect } from 'vitest'
import { Board, Hands, loadCore, region } from './board.ts'

async function load() {
  const wire = await import('virtgen/wire/transport-mmio')
  const { MmioDevice } = await import('../../../runtime/mmio/device.ts')
  return { ...wire, MmioDevice, ...(await loadCore()) }
}
type Modules = Awaited<ReturnType<typeof load>>
type Register = keyof Modules['virtio_mmio'] & string

const regionAddress = 0x2_0000_4000

class MmioBoard extends Board<Modules> {
  readonly mmio: InstanceType<Modules['MmioDevice']>
  readonly hands: Hands<Register>

  constructor(modules: Modules) {
    super(modules)
    const { FeatureSet, content } = modules
    this.mmio = new modules.MmioDevice(this.device, {
      memory: this.memory,
      ringFeatures: FeatureSet.of(content.VIRTIO_F_VERSION_1, content.VIRTIO_F_RING_RESET),
      interrupt: this.interrupt,
      vendorId: 0x1234_5678,
      sharedMemory: () => regionAddress,
    })
    this.hands = new Hands(modules.virtio_mmio, this.mmio)
  }

  get control() {
    return this.mmio.control
  }
  get(name: Register): number {
    return this.hands.get(name)
  }
  set(name: Register, value: number): void {
    this.hands.set(name, value)
  }

  negotiate(): void {
    const { ACKNOWLEDGE, DRIVER, FEATURES_OK } = this.modules.content
    for (const word of [0, 1]) this.control.setDriverFeatures(word, word === 1 ? this.control.offered.word(1) : 0)
    for (const status of [ACKNOWLEDGE, ACKNOWLEDGE | DRIVER, ACKNOWLEDGE | DRIVER | FEATURES_OK]) this.control.writeStatus(status)
  }

  /** The device is live with queue 0, on which a buffer is available. */
  start(): void {
    this.negotiate()
    for (const area of ['descriptorArea', 'driverArea', 'deviceArea'] as const) this.control.setQueueAddress(0, area, 0, this.areas[area])
    this.control.setQueueReady(0, true)
    this.control.writeStatus(this.control.status | this.modules.content.DRIVER_OK)
    this.device.log.length = 0
    this.offer()
  }
}

const halves = ['Low', 'High'] as const
const addresses = { Desc: 'descriptorArea', Driver: 'driverArea', Device: 'deviceArea' } as const
const addressProbes = Object.entries(addresses).flatMap(([queue, area]) =>
  halves.map((part, index) => {
    const half = index as 0 | 1
    const probe = (board: MmioBoard): void => {
      board.set('QueueSel', 2)
      board.set(`Queue${queue}${part}` as Register, 0xfedc_ba98)
      expect(board.control.queueAddress(2, area, half)).toBe(0xfedc_ba98)
    }
    return [`Queue${queue}${part}`, probe]
  }),
)

const regionProbes = Object.entries({ SHMLen: region.length, SHMBase: regionAddress }).flatMap(([name, value]) =>
  halves.map((half) => {
    const probe = (board: MmioBoard): void => {
      const register = `${name}${half}` as Register
      expect(board.get(register)).toBe(0xffff_ffff)
      board.set('SHMSel', region.id)
      expect(board.get(register)).toBe(half === 'Low' ? value % 2 ** 32 : Math.floor(value / 2 ** 32))
    }
    return [`${name}${half}`, probe]
  }),
)

const probes: Record<string, (board: MmioBoard) => void> = {
  MagicValue: (board) => expect(board.get('MagicValue')).toBe(board.modules.mmio_identity.mmio_magic_value),
  Version: (board) => expect(board.get('Version')).toBe(board.modules.mmio_identity.mmio_version),
  DeviceID: (board) => expect(board.get('DeviceID')).toBe(42),
  VendorID: (board) => expect(board.get('VendorID')).toBe(0x1234_5678),
  DeviceFeatures: (board) => expect(board.get('DeviceFeatures')).toBe(board.control.offered.word(0)),
  DeviceFeaturesSel: (board) => {
    board.set('DeviceFeaturesSel', 2)
    expect(board.get('DeviceFeatures')).toBe(board.control.offered.word(2))
  },
  DriverFeatures: (board) => {
    board.set('DriverFeatures', 0x8000_0001)
    expect(board.control.driverFeatures.word(0)).toBe(0x8000_0001)
  },
  DriverFeaturesSel: (board) => {
    board.set('DriverFeaturesSel', 3)
    board.set('DriverFeatures', 1)
    expect(board.control.driverFeatures.bits).toEqual([96])
  },
  QueueSel: (board) => {
    board.set('QueueSel', 2)
    expect(board.get('QueueSizeMax')).toBe(4)
  },
  QueueSizeMax: (board) => expect(board.get('QueueSizeMax')).toBe(8),
  QueueSize: (board) => {
    board.set('QueueSize', 2)
    expect(board.control.queueSize(0)).toBe(2)
  },
  QueueReady: (board) => {
    board.negotiate()
    board.set('QueueReady', 1)
    expect([board.get('QueueReady'), board.control.queueReady(0)]).toEqual([1, true])
  },
  QueueNotify: (board) => {
    board.start()
    board.set('QueueNotify', 0)
    expect(board.device.log).toEqual(['queue 0'])
  },
  InterruptStatus: (board) => {
    board.start()
    board.control.notifyAvailable(0)
    expect([board.get('InterruptStatus'), board.line]).toEqual([board.modules.mmio_interrupt.used_buffer, true])
  },
  InterruptACK: (board) => {
    board.start()
    board.control.notifyAvailable(0)
    board.set('InterruptACK', board.modules.mmio_interrupt.used_buffer)
    expect([board.get('InterruptStatus'), board.line]).toEqual([0, false])
  },
  Status: (board) => {
    const status = board.modules.content.ACKNOWLEDGE
    board.set('Status', status)
    expect([board.get('Status'), board.control.status]).toEqual([status, status])
  },
  ...Object.fromEntries(addressProbes),
  SHMSel: (board) => {
    board.set('SHMSel', region.id)
    expect(board.get('SHMLenLow')).toBe(region.length % 2 ** 32)
    board.set('SHMSel', region.id + 1)
    expect(board.get('SHMLenLow')).toBe(0xffff_ffff)
  },
  ...Object.fromEntries(regionProbes),
  QueueReset: (board) => {
    board.device.onQueueReset = () => new Promise(() => {})
    board.start()
    board.set('QueueReset', 1)
    expect([board.get('QueueReset'), board.control.queueResetting(0)]).toEqual([1, true])
  },
  ConfigGeneration: (board) => {
    const before = board.get('ConfigGeneration')
    board.device.config.update(() => {})
    expect(board.get('ConfigGeneration')).not.toBe(before)
  },
  Config: (board) => {
    const { offset } = board.modules.virtio_mmio.Config
    board.mmio.write(offset + 4, 4, 0xcafe_f00d)
    expect([0, 4].map((at) => board.mmio.read(offset + at, 4))).toEqual([0x0403_0201, 0xcafe_f00d])
    expect(board.device.log).toEqual(['config free'])
  },
}

export const mmio = {
  block: 'virtio_mmio',
  module: 'virtgen/wire/transport-mmio',
  probes,
  load,
  board: (modules: Modules) => new MmioBoard(modules),
} as const
