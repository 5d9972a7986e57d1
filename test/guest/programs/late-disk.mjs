/**
 * A back-end for vhost-user-blk whose requests take random times, so that they finish in another order than they came in.
 *
 *     node late-disk.mjs SOCKET FILE QUEUES MILLISECONDS
 *
 * Prints a line when it listens, and, at the end of every request, `N of M out of order`.
 */
import { writeSync } from 'node:fs'
import { setTimeout as later } from 'node:timers/promises'
import { Blk } from 'virtgen/devices/blk'
import { VhostUserServer } from 'virtgen/linux'
import { FileBackend } from 'virtgen/node'

const [socket, path, queues, latest] = process.argv.slice(2)
const file = new FileBackend(path)
let begun = 0
let ended = 0
let overtaken = 0
const underWay = new Set()

/** Some time before the file is touched, and some after it. */
async function late(work) {
  const number = ++begun
  underWay.add(number)
  await later(Math.random() * Number(latest))
  await work()
  await later(Math.random() * Number(latest))
  underWay.delete(number)
  ended++
  for (const other of underWay)
    if (other < number) {
      overtaken++
      break
    }
  if (ended % 16 === 0) writeSync(1, `${overtaken} of ${ended} out of order\n`)
}

const storage = {
  size: file.size,
  read: (position, into) => late(() => file.read(position, into)),
  write: (position, from) => late(() => file.write(position, from)),
  flush: () => late(() => file.flush()),
}
const complain = (what) => writeSync(2, `${what?.stack ?? JSON.stringify(what)}\n`)
const server = new VhostUserServer({
  device: () => new Blk(storage, { queues: Number(queues), queueSize: 1024 }),
  onError: complain,
  onViolation: complain,
  onProtocolError: complain,
})
server.listen(socket)
writeSync(1, `listens at ${socket}\n`)
