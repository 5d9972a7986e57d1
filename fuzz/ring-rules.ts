/** What an execution knows of its queue: where it lies and what was negotiated. */
import type { DeviceQueueOptions } from '../runtime/device-queue-options.ts'
import type { QueueSetup } from '../runtime/queue.ts'
import type { Arena } from './arena.ts'

export interface RingRules {
  readonly arena: Arena
  readonly setup: QueueSetup
  readonly packed: boolean
  readonly eventIndex: boolean
  readonly indirect: boolean
  readonly inOrder: boolean
  readonly maxChainLength: NonNullable<DeviceQueueOptions['maxChainLength']>
}

/** A range of guest addresses. */
export interface Range {
  readonly start: number
  readonly end: number
}
