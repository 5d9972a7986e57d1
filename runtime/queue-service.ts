/** Whose turn it is: available buffer notifications become calls of the device, one at a time for each queue. */
import type { QueueRegisters } from './queue-registers.ts'

/** Rounds in one go. More can only come of a driver that runs inside its interrupts; who else works in this thread must get a turn. */
const mostRounds = 16

/** What engines offer beside ECMAScript, as far as it is used here. */
interface TaskQueue {
  readonly setImmediate?: (callback: () => void) => void
  readonly setTimeout: (callback: () => void) => void
}

/**
 * As a task, not a microtask: a driver in another thread that never stops would keep everything else in this one from its turn. Browsers have no `setImmediate`, and
 * some milliseconds between rounds then.
 */
const asTask = (callback: () => void): void => {
  const { setImmediate, setTimeout } = globalThis as unknown as TaskQueue
  ;(setImmediate ?? setTimeout)(callback)
}

export class QueueService {
  readonly #queues: readonly (QueueRegisters | undefined)[]
  readonly #serve: (queue: QueueRegisters) => void
  readonly #defer: (callback: () => void) => void

  /** @param serve - calls the device, if the queue may be served now */
  constructor(
    queues: readonly (QueueRegisters | undefined)[],
    serve: (queue: QueueRegisters) => void,
    defer: (callback: () => void) => void = asTask,
  ) {
    this.#queues = queues
    this.#serve = serve
    this.#defer = defer
  }

  /**
   * Serves a queue; nothing where there is none. A notification during that (an interrupt may re-enter the driver) means one more round, never recursion: the stack
   * must not grow with what the driver does. Nor must the time: after some rounds the rest is put off.
   */
  now(index: number): void {
    const queue = this.#queues[index]
    if (queue === undefined) return
    if (queue.serving) {
      queue.again = true
      return
    }
    queue.serving = true
    try {
      queue.again = true
      for (let round = 0; queue.again && round < mostRounds; round++) {
        queue.again = false
        this.#serve(queue)
      }
    } finally {
      queue.serving = false
    }
    if (queue.again) this.later(index)
  }

  /** Serves a queue outside of what is going on; once, however often it is asked for until then. */
  later(index: number): void {
    const queue = this.#queues[index]
    if (queue === undefined || queue.deferred) return
    queue.deferred = true
    // Not tied to a life of the device: after a reset the service that was put off stands for any that is asked for then.
    this.#defer(() => {
      queue.deferred = false
      this.now(index)
    })
  }
}
