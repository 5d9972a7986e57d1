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

/**
 * Where a decoded value differs from an expected one, as dotted paths.
 *
 * @param extras - what the decoded value may have more: nothing but zeros and empty things, or (where one view of several was given) anything
 */
export function differences(actual: unknown, expected: unknown, extras: 'blank' | 'any' = 'blank', path = ''): string[] {
  if (isRecord(actual) && isRecord(expected)) {
    const names = [...new Set([...Object.keys(actual), ...Object.keys(expected)])]
    return names.flatMap((name) => {
      const at = path === '' ? name : `${path}.${name}`
      if (!(name in expected)) return extras === 'any' || isBlank(actual[name]) ? [] : [`${at} is ${show(actual[name])}, and nothing is expected`]
      return differences(actual[name], expected[name], extras, at)
    })
  }
  if (Array.isArray(actual) && Array.isArray(expected) && actual.length === expected.length) {
    return actual.flatMap((item, index) => differences(item, expected[index], extras, `${path}[${index}]`))
  }
  const wanted = actual instanceof Uint8Array && Array.isArray(expected) ? Uint8Array.from(expected as number[]) : expected
  return show(toPlain(actual)) === show(toPlain(wanted)) ? [] : [`${path} is ${show(actual)}, not ${show(expected)}`]
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
}

function isBlank(value: unknown): boolean {
  if (value instanceof Uint8Array) return value.every((byte) => byte === 0)
  if (Array.isArray(value)) return value.every(isBlank)
  if (isRecord(value)) return Object.values(value).every(isBlank)
  return value === 0 || value === 0n || value === undefined
}

function show(value: unknown): string {
  return JSON.stringify(toPlain(value)) ?? 'undefined'
}
