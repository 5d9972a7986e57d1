/** Interrupts of a function, as a driver sets them up: a line, or messages by vector. VIRTIO 1.4, MSI-X Vector Configuration. */
import {
  PCI_CAP_ID_MSIX,
  PCI_CAP_MSIX_SIZEOF,
  PCI_CFG_SPACE_SIZE,
  PCI_MSIX_ENTRY_SIZE,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_FLAGS_MASKALL,
  PCI_MSIX_FLAGS_QSIZE,
  PCI_MSIX_TABLE_BIR,
  PCI_MSIX_TABLE_OFFSET,
  PCI_STD_NUM_BARS,
  pci_msix_capability_flags,
  pci_msix_capability_table,
  pci_msix_entry_data,
  pci_msix_entry_lower_addr,
  pci_msix_entry_upper_addr,
  pci_msix_entry_vector_ctrl,
} from 'virtgen/wire/pci'
import { DriverError } from '../driver/host.ts'
import { driverEvents } from '../driver/transport.ts'
import type { QueueInfo } from '../request/message.ts'
import type { DriverFunction } from './driver-function.ts'

/** A message of the platform: what the device writes to interrupt, and where. */
export interface PciMessage {
  readonly address: number
  readonly data: number
}

/** Messages that the driver puts into the MSI-X table, or how many the platform has put there; it has enabled MSI-X then. */
export type PciVectors = readonly PciMessage[] | number

const wordSize = 2 ** 32
const configVector = 0

export class DriverVectors {
  readonly #function: DriverFunction
  readonly #wanted: PciVectors
  /** Where the capability is. */
  readonly #at: number | undefined
  /** Message Control as it was found. */
  readonly #found: number
  /** Vectors in use; 0: the interrupt line. */
  #count = 0
  /** By queue. */
  readonly #vectors = new Map<number, number>()

  constructor(fn: DriverFunction, wanted: PciVectors = []) {
    this.#function = fn
    this.#wanted = wanted
    this.#at = fn.capabilities.find(({ id, at }) => id === PCI_CAP_ID_MSIX && at + PCI_CAP_MSIX_SIZEOF <= PCI_CFG_SPACE_SIZE)?.at
    this.#found = this.#at === undefined ? 0 : fn.fn.readConfig(this.#at + pci_msix_capability_flags, 2)
    // Whoever was here before may have left it on.
    if (!this.#byPlatform && (this.#found & PCI_MSIX_FLAGS_ENABLE) !== 0) this.#setFlags(this.#found & ~PCI_MSIX_FLAGS_ENABLE)
  }

  get count(): number {
    return this.#count
  }

  get #byPlatform(): boolean {
    return typeof this.#wanted === 'number' && this.#wanted > 0
  }

  /** MSI-X is on, by the platform or since `prepare`: the legacy header is longer then. */
  get isEnabled(): boolean {
    return this.#byPlatform || this.#count > 0
  }

  /**
   * Programs the table and enables MSI-X, as far as the device has it; else the line stays. The first vector is that of the configuration, the others are shared out
   * among the queues; one alone is for all.
   *
   * @throws DriverError `vectors` where the platform is said to have enabled what it has not, or what the device does not have
   */
  prepare(queues: readonly QueueInfo[]): void {
    this.#count = this.#byPlatform
      ? this.#checkPlatform(this.#wanted as number)
      : this.#program(this.#wanted === 0 ? [] : (this.#wanted as readonly PciMessage[]))
    const others = Math.max(1, this.#count - 1)
    queues.forEach(({ index }, i) => {
      this.#vectors.set(index, this.#count === 1 ? configVector : 1 + (i % others))
    })
  }

  get #tableSize(): number {
    return (this.#found & PCI_MSIX_FLAGS_QSIZE) + 1
  }

  #checkPlatform(count: number): number {
    if (this.#at === undefined) throw new DriverError('vectors', 'the device has no MSI-X, which the platform is to have enabled')
    if ((this.#found & PCI_MSIX_FLAGS_ENABLE) === 0) throw new DriverError('vectors', 'MSI-X is not enabled, which the platform is to have done')
    return Math.min(count, this.#tableSize)
  }

  #program(messages: readonly PciMessage[]): number {
    const count = Math.min(messages.length, this.#tableSize)
    if (this.#at === undefined || count === 0) return 0
    const place = this.#function.fn.readConfig(this.#at + pci_msix_capability_table, 4)
    const bar = place & PCI_MSIX_TABLE_BIR
    const table = bar < PCI_STD_NUM_BARS && this.#function.fn.map(bar, (place & PCI_MSIX_TABLE_OFFSET) >>> 0, count * PCI_MSIX_ENTRY_SIZE)
    if (!table) return 0
    this.#setFlags(this.#found | PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)
    messages.slice(0, count).forEach(({ address, data }, i) => {
      const entry = i * PCI_MSIX_ENTRY_SIZE
      table.write(entry + pci_msix_entry_lower_addr, 4, address % wordSize)
      table.write(entry + pci_msix_entry_upper_addr, 4, Math.floor(address / wordSize))
      table.write(entry + pci_msix_entry_data, 4, data)
      table.write(entry + pci_msix_entry_vector_ctrl, 4, 0)
    })
    this.#setFlags((this.#found | PCI_MSIX_FLAGS_ENABLE) & ~PCI_MSIX_FLAGS_MASKALL)
    return count
  }

  /**
   * Maps an event to its vector: after mapping, the driver MUST verify success by reading it back.
   *
   * @throws DriverError `vectors` where the device refuses
   */
  map(queue: QueueInfo['index'] | 'config', write: (vector: number) => void, read: () => number): void {
    if (this.#count === 0) return
    const vector = queue === 'config' ? configVector : this.#vectorOf(queue)
    write(vector)
    const now = read()
    if (now === vector) return
    const event = queue === 'config' ? 'configuration changes' : `queue ${queue}`
    throw new DriverError('vectors', `the device does not map ${event} to vector ${vector}: it reads back ${now}`)
  }

  #vectorOf(queue: number): number {
    return this.#vectors.get(queue) ?? configVector
  }

  isServedBy(queue: number, vector: number): boolean {
    return this.#count === 0 || this.#vectorOf(queue) === vector
  }

  /** What a message stands for, as bits of {@link driverEvents}. */
  events(vector: number | undefined): number {
    if (vector === undefined) return driverEvents.used | driverEvents.perhapsConfig
    if (vector >= this.#count) return 0
    if (vector !== configVector) return driverEvents.used
    return this.#count === 1 ? driverEvents.used | driverEvents.perhapsConfig : driverEvents.config
  }

  /** Puts Message Control back. */
  close(): void {
    if (!this.#byPlatform && this.#at !== undefined) this.#setFlags(this.#found)
    this.#count = 0
  }

  #setFlags(flags: number): void {
    if (this.#at !== undefined) this.#function.fn.writeConfig(this.#at + pci_msix_capability_flags, 2, flags)
  }
}
