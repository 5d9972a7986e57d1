/** The socket through which the back-end tells its front-end something. vhost-user protocol, Back-end message types. */
import { closeFd, type Poller, UnixSocket } from '../../system/index.ts'
import { ProtocolError } from '../protocol-error.ts'

const room = new Uint8Array(4096)

/** Requests go out; nobody asks for answers, and what comes nevertheless is dropped. */
export class BackendChannel {
  readonly #socket: UnixSocket

  private constructor(socket: UnixSocket) {
    this.#socket = socket
  }

  /**
   * @param fd - belongs to the channel, unless this throws
   * @throws ProtocolError where it is no socket
   */
  static open(poller: Poller, fd: number): BackendChannel {
    const socket = new UnixSocket(poller, fd)
    try {
      // Otherwise nobody would hear that the other side has closed it.
      socket.onReadable = () => socket.receive(room)?.fds.forEach(closeFd)
    } catch (cause) {
      throw new ProtocolError('descriptors', 'requests of the back-end go through a socket', undefined, { cause })
    }
    return new BackendChannel(socket)
  }

  send(request: Uint8Array): void {
    this.#socket.send(request)
  }

  close(): void {
    this.#socket.close()
  }
}
