import * as fc from 'fast-check'

export const config = (random: fc.GeneratorValue) => ({
  ngpio: random(fc.integer, { min: 1, max: 0xffff }),
  gpio_names_size: random(fc.nat, { max: 300 }),
})
