import * as fc from 'fast-check'

export const config = (random: fc.GeneratorValue) => ({
  num_scanouts: random(fc.integer, { min: 1, max: 16 }),
  num_capsets: random(fc.integer, { min: 1, max: 6 }),
  blob_alignment: 4096,
})
