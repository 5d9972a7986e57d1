/** Accesses of a guest to registers and configuration spaces. */

/** Says whether this is one: 1, 2 or 4 bytes at a place from 0 on. Wider ones are several, as the VMM cuts them. */
export function isAccess(at: number, width: number): boolean {
  return Number.isInteger(at) && at >= 0 && (width === 1 || width === 2 || width === 4)
}
