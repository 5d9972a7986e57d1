/** What each register of the legacy layout of MMIO does. */
import { expect } from 'vitest'
import { Board, Hands, loadCore, queuePage } from './board.ts'

async function load() {
  const wire = await import('virtgen/wire/transport-mmio')
  const { LegacyMmioDevice } = await import('../../../runtime/mmio/legacy-device.ts')
  return { ...wire, LegacyMmioDevice, ...(await loadCore()) }
}
type Modules = Awaited<ReturnType<typeof load>>
type Register = keyof Modules['virtio_mmio_legacy'] & string

/** A bit that the device offers, and one that it does not. */
const [offered, other] = [1 << 12, 1 << 13]
const pageSize = 0x1000

class LegacyMmioBoard extends Board<Modules> {
  readonly mmio: InstanceType<Modules['LegacyMmioDevice']>
  readonly hands: Hands<Register>

  constructor(modules: Modules) {
    super(modules)
    this.mmio = new modules.LegacyMmioDevice(this.device, { memory: this.memory, interrupt: this.interrupt, vendorId: 0x1234_5678 })
    this.hands = new Hands(modules.virtio_mmio_legacy, this.mmio)
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

  /** Queue 0 gets its place, or what is said otherwise of it. */
  place({ size = 8, align = pageSize, unit = pageSize, page = queuePage } = {}): void {
    this.set('GuestPageSize', unit)
    this.set('QueueSel', 0)
    this.set('QueueSize', size)
    this.set('QueueAlign', align)
    this.set('QueuePFN', page)
  }

  /** The device is live with queue 0, on which a buffer is available. */
  start(): void {
    const { ACKNOWLEDGE, DRIVER, DRIVER_OK } = this.modules.content
    this.place()
    this.set('Status', ACKNOWLEDGE | DRIVER | DRIVER_OK)
    this.device.log.length = 0
    this.offer()
  }
}

/** Where the parts of queue 0 are. */
function areasOf({ control }: LegacyMmioBoard): number[] {
  return (['descriptorArea', 'driverArea', 'deviceArea'] as const).map((area) => control.queueAddress(0, area, 0))
}

const probes: Record<string, (board: LegacyMmioBoard) => void> = {
  MagicValue: (board) => expect(board.get('MagicValue')).toBe(board.modules.mmio_identity.mmio_magic_value),
  Version: (board) => expect(board.get('Version')).toBe(board.modules.mmio_identity.mmio_legacy_version),
  DeviceID: (board) => expect(board.get('DeviceID')).toBe(42),
  VendorID: (board) => expect(board.get('VendorID')).toBe(0x1234_5678),
  HostFeatures: (board) => expect(board.get('HostFeatures') & (offered | other)).toBe(offered),
  HostFeaturesSel: (board) => {
    board.set('HostFeaturesSel', 1)
    expect(board.get('HostFeatures')).toBe(0)
  },
  GuestFeatures: (board) => {
    board.set('GuestFeatures', offered | other)
    expect(board.control.driverFeatures.word(0)).toBe(offered)
  },
  GuestFeaturesSel: (board) => {
    board.set('GuestFeaturesSel', 1)
    board.set('GuestFeatures', offered)
    expect(board.control.driverFeatures.bits).toEqual([])
  },
  GuestPageSize: (board) => {
    board.place({ unit: 0x2000 })
    expect(areasOf(board)[0]).toBe(0x2000 * queuePage)
  },
  QueueSel: (board) => {
    board.set('QueueSel', 2)
    expect(board.get('QueueSizeMax')).toBe(4)
  },
  QueueSizeMax: (board) => expect(board.get('QueueSizeMax')).toBe(8),
  QueueSize: (board) => {
    board.place({ size: 4 })
    expect([board.control.queueSize(0), areasOf(board)[1]]).toEqual([4, queuePage * pageSize + 4 * 16])
  },
  QueueAlign: (board) => {
    board.place({ align: 0x400 })
    expect(areasOf(board)[2]).toBe(queuePage * pageSize + 0x400)
  },
  QueuePFN: (board) => {
    board.place({ page: 2 })
    expect([board.get('QueuePFN'), areasOf(board)[0], board.control.queueReady(0)]).toEqual([2, 2 * pageSize, true])
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
  Config: (board) => {
    const { offset } = board.modules.virtio_mmio_legacy.Config
    board.mmio.write(offset + 4, 4, 0xcafe_f00d)
    expect([0, 4].map((at) => board.mmio.read(offset + at, 4))).toEqual([0x0403_0201, 0xcafe_f00d])
    expect(board.device.log).toEqual(['config free'])
  },
}

export const legacyMmio = {
  block: 'virtio_mmio_legacy',
  module: 'virtgen/wire/transport-mmio',
  probes,
  load,
  board: (modules: Modules) => new LegacyMmioBoard(modules),
} as const
