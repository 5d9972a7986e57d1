/** A network behind a WebSocket: each binary message is a frame. Relays for emulators in pages speak this. */
import { hostTimers, type Timers } from '../timers.ts'
import type { NetBackend, NetCard } from './backend.ts'
import { copyOf } from './ethernet.ts'

/** What is used of a WebSocket: that of browsers, of Node from 22 on, or of a package. */
export interface WebSocketLike {
  binaryType: string
  readonly bufferedAmount: number
  onopen: ((event: never) => void) | null
  onmessage: ((event: never) => void) | null
  onclose: ((event: never) => void) | null
  onerror: ((event: never) => void) | null
  send(data: Uint8Array): void
  close(): void
}

export interface WebSocketOptions {
  /** How a connection is made; the global `WebSocket` by default. */
  readonly connect?: (url: string) => WebSocketLike
  /** Milliseconds after which a lost connection is made again, 1000 by default; false: it is not. */
  readonly reconnectAfter?: number | false
  /** Bytes that may wait in the socket, 1 MiB by default. Frames beyond are dropped: a WebSocket does not say when there is room. */
  readonly mostBuffered?: number
  /** Those of the host by default. */
  readonly timers?: Timers
}

interface Host {
  readonly WebSocket?: new (url: string) => WebSocketLike
}
const host = globalThis as unknown as Host

const defaultReconnect = 1000
const defaultBuffered = 0x10_0000

/**
 * Joins a guest to the network at the other end of a WebSocket. The link of the guest is down while there is no connection.
 *
 * @example
 * new Net(new WebSocketBackend('wss://relay.example/net'))
 */
export class WebSocketBackend implements NetBackend {
  readonly url: string
  readonly #options: WebSocketOptions
  readonly #timers: Timers
  #card: NetCard | undefined
  #socket: WebSocketLike | undefined
  #connected = false
  #timer: unknown
  #closed = false
  #dropped = 0

  constructor(url: string, options: WebSocketOptions = {}) {
    this.url = url
    this.#options = options
    this.#timers = options.timers ?? hostTimers
  }

  get connected(): boolean {
    return this.#connected
  }
  /** Frames of the guest that were dropped, as there was no connection or no room. */
  get dropped(): number {
    return this.#dropped
  }

  /** @throws TypeError where there is no `WebSocket`, SyntaxError for a URL that is none */
  attach(card: NetCard): void {
    this.#card = card
    card.setCarrier(false)
    this.#connect()
  }

  send(frame: Uint8Array): void {
    const socket = this.#connected ? this.#socket : undefined
    if (socket === undefined || socket.bufferedAmount > (this.#options.mostBuffered ?? defaultBuffered)) this.#dropped++
    // A copy: what a socket is given, it may read later.
    else socket.send(copyOf(frame))
  }

  /** Ends the connection for good. */
  close(): void {
    this.#closed = true
    if (this.#timer !== undefined) this.#timers.clear(this.#timer)
    this.#socket?.close()
    this.#lost(this.#socket)
  }

  #connect(): void {
    this.#timer = undefined
    if (this.#closed) return
    const { connect = open } = this.#options
    const socket = connect(this.url)
    this.#socket = socket
    socket.binaryType = 'arraybuffer'
    socket.onopen = () => {
      if (socket !== this.#socket) return
      this.#connected = true
      this.#card?.setCarrier(true)
    }
    socket.onmessage = ({ data }: { readonly data: unknown }) => {
      if (socket === this.#socket && data instanceof ArrayBuffer) this.#card?.receive(new Uint8Array(data))
    }
    // What is wrong is not told; that it is over comes behind.
    socket.onerror = () => {}
    socket.onclose = () => this.#lost(socket)
  }

  #lost(socket: WebSocketLike | undefined): void {
    if (socket === undefined || socket !== this.#socket) return
    this.#socket = undefined
    this.#connected = false
    this.#card?.setCarrier(false)
    const { reconnectAfter = defaultReconnect } = this.#options
    if (!this.#closed && reconnectAfter !== false) this.#timer = this.#timers.set(() => this.#connect(), reconnectAfter)
  }
}

function open(url: string): WebSocketLike {
  if (host.WebSocket === undefined) throw new TypeError('there is no WebSocket here: give connect, or use Node 22 or newer')
  return new host.WebSocket(url)
}
