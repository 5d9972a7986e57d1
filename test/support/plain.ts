/** Decoded values as YAML and JSON write them: bytes as hexadecimal digits, 64-bit integers as numbers, beyond 2^53 as hexadecimal text. */

export function toPlain(value: unknown): unknown {
  if (value instanceof Uint8Array) return toHex(value)
  if (typeof value === 'bigint') return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : `0x${value.toString(16).padStart(16, '0')}`
  if (Array.isArray(value)) return value.map(toPlain)
  if (typeof value !== 'object' || value === null) return value
  // No arm is selected: JSON has no undefined.
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, name === 'arm' && item === undefined ? null : toPlain(item)]))
}

/** The other way round for what `encodeStruct` does not take as it is. */
export function fromPlain(value: unknown): unknown {
  if (typeof value === 'string' && /^0x[0-9a-f]{16}$/.test(value)) return BigInt(value)
  if (Array.isArray(value)) return value.map(fromPlain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, name === 'arm' && item === null ? undefined : fromPlain(item)]))
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

export function fromHex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(/\s+/g, ''), 'hex'))
}
