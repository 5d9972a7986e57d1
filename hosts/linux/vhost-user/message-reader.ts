/** Messages of vhost-user out of a stream of bytes and descriptors, which the other side may cut anywhere. */
import { type MessageSize, type Struct, viewOf } from 'virtgen/codegen/v1/wire'
import type { Context, vhost_user } from 'virtgen/protocol/vhost-user'
import { VhostUserReplyHeader, vhost_user_limits, vhost_user_version } from 'virtgen/wire/vhost-user'
import { closeFd } from '../system/index.ts'
import { accessorOver, headerSize, type MessageOf, type RequestMessage, type RequestTable } from './messages.ts'
import { ProtocolError } from './protocol-error.ts'

/** Where bytes and descriptors come from: a `UnixSocket`. */
export interface ByteSource {
  /** What is there, as far as there is room; undefined where nothing is there now. */
  receive(into: Uint8Array): { readonly length: number; readonly fds: readonly number[] } | undefined
}

/** What a header announces: how long the message may be, header included, and how it is told from others in errors. */
interface Announced extends MessageSize {
  readonly constant: string
}

/** What the requests of a table can look like at most, where the description does not bound them. A page of configuration space is more than any device has. */
const mostBytes = headerSize + 0x1100

/**
 * Cuts a stream into messages. It never takes bytes of two messages at once: so each descriptor belongs to the message whose bytes it came with, also where the
 * other side sends several in one piece.
 */
abstract class FrameReader<T> {
  readonly #header = new VhostUserReplyHeader()
  readonly #close: (fd: number) => void
  #bytes = new Uint8Array(headerSize)
  #filled = 0
  #fds: number[] = []
  #announced: Announced | undefined
  #error: ProtocolError | undefined

  constructor(close: (fd: number) => void) {
    this.#close = close
  }

  /** A message has begun and not ended. */
  get isInside(): boolean {
    return this.#filled > 0 || this.#fds.length > 0
  }

  /** What a message with that header must be like. */
  protected abstract announce(header: VhostUserReplyHeader): Announced | ProtocolError
  /** The whole message. The descriptors are closed unless it is taken. */
  protected abstract finish(bytes: Uint8Array, fds: number[]): T | ProtocolError

