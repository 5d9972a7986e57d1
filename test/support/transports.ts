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
  /** How often an interrupt arrived. */
  interrupts = 0
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
    this.interrupts++
    this.#handler?.()
  }

  readonly message = (vector: number): void => {
    this.interrupts++
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
  plug(device: VirtioDevice, settings?: Partial<DeviceControlSettings>): Plugged
}

interface Attached {
  readonly control: DeviceControl
  connect<T>(type: DriverType<T>, options: MmioDriverOptions): Promise<MmioConnection<T>>
  powerOnReset(): void
}

function transport(
  name: string,
  legacy: boolean,
  attach: (guest: Guest, device: VirtioDevice, settings: DeviceControlSettings) => Attached,
): Transport {
  return {
    name,
    legacy,
    plug(device, settings) {
      const guest = new Guest()
      const attached = attach(guest, device, { ...guest.settings, ...settings })
      return {
        guest,
        control: attached.control,
        async connect(type, options) {
          const wanted: MmioDriverOptions = { memory: guest.driverMemory, queueSize: 16, interface: legacy ? 'legacy' : 'modern', ...options }
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
type PciSetting = Pick<PciDeviceOptions, 'layout' | 'transitional'> & { readonly byMessages?: boolean }

/** Through a bus and what a firmware would do; interrupts by the pin or by MSI-X. */
function pciTransport(name: string, legacy: boolean, { byMessages = false, ...setting }: PciSetting): Transport {
  return transport(name, legacy, (guest, device, settings) => {
    const bus = new PciBus({ interrupt: (_line, level) => guest.line(level) })
    const message = (address: number, data: number): void => {
      const vector = messages.findIndex((each) => each.address === address && each.data === data)
      if (vector < 0) throw new Error(`a message ${data} to ${address}`)
      guest.message(vector)
    }
    const pci = bus.add(slot, (interrupt) => new PciDevice(device, { ...settings, ...setting, interrupt, message }))
    bus.assign(windows)
    return {
      control: pci.control,
      connect: (type, options) => connectPci(bus.function(slot), type, byMessages ? { ...options, vectors: messages } : options),
      powerOnReset() {
        bus.powerOnReset()
        bus.assign(windows)
      },
    }
  })
}

/** Registers on ports, the table of MSI-X where it must be. */
const portsAndTable: PciLayout = [...pciLayouts.io, { kind: 'memory32', index: 1, regions: ['msix'] }]

export const transports: readonly Transport[] = [
  transport('MMIO', false, (guest, device, settings) => {
    const mmio = new MmioDevice(device, { ...settings, interrupt: guest.line })
    return { control: mmio.control, connect: (type, options) => connectMmio(mmio, type, options), powerOnReset: () => mmio.powerOnReset() }
  }),
  transport('legacy MMIO', true, (guest, device, settings) => {
    const mmio = new LegacyMmioDevice(device, { ...settings, interrupt: guest.line })
    return { control: mmio.control, connect: (type, options) => connectMmio(mmio, type, options), powerOnReset: () => mmio.powerOnReset() }
  }),
  pciTransport('PCI, memory BARs, INTx', false, {}),
  pciTransport('PCI, memory BARs, MSI-X', false, { byMessages: true }),
  pciTransport('PCI, I/O BAR, INTx', false, { layout: pciLayouts.io }),
  pciTransport('PCI, I/O BAR, MSI-X', false, { layout: portsAndTable, byMessages: true }),
  pciTransport('transitional PCI, modern driver, INTx', false, { transitional: true }),
  pciTransport('transitional PCI, modern driver, MSI-X', false, { transitional: true, byMessages: true }),
  pciTransport('transitional PCI, legacy header, INTx', true, { transitional: true }),
  pciTransport('transitional PCI, legacy header, MSI-X', true, { transitional: true, byMessages: true }),
]
