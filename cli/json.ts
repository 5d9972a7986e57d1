/** JSON of what the model holds: a bigint is a decimal string, bytes are hexadecimal digits. */
export function toJson(value: unknown): string {
  return JSON.stringify(
    value,
    (_, item: unknown) => (typeof item === 'bigint' ? item.toString() : item instanceof Uint8Array ? hexDigits(item) : item),
    2,
  )
}

/** Two digits per byte. */
export function hexDigits(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}
