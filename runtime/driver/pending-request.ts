/** A request of a driver client, from its values to the promise's end. */
import { type Struct, viewOf } from 'virtgen/codegen/v1/wire'
import type { DeviceAddress } from '../queue.ts'
import {
  isSuccess,
  type LayoutInfo,
  type MessageInfo,
  type PayloadInfo,
  type RequestContext,
  type RequestInfo,
  type StatusInfo,
} from '../request/message.ts'
import { type ValueStruct, writeSelected } from '../request/select.ts'
import type { Violation } from '../violation.ts'
import type { BufferPool } from './buffer-pool.ts'
import { type DriverError, RequestError } from './host.ts'
import type { DmaBuffer } from './memory.ts'
import { Payload, payloadMistake } from './payload.ts'
import { replyValue } from './reply-value.ts'
import type { ClientBuffer, ServedQueue } from './served-queue.ts'

/** What our user gives with a request. */
export interface RequestArguments {
  readonly fields: object | undefined
  readonly readable: Uint8Array | DmaBuffer | undefined
  readonly writable: Uint8Array | DmaBuffer | number | undefined
}

const nothing = new Uint8Array(0)

/**
 * The buffer of a request: device-readable header members, payload, header suffix; device-writable reply members, payload, reply suffix; each where it has bytes.
 * Header and reply are made and read in memory of our own; driver memory only carries them.
 */
export class PendingRequest implements ClientBuffer {
  readonly promise: Promise<unknown>
  readonly #message: MessageInfo
  readonly #info: RequestInfo
  readonly #context: RequestContext
  readonly #headerBytes: Uint8Array
  readonly #header: Struct | undefined
  /** Length of the header's framed member. */
  readonly #framed: number
  /** Of the configuration as it was when the request was sent. */
  readonly #reply: Struct | undefined
  /** Bytes of the reply's members, and how many of them the device must write. */
  readonly #replyLength: number
  readonly #replyNeeds: number
  readonly #readable: Payload | undefined
  readonly #writable: Payload | undefined
  /** Driver memory of header and reply. */
  #members: DmaBuffer | undefined
  #resolve!: (value: unknown) => void
  #reject!: (error: unknown) => void

