import * as fc from 'fast-check'

export const config = (random: fc.GeneratorValue) => ({
  jacks: random(fc.nat, 4),
  streams: random(fc.nat, 4),
  chmaps: random(fc.nat, 4),
  controls: random(fc.nat, 8),
})
