/** What a transport is to a driver: the registers of one device, however they are reached. The sequence over it is in connect.ts. */
import type { FeatureSet } from 'virtgen/codegen/v1/wire'
import type { QueueSetup } from '../queue.ts'
import type { QueueInfo } from '../request/message.ts'
import type { DriverError } from './host.ts'

/** Registers at offsets from a first one. Values are unsigned and little-endian. */
export interface RegisterBus {
  read(offset: number, width: 1 | 2 | 4): number
  write(offset: number, width: 1 | 2 | 4, value: number): void
}

/** Events that an interrupt stands for, as bits. */
export const driverEvents = {
  /** Buffers may have been used. */
  used: 1,
  /** The configuration has changed. */
  config: 2,
  /** The configuration may have changed: the interrupt does not tell it from used buffers. */
  perhapsConfig: 4,
} as const

/** Where a queue is notified. */
export interface Doorbell {
  /** What stands for the queue in a notification: its index, or what the device gave (VIRTIO_F_NOTIF_CONFIG_DATA). */
  readonly value: number
  readonly ring: (word: number) => void
}

/** A region of memory that the device shares. VIRTIO 1.4, Basic Facilities of a Virtio Device / Shared Memory Regions. */
export interface DriverSharedMemory {
  readonly id: number
  /** Bytes. */
  readonly length: number
  /** Where it begins in the guest's address space; undefined where only the place in the BAR is known. */
  readonly address: number | undefined
  /** PCI: the Base Address Register, and where the region begins in it. */
  readonly bar?: { readonly index: number; readonly offset: number }
}

export interface DriverTransport {
  /** The device is used through the legacy interface: 32 feature bits, no FEATURES_OK, no generation of the configuration. */
  readonly legacy: boolean
  /** What can be negotiated here of the features of rings and transports. */
  readonly features: FeatureSet
  /** Queue Align of the legacy layout of queues; undefined where the areas lie anywhere. */
  readonly queueAlign: number | undefined
  /** A queue has the size that the device says, and no other. */
  readonly fixedQueueSize: boolean
  /** The configuration space. */
  readonly config: RegisterBus
  /** Changes when two reads of the configuration space may see different versions; undefined where there is no such register. */
  readonly configGeneration: number | undefined
  /** The device status. */
  status: number
  /** Reads 32 feature bits that the device offers. */
  readFeatures(word: number): number
  /** Writes 32 feature bits that the driver accepts. */
  writeFeatures(word: number, value: number): void
  /** What comes before the first queue, when features and queues are known. */
  prepare?(queues: readonly QueueInfo[]): void
  /** Largest size of a queue, 0 where there is none. */
  findQueue(index: number): number | 'in-use'
  /** Where a queue is notified with these features; after `findQueue`. */
  doorbell(index: number, features: FeatureSet): Doorbell
  /** Tells the device where a queue is, and that it is ready. Throws DriverError, before it is ready, where the device refuses. */
  enableQueue(setup: QueueSetup): void
  /** Begins the reset of a queue (VIRTIO_F_RING_RESET). */
  resetQueue(index: number): void
  /** Says whether that goes on. */
  isQueueResetting(index: number): boolean
  /**
   * What an interrupt stands for, as bits of {@link driverEvents}; 0 where it is not that of this device.
   *
   * @param vector - of the message that came; undefined for an interrupt line
   */
  events(vector: number | undefined): number
  /** Takes the interrupt back, where `events` has not done it. */
  acknowledge?(events: number): void
  /** Says whether a queue's interrupts come by that vector. Absent: all do. */
  isServedBy?(index: number, vector: number): boolean
  /** The shared region of that id. */
  sharedMemory(id: number): DriverSharedMemory | undefined
  /** Why the device, which says that it needs a reset, cannot be used any more, where the transport knows better than the device. */
  readonly failure?: DriverError | undefined
  /** The driver leaves: what is not of the device itself, such as its bus, is put back. */
  release?(): void
}

/** How long a driver waits for a reset. */
export interface Patience {
  /** Looks at the device at most. */
  readonly polls: number
  /** Between two of them. */
  readonly pause: () => Promise<void>
}

/** Looks until something is true, or patience ends. */
export async function becomesTrue(look: () => boolean, { polls, pause }: Patience): Promise<boolean> {
  for (let i = 0; i < polls; i++) {
    if (look()) return true
    await pause()
  }
  return false
}
