/** The configuration space behind a transport. VIRTIO 1.4, Basic Facilities of a Virtio Device / Device Configuration Space. */
import type { FeatureSet } from 'virtgen/codegen/v1/wire'
import type { ConfigField } from '../config-space.ts'
import { type DriverConfig, DriverError, type DriverType } from './host.ts'
import type { DriverTransport } from './transport.ts'

/** How often the space is read before the driver gives up. */
const mostReads = 100

export class TransportConfig implements DriverConfig {
  readonly #transport: DriverTransport
  readonly #length: number
  readonly #size: ((start: Uint8Array) => number) | undefined
  readonly #isDescribed: boolean
  /** Those that can be read. */
  readonly #fields: readonly ConfigField[]
  /** Without a generation: what was read last, and how often it was found changed. */
  #last = new Uint8Array(0)
  #changes = 0
  /** Generation of what the driver knows. */
  #known = 0

  /**
   * For optional fields, the driver MUST check that the corresponding feature is offered before it reads them: others are left at 0.
   *
   * @param type - without fields: one field of words
   */
  constructor(transport: DriverTransport, type: Pick<DriverType<unknown>, 'configLength' | 'configSize' | 'configFields'>, offered: FeatureSet) {
    this.#transport = transport
    this.#length = type.configLength
    this.#size = type.configSize?.bind(type)
    const { configFields } = type
    this.#isDescribed = configFields !== undefined && configFields.length > 0
    this.#fields = (configFields ?? []).filter(({ access, exists }) => access !== 'w' && (exists?.(offered) ?? true))
  }

  /** Says whether the space may have changed since it was read, or since this was asked. */
  changed(): boolean {
    const generation = this.#generation()
    const known = this.#known
    this.#known = generation
    return generation !== known
  }

  #generation(): number {
    const { configGeneration } = this.#transport
    if (configGeneration !== undefined) return configGeneration
    const bytes = this.#readOnce()
    if (!areEqual(bytes, this.#last)) this.#changes++
    this.#last = bytes
    return this.#changes
  }

  read(): Uint8Array {
    if (this.#length === 0) return new Uint8Array(0)
    const bytes = this.#transport.legacy ? this.#readTwice() : this.#readWithGeneration()
    if (bytes) return bytes
    throw new DriverError('config', `the configuration changed during each of ${mostReads} attempts to read it`)
  }

  #readWithGeneration(): Uint8Array | undefined {
    for (let i = 0; i < mostReads; i++) {
      const before = this.#generation()
      const bytes = this.#readOnce()
      if (this.#generation() !== before) continue
      this.#known = before
      return bytes
    }
    return undefined
  }

  /** The legacy interface has no generation: drivers SHOULD read until two reads are the same (Legacy Interface: Device Configuration Space). */
  #readTwice(): Uint8Array | undefined {
    let before = this.#readOnce()
    for (let i = 1; i < mostReads; i++) {
      const bytes = this.#readOnce()
      if (areEqual(bytes, before)) {
        this.#last = bytes
        return bytes.slice()
      }
      before = bytes
    }
    return undefined
  }

  /** @throws RangeError for another width or a place outside the configuration space */
  write(offset: number, bytes: Uint8Array): void {
    const { length } = bytes
    if (![1, 2, 4, 8].includes(length)) throw new RangeError(`a field of the configuration space has 1, 2, 4 or 8 bytes, not ${length}`)
    if (!(Number.isInteger(offset) && offset >= 0 && offset + length <= this.#length))
      throw new RangeError(`a field must lie inside ${this.#length} bytes of configuration space, ${length} bytes at ${offset} do not`)
    const width = Math.min(length, 4) as 1 | 2 | 4
    for (let at = 0; at < length; at += width) this.#transport.config.write(offset + at, width, littleEndian(bytes, at, width))
  }

  #readOnce(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.#length)
    this.#readFields(bytes)
    return this.#readRest(bytes)
  }

  /** Without fields: words, as far as they are whole. */
  #readFields(bytes: Uint8Array): void {
    if (!this.#isDescribed) this.#readField(bytes, 0, bytes.length)
    for (const { offset, width } of this.#fields) this.#readField(bytes, offset, width)
  }

  /** What follows the fields, as long as they say. */
  #readRest(start: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
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
      const value = this.#transport.config.read(at, step)
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

function areEqual(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at])
}
