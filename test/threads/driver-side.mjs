/** The driver: adds requests in batches, checks the answers, and sleeps when it cannot go on without one. */
import { createDriverQueue, DriverMemory } from 'virtgen/runtime'
import { Bell, openGate, Sleeper, words } from './doorbell.mjs'
import { memoryOver, setupOf, slotAddress, slotBytes, tableRange } from './layout.mjs'
import { answerLength, checkAnswer, mix, mostWords, untouched, writeRequest } from './message.mjs'
import { Random } from './random.mjs'

/** A request that is out; one for each buffer of memory. */
class Slot {
  sequence = 0
  /** Words of the room for the answer. */
  room = 0
  constructor(index) {
    this.address = slotAddress(index)
    this.at = this.address / 4
  }
}

export class DriverSide {
  added = 0
  completed = 0
  #run
  #words
  #queue
  #bell
  #sleeper
  #random
  #failure
  #free = []
  /** Buffers that are out at most, for now. */
  #window = 1
  /** The last request found no room in the ring. */
  #isFull = false

  constructor(run, shared, control) {
    this.#run = run
    this.#words = new Uint32Array(shared)
    this.#bell = new Bell(control, words.deviceBell)
    this.#sleeper = new Sleeper(control, words.driverBell, run.patience)
    this.#random = new Random(run.seed + 2)
    const memory = memoryOver(shared)
    this.#queue = createDriverQueue(memory, setupOf(run.size), {
      ...run.features,
      ...(run.start === 0 ? {} : { state: { available: run.start, used: run.start, out: [] }, tokens: [] }),
      ...(run.features.indirect ? { indirectTables: new DriverMemory(memory, tableRange.address, tableRange.length) } : {}),
      notify: () => this.#bell.ring(),
      fail: (violation) => {
        this.#failure = violation
      },
    })
    for (let i = 0; i < run.size; i++) this.#free.push(new Slot(i))
    // The areas are what they must be at first: the device may come.
    openGate(control)
  }

  get report() {
    return {
      added: this.added,
      completed: this.completed,
      notifications: this.#bell.rung,
      slept: this.#sleeper.slept,
      rungBefore: this.#sleeper.rungBefore,
      queue: this.#queue.inspect(),
    }
  }

  /** Returns when all chains of the run have come back. */
  serve() {
    const { chains, size, pauseEvery } = this.#run
    const random = this.#random
    let polling = false
    while (this.completed < chains) {
      if (random.oneIn(64)) this.#window = random.oneIn(3) ? 1 + random.below(2) : 1 + random.below(size)
      this.#add(1 + random.below(size))
      this.#reap()
      if (random.oneIn(pauseEvery)) this.#sleeper.pause(random.below(100) / 100)
      const out = this.added - this.completed
      // Sleeps where it cannot go on, and now and then where it could.
      if (out === 0 || (out < this.#window && this.added < chains && !this.#isFull && !random.oneIn(16))) continue
      // Without polling, `completed` has asked for a notification itself, and has looked again; it gave nothing the last time it was called.
      if (polling && this.#queue.enableNotifications()) continue
      this.#sleeper.sleep()
      polling = random.oneIn(2)
      if (polling) this.#queue.disableNotifications()
    }
  }

  /** Adds up to `most` requests and publishes them together or one by one. */
  #add(most) {
    const { chains } = this.#run
    const oneByOne = this.#random.oneIn(2)
    this.#isFull = false
    for (let count = 0; count < most && this.added < chains && this.added - this.completed < this.#window; count++) {
      if (!this.#put(this.#free.at(-1))) {
        this.#isFull = true
        break
      }
      this.#free.pop()
      this.added++
      if (oneByOne) this.#queue.publish()
    }
    this.#queue.publish()
  }

  /** Puts the next request into the ring, in one piece or in several. False where there is no room for it. */
  #put(slot) {
    const sequence = this.added
    const pattern = mix(sequence, this.#run.seed)
    const length = 1 + (pattern % mostWords)
    const room = (pattern >>> 8) % (mostWords + 1)
    slot.sequence = sequence
    slot.room = room
    writeRequest(this.#words, slot.at, length, sequence, pattern)
    this.#words.fill(untouched, slot.at + mostWords, slot.at + mostWords + room)
    const answer = slot.address + slotBytes / 2
    const fits = this.#append(slot.address, length * 4, false) && this.#append(answer, room * 4, true)
    if (fits) this.#queue.commit(slot)
    else this.#queue.rewind()
    return fits
  }

  /** Appends bytes as one piece or as two. */
  #append(address, length, writable) {
    const random = this.#random
    if (length === 0) return true
    if (length < 2 || random.oneIn(2)) return this.#queue.append(address, length, writable)
    const first = 1 + random.below(length - 1)
    return this.#queue.append(address, first, writable) && this.#queue.append(address + first, length - first, writable)
  }

  #reap() {
    for (;;) {
      const slot = this.#queue.completed()
      if (this.#failure !== undefined) throw new Error(`the driver sees a violation: ${JSON.stringify(this.#failure)}`)
      if (slot === undefined) return
      const { sequence, room, at } = slot
      const pattern = mix(sequence, this.#run.seed)
      const length = answerLength(room, pattern)
      const problem = checkAnswer(this.#words, at + mostWords, room, length, sequence, pattern)
      if (problem !== undefined) throw new Error(problem)
      if (this.#queue.written !== length * 4) throw new Error(`answer ${sequence}: ${this.#queue.written} bytes are told, ${length * 4} were written`)
      // Whoever takes the slot now writes into it: the answer was read before.
      this.#free.push(slot)
      this.completed++
    }
  }
}
