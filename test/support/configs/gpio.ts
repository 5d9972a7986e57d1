import * as fc from 'fast-check'

export const config = (random: fc.GeneratorValue) => ({
  ngpio: random(fc.integer, { min: 1, max: 0xffff }),
  // Without names as often as with them: a request depends on it.
  gpio_names_size: random(fc.boolean) ? random(fc.nat, { max: 300 }) : 0,
})
