/** A descriptor of a split virtqueue as 32-bit words. */
import { VirtqDesc } from 'virtgen/wire/split-ring'

export const descriptorWords = {
  words: VirtqDesc.size / 4,
  addressLow: VirtqDesc.offsetOf.addr / 4,
  addressHigh: VirtqDesc.offsetOf.addr / 4 + 1,
  lengthWord: VirtqDesc.offsetOf.len / 4,
  /** `flags` in its lower half, `next` in the upper one: read together, so that they belong together. */
  flagsWord: VirtqDesc.offsetOf.flags / 4,
  nextShift: 16,
} as const
