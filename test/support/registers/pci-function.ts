/** What the registers of PCI itself do on a function with a virtio device, and those of a PC by which a driver comes to it. */
import { expect } from 'vitest'
import { Hands } from './board.ts'
import { loadPci, PciBoard, type PciModules, vectors } from './pci-board.ts'

const module = 'virtgen/wire/pci'
const load = () => loadPci(module)

class HeaderBoard extends PciBoard {
  readonly hands = new Hands<string>(this.modules.pci.pci_header, this.config)
  get config() {
    return {
      read: (offset: number, width: number): number => this.pci.readConfig(offset, width),
      write: (offset: number, width: number, value: number): void => this.pci.writeConfig(offset, width, value),
    }
  }
  get(name: string): number {
    return this.hands.get(name)
  }
  set(name: string, value: number): void {
    this.hands.set(name, value)
  }
}

type Probe = (board: HeaderBoard) => void
const all = 0xffff_ffff

/** Reads this, whatever is written. */
function always(name: string, value: number): [string, Probe] {
  return [
    name,
    (board) => {
      expect(board.get(name)).toBe(value)
      board.set(name, all)
      expect(board.get(name)).toBe(value)
    },
  ]
}

/** Keeps what software writes, for itself. */
function kept(name: string): [string, Probe] {
  return [
    name,
    (board) => {
      board.set(name, 0x5a)
      expect(board.get(name)).toBe(0x5a)
    },
  ]
}

/** Tells its size, and what there is. */
function bar(index: number): [string, Probe] {
  const name = `base_address_${index}`
  return [
    name,
    (board) => {
      const { PCI_BASE_ADDRESS_MEM_MASK, PCI_BASE_ADDRESS_MEM_TYPE_64 } = board.modules.pci
      const own = board.pci.bars.find((each) => each.index === index)
      const below = board.pci.bars.find((each) => each.index === index - 1 && each.kind === 'memory64')
      board.set(name, all)
      if (own) {
        const flags = (own.kind === 'memory64' ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0) | (own.prefetchable ? 8 : 0)
        const lowest = own.size >= 2 ** 32 ? 0 : 2 ** 32 - own.size
        expect([board.get(name) & ~PCI_BASE_ADDRESS_MEM_MASK, (board.get(name) & PCI_BASE_ADDRESS_MEM_MASK) >>> 0]).toEqual([flags, lowest])
      } else expect(board.get(name)).toBe(below ? 2 ** 32 - Math.max(1, below.size / 2 ** 32) : 0)
    },
  ]
}

const header: Record<string, Probe> = Object.fromEntries([
  always('vendor_id', 0x1af4),
  always('device_id', 0x1040 + 42),
  [
    'command',
    (board: HeaderBoard) => {
      const { PCI_COMMAND_IO, PCI_COMMAND_MEMORY, PCI_COMMAND_MASTER, PCI_COMMAND_INTX_DISABLE } = board.modules.pci
      board.set('command', all)
      const must = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE
      expect(board.get('command') & must).toBe(must)
      board.set('command', 0)
      expect(board.get('command')).toBe(0)
    },
  ],
  [
    'status',
    (board: HeaderBoard) => {
      const { PCI_STATUS_CAP_LIST, PCI_STATUS_INTERRUPT } = board.modules.pci
      expect(board.get('status')).toBe(PCI_STATUS_CAP_LIST)
      board.start()
      board.control.notifyAvailable(0)
      expect(board.get('status')).toBe(PCI_STATUS_CAP_LIST | PCI_STATUS_INTERRUPT)
    },
  ],
  always('revision_id', 1),
  always('class_prog', 0),
  always('class_device', 0x00ff),
  kept('cache_line_size'),
  kept('latency_timer'),
  always('header_type', 0),
  always('bist', 0),
  ...[0, 1, 2, 3, 4, 5].map(bar),
  always('cardbus_cis', 0),
  always('subsystem_vendor_id', 0x1af4),
  always('subsystem_id', 0x1040 + 42),
  always('rom_address', 0),
  ['capability_list', (board: HeaderBoard) => expect(board.get('capability_list')).toBe(board.modules.pci.PCI_STD_HEADER_SIZEOF)],
  kept('interrupt_line'),
  always('interrupt_pin', 1),
  always('min_gnt', 0),
  always('max_lat', 0),
] as [string, Probe][])

/** Where the device keeps its promise of a message. */
class TableBoard extends PciBoard {
  readonly hands = new Hands<string>(this.modules.pci.pci_msix_entry, this.msixWindow())

  /** A change of the configuration is vector 0, which is not masked. */
  prepare({ masked = false } = {}): void {
    this.enableMsix()
    const common = this.structure(this.modules.VIRTIO_PCI_CAP_COMMON_CFG)
    common.write(this.modules.virtio_pci_common_cfg_config_msix_vector, 2, 0)
    this.hands.set('vector_ctrl', masked ? 1 : 0)
    this.start()
  }
  change(): void {
    this.device.config.update(() => {})
  }
}

