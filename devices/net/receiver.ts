/** The way of frames to the guest: they are put into its buffers, and wait where there are none. */
import type { Chain, DeviceHost } from 'virtgen/runtime'
import type { RateLimiter } from '../rate-limiter/rate-limiter.ts'
import type { Offload } from './backend.ts'
import { Backlog, type WaitingFrame } from './backlog.ts'
import { copyOf, typeBytes, typeOffset } from './ethernet.ts'
import type { Counters } from './statistics.ts'
import { Steering } from './steering.ts'

export interface ReceiverOptions {
  readonly pairs: number
  /** Frames that wait for each queue, at most. */
  readonly backlog: number
  readonly limiter: RateLimiter | undefined
  readonly counters: Counters
  /** Puts a frame into buffers of a queue; undefined where there are too few. */
  put(queue: number, frame: Uint8Array, offload: Offload | undefined): number | undefined
  /** There is room again. */
  resume(): void
}

/** What was negotiated. */
export interface ReceiverNegotiation {
  readonly host: DeviceHost
  readonly mergeable: boolean
  /** Bytes of the header of packets. */
  readonly headerSize: number
  /** Where the driver has it. */
  readonly mtu: number | undefined
}

type Result = 'sent' | 'wait' | 'dropped'

export class Receiver {
  readonly steering = new Steering()
  readonly #options: ReceiverOptions
  readonly #backlogs: readonly Backlog[]
  #negotiated: ReceiverNegotiation | undefined
  /** Somebody was told to wait for `resume`. */
  #isFull = false
  readonly #limiterReady: (() => void)[]

  constructor(options: ReceiverOptions) {
    this.#options = options
    this.#backlogs = Array.from({ length: options.pairs }, () => new Backlog(options.backlog))
    this.#limiterReady = this.#backlogs.map((_, pair) => () => this.flush(pair))
  }

  begin(negotiated: ReceiverNegotiation): void {
    this.#negotiated = negotiated
  }

  /** The driver is gone, and with it what waits. */
  end(): void {
    this.#negotiated = undefined
    this.steering.use(1)
    for (const [pair, backlog] of this.#backlogs.entries()) {
      this.#options.counters.receiveDropped += backlog.takeAll().length
      this.#options.limiter?.forget(this.#limiterReady[pair]!)
    }
    this.#relax()
  }

  /** Frames that wait. */
  get waiting(): number {
    return this.#backlogs.reduce((sum, { length }) => sum + length, 0)
  }

  /** Half of what may wait does. */
  get isFull(): boolean {
    return this.#isFull
  }

