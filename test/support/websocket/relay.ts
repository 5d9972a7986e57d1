/** A relay: a WebSocket server (RFC 6455) that gives each binary message to all others, as relays for emulators in pages do. As much of the protocol as that needs. */
import { createHash } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'

const binary = 2
const close = 8
const key = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

export class Relay {
  readonly #server: Server
  readonly #peers = new Set<Duplex>()

  private constructor(server: Server) {
    this.#server = server
    server.on('upgrade', (request, socket) => {
      const accept = createHash('sha1')
        .update(request.headers['sec-websocket-key'] + key)
        .digest('base64')
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`)
      this.#peers.add(socket)
      let rest = Buffer.alloc(0)
      socket.on('data', (bytes: Buffer) => {
        rest = this.#read(Buffer.concat([rest, bytes]), socket)
      })
      socket.on('error', () => {})
      socket.on('close', () => this.#peers.delete(socket))
    })
  }

  static async start(): Promise<Relay> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new Relay(server)
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`
  }
  get peers(): number {
    return this.#peers.size
  }

  /** Says goodbye to all. */
  drop(): void {
    for (const peer of this.#peers) peer.destroy()
  }

  async stop(): Promise<void> {
    this.drop()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  /** Messages of clients are masked, and here never in pieces. */
  #read(bytes: Buffer, from: Duplex): Buffer {
    for (let at = 0; ; ) {
      const short = bytes.length > at + 1 ? bytes[at + 1]! & 0x7f : 0
      const head = short === 126 ? 4 : short === 127 ? 10 : 2
      if (bytes.length < at + head + 4) return bytes.subarray(at)
      const length = short === 126 ? bytes.readUInt16BE(at + 2) : short === 127 ? Number(bytes.readBigUInt64BE(at + 2)) : short
      const start = at + head + 4
      if (bytes.length < start + length) return bytes.subarray(at)
      const mask = bytes.subarray(at + head, start)
      const payload = bytes.subarray(start, start + length).map((byte, i) => byte ^ mask[i & 3]!)
      const opcode = bytes[at]! & 0xf
      if (opcode === close) from.end()
      if (opcode === binary) for (const peer of this.#peers) if (peer !== from) peer.write(message(payload))
      at = start + length
    }
  }
}

function message(payload: Uint8Array): Buffer {
  const head = payload.length < 126 ? [0x80 | binary, payload.length] : [0x80 | binary, 126, payload.length >> 8, payload.length & 0xff]
  return Buffer.concat([Buffer.from(head), payload])
}
