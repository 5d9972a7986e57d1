/** A TAP interface (descriptor 3) that goes down and comes up again under a backend. Prints what it found as JSON. Usage: down-and-up.mjs INTERFACE */
import { execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { TapBackend } from 'virtgen/node'

const [, , name] = process.argv
const ip = (...words) => execFileSync('ip', words)
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))
ip('addr', 'add', '198.18.0.1/24', 'dev', name)
ip('link', 'set', name, 'up')

const errors = []
let frames = 0
const backend = new TapBackend(3, { onError: (error) => errors.push(error.code) })
backend.attach({ mac: new Uint8Array(6), setCarrier: () => {}, receive: () => ++frames > 0 })
const socket = createSocket('udp4')
socket.on('error', () => {})
const arrives = async () => {
  const before = frames
  for (let round = 0; frames === before && round < 100; round++) {
    socket.send(Buffer.alloc(10), 7, `198.18.0.${2 + (round % 200)}`, () => {})
    await pause(50)
  }
  return frames > before
}
const first = await arrives()
ip('link', 'set', name, 'down')
await pause(1500)
const told = [...errors]
ip('link', 'set', name, 'up')
const again = await arrives()
socket.close()
backend.close()
backend.send(new Uint8Array(60))
console.log(JSON.stringify({ first, told, again, dropped: backend.dropped }))
