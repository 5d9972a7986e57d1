/** A front-end that is connected: its messages in their order, and its end. */
import { vhost_user } from 'virtgen/protocol/vhost-user'
import type { DeviceControl, VirtioDevice } from 'virtgen/runtime'
import { closeFd, type Poller, type UnixSocket } from '../../system/index.ts'
import { MessageReader } from '../message-reader.ts'
import { encodeReply, type RequestMessage } from '../messages.ts'
import { ProtocolError } from '../protocol-error.ts'
import type { Neighbours, SessionOptions } from './options.ts'
import type { Answer, Message } from './requests.ts'
import { Session } from './session.ts'

/** What a refused request is answered with. */
const failure = 1n
/** Messages that are handled before anything else in this thread gets its turn. */
const mostAtOnce = 64

/** One front-end and its device. */
export class VhostUserConnection {
  readonly device: VirtioDevice
  readonly #socket: UnixSocket
  readonly #session: Session
  readonly #options: SessionOptions
  readonly #reader: MessageReader<typeof vhost_user>
  /** A message is at work. */
  #busy = false
  #closing: Promise<void> | undefined
  #resolveEnd!: (reason: Error | undefined) => void
  /** Resolves when it is over and everything is given back: with what ended it, or with undefined where one of the two sides has just closed it. */
  readonly ended: Promise<Error | undefined>

  /** @internal */
  constructor(socket: UnixSocket, device: VirtioDevice, poller: Poller, options: SessionOptions, neighbours: Neighbours) {
    this.device = device
    this.#socket = socket
    this.#options = options
    this.#session = new Session(device, poller, options, neighbours)
    this.#reader = new MessageReader({ table: vhost_user, context: () => this.#session.context })
    this.ended = new Promise((resolve) => {
      this.#resolveEnd = resolve
    })
    socket.onClose = (error) => void this.#end(error)
    socket.onReadable = () => this.#read()
  }

  /** It is being closed, or has ended. */
  get isClosing(): boolean {
    return this.#closing !== undefined
  }

  /** @internal Files of the memory that it has mapped. */
  get $files(): readonly string[] {
    return this.#session.table.regions.map(({ file }) => file)
  }

  get control(): DeviceControl {
    return this.#session.control
  }

  /**
   * Closes the connection. What the device has taken by now it can finish first; then nothing is written into the guest's memory any more.
   *
   * @param timeout - milliseconds for that; afterwards what goes on is given up, and waited for until it touches no memory of the guest. Default: as long as it takes
   */
  close(timeout?: number): Promise<void> {
    this.#socket.onReadable = undefined
    this.#closing ??= this.#drainAndEnd(timeout)
    return this.#closing
  }

  // ---- Messages

  /** What is there, one by one; a message that takes its time holds up those behind it. Who never stops sending lets others have their turn. */
  #read(): void {
    for (let count = 0; count < mostAtOnce && !this.#busy && this.#closing === undefined; count++) {
      const message = this.#reader.read(this.#socket)
      if (message === undefined) return
      if (message instanceof ProtocolError) this.#fail(message)
      else this.#take(message)
    }
  }

  #take(message: Message): void {
    const { changing } = this.#session.rings
    const work = changing === undefined ? this.#handle(message) : changing.then(() => this.#handle(message))
    if (work !== undefined) this.#wait(work)
  }

  /** A promise where that takes its time. */
  #handle(message: Message): Promise<void> | undefined {
    if (this.#closing !== undefined) {
      message.fds.forEach(closeFd)
      return undefined
    }
    try {
      const answer = this.#session.handle(message)
      if (answer instanceof Promise)
        return answer.then(
          (answer) => this.#answer(message, answer),
          (error) => this.#refuse(message, error),
        )
      this.#answer(message, answer)
    } catch (error) {
      this.#refuse(message, error)
    }
    return undefined
  }

  /** Nothing is read before that is done; then the poller tells of what has come, as promises alone would leave nobody else a turn. */
  #wait(work: Promise<void>): void {
    this.#busy = true
    this.#socket.onReadable = undefined
    const done = work.catch((error) => this.#fail(error))
    void done.then(() => {
      this.#busy = false
      if (this.#closing === undefined) this.#socket.onReadable = () => this.#read()
    })
  }

  #answer(message: Message, answer: Answer): void {
    if (answer !== undefined) {
      this.#reply(message, answer.value, answer.fds)
      answer.fds?.forEach(closeFd)
    } else if (this.#session.acknowledges(message)) this.#reply(message, { result: 0n })
  }

  #reply(message: RequestMessage, value: object, fds?: readonly number[]): void {
    this.#socket.send(encodeReply(message, value, this.#session.context), fds)
  }

  /** A request that failed, and whose front-end has asked whether it did, changes nothing else. */
  #refuse(message: Message, error: unknown): void {
    const { context } = this.#session
    if (this.#closing !== undefined) return
    if (!(error instanceof ProtocolError)) this.#fail(error as Error)
    else if (this.#session.acknowledges(message) && !message.entry.answers(context)) {
      this.#options.onProtocolError?.(error)
      this.#reply(message, { result: failure })
    } else this.#fail(error)
  }

  // ---- The end

  #fail(error: Error): void {
    if (this.#closing !== undefined) return
    if (error instanceof ProtocolError) this.#options.onProtocolError?.(error)
    else this.#options.onError?.(error)
    void this.#end(error)
  }

  async #drainAndEnd(timeout: number | undefined): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      if (timeout !== undefined) timer = setTimeout(resolve, timeout)
    })
    await Promise.race([this.#session.drain(), late])
    clearTimeout(timer)
    await this.#finish(undefined)
  }

  #end(reason: Error | undefined): Promise<void> {
    this.#closing ??= this.#finish(reason)
    return this.#closing
  }

  /** Whatever is at work is cancelled, and waited for as long as it could touch memory of the guest. */
  async #finish(reason: Error | undefined): Promise<void> {
    this.#reader.close()
    // That this closes it is no other end.
    this.#socket.onClose = undefined
    this.#socket.close()
    await this.#session.end()
    this.#resolveEnd(reason)
  }
}
