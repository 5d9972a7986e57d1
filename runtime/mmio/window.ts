/** What lies behind a window of registers, whatever the layout. */
import { virtio_mmio_Config } from 'virtgen/wire/transport-mmio'
import type { DeviceControl } from '../device-control.ts'

/** A device behind memory-mapped registers, as a VMM sees it: `MmioDevice`, `LegacyMmioDevice`. */
export interface MmioWindow {
  readonly control: DeviceControl
  /** Bytes of the window. */
  readonly size: number
  /** An unsigned number; see `MmioDevice.read`. */
  read(offset: number, width: number): number
  /** See `MmioDevice.write`. */
  write(offset: number, width: number, value: number): void
  /** The machine is reset. Resolves when that is over; undefined where it is so at once. */
  powerOnReset(): Promise<void> | undefined
}

/** Bytes of a window: a power of two, at least as much again for the configuration space as for the registers. */
export function windowSize(configLength: number): number {
  let size: number = 2 * virtio_mmio_Config
  while (size < virtio_mmio_Config + configLength) size *= 2
  return size
}
