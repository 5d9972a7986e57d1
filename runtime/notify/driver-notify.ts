/** Who tells the driver that buffers were used. */

export interface DriverNotify {
  /** A used buffer notification of a queue is due: the driver has not suppressed it. May be put off. */
  notify(queue: number): void
}
