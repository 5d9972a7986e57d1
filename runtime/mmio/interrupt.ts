/** The events that a device tells of, and the line that follows them: the same in both register layouts. VIRTIO 1.4, Virtio Over MMIO / Notifications From The Device. */

/** InterruptStatus. The line is high while a bit is set. */
export class MmioInterrupt {
  /** Bits of `mmio_interrupt`. A change is to be followed by `drive`. */
  status = 0
  readonly #interrupt: (level: boolean) => void
  #line = false

  constructor(interrupt: (level: boolean) => void) {
    this.#interrupt = interrupt
  }

  /** An event takes place: its bit stays until the driver acknowledges it. */
  raise(event: number): void {
    this.status |= event
    this.drive()
  }

  acknowledge(events: number): void {
    this.status &= ~events
    this.drive()
  }

  clear(): void {
    this.status = 0
    this.drive()
  }

  /** The level is noted before the call, which may come back here. */
  drive(): void {
    const level = this.status !== 0
    if (level === this.#line) return
    this.#line = level
    this.#interrupt(level)
  }
}
