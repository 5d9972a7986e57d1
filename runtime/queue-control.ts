/** One queue of a device that goes on: for transports that start and stop each queue by itself, as vhost-user and VDUSE do. */
import { DEVICE_NEEDS_RESET } from 'virtgen/wire/content'
import type { DeviceControl } from './device-control.ts'
import type { QueueSetup, QueueState } from './queue.ts'

const areas = ['descriptorArea', 'driverArea', 'deviceArea'] as const
const highUnit = 0x1_0000_0000

/**
 * The device takes no buffers from a queue for now, or may again; what it has taken it can use. Stays as it is when the queue or the device is reset, and when the queue
 * is opened. Notifications that come meanwhile are made up for. Nothing where there is no such queue.
 */
export function holdQueue(control: DeviceControl, index: number, held: boolean): void {
  const registers = control.$queues[index]
  if (registers === undefined || registers.held === held) return
  registers.held = held
  control.$pauseQueues()
}

/**
 * Makes a queue ready, as a driver does that writes its size and its addresses. Where it goes on, and what is in flight there, `createQueue` says. As with registers, a
 * wrong size or place is a violation, and where the state of the device permits no queue nothing happens (`control.queueReady` tells).
 *
 * @throws Error where the queue is ready already
 */
export function openQueue(control: DeviceControl, setup: QueueSetup): void {
  const { index } = setup
  if (control.queueReady(index)) throw new Error(`queue ${index} is ready already: it must be stopped before it is opened elsewhere`)
  control.setQueueSize(index, setup.size)
  for (const area of areas) {
    control.setQueueAddress(index, area, 0, setup[area] % highUnit)
    control.setQueueAddress(index, area, 1, Math.floor(setup[area] / highUnit))
  }
  control.setQueueReady(index, true)
}

/**
 * Resolves when every buffer that the device has taken is used and visible to the driver, and no work on one goes on; undefined where that is so at once. To be asked of
 * a queue that is held. A queue that is broken uses nothing any more, and a device that needs a reset keeps what it has given up on: what is out then is cancelled, and
 * waited for. Where that begins while this waits, `cancelQueue` ends the wait.
 */
export function queueDrained(control: DeviceControl, index: number): Promise<void> | undefined {
  const queue = control.$queues[index]?.queue
  if (queue === undefined) return undefined
  const isLost = (): boolean => queue.broken !== undefined || (control.status & DEVICE_NEEDS_RESET) !== 0
  if (isLost()) return queue.reset()
  return queue.drained()?.then(() => (isLost() ? queue.reset() : undefined))
}

/** Cancels what the device has taken of a queue, which it uses no more; for a device that needs a reset. The queue stays ready. */
export function cancelQueue(control: DeviceControl, index: number): void {
  void control.$queues[index]?.queue?.reset()
}

/** What is left of a queue that was closed. */
export interface ClosedQueue {
  /** Where the driver may have it go on; chains in flight are those that were not waited for. Undefined where no queue was at work. */
  readonly state: QueueState | undefined
  /** Resolves when nothing can write into its buffers any more; undefined where that is so at once. The queue stays ready until then. */
  readonly atRest: Promise<void> | undefined
}

/** Closes a queue, drained or not: the device hears of it (`queueReset`), chains that are out are cancelled. The registers keep their values. */
export function closeQueue(control: DeviceControl, index: number): ClosedQueue {
  const registers = control.$queues[index]
  const state = registers?.queue?.save()
  control.setQueueReady(index, false)
  return { state, atRest: registers?.atRest }
}
