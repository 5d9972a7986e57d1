// The back-end of the soak, a process of its own: a disk in a file whose requests end in any order. Arguments: path of the socket, path of the file, asynchronous (1) or not (0).

import { Blk } from 'virtgen/devices/blk'
import { countDescriptors, LinuxFileBackend, mappings, VhostUserServer } from 'virtgen/linux'

const [socket, file, asynchronous] = process.argv.slice(2)
const problems = []
const queues = 2

/** A file whose answers come later, now and then, and in any order. */
class LateFile extends LinuxFileBackend {
  read(position, into) {
    return this.#late(() => super.read(position, into))
  }
  write(position, from) {
    return this.#late(() => super.write(position, from))
  }
  #late(operate) {
    if (asynchronous !== '1' || Math.random() < 0.5) return operate()
    return new Promise((resolve) => setTimeout(resolve, 3 * Math.random())).then(operate)
  }
}

const storage = new LateFile(file, { asynchronous: asynchronous === '1' })
const server = new VhostUserServer({
  device: () => new Blk(storage, { queues }),
  maxConnections: 1,
  onError: (error) => problems.push(String(error)),
  onProtocolError: (error) => problems.push(String(error)),
  onViolation: (violation) => problems.push(JSON.stringify(violation)),
})
server.listen(socket)

const commands = {
  /** What this process has, by now. */
  figures() {
    globalThis.gc()
    const { rss, heapUsed } = process.memoryUsage()
    return {
      rss,
      heapUsed,
      descriptors: countDescriptors(),
      mappings: mappings.count,
      connections: server.connections.length,
      problems: problems.splice(0),
    }
  },
  async drop() {
    await Promise.all(server.connections.map((connection) => connection.close(2)))
  },
  async end() {
    await server.close()
    storage.close()
    process.disconnect()
  },
}

process.on('message', async ({ id, command }) => {
  const result = await commands[command]()
  if (process.connected) process.send({ id, result })
})
process.send({ id: 0 })
