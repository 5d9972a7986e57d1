import * as fc from 'fast-check'

export const config = (random: fc.GeneratorValue) => ({
  capacity: random(fc.integer, { min: 0, max: 0x80 }),
  max_wr_cnt: random(fc.constantFrom, 0, 1, 2, 32, 255),
  max_rd_cnt: random(fc.constantFrom, 0, 1, 2, 32, 255),
})
