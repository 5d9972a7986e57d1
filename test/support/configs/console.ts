import * as fc from 'fast-check'

export const config = (random: fc.GeneratorValue) => ({ max_nr_ports: random(fc.integer, { min: 1, max: 3 }) })
