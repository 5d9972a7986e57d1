/** What an access finds where nobody answers. */

/** Ones in every bit of that many bytes; 32 of them for a width that no access has. */
export function allOnes(width: number): number {
  return width === 1 ? 0xff : width === 2 ? 0xffff : 0xffff_ffff
}

/** Widths that accesses of PCI have here. 64-bit accesses are two, as the VMM cuts them. */
export function isAccess(at: number, width: number): boolean {
  return Number.isInteger(at) && at >= 0 && (width === 1 || width === 2 || width === 4)
}
