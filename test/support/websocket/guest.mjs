/** A guest behind a WebSocket. Usage: guest.mjs URL. With a line "again" on its input it ends; prints what it received as JSON. */
import { Net, WebSocketBackend } from 'virtgen/devices/net'
import { NetDriver } from 'virtgen/driver/net'
import { testMachine } from 'virtgen/testing'

const backend = new WebSocketBackend(process.argv[2], { reconnectAfter: 20 })
const { device, driver } = await testMachine(new Net(backend, { mac: '52:54:00:00:00:02' }), NetDriver, { driverBytes: 0x10_0000 })
const links = []
driver.onConfigChange(() => links.push(device.linkUp))
// Sends all back, until it is told to end.
driver.onPacket(({ packet }) => {
  const answer = Uint8Array.from(packet)
  answer.set(packet.subarray(6, 12))
  answer.set(packet.subarray(0, 6), 6)
  void driver.transmit({}, answer)
})
process.stdin.once('data', () => {
  backend.close()
  console.log(JSON.stringify({ links, dropped: backend.dropped, received: device.statistics.receivedFrames }))
  process.exit()
})
