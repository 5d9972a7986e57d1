/** What firmware does with PCI functions before an operating system starts: addresses, the command register, interrupt lines. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import { PCI_COMMAND_IO, PCI_COMMAND_MEMORY, pci_header_base_address_0, pci_header_command, pci_header_interrupt_line } from 'virtgen/wire/pci'
import type { PciBar, PciFunctionDevice } from './function-device.ts'

/** A range of addresses that BARs may take. */
export interface PciWindow {
  /** The first, a guest address or a port. */
  readonly address: number
  /** Bytes, or ports. */
  readonly size: number
}

/** Where the VMM lets BARs lie, by their kinds, and what it calls the interrupt lines. */
export interface PciWindows {
  /** Below 4 GiB. */
  readonly memory?: PciWindow
  /** For BARs with addresses of 64 bits, anywhere below 2^53; without it they get theirs from `memory`. */
  readonly memory64?: PciWindow
  /** Of 65536 ports. */
  readonly io?: PciWindow
  /** What interrupt line registers say, by line 0–3: 8 bits, on PCs the number of the interrupt. Without it they are left alone. */
  readonly interrupts?: readonly number[]
}

/** A function on a bus. */
export interface PlacedFunction {
  readonly device: PciFunctionDevice
  /** The line of its interrupt pin, if it has one. */
  readonly line: number | undefined
}

/** Where a BAR shall be. */
interface Plan {
  readonly device: PciFunctionDevice
  readonly bar: PciBar
  readonly address: number
}

const words = 2 ** 32
const windowLimits = { memory: words, memory64: Number.MAX_SAFE_INTEGER + 1, io: 0x1_0000 } as const

/**
 * See `PciBus.assign`.
 *
 * @throws RangeError
 */
export function placeFunctions(functions: readonly PlacedFunction[], windows: PciWindows): void {
  checkWindows(windows)
  const plans = plan(functions, windows)
  for (const { device, bar, address } of plans) writeBarRegister(device, bar, address)
  for (const { device, line } of functions) {
    const command = device.readConfig(pci_header_command, 2)
    // Those that decode already are left as they are.
    if (plans.some((placed) => placed.device === device)) device.writeConfig(pci_header_command, 2, command | decodeBits(device))
    const interrupt = line === undefined ? undefined : windows.interrupts?.[line]
    if (interrupt !== undefined) device.writeConfig(pci_header_interrupt_line, 1, interrupt)
  }
}

/** The largest first: each ends where the next one may begin, and alignment leaves no holes. */
function plan(functions: readonly PlacedFunction[], windows: PciWindows): Plan[] {
  const [placed, free] = [functions.filter(decodes), functions.filter((each) => !decodes(each))]
  const ranges = placed.flatMap(({ device }) => device.bars.map((bar) => ({ bar, address: bar.address })))
  const taken = ranges.flatMap(({ bar, address }) => (address === undefined ? [] : { bar, address }))
  const wanted = free.flatMap(({ device }) => device.bars.map((bar) => ({ device, bar }))).sort((a, b) => b.bar.size - a.bar.size)
  return wanted.map(({ device, bar }) => {
    const address = findRoom(bar, taken, windows)
    taken.push({ bar, address })
    return { device, bar, address }
  })
}

function decodes({ device }: PlacedFunction): boolean {
  return (device.readConfig(pci_header_command, 2) & (PCI_COMMAND_IO | PCI_COMMAND_MEMORY)) !== 0
}

function decodeBits({ bars }: PciFunctionDevice): number {
  return bars.reduce((bits, { kind }) => bits | (kind === 'io' ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY), 0)
}

function findRoom(bar: PciBar, taken: readonly { bar: PciBar; address: number }[], windows: PciWindows): number {
  const { kind, size } = bar
  const name = kind === 'io' ? 'io' : kind === 'memory64' && windows.memory64 ? 'memory64' : 'memory'
  const window = windows[name]
  if (window === undefined) throw new RangeError(`there is no window for BAR ${bar.index}, which is ${kind}: \`${name}\` must be given`)
  const sameSpace = taken.filter((other) => (other.bar.kind === 'io') === (kind === 'io')).sort((a, b) => a.address - b.address)
  // Address 0 means to many guests that there is none.
  let address = roundUp(Math.max(window.address, 1), size)
  for (const other of sameSpace)
    if (address < other.address + other.bar.size && other.address < address + size) address = roundUp(other.address + other.bar.size, size)
  if (address + size > window.address + window.size)
    throw new RangeError(`BAR ${bar.index}, ${size} bytes of ${kind}, finds no room in ${window.size} at 0x${window.address.toString(16)}`)
  return address
}

function roundUp(address: number, size: number): number {
  return Math.ceil(address / size) * size
}

function writeBarRegister(device: PciFunctionDevice, { index, kind }: PciBar, address: number): void {
  const register = pci_header_base_address_0 + 4 * index
  device.writeConfig(register, 4, address % words)
  if (kind === 'memory64') device.writeConfig(register + 4, 4, Math.floor(address / words))
}

function checkWindows(windows: PciWindows): void {
  for (const name of ['memory', 'memory64', 'io'] as const) {
    const window = windows[name]
    if (window === undefined) continue
    checkInteger(window.address, 0, windowLimits[name] - 1, `address of the ${name} window`)
    checkInteger(window.size, 1, windowLimits[name] - window.address, `size of the ${name} window`)
  }
  for (const interrupt of windows.interrupts ?? []) checkInteger(interrupt, 0, 0xff, 'interrupts')
}
