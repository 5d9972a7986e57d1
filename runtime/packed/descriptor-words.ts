/** A descriptor of a packed virtqueue as 32-bit words. */
import { PvirtqDesc } from 'virtgen/wire/packed-ring'

export const packedDescriptorWords = {
  words: PvirtqDesc.size / 4,
  addressLow: PvirtqDesc.offsetOf.addr / 4,
  addressHigh: PvirtqDesc.offsetOf.addr / 4 + 1,
  lengthWord: PvirtqDesc.offsetOf.len / 4,
  /** `id` in its lower half, `flags` in the upper one. */
  idWord: PvirtqDesc.offsetOf.id / 4,
  idMask: 0xffff,
  flagsShift: 16,
} as const
