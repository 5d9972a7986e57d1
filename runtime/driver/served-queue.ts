/** A queue of a driver client: what waits for room in it, what is out, and when the device is told. */
import type { DriverQueue } from '../queue.ts'
import type { QueueInfo, RequestContext } from '../request/message.ts'
import type { Violation } from '../violation.ts'
import type { BufferPool } from './buffer-pool.ts'
import { DriverError } from './host.ts'

/** A buffer that a client puts into a queue. */
export interface ClientBuffer {
  /**
   * Puts the buffer, its own token, into the ring. False where there is no room.
   *
   * @throws DriverError `memory` where there is no memory for it
   */
  add(queue: ServedQueue): boolean
  /** The device has used it. Says what the device did wrong. */
  used(queue: ServedQueue, written: number): Violation | undefined
  /** The device is given up; it may use the memory still. */
  reject(error: DriverError): void
  /** The device uses the memory no more. */
  release(queue: ServedQueue): void
}

export class ServedQueue {
  readonly info: QueueInfo
  readonly pool: BufferPool
  #queue: DriverQueue
  #context: RequestContext
  readonly #giveUp: (violation: Violation) => void
  readonly #out = new Set<ClientBuffer>()
  /** In the order in which they came. A place in the list, not a shift for each, keeps long queues linear. */
  #waiting: ClientBuffer[] = []
  #waitingFrom = 0
  #publishes = false
  #failure: DriverError | undefined

  constructor(info: QueueInfo, queue: DriverQueue, context: RequestContext, pool: BufferPool, giveUp: (violation: Violation) => void) {
    this.info = info
    this.#queue = queue
    this.#context = context
    this.pool = pool
    this.#giveUp = giveUp
  }

  /** The queue as it is set up now; see `restart`. */
  get queue(): DriverQueue {
    return this.#queue
  }

  get context(): RequestContext {
    return this.#context
  }

  /**
   * Puts a buffer into the ring, or lets it wait for room; rejects it where the device is given up or the queue is being reset.
   *
   * @throws RangeError for a buffer that the ring cannot hold at all
   * @throws DriverError `memory` where there is no memory for it and nothing is out that could make room
   */
  send(buffer: ClientBuffer): void {
    if (this.#failure !== undefined) {
      buffer.reject(this.#failure)
      buffer.release(this)
    } else if (this.#waitingFrom < this.#waiting.length || !this.#add(buffer)) this.#waiting.push(buffer)
  }

  /** Takes what the device has used, and fills the room that this makes. */
  used(): void {
    do {
      for (let token = this.queue.completed(); token !== undefined; token = this.queue.completed()) {
        this.#take(token as ClientBuffer)
        if (this.#failure !== undefined) return
      }
    } while (this.queue.enableNotifications())
    this.#fill()
  }

  #take(buffer: ClientBuffer): void {
    this.#out.delete(buffer)
    const violation = buffer.used(this, this.queue.written)
    if (violation === undefined) return
    // A device that lies may write on: the memory stays with it like that of the others.
    this.#out.add(buffer)
    this.#giveUp(violation)
  }

  /** The device is given up, or the queue is being reset. Memory stays with it until it is reset. */
  reject(error: DriverError): void {
    this.#failure = error
    const waiting = this.#waiting.slice(this.#waitingFrom)
    this.#waiting = []
    this.#waitingFrom = 0
    for (const buffer of this.#out) buffer.reject(error)
    for (const buffer of waiting) buffer.reject(error)
  }

  /** The device, or the queue, is reset: the memory is ours again. */
  detach(): void {
    while (this.queue.detach() !== undefined);
    for (const buffer of this.#out) buffer.release(this)
    this.#out.clear()
  }

  /** Behind `reject` and `detach`: the queue has been set up again, perhaps with another size. */
  restart(queue: DriverQueue, context: RequestContext): void {
    this.#queue = queue
    this.#context = context
    this.#failure = undefined
  }

  #add(buffer: ClientBuffer): boolean {
    try {
      if (!buffer.add(this)) return false
    } catch (error) {
      // What is out gives memory back when it is used.
      if (error instanceof DriverError && error.kind === 'memory' && this.#out.size > 0) return false
      throw error
    }
    this.#out.add(buffer)
    this.#publishLater()
    return true
  }

  #fill(): void {
    while (this.#waitingFrom < this.#waiting.length) {
      const buffer = this.#waiting[this.#waitingFrom] as ClientBuffer
      try {
        if (!this.#add(buffer)) break
      } catch (error) {
        buffer.reject(error as DriverError)
      }
      this.#waitingFrom++
    }
    // Not for each that left: a long list stays linear.
    if (this.#waitingFrom < this.#waiting.length / 2) return
    this.#waiting = this.#waiting.slice(this.#waitingFrom)
    this.#waitingFrom = 0
  }

  /** Buffers of the same turn share one notification. */
  #publishLater(): void {
    if (this.#publishes) return
    this.#publishes = true
    void Promise.resolve().then(() => {
      this.#publishes = false
      if (this.#failure === undefined) this.queue.publish()
    })
  }
}
