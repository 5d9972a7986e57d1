import * as fc from 'fast-check'

export const config = (random: fc.GeneratorValue) => ({
  num_request_queues: random(fc.integer, { min: 1, max: 3 }),
  notify_buf_size: random(fc.integer, { min: 16, max: 4096 }),
})
