import type * as fc from 'fast-check'

export const config = (_random: fc.GeneratorValue) => ({ start: 0x1_4000_0000, size: 0x1000_0000 })
