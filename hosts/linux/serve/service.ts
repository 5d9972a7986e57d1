/** What is behind one socket. */
import type { VirtioDevice } from 'virtgen/runtime'
import type { Metric } from './metrics.ts'

/** Of all connections since the beginning. */
export interface Totals {
  readonly requests: number
  readonly bytes: number
}

export interface Service {
  /** For the log: `disk of 64 MiB in memory`. */
  readonly title: string
  /** What is worth a warning. */
  readonly warnings: readonly string[]
  /** Connections at the same time, at most. */
  readonly maxConnections: number
  /** Milliseconds that requests have to finish when the server ends. */
  readonly drainTimeout: number
  /** Makes a device for a connection. */
  device(): VirtioDevice
  /** The connection of a device is over. */
  gone(device: VirtioDevice): void
  metrics(): Metric[]
  totals(): Totals
  /** Looks for another size of the storage; gives its bytes. Absent: it has none that changes. */
  resize?(): number
  /** Nothing is at work any more. */
  close(): void | Promise<void>
}
