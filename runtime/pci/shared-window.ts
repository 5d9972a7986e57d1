/** A shared memory region behind a BAR. VIRTIO 1.4, Virtio Over PCI Bus / PCI Device Layout / Shared memory capability. */
import type { SharedMemory } from '../device.ts'
import { type BarWindow, getBytes, putBytes } from './register-window.ts'

const nothing = new Uint8Array(0)

/** Serves a region whose bytes the device gave; one that the VMM maps into the guest by itself reads as 0 here. */
export function sharedWindow({ bytes = nothing }: SharedMemory): BarWindow {
  return {
    read: (offset, width) => getBytes(bytes, offset, width),
    write: (offset, width, value) => putBytes(bytes, offset, width, value),
  }
}
