// A back-end as a process: qemu-storage-daemon, or virtgen serve.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const virtgen = fileURLToPath(new URL('../../bin/virtgen.js', import.meta.url))
const startSeconds = 20
const ticksPerSecond = 100

/** Of `virtgen serve`. */
export const ours = (...words) => [process.execPath, virtgen, 'serve', ...words, '--socket', '{socket}']

/** Of a device that does the least. */
export const bare = (bytes, spin) => [process.execPath, fileURLToPath(new URL('bare.mjs', import.meta.url)), '{socket}', String(bytes), spin]

/** Of qemu-storage-daemon, over a block device of its own. */
export const theirs = (device) => [
  'qemu-storage-daemon',
  ...['--blockdev', `node-name=disk,${device}`],
  ...['--export', 'type=vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path={socket},writable=on,num-queues=1'],
]

export class BackEnd {
  #child
  #output = ''

  constructor(name, words, socket) {
    this.name = name
    this.socket = socket
    const [program, ...rest] = words.map((word) => word.replace('{socket}', socket))
    this.#child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream.setEncoding('utf8').on('data', (text) => {
        this.#output = (this.#output + text).slice(-2000)
      })
    this.#child.on('error', (error) => {
      this.#output += error.message
    })
  }

  /** Listens. */
  async ready() {
    for (const end = Date.now() + startSeconds * 1000; !existsSync(this.socket); await wait(25))
      if (Date.now() > end || this.#child.exitCode !== null || this.#child.pid === undefined)
        throw new Error(`${this.name} does not listen:\n${this.#output}`)
  }

  /** Seconds of a processor that it has had. */
  get processorTime() {
    const [, fields] = readFileSync(`/proc/${this.#child.pid}/stat`, 'utf8').split(') ')
    const [user, system] = fields.split(' ').slice(11, 13).map(Number)
    return (user + system) / ticksPerSecond
  }

  async end() {
    if (this.#child.exitCode !== null || this.#child.pid === undefined) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 5000)
    await gone
    clearTimeout(timer)
  }
}
