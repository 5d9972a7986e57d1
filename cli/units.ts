/** Quantities in words. */

/** Bytes per unit, where the specification fixes it. */
const bytesPer: Readonly<Record<string, number>> = { byte: 1, sector: 512, page: 4096 }
/** Units that are written as they are, without a plural. */
const symbols: ReadonlySet<string> = new Set(['us', 'ms', 'ns', 's', 'Mbit/s', 'Hz', 'percent'])
const prefixes = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB']

/** `131072 sectors (64 MiB)`; an address is hexadecimal, `log2` says what it means. */
export function withUnit(value: number | bigint, unit: string): string {
  if (unit === 'address') return `0x${value.toString(16)}`
  if (unit === 'log2') return value < 64 ? `${value} (2^${value} = ${2n ** BigInt(value)})` : String(value)
  if (symbols.has(unit)) return `${value} ${unit}`
  const amount = `${value} ${unit}${Number(value) === 1 ? '' : 's'}`
  const factor = bytesPer[unit]
  const total = factor === undefined ? undefined : BigInt(value) * BigInt(factor)
  if (total === undefined || total < 1024n) return unit !== 'byte' && total !== undefined && total > 0n ? `${amount} (${total} bytes)` : amount
  return `${amount} (${binarySize(total)})`
}

/** How a layout says the unit of a field: `in sectors`. */
export function unitWords(unit: string): string {
  if (unit === 'address' || unit === 'log2') return unit
  return `in ${symbols.has(unit) ? unit : `${unit}s`}`
}

/** `64 MiB`; `≈ 1.5 GiB` where it is not exact. */
export function binarySize(bytes: bigint): string {
  let power = 0
  let whole = bytes
  while (whole >= 1024n && power < prefixes.length - 1) {
    whole /= 1024n
    power++
  }
  const scaled = Math.round(Number((bytes * 1000n) / 1024n ** BigInt(power)) / 10) / 100
  const isExact = BigInt(Math.round(scaled * 100)) * 1024n ** BigInt(power) === bytes * 100n
  return `${isExact ? '' : '≈ '}${scaled} ${prefixes[power]}`
}
