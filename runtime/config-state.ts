/** The bytes of a configuration space as a snapshot keeps them. */
import type { ConfigSpace } from './config-space.ts'
import { bytesToHex, putHex } from './hex.ts'
import { wrong } from './saved-value.ts'

/** The bytes as hexadecimal digits. */
export function saveConfig(config: ConfigSpace): string {
  return bytesToHex(config.bytes)
}

/**
 * Takes over saved bytes; the driver is not told.
 *
 * @param hex - what `saveConfig` gave
 * @param generation - so that a driver in the middle of reading sees no change where there is none
 * @throws StateError unless these are the digits of as many bytes
 */
export function restoreConfig(config: ConfigSpace, hex: string, generation: number = config.generation): void {
  const { bytes } = config
  if (typeof hex !== 'string' || hex.length !== bytes.length * 2 || !/^[0-9a-f]*$/i.test(hex))
    wrong('config', hex, `${bytes.length * 2} hexadecimal digits, for a configuration space of ${bytes.length} bytes`)
  if (!Number.isInteger(generation) || generation < 0 || generation > 0xffff_ffff)
    wrong('configGeneration', generation, 'an integer from 0 to 4294967295')
  putHex(bytes, hex)
  config.$generation = generation
}
