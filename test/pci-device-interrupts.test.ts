/** Interrupts of a virtio device on PCI: the pin, ISR status and MSI-X. */
import {
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_MSIX_ENTRY_CTRL_MASKBIT,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_FLAGS_MASKALL,
  PCI_MSIX_FLAGS_QSIZE,
  PCI_STATUS_INTERRUPT,
  pci_msix_capability,
} from 'virtgen/wire/pci'
import { pci_isr, VIRTIO_MSI_NO_VECTOR } from 'virtgen/wire/transport-pci'
import { beforeEach, describe, expect, it } from 'vitest'
import { useAll } from './support/dummy-device.ts'
import { offer, usedBy } from './support/offers.ts'
import { DummyNet, PciBoard } from './support/pci-board.ts'

const { queue_interrupt, device_configuration_interrupt } = pci_isr
const commands = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER

let board: PciBoard
beforeEach(() => {
  board = new PciBoard()
  board.device.onQueue = useAll
})

/** The device uses a buffer of queue 0. */
function use(): void {
  board.notify(0)
}
function change(): void {
  board.device.config.update(() => {})
}
const isPending = (): boolean => (board.header('status') & PCI_STATUS_INTERRUPT) !== 0

describe('the pin', () => {
  it('rises with the first event and falls when ISR status is read', () => {
    const ring = board.start()
    offer(ring, 0x2000, 4)
    use()
    change()
    offer(ring, 0x2000, 4)
    use()
    expect([isPending(), board.levels]).toEqual([true, [true]])
    expect([board.isr(), isPending(), board.isr()]).toEqual([queue_interrupt | device_configuration_interrupt, false, 0])
    expect(board.levels).toEqual([true, false])
    change()
    expect(board.levels).toEqual([true, false, true])
    expect(board.isr()).toBe(device_configuration_interrupt)
  })

  it('may be handled inside the callback: all is consistent by then', () => {
    const ring = board.start()
    const seen: unknown[] = []
    board.onInterrupt = (level) => {
      seen.push(level)
      if (level) seen.push(isPending(), usedBy(ring), board.isr())
    }
    const head = offer(ring, 0x2000, 4)
    use()
    expect(seen).toEqual([true, false, true, [[head, 4]], queue_interrupt])
    expect(board.levels).toEqual([true, false])
  })

  it('may be answered with the next notification inside the callback', () => {
    const ring = board.start()
    let left = 20
    board.onInterrupt = (level) => {
      if (!level || left-- === 0) return
      board.isr()
      usedBy(ring)
      offer(ring, 0x2000, 4)
      use()
    }
    offer(ring, 0x2000, 4)
    use()
    expect([left, board.levels.length, board.violations]).toEqual([-1, 41, []])
  })

  it('stays low while the command register disables it; the status register tells of the interrupt', () => {
    board.start()
    board.enable(commands | PCI_COMMAND_INTX_DISABLE)
    change()
    expect([isPending(), board.levels]).toEqual([true, []])
    board.enable(commands)
    expect(board.levels).toEqual([true])
    board.enable(commands | PCI_COMMAND_INTX_DISABLE)
    expect([board.isr(), board.levels]).toEqual([device_configuration_interrupt, [true, false]])
  })

  it('is not there without an interrupt pin', () => {
    board = new PciBoard({ interruptPin: 0 })
    board.start()
    change()
    expect([board.header('interrupt_pin'), board.levels, board.isr()]).toEqual([0, [], device_configuration_interrupt])
  })

  it('is not used while MSI-X is enabled, and is again afterwards', () => {
    board.start()
    change()
    board.enableMsix()
    expect([board.levels, isPending()]).toEqual([[true, false], false])
    board.setMsixFlags(0)
    expect([board.levels, isPending()]).toEqual([[true, false, true], true])
  })

  it('falls with a reset, at once, also while the reset goes on', () => {
    board.start()
    change()
    board.device.onReset = () => new Promise(() => {})
    board.set('device_status', 0)
    expect([board.levels, isPending(), board.isr()]).toEqual([[true, false], false, 0])
  })
})

describe('the MSI-X capability', () => {
  it('tells how many vectors there are', () => {
    const entries = (pci: PciBoard): number => (pci.pci.readConfig(pci.msixAt + pci_msix_capability.flags.offset, 2) & PCI_MSIX_FLAGS_QSIZE) + 1
    expect(entries(board)).toBe(4)
    expect(entries(new PciBoard({ vectors: 2048 }))).toBe(2048)
    expect(entries(new PciBoard({}, new DummyNet([])))).toBe(2)
  })

  it('is not there where nobody takes messages', () => {
    const { pci } = new PciBoard({ vectors: 0 })
    expect(pci.bars.map(({ index }) => index)).toEqual([4])
  })
})

