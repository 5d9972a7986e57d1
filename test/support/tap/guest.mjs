/**
 * A guest at a TAP interface (descriptor 3) that answers ARP and sends datagrams back, and a program of the host that talks to it. Prints what it found as JSON.
 * Usage: guest.mjs INTERFACE HEADER
 */
import { execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { Net } from 'virtgen/devices/net'
import { NetDriver } from 'virtgen/driver/net'
import { TapBackend } from 'virtgen/node'
import { testMachine } from 'virtgen/testing'

const [, , name, header] = process.argv
const ip = (...words) => execFileSync('ip', words)
ip('link', 'set', 'lo', 'up')
ip('addr', 'add', '198.18.0.1/24', 'dev', name)
ip('link', 'set', name, 'up')

const backend = new TapBackend(3, { header: Number(header), onError: (error) => console.error(error) })
const { device, driver } = await testMachine(new Net(backend, { mac: '52:54:00:00:00:02' }), NetDriver, { driverBytes: 0x40_0000 })
const partial = { asked: 0, sent: 0 }
const mac = [0x52, 0x54, 0, 0, 0, 2]
driver.onPacket(({ packet: frame, hdr }) => {
  if (hdr.flags & 1) partial.asked++
  const answer = Uint8Array.from(frame)
  answer.set(frame.subarray(6, 12))
  answer.set(mac, 6)
  if (frame[12] === 8 && frame[13] === 6 && frame.subarray(38, 42).join('.') === '198.18.0.2') {
    answer[21] = 2
    answer.set([...mac, 198, 18, 0, 2], 22)
    answer.set(frame.subarray(22, 32), 32)
    void driver.transmit({}, answer)
  } else if (frame[12] === 8 && frame[13] === 0 && frame[23] === 17 && frame.subarray(30, 34).join('.') === '198.18.0.2') {
    answer.set([...frame.subarray(30, 34), ...frame.subarray(26, 30), frame[36], frame[37], frame[34], frame[35]], 26)
    // Sums do not change where source and destination change places; a checksum that was left open stays so.
    const { num_buffers, ...rest } = hdr
    void driver.transmit({ hdr: { ...rest, num_buffers: 0 } }, answer)
    if (hdr.flags & 1) partial.sent++
  }
})

const socket = createSocket('udp4')
const answers = []
const lengths = [1, 100, 1400]
// What was asked for again, as the answer took its time, is answered twice.
socket.on('message', ({ length }) => length === lengths[answers.length] && answers.push(length))
for (let round = 0; answers.length < lengths.length && round < 50; round++) {
  const length = lengths[answers.length]
  socket.send(Buffer.alloc(length, length & 0xff), 7, '198.18.0.2')
  await new Promise((resolve) => setTimeout(resolve, 60))
}
socket.close()
backend.close()
console.log(JSON.stringify({ answers, partial, dropped: backend.dropped, received: device.statistics.receivedFrames > 0 }))
