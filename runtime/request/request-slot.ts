/** The reusable object behind a request: copies the header out of the guest's buffer and the reply into it. */
import type { Struct } from 'virtgen/codegen/v1/wire'
import type { Chain, ReadableBytes, WritableBytes } from '../chain.ts'
import type { RequestParts } from './device-request.ts'
import type { LayoutInfo, QueueInfo, RequestContext, RequestInfo } from './message.ts'
import { Storage } from './storage.ts'

/** What a slot tells its device. */
export interface RequestOwner {
  finish(slot: RequestSlot, status: number | undefined): void
  failed(slot: RequestSlot, error: unknown): void
}

export class RequestSlot implements RequestParts {
  info!: RequestInfo
  queue!: QueueInfo
  /** What every request of the message begins with, where something in it decides. */
  frame: Struct | undefined
  header: Struct | undefined
  reply: Struct | undefined
  replyLength = 0
  readonly chain: Chain
  readable!: ReadableBytes
  writable!: WritableBytes
  // The cursors, once they show the payload alone, do not tell the lengths of the parts any more.
  #readableLength = 0
  #writableLength = 0
  /** Bytes at the end of the device-writable part that belong to the reply. */
  #suffix = 0
  readonly #owner: RequestOwner
  readonly #context: RequestContext
  readonly #headerStorage = new Storage(64)
  readonly #replyStorage = new Storage(64)
  readonly #accessors = new Map<LayoutInfo, Struct>()
  // Most requests are like the one before.
  #headerLayout: LayoutInfo | undefined
  #headerStruct: Struct | undefined
  #replyLayout: LayoutInfo | undefined
  #replyStruct: Struct | undefined

  constructor(owner: RequestOwner, context: RequestContext, chain: Chain) {
    this.#owner = owner
    this.#context = context
    this.chain = chain
  }

  get cancelled(): boolean {
    return this.chain.cancelled
  }

  /** Bytes of the whole device-readable part. */
  get readableLength(): number {
    return this.#readableLength
  }

  /** Bytes of the whole device-writable part. */
  get writableLength(): number {
    return this.#writableLength
  }

  complete(status?: number): void {
    this.#owner.finish(this, status)
  }

  fail(error: unknown): void {
    this.#owner.failed(this, error)
  }

  /** Begins with a chain that was just taken. */
  begin(queue: QueueInfo): void {
    this.queue = queue
    this.frame = undefined
    this.header = undefined
    this.reply = undefined
    this.replyLength = 0
    this.#suffix = 0
    this.readable = this.chain.readable
    this.writable = this.chain.writable
    this.#readableLength = this.readable.$total
    this.#writableLength = this.writable.$total
  }

  #headerOf(layout: LayoutInfo, framed: number): Struct {
    if (layout === this.#headerLayout) return this.#headerStruct!
    const header = this.#accessor(layout, framed, undefined)
    if (layout.framedAt === undefined && layout.outdated === undefined) {
      this.#headerLayout = layout
      this.#headerStruct = header
    }
    return header
  }

  #replyOf(layout: LayoutInfo): Struct {
    if (layout === this.#replyLayout) return this.#replyStruct!
    const header = layout.usesHeader ? this.header : undefined
    const reply = this.#accessor(layout, 0, header)
    if (header === undefined && layout.framedAt === undefined && layout.outdated === undefined) {
      this.#replyLayout = layout
      this.#replyStruct = reply
    }
    return reply
  }

