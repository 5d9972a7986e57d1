/** The checksum of the Internet: RFC 1071. */
import type { Offload } from './backend.ts'

/** Adds 16-bit words, big-endian, with the carry added at the low end; an odd byte counts as the upper half of a word. Sums of several parts add up where each has an even length. */
export function sum16(bytes: Uint8Array, start: number, end: number, seed = 0): number {
  let sum = seed
  let at = start
  for (const last = end - 1; at < last; at += 2) sum += (bytes[at]! << 8) | bytes[at + 1]!
  if (at < end) sum += bytes[at]! << 8
  return fold(sum)
}

/** @param sum - below 2^32 */
export function fold(sum: number): number {
  let folded = (sum & 0xffff) + (sum >>> 16)
  folded = (folded & 0xffff) + (folded >>> 16)
  return folded
}

/** Writes the checksum where it is missing. */
export function putChecksum(frame: Uint8Array, { checksumStart, checksumOffset }: Offload): void {
  const at = checksumStart + checksumOffset
  const sum = ~sum16(frame, checksumStart, frame.length) & 0xffff
  // All ones are the other zero; to UDP, a zero says that there is no checksum (RFC 768).
  put16(frame, at, sum === 0 ? 0xffff : sum)
}

export function get16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!
}

export function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8
  bytes[at + 1] = value
}

export function get32(bytes: Uint8Array, at: number): number {
  return ((get16(bytes, at) << 16) | get16(bytes, at + 2)) >>> 0
}

export function put32(bytes: Uint8Array, at: number, value: number): void {
  put16(bytes, at, value >>> 16)
  put16(bytes, at + 2, value & 0xffff)
}
