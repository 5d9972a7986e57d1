/** The structures of a virtio device on PCI behind their BARs: common configuration, notifications, configuration space. */
import { FeatureSet } from 'virtgen/codegen/v1/wire'
import {
  DEVICE_NEEDS_RESET,
  NotificationLe,
  VIRTIO_F_ADMIN_VQ,
  VIRTIO_F_NOTIF_CONFIG_DATA,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from 'virtgen/wire/content'
import { PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY } from 'virtgen/wire/pci'
import { VIRTIO_MSI_NO_VECTOR, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_CAP_NOTIFY_CFG, virtio_pci_common_cfg } from 'virtgen/wire/transport-pci'
import { beforeEach, describe, expect, it } from 'vitest'
import { savePciDevice } from '../runtime/pci/device-state.ts'
import { useAll } from './support/dummy-device.ts'
import { offer, usedBy } from './support/offers.ts'
import { type CommonRegister, DummyNet, live, PciBoard } from './support/pci-board.ts'

const names = Object.keys(virtio_pci_common_cfg) as CommonRegister[]
const base = FeatureSet.of(VIRTIO_F_VERSION_1)
const withReset = base.with(VIRTIO_F_RING_RESET)

let board: PciBoard
beforeEach(() => {
  board = new PciBoard()
})

describe('the common configuration', () => {
  it('shows 32 feature bits at a time, and none beyond bit 127', () => {
    const words = [0, 1, 2, 3, 4, 0xffff_ffff].map((word) => {
      board.set('device_feature_select', word)
      return board.get('device_feature')
    })
    expect(words).toEqual([...[0, 1, 2, 3].map((word) => board.pci.control.offered.word(word)), 0, 0])
    expect(words[2]).toBe(1 << (70 - 64))
  })

  it('keeps the selectors of device features and driver features apart, and shows what the driver wrote', () => {
    board.set('driver_feature_select', 1)
    board.set('device_feature_select', 2)
    board.set('driver_feature', 1)
    expect([
      board.get('driver_feature'),
      board.get('device_feature'),
      board.get('driver_feature_select'),
      board.get('device_feature_select'),
    ]).toEqual([1, 64, 1, 2])
    board.set('driver_feature_select', 0)
    expect([board.get('driver_feature'), board.pci.control.driverFeatures.bits]).toEqual([0, [VIRTIO_F_VERSION_1]])
  })

  it('belongs to the queue that is selected; of one that does not exist all is 0', () => {
    const seen = [0, 1, 2, 3, 0xffff].map((index) => {
      board.set('queue_select', index)
      board.set('queue_size', 2 ** (index % 4))
      board.set('queue_desc', index + 1, 1)
      return [
        board.get('queue_size'),
        board.get('queue_desc', 1),
        board.get('queue_enable'),
        board.get('queue_notify_off'),
        board.get('queue_select'),
      ]
    })
    expect(seen).toEqual([
      [1, 1, 0, 0, 0],
      [0, 0, 0, 0, 1],
      [4, 3, 0, 2, 2],
      [0, 0, 0, 0, 3],
      [0, 0, 0, 0, 0xffff],
    ])
    expect(board.get('num_queues')).toBe(3)
  })

  it('keeps nothing for a queue that does not exist, not even a vector', () => {
    const fresh = savePciDevice(board.pci)
    board.set('queue_select', 1)
    for (const name of names) if (name.startsWith('queue_') && name !== 'queue_select') board.set(name, 1)
    expect(board.get('queue_msix_vector')).toBe(VIRTIO_MSI_NO_VECTOR)
    expect(savePciDevice(board.pci)).toEqual({ ...fresh, queueSelect: 1 })
  })

  it('takes both halves of each address by themselves, in any order', () => {
    const halves = (['queue_desc', 'queue_driver', 'queue_device'] as const).flatMap((name) => [[name, 1] as const, [name, 0] as const])
    halves.forEach(([name, half], index) => {
      board.set(name, 0xffff_fff0 + index, half)
    })
    expect(halves.map(([name, half]) => board.get(name, half))).toEqual([0, 1, 2, 3, 4, 5].map((n) => 0xffff_fff0 + n))
    const { control } = board.pci
    expect([control.queueAddress(0, 'descriptorArea', 1), control.queueAddress(0, 'deviceArea', 0)]).toEqual([0xffff_fff0, 0xffff_fff5])
  })

  it('ignores writes where it is read-only', () => {
    const fixed = names.filter((name) => virtio_pci_common_cfg[name].access === 'r')
    const before = fixed.map((name) => board.get(name))
    for (const name of fixed) board.set(name, 0x5555_5555)
    expect(fixed.map((name) => board.get(name))).toEqual(before)
    expect(savePciDevice(board.pci)).toEqual(savePciDevice(new PciBoard().pci))
  })

  it('is written by the width of each register alone; parts of a register can be read', () => {
    const { bar, offset } = board.place(VIRTIO_PCI_CAP_COMMON_CFG)
    for (const name of names) {
      const { offset: at, width } = virtio_pci_common_cfg[name]
      for (const other of [1, 2, 4]) if (other !== Math.min(width, 4)) board.pci.writeBar(bar, offset + at, other, 0xffff_ffff)
    }
    for (let at = 1; at < 64; at += 2) for (const width of [2, 4]) board.pci.writeBar(bar, offset + at, width, 0xffff_ffff)
    for (const width of [0, 3, 8, Number.NaN]) board.pci.writeBar(bar, offset, width, 1)
    expect(savePciDevice(board.pci)).toEqual(savePciDevice(new PciBoard().pci))
    board.set('queue_desc', 0x11223344)
    const part = (at: number, width: number): number => board.pci.readBar(bar, offset + virtio_pci_common_cfg.queue_desc.offset + at, width)
    expect([part(0, 4), part(0, 2), part(1, 2), part(3, 1), part(1, 4), part(2, 4)]).toEqual([0x11223344, 0x3344, 0x2233, 0x11, 0, 0])
    // status and generation are two registers.
    expect(board.pci.readBar(bar, offset + virtio_pci_common_cfg.device_status.offset, 2)).toBe(0)
  })

  it('takes the lower bits of a value, unsigned', () => {
    board.set('queue_size', 0x1_0000 + 4)
    expect(board.get('queue_size')).toBe(4)
    board.set('queue_desc', -1)
    expect(board.get('queue_desc')).toBe(0xffff_ffff)
  })

  it('enables queues by 1, and by nothing else disables them', () => {
    board.start()
    for (const value of [0, 2, 0xffff]) board.set('queue_enable', value)
    expect(board.get('queue_enable')).toBe(1)
    board.set('queue_select', 2)
    for (const value of [0, 2, 0xffff]) board.set('queue_enable', value)
    expect(board.get('queue_enable')).toBe(0)
  })

  it('has no VIRTIO_F_RING_RESET where that is not negotiated', () => {
    board.start()
    board.set('queue_reset', 1)
    expect([board.get('queue_reset'), board.get('queue_enable')]).toEqual([0, 1])
  })

  it('shows 1 in queue_reset as long as a queue reset goes on, then 0 in queue_reset and queue_enable', async () => {
    let settle = (): void => {}
    board.device.onQueueReset = () =>
      new Promise((resolve) => {
        settle = resolve
      })
    board.start(withReset)
    const both = (): number[] => [board.get('queue_reset'), board.get('queue_enable')]
    for (const value of [0, 2, 0xffff]) board.set('queue_reset', value)
    expect(both()).toEqual([0, 1])
    board.set('queue_reset', 1)
    expect(both()).toEqual([1, 1])
    settle()
    for (let i = 0; i < 10; i++) await Promise.resolve()
    expect([both(), board.get('queue_size'), board.get('queue_desc')]).toEqual([[0, 0], 8, 0])
    board.ring(0, 2)
    expect(both()).toEqual([0, 1])
  })

  it('unmaps the vector of a queue that is reset', () => {
    board.start(withReset)
    board.set('queue_msix_vector', 1)
    board.set('config_msix_vector', 2)
    board.set('queue_reset', 1)
    expect([board.get('queue_msix_vector'), board.get('config_msix_vector')]).toEqual([VIRTIO_MSI_NO_VECTOR, 2])
  })
})

describe('queue_size', () => {
  it('is a power of 2 where VIRTIO_F_RING_PACKED is not negotiated, and the queue has the size that is shown', () => {
    const odd = new PciBoard({}, new DummyNet([100]))
    expect(odd.get('queue_size')).toBe(64)
    odd.device.onQueue = useAll
    odd.enable()
    odd.negotiate()
    const ring = new PciBoard({}, new DummyNet([64]), odd.bytes).ring(0, 64)
    odd.set('queue_desc', ring.setup.descriptorArea)
    odd.set('queue_driver', ring.setup.driverArea)
    odd.set('queue_device', ring.setup.deviceArea)
    odd.set('queue_enable', 1)
    odd.set('device_status', live)
    expect([odd.get('queue_size'), odd.pci.control.inspectQueue(0)?.size, odd.violations]).toEqual([64, 64, []])
  })

  it('is what the device has where it is', () => {
    const odd = new PciBoard({ ringFeatures: base.with(VIRTIO_F_RING_PACKED) }, new DummyNet([100]))
    odd.enable()
    odd.negotiate(base.with(VIRTIO_F_RING_PACKED))
    expect(odd.get('queue_size')).toBe(100)
    odd.set('queue_size', 99)
    expect(odd.get('queue_size')).toBe(99)
    odd.set('device_status', 0)
    odd.negotiate()
    expect(odd.get('queue_size')).toBe(64)
  })

  it('that is no power of 2 is found out when the queue is enabled', () => {
    board.enable()
    board.negotiate()
    board.set('queue_size', 6)
    expect(board.get('queue_size')).toBe(4)
    board.set('queue_enable', 1)
    expect([board.violations.map(({ kind }) => kind), board.get('device_status') & DEVICE_NEEDS_RESET]).toEqual([['queue-size'], DEVICE_NEEDS_RESET])
  })
})

describe('config_generation', () => {
  it('changes when the driver looks and there was a change, not with each change', () => {
    expect(board.get('config_generation')).toBe(0)
    for (let i = 0; i < 256; i++) board.device.config.update(() => {})
    expect([board.readDevice(0, 4), board.get('config_generation'), board.get('config_generation')]).toEqual([0x04030201, 1, 1])
  })

  it('tells a driver in the middle of reading', () => {
    const before = board.get('config_generation')
    board.readDevice(0, 4)
    board.device.config.update(({ $view }) => $view.setUint8(0, 99))
    board.readDevice(4, 4)
    const after = board.get('config_generation')
    expect(after).not.toBe(before)
    board.readDevice(0, 4)
    expect(board.get('config_generation')).toBe(after)
  })

  it('has 8 bits', () => {
    for (let i = 0; i < 300; i++) {
      board.device.config.update(() => {})
      board.readDevice(0, 1)
    }
    expect(board.get('config_generation')).toBe(300 - 256)
  })
})

describe('the configuration space', () => {
  it('is accessed by bytes, halves and words at any alignment', () => {
    expect([board.readDevice(0, 1), board.readDevice(1, 2), board.readDevice(3, 4), board.readDevice(14, 4)]).toEqual([1, 0x0302, 0x07060504, 0x100f])
    board.writeDevice(2, 4, 0xffff_ffff)
    expect([board.device.log, [...board.device.config.bytes.subarray(0, 8)]]).toEqual([['config free'], [1, 2, 3, 4, 0xff, 0xff, 7, 8]])
  })
})

describe('notifications', () => {
  beforeEach(() => {
    board.enable()
    board.negotiate()
    board.ring(0)
    board.ring(2)
    board.set('device_status', live)
    board.device.log.length = 0
  })

  it('name their queue', () => {
    board.notify(2)
    board.notify(0)
    board.notify(0, 2, 2)
    for (const wrong of [1, 3, 0xffff]) board.notify(0, 2, wrong)
    expect(board.device.log).toEqual(['queue 2', 'queue 0', 'queue 2'])
  })

  it('have 16 bits, at a place of a queue', () => {
    const { bar, offset } = board.place(VIRTIO_PCI_CAP_NOTIFY_CFG)
    board.notify(0, 4)
    board.notify(0, 1)
    board.pci.writeBar(bar, offset + 2, 2, 0)
    board.pci.writeBar(bar, offset + 12, 2, 0)
    expect([board.device.log, board.pci.readBar(bar, offset, 2)]).toEqual([[], 0])
  })

  it.each([0, 2, 4, 4096])('come at places %s bytes apart', (notifyOffMultiplier) => {
    const other = new PciBoard({ notifyOffMultiplier })
    other.enable()
    other.negotiate()
    other.ring(0)
    other.ring(2)
    other.set('device_status', live)
    other.device.log.length = 0
    for (const queue of [2, 0]) other.notify(queue)
    expect(other.device.log).toEqual(['queue 2', 'queue 0'])
  })

  it('have 32 bits with a position where VIRTIO_F_NOTIFICATION_DATA is negotiated', () => {
    const features = base.with(VIRTIO_F_NOTIFICATION_DATA)
    const other = new PciBoard({ ringFeatures: features })
    other.enable()
    other.negotiate(features)
    other.ring(2)
    other.set('device_status', live)
    other.device.log.length = 0
    const notification = NotificationLe.encode({ vq_index: 2, next_off: 0x7ffe, next_wrap: 1 })
    const value = new DataView(notification.buffer).getUint32(0, true)
    other.notify(2, 2)
    other.notify(2, 4, value)
    expect([other.device.log, other.pci.control.announcedAvailable(2)]).toEqual([['queue 2'], 0xfffe])
  })

  it('name their queue by queue_notif_config_data where that is negotiated', () => {
    const features = base.with(VIRTIO_F_NOTIF_CONFIG_DATA)
    const other = new PciBoard({ ringFeatures: features, notifConfigData: [0xff00, 5, 0] })
    other.enable()
    other.set('queue_select', 0)
    expect(other.get('queue_notif_config_data')).toBe(0)
    other.negotiate(features)
    const data = [0, 2, 3].map((index) => {
      other.set('queue_select', index)
      return other.get('queue_notif_config_data')
    })
    other.ring(0)
    other.ring(2)
    other.set('device_status', live)
    other.device.log.length = 0
    for (const value of [0xff00, 0, 2]) other.notify(0, 2, value)
    expect([data, other.device.log]).toEqual([
      [0xff00, 0, 0],
      ['queue 0', 'queue 2'],
    ])
  })
})

describe('administration virtqueues', () => {
  const features = base.with(VIRTIO_F_ADMIN_VQ)

  it('are behind the other queues, and seen only where VIRTIO_F_ADMIN_VQ is negotiated', () => {
    const admin = new PciBoard({ ringFeatures: features, adminQueues: 2 }, new DummyNet([8, 8, 4, 2]))
    const seen = (): number[][] => [
      [admin.get('num_queues'), admin.get('admin_queue_index'), admin.get('admin_queue_num')],
      [0, 1, 2, 3, 4].map((index) => {
        admin.set('queue_select', index)
        admin.set('queue_msix_vector', 0)
        return admin.get('queue_size') + (admin.get('queue_msix_vector') === 0 ? 100 : 0)
      }),
    ]
    expect(seen()).toEqual([[2, 0, 0], [108, 108, 0, 0, 0].map((size, index) => (index < 2 ? size : 0))])
    admin.negotiate(features)
    expect(seen()).toEqual([
      [2, 2, 2],
      [108, 108, 104, 102, 0],
    ])
  })

  it('cannot be offered without any', () => {
    expect(() => new PciBoard({ ringFeatures: features })).toThrow('VIRTIO_F_ADMIN_VQ needs the option adminQueues')
  })
})

describe('a function that is no bus master', () => {
  it('takes none either that nobody has configured', () => {
    board.device.onQueue = useAll
    board.negotiate()
    const ring = board.ring(0)
    board.set('device_status', live)
    offer(ring, 0x2000, 4)
    board.notify(0)
    expect(usedBy(ring)).toEqual([])
  })

  it('takes no buffers; it does once it is one', () => {
    board.device.onQueue = useAll
    board.enable(PCI_COMMAND_MEMORY)
    board.negotiate()
    const ring = board.ring(0)
    board.set('device_status', live)
    const head = offer(ring, 0x2000, 4)
    board.notify(0)
    expect([usedBy(ring), board.levels]).toEqual([[], []])
    board.enable(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)
    expect([usedBy(ring), board.levels]).toEqual([[[head, 4]], [true]])
  })
})

describe('a reset by the driver', () => {
  it('brings everything of the device back, and leaves what is PCI’s', () => {
    board.enable()
    const fresh = savePciDevice(board.pci)
    board.start()
    board.device.host?.configChanged()
    board.set('device_feature_select', 2)
    board.set('config_msix_vector', 1)
    board.set('queue_msix_vector', 1)
    board.set('queue_select', 2)
    board.set('device_status', 0)
    expect([savePciDevice(board.pci), board.levels]).toEqual([fresh, [true, false]])
  })

  it('does not let config_generation go back', () => {
    board.device.config.update(() => {})
    expect(board.get('config_generation')).toBe(1)
    board.set('device_status', 0)
    expect(board.get('config_generation')).toBe(1)
  })

  it('hears nothing else while it goes on: nothing is left behind', async () => {
    board.start()
    let settle = (): void => {}
    board.device.onReset = () =>
      new Promise((resolve) => {
        settle = resolve
      })
    board.set('device_status', 0)
    for (const name of names) for (const half of [0, 1] as const) board.set(name, 1, half)
    expect(board.get('device_status')).not.toBe(0)
    settle()
    await board.pci.control.reset()
    const other = new PciBoard()
    other.enable()
    expect(savePciDevice(board.pci)).toEqual(savePciDevice(other.pci))
  })
})

describe('a reset of the platform', () => {
  it('brings everything back', () => {
    const fresh = savePciDevice(board.pci)
    board.setHeader('base_address_4', 0xfe00_0000)
    board.setHeader('interrupt_line', 11)
    board.start()
    board.enableMsix()
    board.set('config_msix_vector', 1)
    board.setEntry(1, 'vector_ctrl', 1)
    board.device.host?.configChanged()
    expect(board.pending()).toBe(2)
    expect(board.pci.powerOnReset()).toBeUndefined()
    expect([savePciDevice(board.pci), board.moves.at(-1)]).toEqual([fresh, [4, undefined]])
    board.enable(PCI_COMMAND_MEMORY)
    expect(board.pci.bars.map(({ address }) => address)).toEqual([undefined, undefined])
  })

  it('lowers the pin', () => {
    board.start()
    board.device.host?.configChanged()
    board.pci.powerOnReset()
    expect(board.levels).toEqual([true, false])
  })

  it('waits for what the device still does', async () => {
    board.start()
    let settle = (): void => {}
    board.device.onReset = () =>
      new Promise((resolve) => {
        settle = resolve
      })
    const over = board.pci.powerOnReset()
    expect(board.get('device_status')).toBe(live)
    settle()
    await over
    expect(board.get('device_status')).toBe(0)
  })
})

describe('with byteWrites', () => {
  it('registers may be written in parts, and change with the last byte', () => {
    const split = new PciBoard({ byteWrites: true })
    const { bar, offset } = split.place(VIRTIO_PCI_CAP_COMMON_CFG)
    const put = (name: CommonRegister, at: number, width: number, value: number): void =>
      split.pci.writeBar(bar, offset + virtio_pci_common_cfg[name].offset + at, width, value)
    put('queue_size', 0, 1, 2)
    expect(split.get('queue_size')).toBe(8)
    put('queue_size', 1, 1, 0)
    expect(split.get('queue_size')).toBe(2)
    for (const [at, byte] of [0x11, 0x22, 0x33, 0x44].entries()) put('queue_desc', at, 1, byte)
    put('queue_desc', 4, 2, 0x6655)
    put('queue_desc', 6, 2, 0x8877)
    put('queue_driver', 4, 4, 7)
    expect([split.get('queue_desc'), split.get('queue_desc', 1), split.get('queue_driver', 1)]).toEqual([0x44332211, 0x88776655, 7])
    // Across two registers there is nothing to be put together.
    put('queue_size', 1, 2, 0xffff)
    expect(split.get('queue_size')).toBe(2)
    put('queue_size', 1, 1, 1)
    expect(split.pci.control.queueSize(0)).toBe(0x100)
  })

  it('a notification counts with its last byte', () => {
    const split = new PciBoard({ byteWrites: true })
    split.enable()
    split.negotiate()
    split.ring(2)
    split.set('device_status', live)
    split.device.log.length = 0
    const { bar, offset } = split.place(VIRTIO_PCI_CAP_NOTIFY_CFG)
    split.pci.writeBar(bar, offset + 8, 1, 2)
    expect(split.device.log).toEqual([])
    split.pci.writeBar(bar, offset + 9, 1, 0)
    split.notify(2)
    expect(split.device.log).toEqual(['queue 2', 'queue 2'])
  })

  it('what has not become whole is forgotten with a reset', () => {
    const split = new PciBoard({ byteWrites: true })
    const { bar, offset } = split.place(VIRTIO_PCI_CAP_COMMON_CFG)
    split.pci.writeBar(bar, offset + virtio_pci_common_cfg.queue_size.offset, 1, 7)
    split.pci.writeBar(bar, split.place(VIRTIO_PCI_CAP_NOTIFY_CFG).offset, 1, 7)
    split.set('device_status', 0)
    expect(savePciDevice(split.pci).parts).toEqual({ common: '00'.repeat(64), legacy: '', notify: 0 })
  })
})
