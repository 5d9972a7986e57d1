/** A descriptor of a packed virtqueue as 32-bit words. */
import { PvirtqDescOffsets, PvirtqDescSize } from 'virtgen/wire/packed-ring'

export const packedDescriptorWords = {
  words: PvirtqDescSize / 4,
  addressLow: PvirtqDescOffsets.addr / 4,
  addressHigh: PvirtqDescOffsets.addr / 4 + 1,
  lengthWord: PvirtqDescOffsets.len / 4,
  /** `id` in its lower half, `flags` in the upper one. */
  idWord: PvirtqDescOffsets.id / 4,
  idMask: 0xffff,
  flagsShift: 16,
} as const
