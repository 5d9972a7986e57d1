/** The device: takes chains, checks requests, answers them, and sleeps when there are none. */
import { createDeviceQueue } from 'virtgen/runtime'
import { Bell, passGate, Sleeper, words } from './doorbell.mjs'
import { memoryOver, setupOf } from './layout.mjs'
import { answerLength, checkRequest, mix, mostWords, writeAnswer } from './message.mjs'
import { Random } from './random.mjs'

export class DeviceSide {
  taken = 0
  completed = 0
  #run
  #queue
  #bell
  #sleeper
  #random
  #failure
  /** Chains that wait for their completion. */
  #parked = []
  #request = new Uint8Array(mostWords * 4)
  #requestWords = new Uint32Array(this.#request.buffer)
  #answer = new Uint8Array(mostWords * 4)
  #answerWords = new Uint32Array(this.#answer.buffer)

  constructor(run, memory, control) {
    this.#run = run
    this.#bell = new Bell(control, words.driverBell)
    this.#sleeper = new Sleeper(control, words.deviceBell, run.patience)
    this.#random = new Random(run.seed + 1)
    passGate(control)
    this.#queue = createDeviceQueue(memoryOver(memory), setupOf(run.size), {
      ...run.features,
      ...(run.start === 0 ? {} : { state: { available: run.start, used: run.start, inFlight: [] } }),
      notify: () => this.#bell.ring(),
      fail: (violation) => {
        this.#failure = violation
      },
    })
  }

  get report() {
    return {
      taken: this.taken,
      completed: this.completed,
      parked: this.#parked.length,
      notifications: this.#bell.rung,
      slept: this.#sleeper.slept,
      rungBefore: this.#sleeper.rungBefore,
      queue: this.#queue.inspect(),
    }
  }

  /** Returns when all chains of the run are completed. */
  serve() {
    let polling = false
    while (this.completed < this.#run.chains) {
      const chain = this.#queue.next()
      if (this.#failure !== undefined) throw new Error(`the device sees a violation: ${JSON.stringify(this.#failure)}`)
      if (chain !== undefined) this.#take(chain)
      else if (this.#parked.length > 0) this.#complete(this.#parked.length)
      // Without polling, `next` has asked for a notification itself, and has looked again.
      else if (!(polling && this.#queue.enableNotifications())) {
        this.#sleeper.sleep()
        polling = this.#random.oneIn(2)
        if (polling) this.#queue.disableNotifications()
      }
    }
  }

  #take(chain) {
    const sequence = this.taken++
    const pattern = mix(sequence, this.#run.seed)
    const bytes = chain.readable.copyTo(this.#request)
    const problem = checkRequest(this.#requestWords, bytes / 4, sequence, pattern)
    if (problem !== undefined) throw new Error(problem)
    const count = answerLength(chain.writable.length / 4, pattern)
    writeAnswer(this.#answerWords, count, pattern)
    chain.writable.copyFrom(this.#answer, 0, count * 4)
    this.#parked.push(chain)
    const random = this.#random
    if (random.oneIn(4)) this.#complete(1 + random.below(this.#parked.length))
    if (random.oneIn(this.#run.pauseEvery)) this.#sleeper.pause(random.below(100) / 100)
  }

  /** Completes some of the parked chains, in any order, together or one by one. */
  #complete(count) {
    const random = this.#random
    const corked = random.oneIn(2)
    if (corked) this.#queue.cork()
    for (let i = 0; i < count; i++) {
      const at = random.oneIn(2) ? 0 : random.below(this.#parked.length)
      const chain = this.#parked[at]
      const last = this.#parked.pop()
      if (at < this.#parked.length) this.#parked[at] = last
      this.completed++
      chain.complete()
    }
    if (corked) this.#queue.uncork()
  }
}
