/** A vhost-user back-end over a real socket, against front-ends that say, and send, whatever they like. */
import { countDescriptors, mappings, openDescriptors, Poller, SystemError, socketPair } from '../../hosts/linux/system/index.ts'
import { type VhostUserConnection, VhostUserServer } from '../../hosts/linux/vhost-user/back-end/index.ts'
import type { ProtocolError } from '../../hosts/linux/vhost-user/protocol-error.ts'
import type { Violation } from '../../runtime/violation.ts'
import { Failure, require } from '../failure.ts'
import { Random } from '../random.ts'
import { FailedExecution, type Result, type Target } from '../target.ts'
import { checkService } from './good-front-end.ts'
import { OddFrontEnd } from './odd-front-end.ts'
import { SlowDevice } from './slow-device.ts'

const name = 'vhost-user'
/** Milliseconds in which a connection must have come to rest once its front-end has gone. */
const patience = 10_000

/** One turn of the loop of events: everything that is ready is done. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Threads that are starting (the watchdog's) open descriptors by themselves. */
async function descriptorsRest(): Promise<void> {
  for (let before = -1; before !== countDescriptors(); ) {
    before = countDescriptors()
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/**
 * Checks that no front-end makes the back-end throw, leak a descriptor or a mapping, hang, take memory away from a device at work, or write into memory once the
 * connection has ended; and that it serves the next one.
 */
export class VhostUserTarget implements Target {
  readonly name = name
  #ready: Promise<void> | undefined

  async run(seed: number): Promise<Result> {
    this.#ready ??= descriptorsRest()
    await this.#ready
    const execution = new Execution(new Random(seed))
    try {
      return await execution.run()
    } catch (error) {
      throw new FailedExecution(name, seed, error)
    }
  }
}

class Execution {
  readonly #random: Random
  readonly #poller = Poller.shared
  readonly #failures: unknown[] = []
  readonly #counts: Record<string, number> = { connections: 0, messages: 0, requests: 0 }
  readonly #devices: SlowDevice[] = []
  #violation: Violation | undefined

  constructor(random: Random) {
    this.#random = random
  }

  async run(): Promise<Result> {
    const before = openDescriptors()
    const mapped = mappings.count
    const hear = (error: unknown): void => void this.#failures.push(error)
    process.on('uncaughtException', hear)
    process.on('unhandledRejection', hear)
    try {
      await this.#run()
      await turn()
      const left = [...openDescriptors()].filter(([fd, what]) => before.get(fd) !== what)
      require(left.length === 0, `descriptors are left behind: ${left.join('; ')}`)
      require(mappings.count === mapped, `${mappings.count - mapped} mappings are left behind`)
      this.#check()
    } finally {
      process.off('uncaughtException', hear)
      process.off('unhandledRejection', hear)
    }
    for (const { completed } of this.#devices) this.#count('requests', completed)
    return { trace: 0, violation: this.#violation, counts: this.#counts }
  }

  async #run(): Promise<void> {
    const random = this.#random
    const server = new VhostUserServer({
      device: () => this.#device(),
      sealedMemory: random.oneIn(8),
      spin: random.oneIn(4) ? 50 : 0,
      onError: (error) => {
        // What the system refuses is no mistake of ours.
        if (!(error instanceof SystemError)) this.#failures.push(error)
        this.#count('system')
      },
      onProtocolError: ({ kind }: ProtocolError) => this.#count(kind),
      onViolation: (violation) => {
        this.#violation = violation
      },
    })
    await Promise.all(Array.from({ length: random.oneIn(3) ? 2 : 1 }, (_, index) => this.#talk(server, new Random((random.word() + index) >>> 0))))
    if (random.oneIn(4)) await this.#inTime('another front-end is served', checkService(server))
    await this.#inTime('the server is closed', server.close())
    require(server.connections.length === 0, 'connections are left behind')
  }

  #device(): SlowDevice {
    const device = new SlowDevice(new Random(this.#random.word()), (message) => this.#failures.push(new Failure(message)))
    this.#devices.push(device)
    return device
  }

  async #talk(server: VhostUserServer, random: Random): Promise<void> {
    const [ours, theirs] = socketPair()
    const front = new OddFrontEnd(this.#poller, ours, random)
    const device = this.#devices.length
    const connection = server.adopt(theirs) as VhostUserConnection
    this.#count('connections')
    try {
      front.begin()
      for (let acts = random.between(5, 150); acts > 0 && !front.closed; acts--) {
        front.act()
        if (random.oneIn(25)) this.#devices[device]?.act()
        if (random.oneIn(3)) await turn()
        this.#check()
      }
      await this.#end(connection, front, random)
    } finally {
      this.#count('messages', front.sent)
      front.close()
    }
  }

  async #end(connection: VhostUserConnection, front: OddFrontEnd, random: Random): Promise<void> {
    if (random.oneIn(3)) void connection.close(random.oneIn(2) ? random.below(3) : undefined)
    if (random.oneIn(2)) await turn()
    if (!random.oneIn(3)) front.hangUp()
    else void connection.close()
    await this.#inTime('the connection ends', connection.ended)
    const then = front.contents()
    for (let turns = 0; turns < 3; turns++) await turn()
    const now = front.contents()
    require(then.every((bytes, index) => Buffer.compare(bytes, now[index]!) === 0), 'memory of the guest was written after the connection had ended')
  }

  async #inTime(what: string, promise: Promise<unknown>): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(this.#failures[0] ?? new Failure(`it hangs until ${what}`)), patience)
    })
    try {
      await Promise.race([promise, late])
    } finally {
      clearTimeout(timer)
    }
  }

  #check(): void {
    const [failure] = this.#failures
    if (failure !== undefined) throw failure
  }

  #count(what: string, by = 1): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + by
  }
}
