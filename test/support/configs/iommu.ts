import * as fc from 'fast-check'

export const config = (random: fc.GeneratorValue) => ({
  page_size_mask: 0xffff_ffff_ffff_f000n,
  probe_size: random(fc.integer, { min: 0, max: 10 }) * 8,
  bypass: random(fc.nat, { max: 1 }),
})
