/** What each register of the legacy configuration structure of a transitional PCI device does. */
import { expect } from 'vitest'
import { Hands, queuePage } from './board.ts'
import { loadPci, PciBoard, type PciModules, vectors } from './pci-board.ts'

const module = 'virtgen/wire/transport-pci'
/** A bit that the device offers, and one that it does not. */
const [offered, other] = [1 << 12, 1 << 13]

class LegacyBoard extends PciBoard {
  /** The legacy structure is at the start of BAR 0. */
  readonly header = this.window(0, 0)
  readonly hands = new Hands<string>(this.modules.virtio_pci_legacy_header, this.header)

  constructor(modules: PciModules) {
    super(modules, { transitional: true })
  }
  get(name: string): number {
    return this.hands.get(name)
  }
  set(name: string, value: number): void {
    this.hands.set(name, value)
  }

  /** The device is live with queue 0, on which a buffer is available. */
  override start(): void {
    const { ACKNOWLEDGE, DRIVER, DRIVER_OK } = this.modules.content
    this.set('queue_select', 0)
    this.set('queue_address', queuePage)
    this.set('device_status', ACKNOWLEDGE | DRIVER | DRIVER_OK)
    this.device.log.length = 0
    this.offer()
  }
}

/** Only with MSI-X is there a vector. */
function probeVector(board: LegacyBoard, name: string): void {
  board.enableMsix()
  expect(board.get(name)).toBe(board.modules.VIRTIO_MSI_NO_VECTOR)
  board.set(name, vectors - 1)
  expect(board.get(name)).toBe(vectors - 1)
}

const probes: Record<string, (board: LegacyBoard) => void> = {
  device_features: (board) => expect(board.get('device_features') & (offered | other)).toBe(offered),
  driver_features: (board) => {
    board.set('driver_features', offered | other)
    expect([board.get('driver_features'), board.control.driverFeatures.word(0)]).toEqual([offered, offered])
  },
  queue_address: (board) => {
    board.set('queue_address', queuePage)
    expect([board.get('queue_address'), board.control.queueAddress(0, 'descriptorArea', 0), board.control.queueReady(0)]).toEqual([
      queuePage,
      board.areas.descriptorArea,
      true,
    ])
  },
  queue_size: (board) => expect(board.get('queue_size')).toBe(8),
  queue_select: (board) => {
    board.set('queue_select', 2)
    expect([board.get('queue_select'), board.get('queue_size')]).toEqual([2, 4])
  },
  queue_notify: (board) => {
    board.start()
    board.set('queue_notify', 0)
    expect(board.device.log).toEqual(['queue 0'])
  },
  device_status: (board) => {
    const status = board.modules.content.ACKNOWLEDGE
    board.set('device_status', status)
    expect([board.get('device_status'), board.control.status]).toEqual([status, status])
  },
  isr_status: (board) => {
    board.start()
    board.control.notifyAvailable(0)
    expect([board.line, board.get('isr_status')]).toEqual([true, board.modules.pci_isr.queue_interrupt])
    expect([board.line, board.get('isr_status')]).toEqual([false, 0])
  },
  config_msix_vector: (board) => probeVector(board, 'config_msix_vector'),
  queue_msix_vector: (board) => probeVector(board, 'queue_msix_vector'),
  config: (board) => {
    const { config } = board.modules.virtio_pci_legacy_header
    const at = (msix: 0 | 1): number => config.at({ caller: { msix } })
    expect(board.header.read(at(0), 4)).toBe(0x0403_0201)
    board.enableMsix()
    board.header.write(at(1) + 4, 4, 0xcafe_f00d)
    expect([board.header.read(at(1), 4), board.header.read(at(1) + 4, 4), board.device.log]).toEqual([0x0403_0201, 0xcafe_f00d, ['config free']])
  },
}

export const legacyPci = {
  block: 'virtio_pci_legacy_header',
  module,
  // They are behind all others, and only sometimes there.
  keep: ['config_msix_vector', 'queue_msix_vector'],
  probes,
  load: () => loadPci(module),
  board: (modules: PciModules) => new LegacyBoard(modules),
} as const
