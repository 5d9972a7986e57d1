/** What an access finds where nobody answers. */

/** Ones in every bit of that many bytes; 32 of them for a width that no access has. */
export function allOnes(width: number): number {
  return width === 1 ? 0xff : width === 2 ? 0xffff : 0xffff_ffff
}
