/** Bit-fields inside an integer, counted from the least significant bit. */
import { checkUnsigned } from './integers.ts'

/** Bits of a number of at most 32 bits. */
export function numberBits(container: number, bit: number, bits: number): number {
  return bits === 32 ? container >>> 0 : (container >>> bit) & ((1 << bits) - 1)
}

/** The container with some bits replaced. Throws RangeError when the value does not fit. */
export function putNumberBits(container: number, bit: number, bits: number, value: number, name: string): number {
  const maximum = 2 ** bits - 1
  checkUnsigned(value, maximum, name)
  if (bits === 32) return value
  const mask = maximum << bit
  return ((container & ~mask) | (value << bit)) >>> 0
}

/** Bits of a 64-bit container. */
export function bigintBits(container: bigint, bit: number, bits: number): number {
  return Number((container >> BigInt(bit)) & ((1n << BigInt(bits)) - 1n))
}

/** The 64-bit container with some bits replaced. Throws RangeError when the value does not fit. */
export function putBigintBits(container: bigint, bit: number, bits: number, value: number, name: string): bigint {
  const maximum = 2 ** bits - 1
  checkUnsigned(value, maximum, name)
  const mask = ((1n << BigInt(bits)) - 1n) << BigInt(bit)
  return (container & ~mask) | (BigInt(value) << BigInt(bit))
}
