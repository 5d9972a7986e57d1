import * as fc from 'fast-check'

export const config = (random: fc.GeneratorValue) => ({
  max_virtqueue_pairs: random(fc.integer, { min: 1, max: 3 }),
  rss_max_key_size: 40,
  rss_max_indirection_table_length: 128,
})
