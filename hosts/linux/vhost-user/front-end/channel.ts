/** A front-end's side of the connection: requests in order, and their replies. */
import { FeatureSet, type ProtocolRequest, type Struct, viewOf } from 'virtgen/codegen/v1/wire'
import { type Context, vhost_user } from 'virtgen/protocol/vhost-user'
import { DriverError } from 'virtgen/runtime'
import { VHOST_USER_PROTOCOL_F_REPLY_ACK } from 'virtgen/wire/vhost-user'
import type { UnixSocket } from '../../system/index.ts'
import { type AwaitedReply, hasBit, type Reply, ReplyReader } from '../message-reader.ts'
import { encodeRequest, type RequestMessage, type RequestValue } from '../messages.ts'
import { ProtocolError } from '../protocol-error.ts'

interface Waiting {
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: DriverError) => void
}

type Pending = AwaitedReply & Waiting

export class FrontEndChannel {
  /** Called once, when nothing can be asked any more though nobody has closed it here. */
  onFailure: ((error: DriverError) => void) | undefined
  #context: Context = { features: FeatureSet.empty, caller: { protocol_features: 0, postcopy: 0 } }
  readonly #socket: UnixSocket
  readonly #reader: ReplyReader
  readonly #timeout: number
  readonly #pending: Pending[] = []
  #timer: NodeJS.Timeout | undefined
  #failure: DriverError | undefined

  /** @param timeout - milliseconds for each answer */
  constructor(socket: UnixSocket, timeout: number) {
    this.#socket = socket
    this.#timeout = timeout
    this.#reader = new ReplyReader(() => this.#pending[0])
    socket.onReadable = () => this.#read()
    socket.onClose = (cause) => this.#gone('the back-end has closed the connection', cause)
  }

  /** What is in use: layouts of messages depend on it. */
  get context(): Context {
    return this.#context
  }

  /** From the next request on. */
  set context(context: Context) {
    this.#context = context
  }

  /** Why nothing can be asked any more. */
  get failure(): DriverError | undefined {
    return this.#failure
  }

  has(protocolFeature: number): boolean {
    return hasBit(this.#context.caller.protocol_features, protocolFeature)
  }

  /**
   * Sends a request that has a reply. The descriptors stay the caller's; those of the reply are.
   *
   * @throws DriverError `gone`, `closed` (as a rejection)
   */
  async ask<E extends ProtocolRequest>(
    entry: E,
    value: RequestValue<E>,
    fds: readonly number[] = [],
  ): Promise<{ reply: ReturnType<E['reply']>; fds: readonly number[] }> {
    if (this.#failure !== undefined) throw this.#failure
    const answer = await new Promise<Reply>((resolve, reject) => this.#post(entry, value, fds, false, { resolve, reject }))
    return answer as { reply: ReturnType<E['reply']>; fds: readonly number[] }
  }

  /**
   * Sends a request that has none. With VHOST_USER_PROTOCOL_F_REPLY_ACK the back-end says whether it has done it: where it has not, the connection fails.
   * What a failed connection is told, goes nowhere.
   */
  tell<E extends ProtocolRequest>(entry: E, value: RequestValue<E>, fds: readonly number[] = []): void {
    if (this.#failure !== undefined) return
    const needReply = this.has(VHOST_USER_PROTOCOL_F_REPLY_ACK)
    if (!(needReply || entry.answers(this.#context))) this.#post(entry, value, fds, false)
    else this.#post(entry, value, fds, needReply, { resolve: ({ reply }) => this.#acknowledged(entry, reply), reject: () => {} })
  }

  /**
   * Waits until the back-end has done all that it was told before: it does one after the other.
   *
   * @throws DriverError `gone`, `closed` (as a rejection)
   */
  async settled(): Promise<void> {
    await this.ask(vhost_user.get_features, {})
  }

  /** Ends it: all that is asked rejects. */
  fail(error: DriverError): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    clearTimeout(this.#timer)
    this.#reader.close()
    this.#socket.close()
    for (const { reject } of this.#pending.splice(0)) reject(error)
    this.onFailure?.(error)
  }

  /** Ends it as the back-end has broken the protocol. */
  broken(cause: ProtocolError): void {
    this.#gone('the back-end cannot be used', cause)
  }

  /** Ends it from here. */
  close(): void {
    this.onFailure = undefined
    this.fail(new DriverError('closed', 'the connection to the back-end is closed'))
  }

  #post(entry: ProtocolRequest, value: object, fds: readonly number[], needReply: boolean, waiting?: Waiting): void {
    const context = this.#context
    const bytes = encodeRequest(entry, value, context, needReply)
    if (waiting !== undefined) this.#await({ message: messageOf(entry, bytes, needReply, context), context, ...waiting })
    this.#socket.send(bytes, fds)
  }

  #acknowledged({ constant }: ProtocolRequest, reply: Struct & { result?: bigint }): void {
    if (reply.result !== 0n) this.broken(new ProtocolError('refused', `the back-end refuses it (${reply.result})`, constant))
  }

  #await(pending: Pending): void {
    this.#pending.push(pending)
    if (this.#pending.length === 1) this.#startTimer()
  }

  /** One timer, for the reply that is next. */
  #startTimer(): void {
    clearTimeout(this.#timer)
    const [next] = this.#pending
    if (next === undefined) return
    const { constant } = next.message.entry
    this.#timer = setTimeout(() => this.broken(new ProtocolError('late', `no answer in ${this.#timeout} ms`, constant)), this.#timeout)
  }

  #read(): void {
    for (let reply = this.#reader.read(this.#socket); reply !== undefined; reply = this.#reader.read(this.#socket)) {
      if (reply instanceof ProtocolError) {
        this.broken(reply)
        return
      }
      this.#pending.shift()?.resolve(reply)
      this.#startTimer()
    }
  }

  #gone(what: string, cause: Error | undefined): void {
    const because = cause === undefined ? '' : `: ${cause.message}`
    this.fail(new DriverError('gone', what + because, undefined, cause && { cause }))
  }
}

/** What a request that is sent says of the layout of its reply. */
function messageOf(entry: ProtocolRequest, bytes: Uint8Array, needReply: boolean, context: Context): RequestMessage {
  const request = entry.request(context)
  request.at(viewOf(bytes))
  return { name: entry.name, entry, request, needReply, bytes, fds: [] }
}
