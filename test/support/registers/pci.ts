/** What each register of the modern structures of Virtio Over PCI does. */
import { expect } from 'vitest'
import { Hands } from './board.ts'
import { loadPci, PciBoard, type PciModules, queueNames, vectors } from './pci-board.ts'

const module = 'virtgen/wire/transport-pci'
const load = () => loadPci(module)

class CommonBoard extends PciBoard {
  readonly hands = new Hands<string>(this.modules.virtio_pci_common_cfg, this.structure(this.modules.VIRTIO_PCI_CAP_COMMON_CFG))
  get(name: string): number {
    return this.hands.get(name)
  }
  set(name: string, value: number): void {
    this.hands.set(name, value)
  }
}

const addresses = { queue_desc: 'descriptorArea', queue_driver: 'driverArea', queue_device: 'deviceArea' } as const
const addressProbes = Object.entries(addresses).map(([name, area]) => {
  const probe = (board: CommonBoard): void => {
    board.set('queue_select', 2)
    board.hands.set(name, 0xfedc_ba98)
    board.hands.setHigh(name, 0x7654_3210)
    expect([board.hands.get(name), board.hands.getHigh(name)]).toEqual([0xfedc_ba98, 0x7654_3210])
    expect([0, 1].map((half) => board.control.queueAddress(2, area, half as 0 | 1))).toEqual([0xfedc_ba98, 0x7654_3210])
  }
  return [name, probe]
})

/** The vector that was written, or none where there is no such vector. */
function probeVector(board: CommonBoard, name: string): void {
  expect(board.get(name)).toBe(board.modules.VIRTIO_MSI_NO_VECTOR)
  board.set(name, vectors - 1)
  expect(board.get(name)).toBe(vectors - 1)
  board.set(name, vectors)
  expect(board.get(name)).toBe(board.modules.VIRTIO_MSI_NO_VECTOR)
}

const common: Record<string, (board: CommonBoard) => void> = {
  device_feature_select: (board) => {
    board.set('device_feature_select', 2)
    expect([board.get('device_feature_select'), board.get('device_feature')]).toEqual([2, board.control.offered.word(2)])
  },
  device_feature: (board) => expect(board.get('device_feature')).toBe(board.control.offered.word(0)),
  driver_feature_select: (board) => {
    board.set('driver_feature_select', 3)
    board.set('driver_feature', 1)
    expect([board.get('driver_feature_select'), board.control.driverFeatures.bits]).toEqual([3, [96]])
  },
  driver_feature: (board) => {
    board.set('driver_feature', 0x8000_0001)
    expect([board.get('driver_feature'), board.control.driverFeatures.word(0)]).toEqual([0x8000_0001, 0x8000_0001])
  },
  config_msix_vector: (board) => probeVector(board, 'config_msix_vector'),
  num_queues: (board) => expect(board.get('num_queues')).toBe(3),
  device_status: (board) => {
    const status = board.modules.content.ACKNOWLEDGE
    board.set('device_status', status)
    expect([board.get('device_status'), board.control.status]).toEqual([status, status])
  },
  config_generation: (board) => {
    const before = board.get('config_generation')
    board.device.config.update(() => {})
    expect(board.get('config_generation')).not.toBe(before)
  },
  queue_select: (board) => {
    board.set('queue_select', 2)
    expect([board.get('queue_select'), board.get('queue_size')]).toEqual([2, 4])
  },
  queue_size: (board) => {
    expect(board.get('queue_size')).toBe(8)
    board.set('queue_size', 2)
    expect([board.get('queue_size'), board.control.queueSize(0)]).toEqual([2, 2])
  },
  queue_msix_vector: (board) => probeVector(board, 'queue_msix_vector'),
  queue_enable: (board) => {
    board.negotiate()
    board.set('queue_enable', 1)
    expect([board.get('queue_enable'), board.control.queueReady(0)]).toEqual([1, true])
  },
  queue_notify_off: (board) => {
    board.set('queue_select', 2)
    expect(board.get('queue_notify_off')).toBe(2)
  },
  ...Object.fromEntries(addressProbes),
  queue_notif_config_data: (board) => {
    board.negotiate()
    board.set('queue_select', 2)
    expect(board.get('queue_notif_config_data')).toBe(queueNames[2])
  },
  queue_reset: (board) => {
    board.device.onQueueReset = () => new Promise(() => {})
    board.start()
    board.set('queue_reset', 1)
    expect([board.get('queue_reset'), board.control.queueResetting(0)]).toEqual([1, true])
  },
  admin_queue_index: (board) => {
    board.negotiate()
    expect(board.get('admin_queue_index')).toBe(3)
  },
  admin_queue_num: (board) => {
    board.negotiate()
    expect(board.get('admin_queue_num')).toBe(1)
  },
}

