/** Bytes decoded as a struct, also where they are too few for it. */
import type { CodecContext, DecodedField } from '../generator/codec.ts'
import type { Model, Part, Struct } from '../generator/model.ts'
import { UsageError } from './command.ts'
import type { Found } from './find-struct.ts'

export interface Decoded {
  /** Fields that the bytes hold, also those whose length claims more than there is. */
  fields: DecodedField[]
  /** Fields that are not there because their condition is false. */
  absent: DecodedField[]
  /** Fields that the bytes do not reach, wholly or in part. */
  missing: DecodedField[]
  /** Bytes that the struct takes, or would take. */
  size: number
  /** The whole value; absent where bytes are missing that the struct needs. */
  value?: unknown
}

export interface Result {
  value: unknown
  size: number
  fields: DecodedField[]
}

/** Most bytes by which a short input is extended to find out what is missing. */
const longestExtension = 4096

/**
 * @param decode - decodes the bytes it is given; throws a RangeError where they are too few
 * @throws UsageError where the context lacks something that the layout depends on
 */
export function decodeBytes(decode: (bytes: Uint8Array) => Result, struct: Struct, bytes: Uint8Array): Decoded {
  const whole = attempt(decode, bytes)
  const isFixed = struct.role === 'config' || struct.role === 'registers'
  const atLeast = isFixed ? Math.max(0, (struct.size ?? 0) - bytes.length) : 0
  if (whole !== undefined && atLeast === 0) return sorted(whole, bytes.length, whole.value)
  for (let extension = Math.max(1, atLeast); extension <= longestExtension; extension++) {
    const result = attempt(decode, extended(bytes, extension))
    if (result) return sorted(result, bytes.length, whole?.value)
  }
  throw new UsageError(`the struct needs more than ${longestExtension} bytes behind the ${bytes.length} that are there`)
}

/** Undefined where the bytes are too few. */
function attempt(decode: (bytes: Uint8Array) => Result, bytes: Uint8Array): Result | undefined {
  try {
    return decode(bytes)
  } catch (error) {
    if (error instanceof RangeError) return undefined
    const needed = error instanceof TypeError ? / needs context\.([A-Za-z]+)(?:\.(\w+))?/.exec(error.message) : null
    if (needed === null) throw error
    throw new UsageError(
      `the layout depends on more than the bytes: ${error instanceof Error ? error.message.replace('context.', '') : ''}`,
      optionFor(needed[1] as string, needed[2]),
    )
  }
}

/** How the context is given on the command line. */
function optionFor(property: string, name: string | undefined): string {
  const option = property.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
  return name === undefined ? `give it by --${option}` : `give it by --${option} '{"${name}": …}'`
}

function sorted({ fields, size }: Result, length: number, value: unknown): Decoded {
  const absent = fields.filter((field) => field.value === undefined)
  const present = fields.filter((field) => field.value !== undefined)
  const isReached = ({ offset, size: own }: DecodedField): boolean => offset + own <= length
  return {
    fields: present.filter(isReached),
    absent,
    missing: present.filter((field) => field.missing === true || !isReached(field)),
    size,
    ...(value === undefined ? {} : { value }),
  }
}

/** The bytes and zeroes behind them. */
function extended(bytes: Uint8Array, by: number): Uint8Array {
  const longer = new Uint8Array(bytes.length + by)
  longer.set(bytes)
  return longer
}

/** What `decode` prints. */
export interface DecodedView {
  model: Model
  found: Found
  struct: Struct
  part: Part | undefined
  bytes: Uint8Array
  decoded: Decoded
  context: CodecContext
}
