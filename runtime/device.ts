/** Devices and what they are plugged into. A device knows no transport, a transport knows no device type: they meet here. */
import type { FeatureSet } from 'virtgen/codegen/v1/wire'
import type { ConfigSpace } from './config-space.ts'
import type { GuestMemory } from './memory.ts'
import type { DeviceQueue } from './queue.ts'
import { legacyBits } from './ring-features.ts'
import type { Violation } from './violation.ts'

/** Anything that JSON carries unchanged. */
export type Plain = null | boolean | number | string | readonly Plain[] | { readonly [name: string]: Plain }

/** Memory that device and driver share besides the queues. VIRTIO 1.4, Basic Facilities of a Virtio Device / Shared Memory Regions. */
export interface SharedMemory {
  /** `shmid`, 0 to 255; what it means is the device type's business. */
  readonly id: number
  /** Bytes. */
  readonly length: number
  /** `length` bytes, where a transport is to serve accesses to the region itself (PCI does); absent where the VMM maps it into the guest. */
  readonly bytes?: Uint8Array
}

const none: readonly SharedMemory[] = []

/** What a device may use between `activate` and `reset`. */
export interface DeviceHost {
  readonly memory: GuestMemory
  /** The negotiated features. */
  readonly features: FeatureSet
  /** The queue of that index; undefined where the driver has not set it up. Not to be kept: it may be reset and set up again, and is another one then. */
  queue(index: number): DeviceQueue | undefined
  /** Tells the driver that the configuration has changed. `ConfigSpace.update` does so by itself. */
  configChanged(): void
  /** Reports a violation or a failure the device cannot go on after: the device needs a reset. */
  fail(violation: Violation): void
  /** Calls `queueNotified(index)` again later, outside of what is going on now. */
  serveLater(index: number): void
}

/**
 * A virtio device. Generated skeletons extend it; a transport drives it: `activate` when the driver is ready (DRIVER_OK), `queueNotified` for each
 * available buffer notification, `reset` at the end.
 */
export abstract class VirtioDevice {
  /** Device id, VIRTIO 1.4, Device Types. */
  abstract readonly id: number
  /** Features of the device type that this device has. Those of rings and transports are added by whoever implements them. */
  abstract readonly offered: FeatureSet
  /** Maximal sizes of the queues, by index. A size of 0: there is no such queue. */
  abstract readonly queueSizes: readonly number[]
  abstract readonly config: ConfigSpace

  /** Regions that the device shares with its driver, no two with the same id. */
  readonly sharedMemory: readonly SharedMemory[] = none
  /** What of `offered` a driver may choose on the legacy interface, which has bits 0 to 31 alone; those that need VIRTIO_F_VERSION_1 are not among them. */
  get legacyOffered(): FeatureSet {
    return this.offered.intersection(legacyBits)
  }
  /** Says whether the device can work with these features; a driver that insists on others is refused at FEATURES_OK. */
  accepts(_features: FeatureSet): boolean {
    return true
  }
  /** The driver is ready. Buffers may already be available. */
  abstract activate(host: DeviceHost): void
  /** The driver has made buffers available. Called between `activate` and `reset` only. */
  abstract queueNotified(index: number): void
  /**
   * The driver has stopped one queue, or reset it (VIRTIO_F_RING_RESET). Called between `activate` and `reset`: `host.queue(index)` gives nothing any more, the chains of
   * the queue are already cancelled. The queue is not at rest, and the driver sees so, before the promise resolves. The driver may set the queue up again, with another
   * size at another place; `queueNotified` tells of that.
   */
  queueReset(_index: number): void | Promise<void> {}
  /** The driver wrote a field of the configuration space; the bytes are already there. At any time, also before `activate`. */
  configWritten(_field: string): void {}
  /**
   * The driver resets the device. The host of `activate` must not be used any more; all chains are already cancelled. The reset is not over, and the driver
   * sees so, before the promise resolves. Also called before `activate`, when a driver has begun; not for a device that is as new.
   */
  abstract reset(): void | Promise<void>

  /** What the device remembers besides its queues and its configuration space, for snapshots (`saveDevice`); JSON-safe. */
  saveState(): Plain {
    return null
  }
  /** Takes over what `saveState` gave; before `activate`. Throws RangeError for what is no such state. */
  restoreState(_state: Plain): void {}
}
