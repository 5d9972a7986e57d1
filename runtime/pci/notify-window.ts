/** Where the driver notifies. VIRTIO 1.4, Virtio Over PCI Bus / PCI Device Layout / Notification structure layout. */
import { VIRTIO_F_NOTIFICATION_DATA } from 'virtgen/wire/content'
import type { DeviceControl } from '../device-control.ts'
import type { BarWindow } from './register-window.ts'

/** Bytes of a notification, without VIRTIO_F_NOTIFICATION_DATA and with it. */
export const notificationWidth = 2
export const notificationDataWidth = 4

/**
 * A place for each queue, or one for all. What the driver writes names the queue: the place says nothing more. Other widths than that of the notification do nothing, and
 * nothing can be read.
 */
export class NotifyWindow implements BarWindow {
  readonly #control: DeviceControl
  readonly #multiplier: number
  readonly #assembles: boolean
  /** @internal Bytes of a notification whose last byte has not come. */
  $part = 0

  /** @param assemble - a notification may come in parts; it counts with the last byte */
  constructor(control: DeviceControl, multiplier: number, assemble: boolean) {
    this.#control = control
    this.#multiplier = multiplier
    this.#assembles = assemble
  }

  read(): number {
    return 0
  }

  write(offset: number, width: number, value: number): void {
    if (this.#control.$legacy) return
    const at = this.#multiplier === 0 ? offset : offset % this.#multiplier
    const whole = this.#control.features.has(VIRTIO_F_NOTIFICATION_DATA) ? notificationDataWidth : notificationWidth
    if (width === whole && at === 0) this.#control.notified(value)
    else if (this.#assembles && at + width <= whole && !this.#control.isResetting) this.#assemble(at, width, whole, value)
  }

  #assemble(at: number, width: number, whole: number, value: number): void {
    const part = ((at === 0 ? 0 : this.$part) | (value << (8 * at))) >>> 0
    const isWhole = at + width === whole
    this.$part = isWhole ? 0 : part
    if (isWhole) this.#control.notified(part)
  }

  /** Forgets what has not become whole. */
  reset(): void {
    this.$part = 0
  }
}
