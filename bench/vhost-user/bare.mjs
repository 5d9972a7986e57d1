// node bare.mjs SOCKET BYTES SPIN: a disk that reads as zeroes with nothing of a device around it. Each buffer is filled, whatever it asks for, and its status is 0.
// What no device in such a process can be faster than.
import { Blk, ZeroBackend } from 'virtgen/devices/blk'
import { VhostUserServer } from 'virtgen/linux'

const [socket, bytes, spin] = process.argv.slice(2)
const statusBytes = 1

class Bare extends Blk {
  queueNotified(index) {
    const queue = this.host?.queue(index)
    if (queue === undefined) return
    queue.cork()
    queue.disableNotifications()
    do {
      for (let chain = queue.next(); chain !== undefined; chain = queue.next()) {
        const { writable } = chain
        if (writable.length > statusBytes) writable.piece(writable.length - statusBytes).fill(0)
        writable.fill(0, writable.remaining)
        chain.complete(writable.written)
        queue.showBatch()
      }
    } while (queue.enableNotifications())
    queue.uncork()
  }
}

const disk = new ZeroBackend(Number(bytes))
const server = new VhostUserServer({ device: () => new Bare(disk, { queueSize: 1024, segMax: 126 }), spin: Number(spin) })
server.listen(socket)
process.on('SIGTERM', () => process.exit(0))
