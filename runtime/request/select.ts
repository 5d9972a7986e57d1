/** Which request a buffer holds. */
import type { Struct } from 'virtgen/codegen/v1/wire'
import type { MessageInfo, RequestContext, RequestInfo } from './message.ts'

/** What all generated accessors have besides the cursor. */
export type ValueStruct = Struct & { $get(): object; $set(value: object): unknown }

/** What of a buffer may decide besides the frame. */
interface Parts {
  readonly readable: { readonly length: number }
  readonly writable: { readonly length: number }
}

/**
 * The request that the deciding fields select, or, where a message has none, the first one whose condition holds and whose parts are those of the buffer.
 * Undefined for one that is not known or not negotiated.
 */
export function requestOf(message: MessageInfo, frame: Struct | undefined, parts: Parts, context: RequestContext): RequestInfo | undefined {
  for (const info of message.requests) {
    if (info.is.length > 0 && !isSelected(info, message, frame)) continue
    if (info.is.length === 0 && message.requests.length > 1 && !hasParts(info, parts)) continue
    if (info.when === undefined || info.when(context, frame)) return info
  }
  return undefined
}

/** The request that the deciding fields select although its condition does not hold, where it has a status of its own for that. */
export function refusedBy(message: MessageInfo, frame: Struct | undefined): RequestInfo | undefined {
  return message.requests.find((info) => info.status !== undefined && info.is.length > 0 && isSelected(info, message, frame))
}

/** Writes a value together with what selects the request or event: nothing else may select it. */
export function writeSelected(message: MessageInfo, info: RequestInfo, struct: ValueStruct, value: object = {}): void {
  const { values: selecting = {} } = info
  if (info.is.length === 0 && isEmpty(selecting)) {
    struct.$set(value)
    return
  }
  // First, as other members may depend on it.
  struct.$set(selecting)
  const deciding: Record<string, unknown> = {}
  const rest: Record<string, unknown> = {}
  for (const [name, member] of Object.entries(value)) (name in selecting ? deciding : rest)[name] = member
  struct.$set(deciding)
  const [values] = info.is
  // Flags may stand beside the value that selects.
  if (message.select !== undefined && values !== undefined) message.select(struct, values)
  else struct.$set(selecting)
  struct.$set(rest)
}

/** It has no members. */
export function isEmpty(value: object): boolean {
  for (const _ in value) return false
  return true
}

function isSelected({ is }: RequestInfo, { by }: MessageInfo, frame: Struct | undefined): boolean {
  if (frame === undefined) return false
  for (const values of is) {
    let level = 0
    while (level < by.length && (by[level] as (frame: Struct) => number)(frame) === values[level]) level++
    if (level === by.length) return true
  }
  return false
}

function hasParts({ header, readable, reply, writable }: RequestInfo, parts: Parts): boolean {
  const needsReadable = header !== undefined || readable !== undefined
  const needsWritable = reply !== undefined || writable !== undefined
  return needsReadable === parts.readable.length > 0 && needsWritable === parts.writable.length > 0
}
