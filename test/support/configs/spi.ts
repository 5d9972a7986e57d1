import * as fc from 'fast-check'

export const config = (random: fc.GeneratorValue) => ({ cs_max_number: random(fc.nat, 255) })
