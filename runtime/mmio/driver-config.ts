/** The configuration space behind MMIO registers. VIRTIO 1.4, Basic Facilities of a Virtio Device / Device Configuration Space. */
import { virtio_mmio } from 'virtgen/wire/transport-mmio'
import type { ConfigField } from '../config-space.ts'
import { type DriverConfig, DriverError, type DriverType } from '../driver/host.ts'
import type { MmioRegisters } from './registers.ts'

/** How often the space is read before the driver gives up. */
const mostReads = 100

export class MmioConfig implements DriverConfig {
  readonly #registers: MmioRegisters
  readonly #length: number
  readonly #size: ((start: Uint8Array) => number) | undefined
  readonly #fields: readonly ConfigField[]

  /** @param type - without fields: one field of words */
  constructor(registers: MmioRegisters, type: Pick<DriverType<unknown>, 'configLength' | 'configSize' | 'configFields'>) {
    this.#registers = registers
    this.#length = type.configLength
    this.#size = type.configSize?.bind(type)
    this.#fields = type.configFields ?? []
  }

  /** Changes when the space may have changed. */
  get generation(): number {
    return this.#registers.read(virtio_mmio.ConfigGeneration)
  }

  read(): Uint8Array {
    const bytes = new Uint8Array(this.#length)
    if (this.#length === 0) return bytes
    for (let i = 0; i < mostReads; i++) {
      const before = this.generation
      this.#readAll(bytes)
      const all = this.#readRest(bytes)
      if (this.generation === before) return all
    }
    throw new DriverError('config', `the configuration changed during each of ${mostReads} attempts to read it`)
  }

  /** @throws RangeError for another width or a place outside the configuration space */
  write(offset: number, bytes: Uint8Array): void {
    const { length } = bytes
    if (![1, 2, 4, 8].includes(length)) throw new RangeError(`a field of the configuration space has 1, 2, 4 or 8 bytes, not ${length}`)
    if (!(Number.isInteger(offset) && offset >= 0 && offset + length <= this.#length))
      throw new RangeError(`a field must lie inside ${this.#length} bytes of configuration space, ${length} bytes at ${offset} do not`)
    const width = Math.min(length, 4) as 1 | 2 | 4
    for (let at = 0; at < length; at += width)
      this.#registers.bus.write(virtio_mmio.Config.offset + offset + at, width, littleEndian(bytes, at, width))
  }

  /** Without fields: words, as far as they are whole. */
  #readAll(bytes: Uint8Array): void {
    if (this.#fields.length === 0) this.#readField(bytes, 0, bytes.length)
    for (const { offset, width, access } of this.#fields) if (access !== 'w') this.#readField(bytes, offset, width)
  }

  /** What follows the fields, as long as they say. */
  #readRest(start: Uint8Array): Uint8Array {
    const size = this.#size?.(start) ?? 0
    if (size <= start.length) return start
    const bytes = new Uint8Array(size)
    bytes.set(start)
    this.#readField(bytes, start.length, size - start.length)
    return bytes
  }

  /**
   * 8 bit wide accesses for 8 bit wide fields, 16 for 16, 32 for 32 and 64, each aligned: the driver MUST use these. A field of another length is an array: its
   * elements are unknown here, hence the widest access that its place and length allow.
   */
  #readField(bytes: Uint8Array, offset: number, width: number): void {
    const step = widest(offset, width)
    for (let at = offset; at + step <= Math.min(offset + width, bytes.length); at += step) {
      const value = this.#registers.bus.read(virtio_mmio.Config.offset + at, step)
      for (let byte = 0; byte < step; byte++) bytes[at + byte] = value >>> (8 * byte)
    }
  }
}

function widest(offset: number, length: number): 1 | 2 | 4 {
  if (offset % 4 === 0 && length % 4 === 0) return 4
  return offset % 2 === 0 && length % 2 === 0 ? 2 : 1
}

function littleEndian(bytes: Uint8Array, at: number, width: number): number {
  let value = 0
  for (let byte = width - 1; byte >= 0; byte--) value = ((value << 8) | (bytes[at + byte] as number)) >>> 0
  return value
}
