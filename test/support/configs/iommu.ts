import * as fc from 'fast-check'

export const config = (random: fc.GeneratorValue) => {
  const start = random(fc.nat, 0xffff)
  return {
    page_size_mask: 0xffff_ffff_ffff_f000n,
    domain_range: { start, end: start + random(fc.nat, 0xffff) },
    probe_size: random(fc.integer, { min: 0, max: 10 }) * 8,
    bypass: random(fc.nat, { max: 1 }),
  }
}
