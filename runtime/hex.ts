/** Hexadecimal digits: numbers for people, bytes for saved states. */

/** A number with its prefix, as messages show addresses. */
export function hex(value: number): string {
  return `0x${value.toString(16)}`
}

/** Two digits for each byte, as saved states keep them. */
export function bytesToHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Fills an array from its start with what `bytesToHex` gave: as many bytes as it has. The digits are not checked. */
export function putHex(bytes: Uint8Array, digits: string): void {
  for (let at = 0; at < bytes.length; at++) bytes[at] = Number.parseInt(digits.slice(2 * at, 2 * at + 2), 16)
}
