import * as fc from 'fast-check'

export const config = (random: fc.GeneratorValue) => ({
  jacks: random(fc.integer, { min: 1, max: 4 }),
  streams: random(fc.integer, { min: 1, max: 4 }),
  chmaps: random(fc.integer, { min: 1, max: 4 }),
  controls: random(fc.integer, { min: 1, max: 8 }),
})
