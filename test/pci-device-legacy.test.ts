/** A transitional device on PCI, driven through the legacy configuration structure in BAR 0. */
import { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, VIRTIO_F_ANY_LAYOUT, VIRTIO_F_INDIRECT_DESC } from 'virtgen/wire/content'
import { PCI_COMMAND_IO, PCI_COMMAND_MASTER, PCI_MSIX_FLAGS_ENABLE } from 'virtgen/wire/pci'
import { pci_isr, VIRTIO_MSI_NO_VECTOR, virtio_pci_legacy_header } from 'virtgen/wire/transport-pci'
import { beforeEach, describe, expect, it } from 'vitest'
import { savePciDevice } from '../runtime/pci/device-state.ts'
import { pciLayouts } from '../runtime/pci/layout.ts'
import { useAll } from './support/dummy-device.ts'
import { DummyNet, PciBoard } from './support/pci-board.ts'

type Register = Exclude<keyof typeof virtio_pci_legacy_header, 'config'>
const ready = ACKNOWLEDGE | DRIVER | DRIVER_OK

class LegacyBoard extends PciBoard {
  old(register: Register): number {
    const { offset, width } = virtio_pci_legacy_header[register]
    return this.pci.readBar(0, offset, width)
  }
  setOld(register: Register, value: number): void {
    const { offset, width } = virtio_pci_legacy_header[register]
    this.pci.writeBar(0, offset, width, value)
  }

  /** A queue of 8 entries: the used ring lies on its second page. */
  startOld(page = 1, commands = PCI_COMMAND_IO | PCI_COMMAND_MASTER): void {
    this.enable(commands)
    this.setOld('device_status', ACKNOWLEDGE)
    this.setOld('device_status', ACKNOWLEDGE | DRIVER)
    this.setOld('driver_features', this.old('device_features') & ~(1 << VIRTIO_F_INDIRECT_DESC) & 0x0fff_ffff)
    this.setOld('queue_select', 0)
    this.setOld('queue_address', page)
    this.setOld('device_status', ready)
  }

  /** A buffer of 4 bytes that the device writes, as a driver lays it out by hand. */
  offer(): void {
    const view = new DataView(this.bytes.buffer)
    view.setUint32(0x1000, 0x6000, true)
    view.setUint32(0x1008, 4, true)
    view.setUint16(0x100c, 2, true)
    view.setUint16(0x1084, 0, true)
    view.setUint16(0x1082, view.getUint16(0x1082, true) + 1, true)
  }

  get used(): number {
    return new DataView(this.bytes.buffer).getUint16(0x2002, true)
  }
}

let board: LegacyBoard
beforeEach(() => {
  board = new LegacyBoard({ transitional: true })
  board.device.onQueue = useAll
})