describe('the MSI-X table', () => {
  it('is masked at first, keeps what is written, and takes any width', () => {
    expect([0, 1, 2, 3].map((vector) => board.entry(vector, 'vector_ctrl'))).toEqual(Array(4).fill(PCI_MSIX_ENTRY_CTRL_MASKBIT))
    board.setEntry(3, 'lower_addr', 0xffff_ffff)
    board.setEntry(3, 'upper_addr', 0xffff_fffe)
    board.setEntry(3, 'data', 0x1234_5678)
    board.setEntry(3, 'vector_ctrl', 0xffff_fffe)
    expect((['lower_addr', 'upper_addr', 'data', 'vector_ctrl'] as const).map((field) => board.entry(3, field))).toEqual([
      0xffff_fffc, 0xffff_fffe, 0x1234_5678, 0,
    ])
    const { bar, offset } = board.msixPlace('table')
    board.pci.writeBar(bar, offset + 0x18, 1, 0xaa)
    board.pci.writeBar(bar, offset + 0x1a, 2, 0xbbcc)
    expect([board.entry(1, 'data'), board.pci.readBar(bar, offset + 0x1a, 2), board.pci.readBar(bar, offset + 0x19, 4)]).toEqual([
      0xbbcc00aa, 0xbbcc, 0x01bbcc00,
    ])
  })

  it('keeps its reserved bits 0 also where an access reaches from one entry into the next', () => {
    const { bar, offset } = board.msixPlace('table')
    board.pci.writeBar(bar, offset + 0xe, 4, 0xffff_ffff)
    expect([board.entry(0, 'vector_ctrl'), board.entry(1, 'lower_addr')]).toEqual([PCI_MSIX_ENTRY_CTRL_MASKBIT, 0xfffc])
  })

  it('has pending bits behind it, which nobody can write', () => {
    const { bar, offset } = board.msixPlace('pba')
    board.pci.writeBar(bar, offset, 4, 0xffff_ffff)
    board.pci.writeBar(bar, offset - 2, 4, 0xffff_ffff)
    expect([board.pending(), board.pci.readBar(bar, offset + 8, 4)]).toEqual([0, 0])
  })
})

describe('messages', () => {
  beforeEach(() => {
    board.start()
    board.enableMsix()
    board.set('queue_select', 0)
    board.set('queue_msix_vector', 2)
    board.set('config_msix_vector', 1)
  })

  function useOne(): void {
    const ring = board.ring(2)
    offer(ring, 0x2000, 4)
    board.notify(2)
  }

  it('go to the address of the vector with its data; ISR status has only what tells of the configuration', () => {
    board.set('queue_select', 2)
    board.set('queue_msix_vector', 2)
    useOne()
    change()
    expect([board.messages, board.levels, board.isr()]).toEqual([
      [
        [0xfee0_2000, 0x42],
        [0xfee0_1000, 0x41],
      ],
      [],
      device_configuration_interrupt,
    ])
    board.setEntry(1, 'upper_addr', 1)
    change()
    expect(board.messages.at(-1)).toEqual([0x1_fee0_1000, 0x41])
  })

  it('are not sent for what has no vector', () => {
    board.set('config_msix_vector', VIRTIO_MSI_NO_VECTOR)
    useOne()
    change()
    expect([board.messages, board.levels]).toEqual([[], []])
  })

  it('have vectors that are there: others read back as none', () => {
    const tried = [0, 3, 4, 0x7ff, 0x800, 0xffff].map((vector) => {
      board.set('config_msix_vector', vector)
      board.set('queue_msix_vector', vector)
      return [board.get('config_msix_vector'), board.get('queue_msix_vector')]
    })
    expect(tried).toEqual([[0, 0], [3, 3], ...Array(4).fill([0xffff, 0xffff])])
    board.set('queue_select', 1000)
    board.set('queue_msix_vector', 1)
    expect(board.get('queue_msix_vector')).toBe(VIRTIO_MSI_NO_VECTOR)
  })

  it('stay pending while their vector is masked, once, and go out when it no longer is', () => {
    board.setEntry(1, 'vector_ctrl', PCI_MSIX_ENTRY_CTRL_MASKBIT)
    change()
    change()
    expect([board.pending(), board.messages]).toEqual([2, []])
    board.setEntry(1, 'data', 0x77)
    expect(board.messages).toEqual([])
    board.setEntry(1, 'vector_ctrl', 0)
    expect([board.pending(), board.messages]).toEqual([0, [[0xfee0_1000, 0x77]]])
  })

  it('stay pending while all vectors are masked', () => {
    board.setMsixFlags(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)
    change()
    expect([board.pending(), board.messages, board.levels]).toEqual([2, [], []])
    board.setMsixFlags(PCI_MSIX_FLAGS_ENABLE)
    expect([board.pending(), board.messages]).toEqual([0, [[0xfee0_1000, 0x41]]])
  })

  it('stay pending while the function is no bus master', () => {
    board.enable(PCI_COMMAND_MEMORY)
    change()
    expect([board.pending(), board.messages]).toEqual([2, []])
    board.enable(commands)
    expect([board.pending(), board.messages]).toEqual([0, [[0xfee0_1000, 0x41]]])
  })

  it('are void once MSI-X is disabled, and with a reset', () => {
    board.setEntry(1, 'vector_ctrl', PCI_MSIX_ENTRY_CTRL_MASKBIT)
    change()
    board.setMsixFlags(0)
    board.setMsixFlags(PCI_MSIX_FLAGS_ENABLE)
    expect(board.pending()).toBe(0)
    change()
    expect(board.pending()).toBe(2)
    board.set('device_status', 0)
    board.setEntry(1, 'vector_ctrl', 0)
    expect([board.pending(), board.messages]).toEqual([0, []])
    expect([board.get('config_msix_vector'), board.get('queue_msix_vector')]).toEqual([VIRTIO_MSI_NO_VECTOR, VIRTIO_MSI_NO_VECTOR])
  })

  it('may be handled inside the callback, which may mask and unmask', () => {
    let rounds = 0
    board.onMessage = () => {
      if (rounds++ >= 3) return
      board.setEntry(1, 'vector_ctrl', PCI_MSIX_ENTRY_CTRL_MASKBIT)
      change()
      board.setEntry(1, 'vector_ctrl', 0)
    }
    change()
    expect([rounds, board.messages.length, board.pending()]).toEqual([4, 4, 0])
  })

  it('share a vector where the driver says so', () => {
    board.set('queue_select', 2)
    board.set('queue_msix_vector', 1)
    useOne()
    change()
    expect(board.messages).toEqual([
      [0xfee0_1000, 0x41],
      [0xfee0_1000, 0x41],
    ])
  })
})
