/** WebSockets: each message is a frame; with a socket by hand, and with the one that Node has and a relay. */
import { spawn } from 'node:child_process'
import { Net, WebSocketBackend, type WebSocketLike } from 'virtgen/devices/net'
import { describe, expect, it } from 'vitest'
import { FakeTimers } from './support/fake-timers.ts'
import { plainFrame, Sink } from './support/net.ts'
import { NetGuest } from './support/net-guest.ts'
import { connect } from './support/websocket/client.ts'
import { Relay } from './support/websocket/relay.ts'

/** A socket that does what the test says. */
class Socket implements WebSocketLike {
  binaryType = 'blob'
  bufferedAmount = 0
  onopen: (() => void) | null = null
  onmessage: ((event: { data: unknown }) => void) | null = null
  onclose: (() => void) | null = null
  onerror: (() => void) | null = null
  readonly sent: Uint8Array[] = []
  closed = false
  send(data: Uint8Array): void {
    this.sent.push(data)
  }
  close(): void {
    this.closed = true
  }
}

async function setUp() {
  const sockets: Socket[] = []
  const timers = new FakeTimers()
  const connect = (url: string): Socket => {
    expect(url).toBe('ws://relay.test/')
    sockets.push(new Socket())
    return sockets.at(-1) as Socket
  }
  const backend = new WebSocketBackend('ws://relay.test/', { connect, timers, mostBuffered: 1000 })
  const guest = await NetGuest.on(backend, { mac: '52:54:00:00:00:02' })
  return { sockets, timers, backend, guest }
}

const forUs = plainFrame(60, { to: '52:54:0:0:0:2' })

describe('a guest behind a WebSocket', () => {
  it('has a link while there is a connection, and gets and sends frames by it', async () => {
    const { sockets, backend, guest } = await setUp()
    const [socket] = sockets as [Socket]
    expect([guest.net.linkUp, backend.connected, socket.binaryType]).toEqual([false, false, 'arraybuffer'])
    socket.onopen?.()
    expect([guest.net.linkUp, backend.connected]).toEqual([true, true])
    await guest.send(forUs)
    expect(socket.sent).toEqual([forUs])
    socket.onmessage?.({ data: forUs.slice().buffer })
    socket.onmessage?.({ data: 'no frame' })
    socket.onmessage?.({ data: new ArrayBuffer(0) })
    expect(guest.received).toEqual([forUs])
  })

  it('has frames dropped where the socket has too much already', async () => {
    const { sockets, backend, guest } = await setUp()
    const [socket] = sockets as [Socket]
    socket.onopen?.()
    socket.bufferedAmount = 1001
    await guest.send(forUs)
    expect([socket.sent.length, backend.dropped]).toEqual([0, 1])
  })

  it('is connected again after a while; what comes of an old socket is nobody’s', async () => {
    const { sockets, timers, guest } = await setUp()
    const first = sockets[0] as Socket
    first.onopen?.()
    first.onclose?.()
    expect([guest.net.linkUp, sockets.length]).toEqual([false, 1])
    timers.advance(1000)
    expect(sockets).toHaveLength(2)
    first.onmessage?.({ data: forUs.slice().buffer })
    first.onopen?.()
    first.onclose?.()
    expect([guest.received, guest.net.linkUp, timers.pending]).toEqual([[], false, 0])
    sockets[1]?.onopen?.()
    expect(guest.net.linkUp).toBe(true)
  })

  it('is left alone once it is closed', async () => {
    const { sockets, timers, backend, guest } = await setUp()
    sockets[0]?.onopen?.()
    backend.close()
    sockets[0]?.onclose?.()
    expect([sockets[0]?.closed, guest.net.linkUp, timers.pending, backend.connected]).toEqual([true, false, 0, false])
  })

  it('needs a WebSocket', () => {
    const known = (globalThis as { WebSocket?: unknown }).WebSocket
    const backend = new WebSocketBackend('ws://relay.test/')
    if (known === undefined) expect(() => new Net(backend)).toThrow(/Node 22/)
  })

  it('uses that of Node, through a relay, and finds it again when it was away', async () => {
    const relay = await Relay.start()
    // Node has it without being asked from 22 on.
    const flags = 'WebSocket' in globalThis ? [] : ['--experimental-websocket']
    const program = [...flags, 'test/support/websocket/guest.mjs', relay.url]
    const child = spawn(process.execPath, program, { stdio: ['pipe', 'pipe', 'inherit'] })
    const said = new Promise<string>((resolve) => child.stdout.once('data', (text) => resolve(String(text))))
    try {
      const backend = new WebSocketBackend(relay.url, { connect, reconnectAfter: 20 })
      const card = new Sink()
      backend.attach({ mac: new Uint8Array(6), setCarrier: () => {}, receive: (frame) => card.frames.push(frame.slice()) > 0 })
      for (let round = 0; round < 2; round++) {
        await until(() => backend.connected && relay.peers === 2)
        for (const length of [60, 200, 1514]) {
          const forth = plainFrame(length, { to: '52:54:0:0:0:2', from: '52:54:0:0:0:1', seed: round })
          const back = plainFrame(length, { to: '52:54:0:0:0:1', from: '52:54:0:0:0:2', seed: round })
          // The other side may not be there yet: a relay keeps nothing.
          await until(() => {
            const arrived = card.frames.some((frame) => Buffer.compare(frame, back) === 0)
            if (!arrived) backend.send(forth)
            return arrived
          })
        }
        if (round > 0) break
        relay.drop()
        await until(() => !backend.connected)
      }
      backend.close()
      child.stdin.write('end\n')
      const { links, received } = JSON.parse(await said)
      // It was away, came back, and was closed in the end.
      expect(links.slice(-3)).toEqual([false, true, false])
      expect(received).toBeGreaterThanOrEqual(6)
    } finally {
      child.kill()
      await relay.stop()
    }
  })
})

async function until(condition: () => boolean): Promise<void> {
  for (const end = Date.now() + 20_000; !condition(); await new Promise((resolve) => setTimeout(resolve, 20)))
    if (Date.now() > end) throw new Error(`not within 20 s: ${condition}`)
}
