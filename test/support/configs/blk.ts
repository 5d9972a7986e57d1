import * as fc from 'fast-check'

export const config = (random: fc.GeneratorValue) => ({
  capacity: 1000,
  num_queues: random(fc.integer, { min: 1, max: 3 }),
  max_discard_seg: 2,
  max_write_zeroes_seg: 2,
  max_secure_erase_seg: 2,
  zoned: { write_granularity: random(fc.constantFrom, 512, 4096) },
})