describe('the legacy configuration structure', () => {
  it('offers 32 features', () => {
    const features = board.old('device_features')
    expect((features & (1 << VIRTIO_F_ANY_LAYOUT)) !== 0).toBe(true)
    expect(features & 0xffff).toBe(board.device.offered.word(0) & 0xffff)
  })

  it('tells the size of a queue, which nothing changes, and keeps its page', () => {
    const sizes = [0, 1, 2, 3, 0xffff].map((index) => {
      board.setOld('queue_select', index)
      board.setOld('queue_size', 2)
      return [board.old('queue_size'), board.old('queue_select')]
    })
    expect(sizes).toEqual([
      [8, 0],
      [0, 1],
      [4, 2],
      [0, 3],
      [0, 0xffff],
    ])
    board.startOld()
    expect(board.old('queue_address')).toBe(1)
    board.setOld('queue_address', 0)
    expect(board.old('queue_address')).toBe(0)
  })

  it('has sizes that are powers of 2', () => {
    const odd = new LegacyBoard({ transitional: true }, new DummyNet([12]))
    odd.startOld()
    expect([odd.old('queue_size'), odd.pci.control.inspectQueue(0)?.size, odd.violations]).toEqual([8, 8, []])
  })

  it('carries requests, tells of them by the pin, and shows ISR status', () => {
    board.startOld()
    board.offer()
    board.setOld('queue_notify', 0)
    expect([board.used, board.old('isr_status'), board.old('isr_status'), board.levels]).toEqual([1, pci_isr.queue_interrupt, 0, [true, false]])
    expect(board.old('device_status')).toBe(ready)
  })

  it('works without FEATURES_OK, which does not exist there', () => {
    board.startOld()
    expect([board.device.log.includes('activate'), board.old('device_status') & FEATURES_OK]).toEqual([true, 0])
  })

  it('makes the function a bus master with DRIVER_OK, as old drivers forget to', () => {
    board.startOld(1, PCI_COMMAND_IO)
    expect(board.header('command') & PCI_COMMAND_MASTER).toBe(PCI_COMMAND_MASTER)
    board.offer()
    board.setOld('queue_notify', 0)
    expect(board.used).toBe(1)
  })

  it('resets by status 0', () => {
    board.startOld()
    board.setOld('queue_select', 2)
    board.setOld('device_status', 0)
    expect([board.old('device_status'), board.old('queue_select'), board.old('driver_features'), board.old('queue_address')]).toEqual([0, 0, 0, 0])
  })

  it('hears nothing while a reset goes on', async () => {
    board.startOld()
    let settle = (): void => {}
    board.device.onReset = () =>
      new Promise((resolve) => {
        settle = resolve
      })
    board.setOld('device_status', 0)
    for (const register of ['queue_select', 'driver_features', 'queue_address', 'device_status'] as const) board.setOld(register, 2)
    settle()
    await board.pci.control.reset()
    expect((['queue_select', 'driver_features', 'queue_address', 'device_status'] as const).map((register) => board.old(register))).toEqual([
      0, 0, 0, 0,
    ])
  })

  it('has the configuration space behind it, for accesses of any width', () => {
    const at = virtio_pci_legacy_header.config.at({ caller: { msix: 0 } })
    expect([board.pci.readBar(0, at, 1), board.pci.readBar(0, at + 1, 2), board.pci.readBar(0, at + 3, 4)]).toEqual([1, 0x0302, 0x07060504])
    board.pci.writeBar(0, at + 4, 2, 0xbbaa)
    expect([board.device.log, board.pci.readBar(0, at + 4, 4)]).toEqual([['config free'], 0x0807bbaa])
  })

  it('moves the configuration space for two vectors while MSI-X is enabled', () => {
    expect(board.pci.readBar(0, 20, 4)).toBe(0x04030201)
    board.setMsixFlags(PCI_MSIX_FLAGS_ENABLE)
    expect([board.pci.readBar(0, 24, 4), board.old('config_msix_vector'), board.old('queue_msix_vector')]).toEqual([
      0x04030201,
      VIRTIO_MSI_NO_VECTOR,
      VIRTIO_MSI_NO_VECTOR,
    ])
    board.setOld('config_msix_vector', 1)
    board.setOld('queue_msix_vector', 9)
    expect([board.old('config_msix_vector'), board.old('queue_msix_vector')]).toEqual([1, VIRTIO_MSI_NO_VECTOR])
    board.setMsixFlags(0)
    expect(board.pci.readBar(0, 20, 4)).toBe(0x04030201)
  })

  it('sends messages while MSI-X is enabled', () => {
    board.startOld()
    board.enableMsix()
    board.setOld('queue_msix_vector', 2)
    board.setOld('config_msix_vector', 1)
    board.offer()
    board.setOld('queue_notify', 0)
    board.device.config.update(() => {})
    expect([board.messages, board.levels]).toEqual([
      [
        [0xfee0_2000, 0x42],
        [0xfee0_1000, 0x41],
      ],
      [],
    ])
  })

  it('is there as well where the rest of the device is in the same I/O BAR', () => {
    board = new LegacyBoard({ transitional: true, layout: pciLayouts.io })
    board.device.onQueue = useAll
    board.startOld()
    board.offer()
    board.setOld('queue_notify', 0)
    expect([board.used, board.old('isr_status')]).toEqual([1, pci_isr.queue_interrupt])
  })

  it('may be written by bytes where the VMM splits accesses', () => {
    const split = new LegacyBoard({ transitional: true, byteWrites: true })
    for (const [index, byte] of [1, 0, 0, 0].entries()) split.pci.writeBar(0, virtio_pci_legacy_header.queue_address.offset + index, 1, byte)
    expect(split.old('queue_address')).toBe(1)
  })

  it('hears of nothing but a reset once the driver uses the other interface', () => {
    board.start()
    board.setOld('queue_address', 0)
    board.setOld('driver_features', 0)
    board.setOld('device_status', ACKNOWLEDGE)
    expect([board.get('queue_enable'), board.get('device_status') & DRIVER_OK]).toEqual([1, DRIVER_OK])
    const events = ['config_msix_vector', 'queue_msix_vector'] as const
    board.enableMsix()
    board.set('queue_select', 0)
    for (const register of [...events, 'queue_select'] as const) board.setOld(register, 1)
    expect([...events.map((register) => board.get(register)), board.old('queue_select')]).toEqual([VIRTIO_MSI_NO_VECTOR, VIRTIO_MSI_NO_VECTOR, 0])
    const before = board.device.log.length
    board.setOld('queue_notify', 0)
    expect(board.device.log.length).toBe(before)
    board.setOld('device_status', 0)
    expect(board.get('device_status')).toBe(0)
  })

  it('lets the other interface hear of nothing but a reset while it is in use', () => {
    board.startOld()
    board.enableMsix()
    const before = JSON.stringify(savePciDevice(board.pci))
    for (const register of ['queue_select', 'device_feature_select', 'driver_feature_select', 'config_msix_vector', 'queue_msix_vector'] as const)
      board.set(register, 1)
    for (const register of ['driver_feature', 'queue_size', 'queue_desc', 'queue_enable', 'queue_reset', 'device_status'] as const)
      board.set(register, 1)
    board.writeDevice(4, 1, 0)
    const { log } = board.device
    const calls = log.length
    board.notify(0)
    expect([JSON.stringify(savePciDevice(board.pci)), log.length]).toEqual([before, calls])
    board.set('device_status', 0)
    expect([board.old('device_status'), board.pci.control.queueReady(0)]).toEqual([0, false])
  })
})

describe('a device that is not transitional', () => {
  it('has no legacy configuration structure', () => {
    const modern = new LegacyBoard()
    expect([modern.pci.bars.some(({ index }) => index === 0), modern.old('device_features'), modern.old('queue_size')]).toEqual([false, 0, 0])
  })
})
