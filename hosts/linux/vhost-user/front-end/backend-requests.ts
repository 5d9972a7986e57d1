/** What a back-end asks of its own accord, over a socket that it was given (VHOST_USER_PROTOCOL_F_BACKEND_REQ). */
import { type Context, vhost_user, vhost_user_backend } from 'virtgen/protocol/vhost-user'
import { closeFd, type Poller, socketPair, UnixSocket } from '../../system/index.ts'
import { MessageReader } from '../message-reader.ts'
import { encodeReply, isAnswered, type MessageOf, type RequestMessage } from '../messages.ts'
import { ProtocolError } from '../protocol-error.ts'
import type { FrontEndChannel } from './channel.ts'

export interface BackendRequestsEvents {
  /** The configuration space has changed. */
  readonly onConfigChange: () => void
  /** The back-end broke the protocol there. */
  readonly onError: (error: ProtocolError) => void
}

export class BackendRequests {
  readonly #socket: UnixSocket
  readonly #reader: MessageReader<typeof vhost_user_backend>
  readonly #context: () => Context
  readonly #events: BackendRequestsEvents

  /** Makes the socket and gives its other end to the back-end. @throws SystemError */
  constructor(poller: Poller, channel: FrontEndChannel, events: BackendRequestsEvents) {
    const [ours, theirs] = socketPair()
    this.#socket = new UnixSocket(poller, ours)
    this.#context = () => channel.context
    this.#events = events
    this.#reader = new MessageReader({ table: vhost_user_backend, context: this.#context })
    this.#socket.onReadable = () => this.#read()
    channel.tell(vhost_user.set_backend_req_fd, {}, [theirs])
    closeFd(theirs)
  }

  close(): void {
    this.#reader.close()
    this.#socket.close()
  }

  #read(): void {
    for (let message = this.#reader.read(this.#socket); message !== undefined; message = this.#reader.read(this.#socket)) {
      if (message instanceof ProtocolError) {
        this.close()
        this.#events.onError(message)
        return
      }
      this.#handle(message)
    }
  }

  #handle(message: MessageOf<typeof vhost_user_backend>): void {
    message.fds.forEach(closeFd)
    if (message.name === 'backend_config_change_msg') this.#events.onConfigChange()
    const result = message.name === 'backend_config_change_msg' ? 0n : 1n
    const context = this.#context()
    if (isAnswered(message, context)) this.#socket.send(encodeReply(message as RequestMessage<typeof message.entry>, { result }, context))
  }
}
