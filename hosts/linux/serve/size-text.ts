/** Bytes for people. */

const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** `64 MiB`, `1.5 GiB`, `1536 bytes`. */
export function sizeText(bytes: number): string {
  const power = Math.min(Math.max(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), 0), units.length - 1)
  const value = bytes / 1024 ** power
  return power === 0 ? `${bytes} bytes` : `${Number(value.toPrecision(value >= 1000 ? 4 : 3))} ${units[power]}`
}
