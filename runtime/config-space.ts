/** The device-specific configuration space: a few bytes that both sides see. VIRTIO 1.4, Basic Facilities of a Virtio Device / Device Configuration Space. */
import { type FeatureSet, type Struct, viewOf } from 'virtgen/codegen/v1/wire'
import { isAccess } from './access.ts'

/** A field of the configuration space, as the driver sees it. */
export interface ConfigField {
  /** Name in the description. */
  readonly name: string
  /** Bytes from the start of the configuration space. */
  readonly offset: number
  /** Bytes. */
  readonly width: number
  /** What the driver may do: `rc` clears by reading. */
  readonly access: 'r' | 'w' | 'rw' | 'rc'
  /** What a reset of the device puts there. Absent: what was there stays. */
  readonly reset?: number
  /** Condition under which the driver may write the field. Absent: always, where `access` lets it. */
  writable?(features: FeatureSet): boolean
  /** Condition under which there is the field: a driver asks before it reads it, with the features that the device offers. Absent: always, or it cannot be told. */
  exists?(features: FeatureSet): boolean
  /** Where the field stands whose bits a written one clears, in bytes from the start; this field itself keeps nothing. */
  readonly clears?: number
}

const nothing: readonly string[] = []

/**
 * Live bytes of a configuration space. The device changes them through `update` (the driver is told) or directly through `fields` (it is not: for answers to
 * what the driver has just written); the driver reads and writes them through a transport.
 *
 * @typeParam T - the struct that the description gives for it
 */
export class ConfigSpace<T extends Struct = Struct> {
  /** The bytes as they are now. */
  readonly bytes: Uint8Array
  /** The struct over the live bytes; undefined where no accessor was given. */
  readonly fields: T | undefined
  /** Set by the transport's control: called after each `update`. */
  onChange: (() => void) | undefined
  /** @internal See `generation`. */
  $generation = 0
  readonly #described: readonly ConfigField[]

  /**
   * @param bytes - what it holds at first; copied
   * @param fields - its fields; bytes that no field covers are read-only
   * @param accessor - put over the bytes and kept
   * @param values - members to write through it, by their names; as for `encode` of the struct
   * @throws RangeError for a field that does not lie in the bytes, or bytes too few for the accessor
   */
  constructor(bytes: Uint8Array, fields: readonly ConfigField[] = [], accessor?: T, values: object = {}) {
    this.bytes = Uint8Array.from(bytes)
    for (const { name, offset, width } of fields)
      if (!(Number.isInteger(offset) && offset >= 0 && width >= 0 && offset + width <= bytes.length))
        throw new RangeError(`${name}, ${width} bytes at ${offset}, does not lie in a configuration space of ${bytes.length} bytes`)
    this.#described = fields
    this.fields = accessor?.at(viewOf(this.bytes))
    if (this.fields) assign(this.fields, values)
  }

  /** A configuration space without any byte; a new one for each device. */
  static empty(): ConfigSpace {
    return new ConfigSpace(new Uint8Array(0))
  }

  /** Bytes. */
  get length(): number {
    return this.bytes.length
  }

  /** 32 bits, wraps. Changes with each `update`, never goes back to an old value while the driver reads, also not over a reset. */
  get generation(): number {
    return this.$generation
  }

  /**
   * Device side: one consistent change. The generation grows, and the driver is told once it is ready (DRIVER_OK). What `change` throws goes to the caller; as
   * bytes may have changed by then, the driver is told nevertheless.
   *
   * @param change - gets the struct; without an accessor an object that has nothing but `$view`
   */
  update(change: (fields: T) => void): void {
    try {
      change(this.fields ?? ({ $view: viewOf(this.bytes) } as T))
    } finally {
      this.#count()
      this.onChange?.()
    }
  }

  #count(): void {
    this.$generation = (this.$generation + 1) >>> 0
  }

  /**
   * Driver side.
   *
   * @param offset - any, also misaligned or outside
   * @param width - 1, 2 or 4 bytes; others read as 0
   * @returns the unsigned little-endian number; bytes outside and those of write-only fields are 0
   */
  read(offset: number, width: number): number {
    if (!isAccess(offset, width)) return 0
    let value = 0
    for (let index = width - 1; index >= 0; index--) value = ((value << 8) | this.#readByte(offset + index)) >>> 0
    return value
  }

  #readByte(at: number): number {
    const value = this.bytes[at]
    // Fields may overlap, as in a union: a byte is hidden only where every field over it is write-only.
    const over = this.#described.filter(({ offset, width }) => offset <= at && at < offset + width)
    if (value === undefined || (over.length > 0 && over.every(({ access }) => access === 'w'))) return 0
    if (over.some(({ access }) => access === 'rc')) this.bytes[at] = 0
    return value
  }

  /**
   * Driver side. Only bytes of fields that the driver may write change; everything else stays, without any word.
   *
   * @param width - 1, 2 or 4 bytes at any offset; a write of another width changes nothing
   * @param value - taken as an unsigned number of that many bytes
   * @param features - what the fields' conditions are asked about
   * @returns the fields that were written, in the order of the description; also where they held the same value before, as for some a write is an event
   */
  write(offset: number, width: number, value: number, features: FeatureSet): readonly string[] {
    if (!isAccess(offset, width)) return nothing
    let written: string[] | undefined
    for (const field of this.#described) {
      const start = Math.max(offset, field.offset)
      const end = Math.min(offset + width, field.offset + field.width)
      if (start >= end || !mayWrite(field, features)) continue
      for (let at = start; at < end; at++) {
        const byte = (value >>> (8 * (at - offset))) & 0xff
        if (field.clears === undefined) this.bytes[at] = byte
        else this.bytes[field.clears + at - field.offset]! &= ~byte
      }
      written ??= []
      written.push(field.name)
    }
    return written ?? nothing
  }

  /** The driver has reset the device: fields with a value after reset get it. The driver is not told. */
  reset(): void {
    let changes = false
    for (const { offset, width, reset } of this.#described) {
      for (let at = 0; reset !== undefined && at < width; at++) {
        const byte = Math.floor(reset / 2 ** (8 * at)) & 0xff
        changes ||= this.bytes[offset + at] !== byte
        this.bytes[offset + at] = byte
      }
    }
    if (changes) this.#count()
  }
}

function mayWrite({ access, writable }: ConfigField, features: FeatureSet): boolean {
  return (access === 'w' || access === 'rw') && (writable?.(features) ?? true)
}

/** Writes members, those of nested structs one by one. */
function assign(struct: object, values: object): void {
  const place = struct as Record<string, unknown>
  for (const [name, value] of Object.entries(values)) {
    if (typeof value === 'object' && !(value instanceof Uint8Array)) assign(place[name] as object, value)
    else if (value !== undefined) place[name] = value
  }
}