  /**
   * A frame that the guest is to get; it is copied where it must wait.
   *
   * @param passed - the limiter has let it through already
   */
  receive(frame: Uint8Array, offload: Offload | undefined, passed = false): void {
    const pair = this.#pairFor(frame)
    const backlog = pair === undefined ? undefined : this.#backlogs[pair]
    if (pair === undefined || backlog === undefined) {
      this.#options.counters.receiveDropped++
      return
    }
    let admitted = passed
    if (backlog.length === 0) {
      admitted ||= this.#admits(pair, frame)
      if (admitted && this.#put(pair, frame, offload) !== 'wait') return
    }
    this.#wait(backlog, { frame: copyOf(frame), offload, admitted })
  }

  /** The driver has given buffers: all that fits is put into them. */
  flush(pair: number): void {
    const backlog = this.#backlogs[pair]
    if (backlog === undefined) return
    for (let next = backlog.first; next !== undefined; next = backlog.first) {
      next.admitted ||= this.#admits(pair, next.frame)
      if (!next.admitted) break
      // It leaves before it is put: the guest may run in between, and give more buffers.
      backlog.shift()
      if (this.#put(pair, next.frame, next.offload) !== 'wait') continue
      backlog.unshift(next)
      break
    }
    this.#relax()
  }

  /** The driver uses so many pairs from now on: what waits for others goes to those. */
  usePairs(pairs: number): void {
    this.steering.use(pairs)
    for (const backlog of this.#backlogs.slice(pairs)) this.#again(backlog)
  }

  /** A receive queue is not there any more. */
  queueGone(pair: number): void {
    const backlog = this.#backlogs[pair]
    if (backlog !== undefined) this.#again(backlog)
  }

  /** The guest takes other frames than before: what waits is made fit for it, as `finish` says. */
  renew(finish: (frame: Uint8Array, offload: Offload | undefined, give: (frame: Uint8Array, offload: Offload | undefined) => void) => boolean): void {
    for (const backlog of this.#backlogs)
      for (const { frame, offload, admitted } of backlog.takeAll())
        if (!finish(frame, offload, (bytes, left) => this.receive(bytes, left, admitted))) this.#options.counters.receiveDropped++
    this.#relax()
  }

  #again(backlog: Backlog): void {
    for (const { frame, offload, admitted } of backlog.takeAll()) this.receive(frame, offload, admitted)
    this.#relax()
  }

  /** Where the flow goes, or any other queue where that is not there now; undefined where there is none. */
  #pairFor(frame: Uint8Array): number | undefined {
    const { steering } = this
    const host = this.#negotiated?.host
    if (host === undefined) return undefined
    const picked = steering.pick(frame)
    if (host.queue(2 * picked) !== undefined) return picked
    for (let pair = 0; pair < steering.pairs; pair++) if (host.queue(2 * pair) !== undefined) return pair
    return undefined
  }

  #admits(pair: number, frame: Uint8Array): boolean {
    return this.#options.limiter?.take(frame.length, this.#limiterReady[pair]!) ?? true
  }

  #wait(backlog: Backlog, frame: WaitingFrame): void {
    if (!backlog.push(frame)) this.#options.counters.receiveDropped++
    if (backlog.length > this.#options.backlog / 2) this.#isFull = true
  }

  #relax(): void {
    if (!this.#isFull || this.#backlogs.some(({ length }) => length > this.#options.backlog / 4)) return
    this.#isFull = false
    this.#options.resume()
  }

  #put(pair: number, frame: Uint8Array, offload: Offload | undefined): Result {
    const result = this.#tryPut(pair, frame, offload)
    if (result === 'sent') {
      this.#options.counters.receivedFrames++
      this.#options.counters.receivedBytes += frame.length
    } else if (result === 'dropped') this.#options.counters.receiveDropped++
    return result
  }

  #tryPut(pair: number, frame: Uint8Array, offload: Offload | undefined): Result {
    const { host, mergeable, headerSize, mtu } = this.#negotiated ?? {}
    if (host === undefined || headerSize === undefined) return 'dropped'
    if (mtu !== undefined && offload?.segmentation === undefined && frame.length > typeOffset(frame) + typeBytes + mtu) return 'dropped'
    const queue = 2 * pair
    if (!mergeable) {
      // A buffer that is too small would get a part of the frame.
      const room = this.#nextRoom(host, queue)
      if (room === undefined) return 'wait'
      if (room < headerSize + frame.length) return 'dropped'
    }
    if (this.#options.put(queue, frame, offload) !== undefined) return 'sent'
    return this.#isHopeless(host, queue, headerSize + frame.length) ? 'dropped' : 'wait'
  }

  /** Device-writable bytes of the next buffer; a buffer that is none of receive queues has all the room there is, for whoever finds out. */
  #nextRoom(host: DeviceHost, index: number): number | undefined {
    const queue = host.queue(index)
    const chain = queue?.next()
    if (queue === undefined || chain === undefined) return undefined
    const room = chain.readable.length > 0 ? Number.POSITIVE_INFINITY : chain.writable.length
    queue.putBack(chain)
    return room
  }

  /** The driver has given as many buffers as there can be, and all of them together are too small. */
  #isHopeless(host: DeviceHost, index: number, needed: number): boolean {
    const queue = host.queue(index)
    if (queue === undefined) return false
    const chains: Chain[] = []
    let room = 0
    for (let chain = queue.next(); chain !== undefined; chain = queue.next()) {
      chains.push(chain)
      room += chain.writable.length
    }
    for (const chain of chains.reverse()) queue.putBack(chain)
    return chains.length === queue.size && room < needed
  }
}
