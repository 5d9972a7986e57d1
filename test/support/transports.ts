/** Every way in which a device and its driver can be joined, behind one interface: a guest with memory, a transport, interrupts that arrive inside of what raised them. */
import { connectMmio, LegacyMmioDevice, type MmioConnection, MmioDevice, type MmioDriverOptions } from 'virtgen/mmio'
import { connectPci, PciBus, PciDevice, type PciDeviceOptions, type PciLayout, pciLayouts } from 'virtgen/pci'
import {
  createDeviceQueue,
  type DeviceControl,
  type DeviceControlSettings,
  DriverMemory,
  type DriverType,
  GuestMemory,
  type Violation,
  type VirtioDevice,
} from 'virtgen/runtime'

/** Hears of an interrupt: by the index of its message, or undefined for a line. */
type Interrupt = (vector?: number) => unknown

const memoryStart = 0x4000_0000
const memoryBytes = 1 << 20

/** What a transport's device is given, and what came of it. */
export class Guest {
  readonly memory = GuestMemory.of(new Uint8Array(memoryBytes), memoryStart)
  readonly driverMemory = new DriverMemory(this.memory, memoryStart, memoryBytes)
  readonly violations: Violation[] = []
  readonly errors: unknown[] = []
  /** How often an interrupt arrived, by the line and by messages. */
  readonly heard = { line: 0, messages: 0 }
  /** How often registers were accessed, by the kind of the BAR they are behind. */
  readonly accesses = { memory: 0, io: 0 }
  #level = false
  readonly #early = new Set<number>()
  #handler: Interrupt | undefined

  get settings(): DeviceControlSettings {
    return {
      memory: this.memory,
      createQueue: createDeviceQueue,
      onViolation: (violation) => this.violations.push(violation),
      onError: (error) => this.errors.push(error),
    }
  }

