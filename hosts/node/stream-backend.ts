/** A network at the other end of a stream socket: QEMU's `-netdev stream`, passt, or another `StreamBackend`. */
import * as net from 'node:net'
import type { NetBackend, NetCard } from 'virtgen/devices/net'
import { FrameReader, packFrame } from './frame-stream.ts'

export interface StreamOptions {
  /** Milliseconds after which a lost connection is made again, 1000 by default; false: it is not. Who listens waits for the next one anyway. */
  readonly reconnectAfter?: number | false
  /** Bytes of a frame, at most; 69632 by default, as in QEMU. Who sends a longer one is cut off. */
  readonly longest?: number
  /** Why a connection could not be made, or was lost. */
  readonly onError?: (error: Error) => void
}

/** Where the other end is: the path of a socket, or a host and a port. */
export type StreamAddress = { readonly path: string } | { readonly host?: string; readonly port: number }

const defaultReconnect = 1000
const defaultLongest = 4096 + 65_536

/**
 * Joins a guest to a stream socket. The link of the guest is down while nobody is connected. Where the guest is slower than the network, the socket is not read, and where the
 * network is slower, the guest gets its buffers back later.
 *
 * @example
 * new Net(StreamBackend.connect({ path: '/tmp/passt_1.socket' }))
 */
export class StreamBackend implements NetBackend {
  /** Resolves when it listens; at once for one that connects. */
  readonly listening: Promise<void>
  readonly #options: StreamOptions
  readonly #address: StreamAddress
  readonly #server: net.Server | undefined
  readonly #reader: FrameReader
  #card: NetCard | undefined
  #socket: net.Socket | undefined
  #connected = false
  /** Read, and not given to the card yet. */
  #rest: Buffer | undefined
  /** Resolves when the socket takes more. */
  #drained: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #closed = false
  #dropped = 0

  private constructor(address: StreamAddress, options: StreamOptions, listens: boolean) {
    const { longest = defaultLongest } = options
    if (!(Number.isInteger(longest) && longest > 0)) throw new RangeError(`longest must be an integer above 0, not ${longest}`)
    this.#address = address
    this.#options = options
    this.#reader = new FrameReader(longest)
    if (!listens) {
      this.listening = Promise.resolve()
      this.#connect()
      return
    }
    const server = net.createServer((socket) => this.#accept(socket))
    this.#server = server
    this.listening = new Promise((resolve, reject) => {
      server.once('listening', resolve)
      server.once('error', reject)
    })
    // Who does not wait for it hears of the error from the server.
    this.listening.catch(() => {})
    server.on('error', (error) => this.#options.onError?.(error))
    server.listen(address)
  }

  /** Connects, now and whenever the connection is lost. */
  static connect(address: StreamAddress, options: StreamOptions = {}): StreamBackend {
    return new StreamBackend(address, options, false)
  }

  /** Waits for one to connect; others are refused while it is there. */
  static listen(address: StreamAddress, options: StreamOptions = {}): StreamBackend {
    return new StreamBackend(address, options, true)
  }

  get connected(): boolean {
    return this.#connected
  }
  /** Frames of the guest that were dropped, as nobody was connected. */
  get dropped(): number {
    return this.#dropped
  }
  /** The port, of who listens on one. */
  get port(): number | undefined {
    const address = this.#server?.address()
    return typeof address === 'object' ? address?.port : undefined
  }

  attach(card: NetCard): void {
    this.#card = card
    if (!this.#connected) card.setCarrier(false)
    this.#deliver()
  }

  send(frame: Uint8Array): void | Promise<void> {
    const socket = this.#connected ? this.#socket : undefined
    if (socket === undefined) {
      this.#dropped++
      return
    }
    if (!socket.write(packFrame(frame)))
      this.#drained ??= new Promise((resolve) => {
        const done = (): void => {
          socket.off('drain', done)
          socket.off('close', done)
          this.#drained = undefined
          resolve()
        }
        socket.on('drain', done)
        socket.on('close', done)
      })
    return this.#drained
  }

  resume(): void {
    this.#deliver()
  }

  /** Ends the connection for good, and waits no more for another. */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#socket?.destroy()
    const server = this.#server
    if (server === undefined) return
    // One that has not found its address yet must not listen afterwards.
    await this.listening.catch(() => {})
    if (server.listening) await new Promise((resolve) => server.close(resolve))
  }

  #connect(): void {
    const socket = net.connect(this.#address)
    this.#use(socket)
    socket.once('connect', () => this.#established())
  }

  #accept(socket: net.Socket): void {
    if (this.#socket !== undefined || this.#closed) {
      socket.destroy()
      return
    }
    this.#use(socket)
    this.#established()
  }

  #use(socket: net.Socket): void {
    this.#socket = socket
    this.#reader.reset()
    this.#rest = undefined
    socket.setNoDelay(true)
    socket.on('data', (bytes) => this.#read(bytes))
    socket.on('error', (error) => this.#options.onError?.(error))
    socket.once('close', () => this.#lost())
  }

  #established(): void {
    this.#connected = true
    this.#card?.setCarrier(true)
  }

  #lost(): void {
    this.#socket = undefined
    if (this.#connected) this.#card?.setCarrier(false)
    this.#connected = false
    const { reconnectAfter = defaultReconnect } = this.#options
    if (!this.#closed && this.#server === undefined && reconnectAfter !== false) this.#timer = setTimeout(() => this.#connect(), reconnectAfter)
  }

  /** A socket that is paused may still have something. */
  #read(bytes: Buffer): void {
    this.#rest = this.#rest === undefined ? bytes : Buffer.concat([this.#rest, bytes])
    this.#deliver()
  }

  #deliver(): void {
    const socket = this.#socket
    const card = this.#card
    const bytes = this.#rest
    if (socket === undefined || bytes === undefined) return
    if (card === undefined) {
      // Nobody is there to take it: it is not read on before somebody is.
      socket.pause()
      return
    }
    // What the guest does meanwhile may lead here again.
    this.#rest = undefined
    try {
      const taken = this.#reader.read(bytes, (frame) => card.receive(frame))
      if (taken < bytes.length) {
        this.#rest = bytes.subarray(taken)
        socket.pause()
      } else socket.resume()
    } catch (error) {
      socket.destroy(error as Error)
    }
  }
}