  /** @throws TypeError or RangeError for what does not fit the request */
  constructor(message: MessageInfo, info: RequestInfo, context: RequestContext, { fields, readable, writable }: RequestArguments) {
    this.#message = message
    this.#info = info
    this.#context = context
    this.#framed = framedLength(info, context, fields)
    this.#header = headerOf(message, info, context, fields, this.#framed)
    this.#headerBytes = this.#header === undefined ? nothing : bytesOf(this.#header)
    this.#readable = payloadOf(info, info.readable, readable, 'device-readable', context)
    const claimed = this.#header && info.readable?.claim?.get(this.#header)
    if (claimed !== undefined && claimed > (this.#readable?.length ?? 0))
      throw new RangeError(`${info.name}: ${claimed} bytes of ${info.readable?.name} are to count, and there are ${this.#readable?.length ?? 0}`)
    const open = info.writable === undefined && typeof writable === 'number'
    this.#reply = info.reply?.create(context, 0, info.reply.usesHeader ? this.#header : undefined)
    this.#replyNeeds = this.#reply === undefined ? 0 : leastLength(this.#reply)
    this.#replyLength = open ? writable : this.#replyNeeds
    if (open && !(Number.isSafeInteger(writable) && writable >= this.#replyNeeds))
      throw new RangeError(`the reply of ${info.name} has ${this.#replyNeeds} bytes or more, not ${writable}`)
    this.#writable = open ? undefined : payloadOf(info, info.writable, writable, 'device-writable', context)
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  add(served: ServedQueue): boolean {
    if (served.queue.free === 0) return false
    let added = false
    try {
      this.#place(served.pool)
      added = served.queue.add(this.#readablePieces(served.pool), this.#writablePieces(served.pool), this)
    } finally {
      // What waits keeps no memory.
      if (!added) this.release(served)
    }
    return added
  }

  used(served: ServedQueue, written: number): Violation | undefined {
    if (written === 0 && this.#info.onlyFailures) {
      this.#resolve(undefined)
      this.release(served)
      return undefined
    }
    if (written < this.#replyNeeds) return this.#short(served, written)
    const length = Math.min(written, this.#replyLength)
    const reply = this.#info.reply && this.#copyReply(this.#info.reply, length)
    const status = this.#statusInfo
    if (status !== undefined && reply !== undefined && !isSuccess(status, status.get!(reply))) this.#refused(status, reply)
    else this.#succeeded(status, reply, written - length)
    this.release(served)
    return undefined
  }

  reject(error: DriverError): void {
    this.#reject(error)
  }

  release({ pool }: ServedQueue): void {
    if (this.#members !== undefined) pool.give(this.#members)
    this.#members = undefined
    this.#readable?.release(pool)
    this.#writable?.release(pool)
  }

  get #statusInfo(): StatusInfo | undefined {
    return this.#info.status ?? this.#message.status
  }

  /**
   * The device may answer a request that it refuses with less than the reply of this kind of request: with nothing, or with what all replies have. Where that stands at
   * the end of the part, the used length, which counts from its start and may be too low, need not reach it: an error is believed even so, a success is not.
   */
  #short(served: ServedQueue, written: number): Violation | undefined {
    const status = this.#statusInfo
    if (written === 0 && (status === undefined || status.unknown === 'none')) {
      this.#reject(new RequestError(this.#info.name, -1, 'nothing: it does not know the request', undefined))
      this.release(served)
      return undefined
    }
    const layout = this.#info.refusal ?? this.#message.reply ?? this.#info.reply
    if (status !== undefined && layout !== undefined && layout.usesHeader === undefined) {
      const least = layout.create(this.#context, 0, undefined).$minimum
      const reply = written < least && layout.suffix === 0 ? undefined : this.#copyReply(layout, least)
      if (reply !== undefined && !isSuccess(status, status.get!(reply))) {
        this.#refused(status, reply)
        this.release(served)
        return undefined
      }
    }
    const detail = `${this.#info.name}: the device wrote ${written} bytes, its reply has ${this.#replyNeeds}`
    return { kind: 'used-length', queue: served.info.index, detail }
  }

  #succeeded(status: StatusInfo | undefined, reply: Struct | undefined, written: number): void {
    try {
      this.#resolve(this.#result(status, reply, written))
    } catch (error) {
      // Our user has freed or detached the payload's memory.
      this.#reject(error)
    }
  }

  #refused(status: StatusInfo, reply: Struct): void {
    const value = status.get!(reply)
    this.#reject(new RequestError(this.#info.name, value, status.names?.[value], reply))
  }

  #result(status: StatusInfo | undefined, reply: Struct | undefined, written: number): unknown {
    if (this.#info.onlyFailures) return undefined
    const value = reply && replyValue(this.#info, status, reply)
    if (this.#info.writable === undefined) return value
    const bytes = this.#writable?.result(Math.min(written, this.#writable.length)) ?? nothing.slice()
    return { ...value, [this.#info.writable.name]: bytes }
  }

  /** Copies the reply out of driver memory, where the device could change it while we look. Members behind the payload are at the end of the whole part. */
  #copyReply(layout: LayoutInfo, length: number): Struct {
    const copy = new Uint8Array(length)
    const prefix = length - layout.suffix
    if (this.#members !== undefined) {
      const shared = this.#members.bytes
      const start = this.#replyAt
      copy.set(shared.subarray(start, start + prefix))
      copy.set(shared.subarray(start + this.#replyLength - layout.suffix, start + this.#replyLength), prefix)
    }
    const reply = layout === this.#info.reply ? this.#reply : undefined
    return (reply ?? layout.create(this.#context, 0, undefined)).at(viewOf(copy))
  }

  /** Where the reply begins in the memory of the members; words of it are aligned as in the struct. */
  get #replyAt(): number {
    return Math.ceil(this.#headerBytes.length / 8) * 8
  }

  #place(pool: BufferPool): void {
    const length = this.#replyAt + this.#replyLength
    if (length === 0) return
    this.#members = pool.take(length)
    this.#members.bytes.set(this.#headerBytes)
  }

  #readablePieces(pool: BufferPool): DeviceAddress[] {
    const pieces: DeviceAddress[] = []
    const { length } = this.#headerBytes
    const payload = this.#readable?.place(pool, true)
    // Without a payload between them, prefix and suffix are one piece.
    const suffix = payload === undefined ? 0 : (this.#info.header?.suffix ?? 0)
    const framedAt = this.#info.header?.framedAt ?? 0
    const framedEnd = framedAt + this.#framed
    this.#addMembers(pieces, 0, framedAt)
    this.#addMembers(pieces, framedAt, framedEnd)
    this.#addMembers(pieces, framedEnd, length - suffix)
    if (payload !== undefined) pieces.push(payload)
    this.#addMembers(pieces, length - suffix, length)
    return pieces
  }

  #writablePieces(pool: BufferPool): DeviceAddress[] {
    const pieces: DeviceAddress[] = []
    const start = this.#replyAt
    const end = start + this.#replyLength
    const payload = this.#writable?.place(pool, false)
    const suffix = payload === undefined ? 0 : (this.#info.reply?.suffix ?? 0)
    this.#addMembers(pieces, start, end - suffix)
    if (payload !== undefined) pieces.push(payload)
    this.#addMembers(pieces, end - suffix, end)
    return pieces
  }

  #addMembers(pieces: DeviceAddress[], start: number, end: number): void {
    if (end > start && this.#members !== undefined) pieces.push({ address: this.#members.address + start, length: end - start })
  }
}

function headerOf(message: MessageInfo, info: RequestInfo, context: RequestContext, fields: object | undefined, framed: number): Struct | undefined {
  if (info.header === undefined) {
    requireNegotiated(info, context, undefined)
    if (fields !== undefined && Object.keys(fields).length > 0)
      throw new TypeError(`${info.name} has no members, but ${Object.keys(fields).join(', ')} is given`)
    return undefined
  }
  const header = info.header.create(context, framed, undefined) as ValueStruct
  const length = info.header.sizeOf?.({ ...info.values, ...fields }, context) ?? header.$minimum
  header.at(viewOf(new Uint8Array(length)))
  writeSelected(message, info, header, fields)
  if (info.when?.(context, header) === false) info.mark?.(header)
  requireNegotiated(info, context, header)
  if (info.check?.(header, context) === false)
    throw new RangeError(`${info.name}: a member is out of the range, or of the length, that the specification gives`)
  return header
}

/** Conditions may look at the header too. */
function requireNegotiated(info: RequestInfo, context: RequestContext, header: Struct | undefined): void {
  if (info.when?.(context, header) === false) throw new RangeError(`${info.name} does not exist with the negotiated features ${context.features}`)
}

/** The framed member is what a value takes beyond the members that are always there. */
function framedLength({ header, values }: RequestInfo, context: RequestContext, fields: object | undefined): number {
  if (header?.framedAt === undefined || header.sizeOf === undefined) return 0
  return header.sizeOf({ ...values, ...fields }, context) - header.create(context, 0, undefined).$minimum
}

/** Bytes of a reply as far as the header decides; one that is open has the least. */
function leastLength(reply: Struct): number {
  const least = reply.$minimum
  return Math.max(least, reply.at(viewOf(new Uint8Array(least))).$size)
}

function payloadOf(
  { name }: RequestInfo,
  info: PayloadInfo | undefined,
  source: Uint8Array | DmaBuffer | number | undefined,
  part: string,
  context: RequestContext,
): Payload | undefined {
  if (info === undefined) {
    if (source !== undefined) throw new TypeError(`${name} has no ${part} payload, but one is given`)
    return undefined
  }
  const payload = source === undefined ? undefined : new Payload(source, `${name}.${info.name}`)
  const mistake = payloadMistake(info, payload?.length ?? 0, context)
  if (mistake !== undefined) throw new RangeError(`${name}: ${mistake}`)
  return payload
}

function bytesOf(struct: Struct): Uint8Array {
  return new Uint8Array(struct.$view.buffer, struct.$view.byteOffset, struct.$view.byteLength)
}
