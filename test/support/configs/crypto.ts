import * as fc from 'fast-check'

export const config = (random: fc.GeneratorValue) => ({
  crypto_services: random(fc.integer, { min: 0, max: 0x3f }),
  max_dataqueues: random(fc.integer, { min: 1, max: 3 }),
  max_cipher_key_len: random(fc.integer, { min: 0, max: 64 }),
  max_auth_key_len: random(fc.integer, { min: 0, max: 64 }),
  max_size: 65_536,
})
