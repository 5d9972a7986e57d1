/** Text in columns. */
import { visibleLength } from './paint.ts'

/** Rows with their columns under each other, two spaces apart; the last column is not padded. Columns that are empty in every row are left out. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = []
  for (const row of rows) {
    for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, visibleLength(cell))
  }
  return rows.map((row) =>
    row
      .flatMap((cell, index) => (widths[index] === 0 ? [] : [cell + ' '.repeat((widths[index] as number) - visibleLength(cell))]))
      .join('  ')
      .trimEnd(),
  )
}

/** `1 field`, `2 fields`. */
export function counted(count: number, noun: string): string {
  const plural = /[^aeiou]y$/.test(noun) ? `${noun.slice(0, -1)}ies` : `${noun}s`
  return `${count.toLocaleString('en-US')} ${count === 1 ? noun : plural}`
}
