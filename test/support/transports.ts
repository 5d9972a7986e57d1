/** Every way in which a device and its driver can be joined, behind one interface: a guest with memory, a transport, interrupts that arrive inside of what raised them. */
import { connectMmio, type MmioConnection as DriverConnection, type MmioDriverOptions as DriverOptions, MmioDevice } from 'virtgen/mmio'
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
  connect<T>(type: DriverType<T>, options?: Partial<DriverOptions>): Promise<T>
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
  connect<T>(type: DriverType<T>, options: DriverOptions): Promise<DriverConnection<T>>
  powerOnReset?(): void
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
          const wanted: DriverOptions = { memory: guest.driverMemory, queueSize: 16, interface: legacy ? 'legacy' : 'modern', ...options }
          const { driver, interrupt } = await attached.connect(type, wanted)
          guest.listen(interrupt)
          return driver
        },
        powerOnReset: () => (attached.powerOnReset ? attached.powerOnReset() : attached.control.reset()),
      }
    },
  }
}

export const transports: readonly Transport[] = [
  transport('MMIO', false, (guest, device, settings) => {
    const mmio = new MmioDevice(device, { ...settings, interrupt: guest.line })
    return { control: mmio.control, connect: (type, options) => connectMmio(mmio, type, options) }
  }),
]
