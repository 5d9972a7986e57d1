/** A back-end for whoever connects. */
import type { VirtioDevice } from 'virtgen/runtime'
import { Poller, UnixListener, UnixSocket } from '../../system/index.ts'
import { VhostUserConnection } from './connection.ts'
import type { Neighbours, SessionOptions } from './options.ts'

export interface VhostUserServerOptions extends SessionOptions {
  /** The device of a connection: a new one for each. */
  readonly device: () => VirtioDevice
  /** Connections at a time, 64 by default. Those above wait for one that is just being closed, or are closed at once (`onError`). */
  readonly maxConnections?: number
  /** Who may connect, as for chmod. Default: what the umask leaves. */
  readonly mode?: number
  /** Milliseconds that requests have to finish when the server is closed. Default: as long as they take. */
  readonly drainTimeout?: number
  readonly onConnection?: (connection: VhostUserConnection) => void
  /** It is over, and nothing of it is at work any more. `reason`: what ended it, unless one of the two sides has just closed it. */
  readonly onDisconnect?: (connection: VhostUserConnection, reason: Error | undefined) => void
  /** What watches the descriptors. That of the thread by default. */
  readonly poller?: Poller
}

const defaultMost = 64

/**
 * Serves devices to hypervisors and other drivers over vhost-user.
 *
 * @example
 * const server = new VhostUserServer({ device: () => new Rng() })
 * server.listen('/tmp/rng.sock')
 */
export class VhostUserServer implements Neighbours {
  readonly #options: VhostUserServerOptions
  readonly #poller: Poller
  readonly #listeners = new Set<UnixListener>()
  readonly #connections = new Set<VhostUserConnection>()
  /** Nothing of theirs is read before a connection that is being closed is over. */
  readonly #waiting: UnixSocket[] = []
  #closed = false

  constructor(options: VhostUserServerOptions) {
    this.#options = options
    this.#poller = options.poller ?? Poller.shared
  }

  /** Those that are open, or not yet at rest. */
  get connections(): readonly VhostUserConnection[] {
    return [...this.#connections]
  }

  /**
   * Waits at a path for front-ends to connect.
   *
   * @throws SystemError where something else is there, RangeError for a path that no socket can have
   */
  listen(path: string): void {
    this.#requireOpen()
    const { mode, onError } = this.#options
    const onConnection = (socket: UnixSocket): void => void this.#adopt(socket)
    this.#listeners.add(new UnixListener(this.#poller, path, { onConnection, ...(mode !== undefined && { mode }), ...(onError && { onError }) }))
  }

  /**
   * Connects to a front-end that waits at a path.
   *
   * @throws SystemError where nobody does
   */
  connect(path: string): VhostUserConnection | undefined {
    this.#requireOpen()
    return this.#adopt(UnixSocket.connect(this.#poller, path))
  }

  /**
   * Takes a socket that is connected already.
   *
   * @param fd - belongs to the server from now on
   */
  adopt(fd: number): VhostUserConnection | undefined {
    this.#requireOpen()
    return this.#adopt(new UnixSocket(this.#poller, fd))
  }

  /** Takes no more connections, and closes those that are there: see {@link VhostUserConnection.close}. Afterwards nothing is written into the memory of any guest. */
  async close(): Promise<void> {
    this.#closed = true
    for (const listener of this.#listeners) listener.close()
    this.#listeners.clear()
    for (const socket of this.#waiting.splice(0)) socket.close()
    await Promise.all(this.connections.map((connection) => connection.close(this.#options.drainTimeout)))
  }

  #requireOpen(): void {
    if (this.#closed) throw new TypeError('this server is closed')
  }

  #adopt(socket: UnixSocket): VhostUserConnection | undefined {
    const { maxConnections = defaultMost } = this.#options
    if (this.#connections.size < maxConnections) return this.#begin(socket)
    // Who connects again at once finds its former connection still at work.
    const places = this.connections.filter(({ isClosing }) => isClosing).length
    if (this.#waiting.length < places) this.#waiting.push(socket)
    else {
      socket.close()
      this.#options.onError?.(new Error(`a front-end was sent away: there are ${maxConnections} already, and no more are allowed`))
    }
    return undefined
  }

  #begin(socket: UnixSocket): VhostUserConnection | undefined {
    const { device, onConnection, onError } = this.#options
    let connection: VhostUserConnection
    try {
      connection = new VhostUserConnection(socket, device(), this.#poller, this.#options, this)
    } catch (error) {
      socket.close()
      if (onError === undefined) throw error
      onError(error)
      return undefined
    }
    this.#connections.add(connection)
    void connection.ended.then((reason) => this.#over(connection, reason))
    onConnection?.(connection)
    return connection
  }

  #over(connection: VhostUserConnection, reason: Error | undefined): void {
    this.#connections.delete(connection)
    this.#options.onDisconnect?.(connection, reason)
    const next = this.#waiting.shift()
    if (next !== undefined) this.#adopt(next)
  }

  /** @internal See `Neighbours`. */
  atRest(files: readonly string[]): Promise<unknown> | undefined {
    const others = this.connections.filter(({ isClosing, $files }) => isClosing && $files.some((file) => files.includes(file)))
    return others.length === 0 ? undefined : Promise.all(others.map(({ ended }) => ended))
  }
}
