/** The integer types of the language. */
import type { IntegerName, IntegerType } from '../model.ts'

export const integers: Readonly<Record<IntegerName, IntegerType>> = {
  u8: { kind: 'integer', name: 'u8', bytes: 1, endian: 'none' },
  char: { kind: 'integer', name: 'char', bytes: 1, endian: 'none' },
  le8: { kind: 'integer', name: 'le8', bytes: 1, endian: 'none' },
  le16: { kind: 'integer', name: 'le16', bytes: 2, endian: 'le' },
  le32: { kind: 'integer', name: 'le32', bytes: 4, endian: 'le' },
  le64: { kind: 'integer', name: 'le64', bytes: 8, endian: 'le' },
  be16: { kind: 'integer', name: 'be16', bytes: 2, endian: 'be' },
  be32: { kind: 'integer', name: 'be32', bytes: 4, endian: 'be' },
  be64: { kind: 'integer', name: 'be64', bytes: 8, endian: 'be' },
  u16: { kind: 'integer', name: 'u16', bytes: 2, endian: 'native' },
  u32: { kind: 'integer', name: 'u32', bytes: 4, endian: 'native' },
  u64: { kind: 'integer', name: 'u64', bytes: 8, endian: 'native' },
}

/** The integer type of a name, if it is one. */
export function integerOf(name: string | undefined): IntegerType | undefined {
  return name !== undefined && Object.hasOwn(integers, name) ? integers[name as IntegerName] : undefined
}
