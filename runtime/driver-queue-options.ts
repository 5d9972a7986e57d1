/** What the driver side of a virtqueue needs besides its place, whatever its format. */
import type { DriverMemory } from './driver/memory.ts'
import type { DriverQueueState, RingFeatures } from './queue.ts'
import type { Violation } from './violation.ts'

export interface DriverQueueOptions<T = unknown> extends RingFeatures {
  /** Sends an available buffer notification; called only where the device wants one, and last. */
  readonly notify: () => void
  /** The device broke the rules. Called once, and last. */
  readonly fail: (violation: Violation) => void
  /**
   * Where indirect tables are allocated; used only with `indirect`. Absent, or where there is no memory left: chains lie in the ring itself. After a restore it must not hold the
   * tables of the buffers that are out: the device reads them still.
   */
  readonly indirectTables?: DriverMemory
  /** Position to go on from; what lies in the ring stays. Absent: the queue begins anew, its areas are cleared. */
  readonly state?: DriverQueueState
  /** With `state`: the tokens of its buffers, one for each of `state.out`, in that order. */
  readonly tokens?: readonly T[]
}
