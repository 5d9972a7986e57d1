import * as fc from 'fast-check'

export const config = (random: fc.GeneratorValue) => ({ num_pages: 1000, free_page_hint_cmd_id: random(fc.nat, { max: 5 }) })
