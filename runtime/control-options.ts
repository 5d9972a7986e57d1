/** What a device control needs to know besides the device. */
import type { FeatureSet } from 'virtgen/codegen/v1/wire'
import { split_ring_limits } from 'virtgen/wire/split-ring'
import type { GuestMemory } from './memory.ts'
import type { Violation } from './violation.ts'

/** What a VMM says of any device, whatever the transport. */
export interface DeviceControlSettings {
  readonly memory: GuestMemory
  /**
   * Features of rings and transport to offer with those of the device. VERSION_1 must be among them; the others that there can be are INDIRECT_DESC, EVENT_IDX and
   * RING_RESET, which with VERSION_1 are the default, RING_PACKED, IN_ORDER, NOTIFICATION_DATA, ACCESS_PLATFORM and ORDER_PLATFORM.
   */
  readonly ringFeatures?: FeatureSet
  /** Most descriptors of a chain, 1024 by default; `strict`: the queue size, as the text has it and Linux does not keep. */
  readonly maxChainLength?: number | 'strict'
  /** The driver broke the rules. DEVICE_NEEDS_RESET is already set. */
  readonly onViolation?: (violation: Violation) => void
  /** A method of the device threw, or its promise was rejected. The device needs a reset. Without this the error is dropped. */
  readonly onError?: (error: unknown) => void
  /** Calls back later, outside of what is going on now: a resolved promise by default; a VMM passes `setImmediate` so that its other work gets its turn. */
  readonly defer?: (callback: () => void) => void
}

/** The settings, and the transport's own end of the notifications. Each callback comes last, after all state is consistent: it may call back in. */
export interface DeviceControlOptions extends DeviceControlSettings {
  /** A used buffer notification is due. */
  readonly notify: (queue: number) => void
  /** A configuration change notification is due. */
  readonly configChanged: () => void
  /**
   * Where the transport has a place for them (as the text has it: PCI), the values by which the driver names the queues when it notifies with
   * VIRTIO_F_NOTIF_CONFIG_DATA, by index: 16 bits, no two the same. Without them the feature cannot be offered.
   */
  readonly notifConfigData?: readonly number[]
  /** DEVICE_NEEDS_RESET has been set. */
  readonly needsReset?: () => void
  /** The driver resets the device: notifications that it has not yet taken are void, no more come. Status may stay busy for a while. */
  readonly reset?: () => void
}

/**
 * Checks the bound of chains here, as a queue is made inside an access of the driver's.
 *
 * @throws RangeError
 */
export function checkChainLength(length: number | 'strict' | undefined): void {
  const most = split_ring_limits.split_ring_index_wrap
  if (length !== undefined && length !== 'strict' && !(Number.isInteger(length) && length >= 1 && length <= most))
    throw new RangeError(`maxChainLength must be strict or an integer from 1 to ${most}, not ${length}`)
}

/**
 * Checks the values of VIRTIO_F_NOTIF_CONFIG_DATA.
 *
 * @throws RangeError
 */
export function checkNotifConfigData(values: readonly number[] | undefined, queues: number): void {
  if (values === undefined) return
  const wrong = values.find((value) => !(Number.isInteger(value) && value >= 0 && value <= 0xffff))
  if (wrong !== undefined) throw new RangeError(`notifConfigData must be integers from 0 to 65535, not ${wrong}`)
  if (values.length !== queues || new Set(values).size !== queues)
    throw new RangeError(`notifConfigData must be ${queues} values that differ, one for each queue, not ${values.join(', ')}`)
}