const entry: Record<string, (board: TableBoard) => void> = {
  lower_addr: (board) => {
    board.prepare()
    board.hands.set('lower_addr', 0xfee0_0000)
    board.change()
    expect(board.messages).toEqual([[0xfee0_0000, 0]])
  },
  upper_addr: (board) => {
    board.prepare()
    board.hands.set('upper_addr', 1)
    board.change()
    expect(board.messages).toEqual([[0x1_0000_0000, 0]])
  },
  data: (board) => {
    board.prepare()
    board.hands.set('data', 0xffff_fffe)
    board.change()
    expect(board.messages).toEqual([[0, 0xffff_fffe]])
  },
  vector_ctrl: (board) => {
    expect(board.hands.get('vector_ctrl')).toBe(board.modules.pci.PCI_MSIX_ENTRY_CTRL_MASKBIT)
    board.prepare({ masked: true })
    board.change()
    expect(board.messages).toEqual([])
    board.hands.set('vector_ctrl', 0)
    expect(board.messages).toEqual([[0, 0]])
  },
}

const capability: Record<string, (board: HeaderBoard) => void> = {
  id: (board) => expect(board.capabilities.map(({ id }) => id)).toContain(board.modules.pci.PCI_CAP_ID_VNDR),
  next: (board) => expect(board.capabilities.length).toBeGreaterThan(1),
}

const msix: Record<string, (board: TableBoard) => void> = {
  id: (board) => expect(board.pci.readConfig(board.msix.at, 1)).toBe(board.modules.pci.PCI_CAP_ID_MSIX),
  next: (board) => {
    const next = board.pci.readConfig(board.msix.at + board.modules.pci.pci_msix_capability_next, 1)
    expect([0, ...board.capabilities.map(({ at }) => at)]).toContain(next)
  },
  flags: (board) => {
    const { pci_msix_capability_flags, PCI_MSIX_FLAGS_ENABLE, PCI_MSIX_FLAGS_MASKALL } = board.modules.pci
    const at = board.msix.at + pci_msix_capability_flags
    board.pci.writeConfig(at, 2, all)
    expect(board.pci.readConfig(at, 2)).toBe(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL | (vectors - 1))
  },
  table: (board) => {
    const { PCI_MSIX_ENTRY_SIZE, pci_msix_entry_vector_ctrl, PCI_MSIX_ENTRY_CTRL_MASKBIT } = board.modules.pci
    const last = (vectors - 1) * PCI_MSIX_ENTRY_SIZE
    expect(board.msixWindow().read(last + pci_msix_entry_vector_ctrl, 4)).toBe(PCI_MSIX_ENTRY_CTRL_MASKBIT)
  },
  pba: (board) => {
    board.prepare({ masked: true })
    const pending = board.msixWindow(board.modules.pci.pci_msix_capability_pba)
    expect(pending.read(0, 4)).toBe(0)
    board.change()
    expect(pending.read(0, 4)).toBe(1)
  },
}

class PortsBoard extends PciBoard {
  readonly hands: Hands<string>

  constructor(modules: PciModules) {
    super(modules)
    const bus = new modules.PciBus({ interrupt: () => {} })
    bus.add(5, () => this.pci)
    this.hands = new Hands(modules.pci.pci_config_ports, {
      read: (port, width) => bus.readPort(port, width) ?? -1,
      write: (port, width, value) => bus.writePort(port, width, value),
    })
  }
  /** Aims at a register of the function. */
  aim(register: number): number {
    const address = (this.modules.pci.pci_config_address.pci_config_enable | (5 << 11) | register) >>> 0
    this.hands.set('CONFIG_ADDRESS', address)
    return address
  }
}

const ports: Record<string, (board: PortsBoard) => void> = {
  CONFIG_ADDRESS: (board) => {
    const address = board.aim(board.modules.pci.pci_header_subsystem_vendor_id)
    expect(board.hands.get('CONFIG_ADDRESS')).toBe(address)
  },
  CONFIG_DATA: (board) => {
    board.aim(board.modules.pci.pci_header_vendor_id)
    expect(board.hands.get('CONFIG_DATA')).toBe(0x106a_1af4)
    board.aim(board.modules.pci.pci_header_interrupt_line)
    board.hands.set('CONFIG_DATA', 0x0b)
    expect(board.pci.readConfig(board.modules.pci.pci_header_interrupt_line, 1)).toBe(0x0b)
  },
}

/** Of PCI itself, where others move nothing either: lspci has the last word on these. */
const fixed = { module, load, moves: false } as const

export const pciFunction = [
  { block: 'pci_header', ...fixed, probes: header, board: (modules: PciModules) => new HeaderBoard(modules) },
  { block: 'pci_capability', ...fixed, probes: capability, board: (modules: PciModules) => new HeaderBoard(modules) },
  { block: 'pci_msix_capability', ...fixed, probes: msix, board: (modules: PciModules) => new TableBoard(modules) },
  { block: 'pci_config_ports', module, load, probes: ports, board: (modules: PciModules) => new PortsBoard(modules) },
  { block: 'pci_msix_entry', module, load, probes: entry, board: (modules: PciModules) => new TableBoard(modules) },
] as const
