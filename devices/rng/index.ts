/** `virtgen/devices/rng`: an entropy device. */
export { type EntropySource, Rng, type RngOptions } from './rng.ts'
