/** A descriptor of a split virtqueue as 32-bit words. */
import { VirtqDescOffsets, VirtqDescSize } from 'virtgen/wire/split-ring'

export const descriptorWords = {
  words: VirtqDescSize / 4,
  addressLow: VirtqDescOffsets.addr / 4,
  addressHigh: VirtqDescOffsets.addr / 4 + 1,
  lengthWord: VirtqDescOffsets.len / 4,
  /** `flags` in its lower half, `next` in the upper one: read together, so that they belong together. */
  flagsWord: VirtqDescOffsets.flags / 4,
  nextShift: 16,
} as const
