import type * as fc from 'fast-check'

export const config = (_random: fc.GeneratorValue) => ({ tag_len: 4, tag: Uint8Array.of(0x68, 0x6f, 0x6d, 0x65) })