  #accessor(layout: LayoutInfo, framed: number, header: Struct | undefined): Struct {
    if (layout.framedAt !== undefined || header !== undefined) return layout.create(this.#context, framed, header)
    const known = this.#accessors.get(layout)
    if (known !== undefined && layout.outdated?.(known, this.#context) !== true) return known
    const made = layout.create(this.#context, framed, header)
    this.#accessors.set(layout, made)
    return made
  }

  /** Copies the members that every request begins with. Undefined where the buffer is too short for them. */
  readFrame(layout: LayoutInfo): Struct | undefined {
    const frame = this.#headerOf(layout, 0)
    const length = frame.$minimum
    if (this.#readableLength < length) return undefined
    this.#copyHeader(length)
    this.frame = frame
    this.#headerStorage.place(frame, length)
    return frame
  }

  /** Continues the copy up to `length` bytes: no byte of the guest's is read twice. */
  #copyHeader(length: number): void {
    this.#headerStorage.reserve(length)
    const { position } = this.readable
    if (length > position) this.readable.copyTo(this.#headerStorage.bytes, position, length)
  }

  /**
   * Copies the device-readable members of a request and lays bare its payload.
   *
   * @param limit - most bytes to copy where the length is the driver's choice
   * @returns false where the buffer does not have the length that the request has
   */
  readHeader({ header: layout, readable: payload, restIgnored }: RequestInfo, limit: number): boolean {
    const total = this.#readableLength
    if (layout === undefined) {
      this.header = undefined
      this.readable.$window(0, payload ? total : 0)
      return payload !== undefined || total === 0
    }
    const { frame } = this
    // What every request begins with is all of it, mostly.
    if (frame !== undefined && layout === this.#headerLayout && frame === this.#headerStruct && frame.$size === frame.$minimum) {
      const length = frame.$length
      this.header = frame
      this.readable.$window(length, payload ? total : length)
      return payload !== undefined || restIgnored === true || total === length
    }
    const framed = layout.framedAt === undefined || layout.framedAt >= total ? 0 : this.readable.descriptorLength(layout.framedAt)
    const header = this.#headerOf(layout, framed)
    const least = header.$minimum
    if (payload !== undefined && layout.suffix === 0 && total >= least) {
      this.#copyHeader(least)
      this.#headerStorage.place(header, least)
      // Nothing in it says that it is longer: most headers are of one length.
      if (header.$size === least) {
        this.header = header
        this.readable.$window(least, total)
        return true
      }
    }
    const length = payload === undefined && !restIgnored ? total : this.#prefix(header, layout.suffix)
    if (length < header.$minimum || length > total || length > Math.max(limit, header.$minimum)) return false
    this.#copyHeader(length - layout.suffix)
    this.#headerStorage.reserve(length)
    if (layout.suffix > 0) this.readable.$window(total - layout.suffix, total).copyTo(this.#headerStorage.bytes, length - layout.suffix, length)
    this.header = header.at(this.#headerStorage.view, 0, length)
    this.readable.$window(length - layout.suffix, payload ? total - layout.suffix : length - layout.suffix)
    return header.$size === length
  }

  /** Length of the members in front of and behind a payload: what the first of them say. */
  #prefix(header: Struct, suffix: number): number {
    const least = header.$minimum
    if (this.#readableLength < least) return least
    this.#copyHeader(least - suffix)
    this.#headerStorage.reserve(least)
    return header.at(this.#headerStorage.view, 0, least).$size
  }

  /**
   * Makes room for the device-writable members of a request and lays bare its payload.
   *
   * @returns false where the buffer does not have the length that the request has
   */
  prepareReply({ reply: layout, writable, replyOptional }: RequestInfo, limit: number): boolean {
    const total = this.#writableLength
    const payload = writable !== undefined
    this.reply = undefined
    this.#suffix = 0
    this.replyLength = 0
    if (layout === undefined) {
      this.writable.$window(0, payload ? total : 0)
      return payload || total === 0
    }
    const reply = this.#replyOf(layout)
    if (total === 0 && replyOptional) {
      this.reply = this.#place(layout, reply, reply.$minimum)
      this.writable.window(0, 0)
      return true
    }
    if (total < reply.$minimum) return false
    const least = this.#place(layout, reply, reply.$minimum).$size
    // The header says how long it is: nothing is reserved that the buffer has no room for.
    if (total < least || least > Math.max(limit, reply.$minimum)) return false
    const isOpen = !payload && this.#place(layout, reply, Math.max(least, Math.min(total, limit))).$size !== least
    const length = isOpen ? Math.min(total, Math.max(limit, least)) : least
    // Members at the end of the part leave no bytes between that nobody has a name for.
    if (!payload && !isOpen && layout.suffix > 0 && total !== length) return false
    this.reply = reply.$length === length ? reply : this.#place(layout, reply, length)
    this.#suffix = layout.suffix
    this.replyLength = length
    this.writable.$window(length - layout.suffix, payload ? total - layout.suffix : length - layout.suffix)
    return true
  }

  /**
   * Makes room for a status and what must stand beside it, where the request is none.
   *
   * @param statusEnd - what there must be room for, by default all of it
   */
  prepareRefusal(layout: LayoutInfo, statusEnd: number | undefined): boolean {
    if (layout.usesHeader) return false
    const reply = this.#accessor(layout, 0, undefined)
    const { $minimum: whole } = reply
    const least = layout.suffix > 0 ? whole : (statusEnd ?? whole)
    if (this.#writableLength < least) return false
    this.reply = this.#place(layout, reply, whole)
    this.replyLength = Math.min(whole, this.#writableLength)
    this.#suffix = layout.suffix
    this.writable.window(0, 0)
    return true
  }

  /** An error is answered with what all replies have, and no more; a payload that is written stays, and what stands around it. */
  shrink(layout: LayoutInfo): void {
    if (layout.usesHeader || this.writable.written > 0) return
    this.replyLength = Math.min(this.replyLength, this.#accessor(layout, 0, undefined).$minimum)
    this.#suffix = 0
  }

  #place(layout: LayoutInfo, reply: Struct, length: number): Struct {
    this.#replyStorage.reserve(length)
    this.#replyStorage.clear(length)
    this.#replyStorage.place(reply, length)
    if (layout.fill !== undefined) layout.fill(reply)
    return reply
  }

  /** The number of bytes of the device-writable part that are written in the end. */
  get writtenLength(): number {
    return this.#membersLength() + this.writable.written
  }

  // A method: the engine calls private accessors by way of its runtime.
  #membersLength(): number {
    return this.reply === undefined || this.#writableLength === 0 ? 0 : Math.min(this.replyLength, this.reply.$length)
  }

  /**
   * Copies the reply into the buffer. Gives the number of bytes of the device-writable part that are written: a driver takes from it how long the payload is. The text
   * promises the driver that so many bytes from the start of the part are written (split-ring.tex, The Virtqueue Used Ring); where a payload leaves a gap before the
   * members at the end, as when a read fails, that many bytes of the gap are written, too.
   */
  writeReply(): number {
    if (this.reply === undefined || this.#writableLength === 0) return this.writable.written
    const length = this.#membersLength()
    const { bytes } = this.#replyStorage
    const suffix = this.#suffix
    const prefix = length - suffix
    const payload = this.writable.written
    if (prefix > 0) this.writable.$putAt(0, bytes, 0, prefix)
    if (suffix > 0) {
      const gap = Math.min(suffix, this.#writableLength - length - payload)
      if (gap > 0) this.writable.$putAt(prefix + payload, new Uint8Array(gap), 0, gap)
      this.writable.$putAt(this.#writableLength - suffix, bytes, this.reply.$length - suffix, this.reply.$length)
    }
    return length + payload
  }
}
