import * as fc from 'fast-check'

export const config = (random: fc.GeneratorValue) => ({
  num_queues: random(fc.integer, { min: 1, max: 3 }),
  seg_max: 126,
  event_info_size: 16,
  sense_size: random(fc.constantFrom, 96, 0, 18, 252),
  cdb_size: random(fc.constantFrom, 32, 6, 16, 260),
})