const isr: Record<string, (board: PciBoard) => void> = {
  isr_status: (board) => {
    const { virtio_pci_isr, pci_isr, VIRTIO_PCI_CAP_ISR_CFG } = board.modules
    const hands = new Hands(virtio_pci_isr, board.structure(VIRTIO_PCI_CAP_ISR_CFG))
    board.start()
    board.control.notifyAvailable(0)
    expect([board.line, hands.get('isr_status')]).toEqual([true, pci_isr.queue_interrupt])
    expect([board.line, hands.get('isr_status')]).toEqual([false, 0])
  },
}

export const pciCommon = {
  block: 'virtio_pci_common_cfg',
  module,
  probes: common,
  load,
  board: (modules: PciModules) => new CommonBoard(modules),
} as const
export const pciIsr = { block: 'virtio_pci_isr', module, probes: isr, load, board: (modules: PciModules) => new PciBoard(modules) } as const

/** What each kind of capability leads to. */
export const capabilityProbes: Record<string, (board: PciBoard) => void> = {
  VIRTIO_PCI_CAP_COMMON_CFG: (board) => {
    const { VIRTIO_PCI_CAP_COMMON_CFG, virtio_pci_common_cfg_num_queues } = board.modules
    expect(board.structure(VIRTIO_PCI_CAP_COMMON_CFG).read(virtio_pci_common_cfg_num_queues, 2)).toBe(3)
  },
  VIRTIO_PCI_CAP_NOTIFY_CFG: (board) => {
    const { VIRTIO_PCI_CAP_NOTIFY_CFG, VirtioPciNotifyCapOffsets } = board.modules
    const { at } = board.capability(VIRTIO_PCI_CAP_NOTIFY_CFG)
    expect(board.pci.readConfig(at + VirtioPciNotifyCapOffsets.notify_off_multiplier, 4)).toBe(4)
    board.start()
    board.structure(VIRTIO_PCI_CAP_NOTIFY_CFG).write(0, 2, queueNames[0] as number)
    expect(board.device.log).toEqual(['queue 0'])
  },
  VIRTIO_PCI_CAP_ISR_CFG: (board) => isr.isr_status?.(board),
  VIRTIO_PCI_CAP_DEVICE_CFG: (board) => {
    const config = board.structure(board.modules.VIRTIO_PCI_CAP_DEVICE_CFG)
    config.write(4, 4, 0xcafe_f00d)
    expect([config.read(0, 4), config.read(4, 4), board.device.log]).toEqual([0x0403_0201, 0xcafe_f00d, ['config free']])
  },
  VIRTIO_PCI_CAP_PCI_CFG: (board) => {
    const { VIRTIO_PCI_CAP_PCI_CFG, VIRTIO_PCI_CAP_DEVICE_CFG, VirtioPciCapOffsets, VirtioPciCfgCapOffsets } = board.modules
    const { at } = board.capability(VIRTIO_PCI_CAP_PCI_CFG)
    const { bar, offset } = board.capability(VIRTIO_PCI_CAP_DEVICE_CFG)
    const data = at + VirtioPciCfgCapOffsets.pci_cfg_data
    const aim = (to: number, length: number): void => {
      board.pci.writeConfig(at + VirtioPciCapOffsets.bar, 1, bar)
      board.pci.writeConfig(at + VirtioPciCapOffsets.offset, 4, to)
      board.pci.writeConfig(at + VirtioPciCapOffsets.length, 4, length)
    }
    aim(offset + 4, 4)
    board.pci.writeConfig(data, 4, 0xcafe_f00d)
    aim(offset + 6, 2)
    expect([board.pci.readConfig(data, 2), board.device.log]).toEqual([0xcafe, ['config free']])
  },
  VIRTIO_PCI_CAP_SHARED_MEMORY_CFG: (board) => {
    const { VIRTIO_PCI_CAP_SHARED_MEMORY_CFG, VirtioPciCapOffsets, VirtioPciCap64Offsets } = board.modules
    const { at, bar, offset, length } = board.capability(VIRTIO_PCI_CAP_SHARED_MEMORY_CFG)
    const high = (field: number): number => board.pci.readConfig(at + field, 4)
    expect([board.pci.readConfig(at + VirtioPciCapOffsets.id, 1), length, high(VirtioPciCap64Offsets.length_hi)]).toEqual([3, 0x2000, 1])
    expect([offset, high(VirtioPciCap64Offsets.offset_hi), bar]).toEqual([0, 0, 2])
  },
  VIRTIO_PCI_CAP_VENDOR_CFG: (board) => {
    const { VIRTIO_PCI_CAP_VENDOR_CFG, VirtioPciVndrDataOffsets } = board.modules
    const { at } = board.capability(VIRTIO_PCI_CAP_VENDOR_CFG)
    expect([board.pci.readConfig(at + VirtioPciVndrDataOffsets.vendor_id, 2), board.pci.readConfig(at + VirtioPciVndrDataOffsets.data, 4)]).toEqual([
      0x15b3, 0x0403_0201,
    ])
  },
}