  /**
   * The next message, or what is wrong with it: then nothing is read any more, and the descriptors that came with it are closed.
   *
   * @returns undefined where it is not all there yet
   */
  read(source: ByteSource): T | ProtocolError | undefined {
    for (;;) {
      if (this.#error !== undefined) return this.#error
      if (this.#filled === this.#bytes.length) {
        const result = this.#full()
        if (result !== undefined) return result
        continue
      }
      const received = source.receive(this.#bytes.subarray(this.#filled))
      if (received === undefined) return undefined
      this.#filled += received.length
      this.#fds.push(...received.fds)
      if (this.#fds.length > vhost_user_limits.vhost_user_max_regions)
        return this.#fail(
          new ProtocolError('descriptors', `${this.#fds.length} descriptors are more than any message has`, this.#announced?.constant),
        )
    }
  }

  /** Closes the descriptors of a message that has not ended. */
  close(): void {
    this.#error ??= new ProtocolError('closed', 'nothing is read any more')
    this.#closeFds()
  }

  /** Header or message is there: makes room for the payload, or hands the message out. */
  #full(): T | ProtocolError | undefined {
    this.#announced ??= this.#announcement()
    if (this.#error !== undefined) return this.#error
    const { size } = this.#header.at(viewOf(this.#bytes))
    const length = headerSize + size
    if (this.#bytes.length < length) {
      const bytes = new Uint8Array(length)
      bytes.set(this.#bytes)
      this.#bytes = bytes
      return undefined
    }
    const result = this.finish(this.#bytes, this.#fds)
    if (result instanceof ProtocolError) return this.#fail(result)
    this.#bytes = new Uint8Array(headerSize)
    this.#filled = 0
    this.#fds = []
    this.#announced = undefined
    return result
  }

  #announcement(): Announced | undefined {
    const header = this.#header.at(viewOf(this.#bytes))
    const announced = this.announce(header)
    if (announced instanceof ProtocolError) {
      this.#fail(announced)
      return undefined
    }
    const length = headerSize + header.size
    if (length >= announced.least && length <= Math.min(announced.most, mostBytes)) return announced
    this.#fail(new ProtocolError('size', `a payload of ${header.size} bytes cannot be`, announced.constant))
    return undefined
  }

  #fail(error: ProtocolError): ProtocolError {
    this.#error = error
    this.#closeFds()
    return error
  }

  #closeFds(): void {
    for (const fd of this.#fds.splice(0)) this.#close(fd)
  }
}

/** How requests are read. */
export interface MessageReaderOptions<T extends RequestTable> {
  /** Requests that there are. */
  readonly table: T
  /** What is negotiated now. */
  readonly context: () => Context
  /** Closes a descriptor of a message that is refused; `closeFd` by default. */
  readonly close?: (fd: number) => void
}

/** "The back-end MUST close the file descriptor" that comes with VHOST_USER_REM_MEM_REG, which needs none. */
const ignoresDescriptors: ReadonlySet<string> = new Set<keyof typeof vhost_user>(['rem_mem_reg'])

/** Reads requests, each checked for its size and its descriptors. */
export class MessageReader<T extends RequestTable> extends FrameReader<MessageOf<T>> {
  readonly #entries: ReadonlyMap<number, T[keyof T]>
  readonly #context: () => Context
  readonly #closeFd: (fd: number) => void

  constructor({ table, context, close = closeFd }: MessageReaderOptions<T>) {
    super(close)
    this.#entries = new Map((Object.values(table) as T[keyof T][]).map((entry) => [entry.id, entry]))
    this.#context = context
    this.#closeFd = close
  }

  protected override announce(header: VhostUserReplyHeader): Announced | ProtocolError {
    const entry = this.#entries.get(header.request)
    if (entry === undefined) return new ProtocolError('unknown-request', `there is no request ${header.request}`)
    const { constant, protocolFeature, size } = entry
    const wrong = checkHeader(header, false, constant)
    if (wrong !== undefined) return wrong
    if (protocolFeature !== undefined && !hasBit(this.#context().caller.protocol_features, protocolFeature))
      return new ProtocolError('not-negotiated', `protocol feature ${protocolFeature} is not in use`, constant)
    return { constant, ...size }
  }

  protected override finish(bytes: Uint8Array, fds: number[]): MessageOf<T> | ProtocolError {
    const context = this.#context()
    const header = new VhostUserReplyHeader().at(viewOf(bytes))
    const entry = this.#entries.get(header.request) as T[keyof T]
    const request = accessorOver(entry.request(context), bytes, entry.open === true)
    if (request === undefined) return wrongSize(bytes, entry.constant)
    if (ignoresDescriptors.has(entry.name)) for (const fd of fds.splice(0)) this.#closeFd(fd)
    const wrong = checkDescriptors(fds, entry.fds(request, context), entry.constant)
    if (wrong !== undefined) return wrong
    const needReply = header.flags_need_reply !== 0
    const message: RequestMessage = { name: entry.name, entry, request, needReply, bytes, fds }
    return message as MessageOf<T>
  }
}

/** A reply that is waited for. */
export interface AwaitedReply {
  readonly message: RequestMessage
  /** What was negotiated when the request was sent. */
  readonly context: Context
}

/** What came back: the accessor that the request's entry has for it, over bytes of its own. The descriptors are the reader's, to close. */
export interface Reply {
  readonly reply: Struct
  readonly fds: readonly number[]
}

/** Reads replies, which come in the order of the requests. */
export class ReplyReader extends FrameReader<Reply> {
  readonly #awaited: () => AwaitedReply | undefined

  /** @param awaited - the request whose reply is next */
  constructor(awaited: () => AwaitedReply | undefined, close: (fd: number) => void = closeFd) {
    super(close)
    this.#awaited = awaited
  }

  protected override announce(header: VhostUserReplyHeader): Announced | ProtocolError {
    const awaited = this.#awaited()
    if (awaited === undefined) return new ProtocolError('unexpected', `nobody asked for a reply to request ${header.request}`)
    const { entry } = awaited.message
    const wrong = checkHeader(header, true, entry.constant)
    if (wrong !== undefined) return wrong
    if (header.request !== entry.id)
      return new ProtocolError('unexpected', `a reply to request ${header.request} stands in its place`, entry.constant)
    if (entry.answers(awaited.context)) return { constant: entry.constant, ...entry.replySize }
    return { constant: entry.constant, least: headerSize, most: mostBytes }
  }

  protected override finish(bytes: Uint8Array, fds: number[]): Reply | ProtocolError {
    const awaited = this.#awaited() as AwaitedReply
    const { entry } = awaited.message
    const reply = accessorOver(this.#accessor(awaited), bytes, entry.open === true)
    if (reply === undefined) return wrongSize(bytes, entry.constant)
    return checkDescriptors(fds, entry.replyFds(reply, awaited.context), entry.constant) ?? { reply, fds }
  }

  #accessor({ message: { entry, request }, context }: AwaitedReply): Struct {
    return entry.reply(context, request)
  }
}

/** True where the set of bits has that one. */
export function hasBit(bits: number, bit: number): boolean {
  return Math.floor(bits / 2 ** bit) % 2 === 1
}

function checkHeader(header: VhostUserReplyHeader, isReply: boolean, constant: string): ProtocolError | undefined {
  const fail = (detail: string): ProtocolError => new ProtocolError('header', detail, constant)
  const wanted = vhost_user_version.vhost_user_protocol_version
  if (header.flags_version !== wanted) return fail(`version ${header.flags_version} of the protocol is not version ${wanted}`)
  if ((header.flags_reply !== 0) !== isReply) return fail(isReply ? 'this is no reply' : 'this is a reply')
  return undefined
}

function wrongSize(bytes: Uint8Array, constant: string): ProtocolError {
  return new ProtocolError('size', `a payload of ${bytes.length - headerSize} bytes is not what it says`, constant)
}

function checkDescriptors(fds: readonly number[], wanted: number, constant: string): ProtocolError | undefined {
  if (fds.length === wanted) return undefined
  return new ProtocolError('descriptors', `${fds.length} descriptors came, not ${wanted}`, constant)
}
