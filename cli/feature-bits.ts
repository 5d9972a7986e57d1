/** Feature bits as people have them at hand. */
import { UsageError } from './command.ts'

/** Number of feature bits that a description can name. */
export const featureBits = 128

/** Shortest text of zeroes and ones that is Linux's bit string; nobody writes a mask of so many digits that are all 0 or 1. */
const bitStringLength = 32

/**
 * Numbers of the bits that are set, ascending. Hexadecimal with or without `0x`; `0b` and binary digits; or 32 and more zeroes and ones as Linux's
 * `/sys/bus/virtio/devices/virtioN/features` has them, bit 0 first.
 *
 * @throws UsageError for anything else, and for bits from 128 on
 */
export function parseBits(text: string): number[] {
  const word = text.trim()
  if (/^[01]+$/.test(word) && word.length >= bitStringLength)
    return checked(
      text,
      [...word].flatMap((digit, bit) => (digit === '1' ? [bit] : [])),
    )
  // What begins with 0b is binary: its digits would all be hexadecimal too.
  if (/^0b[01]+$/i.test(word) || /^(0x|(?!0b))[0-9a-f]+$/i.test(word)) return checked(text, bitsOf(BigInt(/^0[bx]/i.test(word) ? word : `0x${word}`)))
  throw new UsageError(
    `"${text}" is not a set of feature bits`,
    'write 0x130006e54, 0b1011 or the zeroes and ones of /sys/bus/virtio/devices/virtioN/features; decimal is not accepted',
  )
}

/** Hexadecimal that somebody may have meant as decimal. */
export function looksDecimal(text: string): boolean {
  return /^[1-9]\d+$/.test(text.trim()) && !(/^[01]+$/.test(text.trim()) && text.trim().length >= bitStringLength)
}

function checked(text: string, bits: number[]): number[] {
  const last = bits.at(-1) ?? 0
  if (last >= featureBits) throw new UsageError(`bit ${last} of ${text} is not between 0 and ${featureBits - 1}`)
  return bits
}

function bitsOf(mask: bigint): number[] {
  const digits = mask.toString(2)
  return [...digits].flatMap((digit, index) => (digit === '1' ? [digits.length - 1 - index] : [])).reverse()
}

/** `0x130006e54`. */
export function formatBits(bits: Iterable<number>): string {
  let mask = 0n
  for (const bit of bits) mask |= 1n << BigInt(bit)
  return `0x${mask.toString(16)}`
}
