/** Slots on the command line of Linux: parameter `device` of its module virtio_mmio (CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES). */
import type { MmioPlace } from './slot-layouts.ts'

/**
 * The parameter for one slot: `virtio_mmio.device=0x200@0xfeb00000:24:0`, which is size, address, interrupt and the number that the device has in Linux.
 *
 * @param id - the number, by default the index of the slot
 */
export function mmioKernelParameter({ index, address, size, interrupt }: MmioPlace, id = index): string {
  return `virtio_mmio.device=0x${size.toString(16)}@0x${address.toString(16)}:${interrupt}:${id}`
}
