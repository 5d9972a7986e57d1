/** Where a memory begins, ends and has holes: addresses that are good for forging. */
import type { GuestMemory } from '../memory.ts'
import type { Range } from './memory.ts'

/** Memory without a hole in it, ascending. */
function stretches(memory: GuestMemory): Range[] {
  const found: Range[] = []
  for (const { guestAddress, size } of memory.regions) {
    const last = found.at(-1)
    if (last !== undefined && last.address + last.length === guestAddress) found[found.length - 1] = { ...last, length: last.length + size }
    else found.push({ address: guestAddress, length: size })
  }
  return found
}

/** The longest range without a hole. */
export function longestRange(memory: GuestMemory): Range {
  return stretches(memory).reduce((longest, range) => (range.length > longest.length ? range : longest))
}

/** The first address behind which nothing lies. */
export function firstHole(memory: GuestMemory): number {
  const { address, length } = stretches(memory)[0]!
  return address + length
}

/** The address behind the last byte. */
export function endOfMemory(memory: GuestMemory): number {
  const { address, length } = stretches(memory).at(-1)!
  return address + length
}

/** From the last bytes before the first hole to the first ones behind it, as far as 32 bits reach: who looks at the ends alone finds nothing wrong. */
export function overHole(memory: GuestMemory): Range {
  const [first, second] = stretches(memory)
  const begin = first!.address + first!.length - 8
  const end = second === undefined ? begin + 16 : second.address + 8
  return { address: begin, length: Math.min(end - begin, 0xffff_ffff) }
}

/** Where one region ends and another one begins. @throws RangeError where no two regions touch */
export function meeting(memory: GuestMemory): number {
  const { regions } = memory
  const second = regions.find(({ guestAddress }) => regions.some((before) => before.guestAddress + before.size === guestAddress))
  if (second === undefined) throw new RangeError('no two regions of the memory touch')
  return second.guestAddress
}

/** An address far behind all memory, whose lower 32 bits alone are inside. */
export function beyond32Bits(memory: GuestMemory): bigint {
  return 2n ** 62n + BigInt(memory.regions[0]!.guestAddress % 2 ** 32) + 64n
}
