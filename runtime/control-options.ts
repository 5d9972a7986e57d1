/** What a device control needs to know besides the device. */
import { checkInteger, type FeatureSet } from 'virtgen/codegen/v1/wire'
import { split_ring_limits } from 'virtgen/wire/split-ring'
import type { DeviceQueueOptions } from './device-queue-options.ts'
import type { GuestMemory } from './memory.ts'
import type { DeviceQueue, QueueSetup } from './queue.ts'
import type { Violation } from './violation.ts'

/** See `createDeviceQueue`. */
export type CreateQueue = (memory: GuestMemory, setup: QueueSetup, options: DeviceQueueOptions) => DeviceQueue

/** What a VMM says of any device, whatever the transport. */
export interface DeviceControlSettings {
  readonly memory: GuestMemory
  /**
   * Features of rings and transport to offer with those of the device. VERSION_1 must be among them; the others that there can be are INDIRECT_DESC, EVENT_IDX and
   * RING_RESET, which with VERSION_1 are the default, NOTIFICATION_DATA, ACCESS_PLATFORM, ORDER_PLATFORM, SUSPEND and, where `createQueue` is given, RING_PACKED and
   * IN_ORDER.
   */
  readonly ringFeatures?: FeatureSet
  /**
   * Makes the queues. With `createDeviceQueue` they may be packed, and be used in order; by default they are split and are not, so that a page that does not need them
   * does not load them.
   */
  readonly createQueue?: CreateQueue
  /** Most descriptors of a chain, 1024 by default; `strict`: the queue size, as the text has it and Linux does not keep. */
  readonly maxChainLength?: number | 'strict'
  /** The driver broke the rules. DEVICE_NEEDS_RESET is already set. */
  readonly onViolation?: (violation: Violation) => void
  /** A method of the device threw, or its promise was rejected. The device needs a reset. Without this the error is dropped. */
  readonly onError?: (error: unknown) => void
  /** Calls back later, outside of what is going on now and so that other work gets its turn: `setImmediate` by default, `setTimeout` where there is none. */
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
  /** Features that this transport has a place for, and most have not: ADMIN_VQ. Offered only where `ringFeatures` or the device says so. */
  readonly transportFeatures?: FeatureSet
  /** DEVICE_NEEDS_RESET has been set. */
  readonly needsReset?: () => void
  /** The driver resets the device: notifications that it has not yet taken are void, no more come. Status may stay busy for a while. */
  readonly reset?: () => void
}

/** @throws RangeError */
export function checkChainLength(length: number | 'strict' = 'strict'): void {
  if (length !== 'strict') checkInteger(length, 1, split_ring_limits.split_ring_index_wrap, 'maxChainLength')
}

/**
 * Checks what counts only later, inside an access of the driver's.
 *
 * @throws RangeError
 */
export function checkControlOptions({ maxChainLength, notifConfigData }: DeviceControlOptions, queues: number): void {
  checkChainLength(maxChainLength)
  if (notifConfigData === undefined) return
  for (const value of notifConfigData) checkInteger(value, 0, 0xffff, 'notifConfigData')
  if (notifConfigData.length !== queues || new Set(notifConfigData).size !== queues)
    throw new RangeError(`notifConfigData must be ${queues} values that differ, one for each queue, not ${notifConfigData}`)
}
