const units = ['B', 'KiB', 'MiB'] as const

/** A number of bytes, for people. */
export function sizeText(bytes: number): string {
  const unit = bytes < 1024 ? 0 : bytes < 2 ** 20 ? 1 : 2
  return `${(bytes / 1024 ** unit).toFixed(unit === 2 ? 1 : 0)} ${units[unit]}`
}