  /** Interrupts arrive here from now on, those first that came before. */
  listen(handler: Interrupt): void {
    this.#handler = handler
    if (this.#level) handler()
    for (const vector of this.#early) handler(vector)
    this.#early.clear()
  }

  readonly line = (level: boolean): void => {
    this.#level = level
    if (!level) return
    this.heard.line++
    this.#handler?.()
  }

  readonly message = (vector: number): void => {
    this.heard.messages++
    if (this.#handler) this.#handler(vector)
    else this.#early.add(vector)
  }
}

/** A device on a transport. */
export interface Plugged {
  readonly guest: Guest
  readonly control: DeviceControl
  /** Initialises the device as a driver does; its interrupts go to this driver from then on. */
  connect<T>(type: DriverType<T>, options?: Partial<MmioDriverOptions>): Promise<T>
  /** The VMM's reset button. */
  powerOnReset(): void
}

export interface Transport {
  readonly name: string
  /** The driver uses the legacy interface. */
  readonly legacy: boolean
  readonly interrupts: keyof Guest['heard']
  /** Where the registers are that a driver uses all the time; undefined where there are no BARs. */
  readonly space: keyof Guest['accesses'] | undefined
  plug(device: VirtioDevice, settings?: Partial<DeviceControlSettings>): Plugged
}

interface Attached {
  readonly control: DeviceControl
  connect<T>(type: DriverType<T>, options: MmioDriverOptions): Promise<MmioConnection<T>>
  powerOnReset(): void
}

type Traits = Omit<Transport, 'plug'>

function transport(traits: Traits, attach: (guest: Guest, device: VirtioDevice, settings: DeviceControlSettings) => Attached): Transport {
  return {
    ...traits,
    plug(device, settings) {
      const guest = new Guest()
      const attached = attach(guest, device, { ...guest.settings, ...settings })
      return {
        guest,
        control: attached.control,
        async connect(type, options) {
          const wanted: MmioDriverOptions = { memory: guest.driverMemory, queueSize: 16, interface: traits.legacy ? 'legacy' : 'modern', ...options }
          const { driver, interrupt } = await attached.connect(type, wanted)
          guest.listen(interrupt)
          return driver
        },
        powerOnReset: () => attached.powerOnReset(),
      }
    },
  }
}

const slot = 3
const messageAddress = 0xfee0_0000
/** One for the configuration and some for queues. */
const messages = Array.from({ length: 4 }, (_, vector) => ({ address: messageAddress, data: 0x40 + vector }))
const windows = {
  memory: { address: 0xe000_0000, size: 0x1000_0000 },
  memory64: { address: 0x80_0000_0000, size: 0x1000_0000 },
  io: { address: 0xc000, size: 0x4000 },
}
type PciSetting = Pick<PciDeviceOptions, 'layout' | 'transitional'>

/** Counts accesses of registers. */
class CountedPciDevice extends PciDevice {
  readonly #accesses: Guest['accesses']

  constructor(device: VirtioDevice, options: PciDeviceOptions, accesses: Guest['accesses']) {
    super(device, options)
    this.#accesses = accesses
  }
  #count(bar: number): void {
    this.#accesses[this.bars.find(({ index }) => index === bar)?.kind === 'io' ? 'io' : 'memory']++
  }
  override readBar(bar: number, offset: number, width: number): number {
    this.#count(bar)
    return super.readBar(bar, offset, width)
  }
  override writeBar(bar: number, offset: number, width: number, value: number): void {
    this.#count(bar)
    super.writeBar(bar, offset, width, value)
  }
}

/** Through a bus and what a firmware would do. */
function pciTransport(traits: Traits, setting: PciSetting): Transport {
  return transport(traits, (guest, device, settings) => {
    const bus = new PciBus({ interrupt: (_line, level) => guest.line(level) })
    const message = (address: number, data: number): void => {
      const vector = messages.findIndex((each) => each.address === address && each.data === data)
      if (vector < 0) throw new Error(`a message ${data} to ${address}`)
      guest.message(vector)
    }
    const vectors = traits.interrupts === 'messages' ? { vectors: messages } : {}
    const pci = bus.add(slot, (interrupt) => new CountedPciDevice(device, { ...settings, ...setting, interrupt, message }, guest.accesses))
    bus.assign(windows)
    return {
      control: pci.control,
      connect: (type, options) => connectPci(bus.function(slot), type, { ...options, ...vectors }),
      powerOnReset() {
        bus.powerOnReset()
        bus.assign(windows)
      },
    }
  })
}

/** Registers on ports, the table of MSI-X where it must be. */
const portsAndTable: PciLayout = [...pciLayouts.io, { kind: 'memory32', index: 1, regions: ['msix'] }]

const mmio = { interrupts: 'line', space: undefined } as const

export const transports: readonly Transport[] = [
  transport({ name: 'MMIO', legacy: false, ...mmio }, (guest, device, settings) => {
    const window = new MmioDevice(device, { ...settings, interrupt: guest.line })
    return { control: window.control, connect: (type, options) => connectMmio(window, type, options), powerOnReset: () => window.powerOnReset() }
  }),
  transport({ name: 'legacy MMIO', legacy: true, ...mmio }, (guest, device, settings) => {
    const window = new LegacyMmioDevice(device, { ...settings, interrupt: guest.line })
    return { control: window.control, connect: (type, options) => connectMmio(window, type, options), powerOnReset: () => window.powerOnReset() }
  }),
  ...(['line', 'messages'] as const).flatMap((interrupts): Transport[] => {
    const by = interrupts === 'line' ? 'INTx' : 'MSI-X'
    return [
      pciTransport({ name: `PCI, memory BARs, ${by}`, legacy: false, interrupts, space: 'memory' }, {}),
      pciTransport({ name: `PCI, I/O BAR, ${by}`, legacy: false, interrupts, space: 'io' }, { layout: portsAndTable }),
      pciTransport({ name: `transitional PCI, modern, ${by}`, legacy: false, interrupts, space: 'memory' }, { transitional: true }),
      pciTransport({ name: `transitional PCI, legacy header, ${by}`, legacy: true, interrupts, space: 'io' }, { transitional: true }),
    ]
  }),
]
