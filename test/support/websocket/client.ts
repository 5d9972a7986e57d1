/** The least of a WebSocket client, where Node has none: binary messages, on a socket. */
import { connect as open } from 'node:net'
import type { WebSocketLike } from 'virtgen/devices/net'

export function connect(url: string): WebSocketLike {
  const { hostname, port } = new URL(url)
  const socket = open(Number(port), hostname)
  const client: WebSocketLike = {
    binaryType: 'blob',
    bufferedAmount: 0,
    onopen: null,
    onmessage: null,
    onclose: null,
    onerror: null,
    send: (data) => {
      const length = data.length < 126 ? [0x80 | data.length] : [0x80 | 126, data.length >> 8, data.length & 0xff]
      // A mask of zeroes changes nothing.
      socket.write(Buffer.concat([Buffer.from([0x82, ...length, 0, 0, 0, 0]), data]))
    },
    close: () => socket.destroy(),
  }
  let rest = Buffer.alloc(0)
  let isOpen = false
  socket.write(
    `GET / HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${'A'.repeat(22)}==\r\nSec-WebSocket-Version: 13\r\n\r\n`,
  )
  socket.on('data', (bytes) => {
    rest = Buffer.concat([rest, bytes])
    const end = isOpen ? 0 : rest.indexOf('\r\n\r\n') + 4
    if (!isOpen && end < 4) return
    if (!isOpen) client.onopen?.(undefined as never)
    isOpen = true
    rest = rest.subarray(end)
    for (;;) {
      const head = (rest[1] ?? 0) === 126 ? 4 : 2
      if (rest.length < head) return
      const length = head === 4 ? rest.readUInt16BE(2) : rest[1]!
      if (rest.length < head + length) return
      client.onmessage?.({ data: new Uint8Array(rest.subarray(head, head + length)).buffer } as never)
      rest = rest.subarray(head + length)
    }
  })
  socket.on('error', () => {})
  socket.on('close', () => client.onclose?.(undefined as never))
  return client
}
