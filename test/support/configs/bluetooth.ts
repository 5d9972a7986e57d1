import type * as fc from 'fast-check'

export const config = (_random: fc.GeneratorValue) => ({})
