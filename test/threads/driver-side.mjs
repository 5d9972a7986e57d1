/** The driver: adds requests in batches, checks the answers, and sleeps when it cannot go on without one. */
import * as runtime from 'virtgen/runtime'
import { Bell, Sleeper, words } from './doorbell.mjs'
import { memoryOver, setupOf, slotAddress, slotBytes, tableRange } from './layout.mjs'
import { answerLength, checkAnswer, mix, mostWords, untouched, writeRequest } from './message.mjs'
import { Random } from './random.mjs'

const { DriverMemory } = runtime

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
  /** Of those, used with less told than was written: a device that uses several buffers at once may not tell of each (VIRTIO_F_IN_ORDER). */
  untold = 0
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

  constructor(run, shared, control) {
    this.#run = run
    this.#words = new Uint32Array(shared)
    this.#bell = new Bell(control, words.deviceBell)
    this.#sleeper = new Sleeper(control, words.driverBell, run.patience)
    this.#random = new Random(run.seed + 2)
    const memory = memoryOver(shared)
    this.#queue = createQueue(memory, setupOf(run.size), {
      ...run.features,
      ...(run.features.indirect ? { indirectTables: new DriverMemory(memory, tableRange.address, tableRange.length) } : {}),
      notify: () => this.#bell.ring(),
      fail: (violation) => {
        this.#failure = violation
      },
    })
    for (let i = 0; i < run.size; i++) this.#free.push(new Slot(i))
  }

  get report() {
    return {
      added: this.added,
      completed: this.completed,
      notifications: this.#bell.rung,
      slept: this.#sleeper.slept,
      rungBefore: this.#sleeper.rungBefore,
      queue: this.#queue.inspect?.(),
    }
  }

  /** Returns when all chains of the run have come back. */
  serve() {
    const { chains, size, pauseEvery } = this.#run
    const random = this.#random
    let polling = false
    while (this.completed < chains) {
      if (random.oneIn(64)) this.#window = random.oneIn(3) ? 1 + random.below(2) : 1 + random.below(size)
      const progress = this.#add(1 + random.below(size)) + this.#reap()
      if (random.oneIn(pauseEvery)) this.#sleeper.pause(random.below(100) / 100)
      if (progress > 0 || this.completed === chains) continue
      // Without polling, `completed` has asked for a notification itself, and has looked again.
      if (polling && this.#queue.enableNotifications()) continue
      this.#sleeper.sleep()
      polling = random.oneIn(2)
      if (polling) this.#queue.disableNotifications()
    }
  }

  /** Adds up to `most` requests and publishes them together or one by one; gives how many. */
  #add(most) {
    const { chains } = this.#run
    const oneByOne = this.#random.oneIn(2)
    let count = 0
    while (count < most && this.added < chains && this.added - this.completed < this.#window && this.#put(this.#free.at(-1))) {
      this.#free.pop()
      this.added++
      count++
      if (oneByOne) this.#queue.publish()
    }
    this.#queue.publish()
    return count
  }

  /** Puts the next request into the ring, in one piece or in several. False where there is no room for it. */
  #put(slot) {
    const random = this.#random
    const sequence = this.added
    const pattern = mix(sequence, this.#run.seed)
    const length = 1 + (pattern % mostWords)
    const room = (pattern >>> 8) % (mostWords + 1)
    slot.sequence = sequence
    slot.room = room
    writeRequest(this.#words, slot.at, length, sequence, pattern)
    this.#words.fill(untouched, slot.at + mostWords, slot.at + mostWords + room)
    const answer = slot.address + slotBytes / 2
    return (
      this.#append(slot.address, length * 4, false, 1 + random.below(2)) &&
      this.#append(answer, room * 4, true, 1 + random.below(2)) &&
      this.#commit(slot)
    )
  }

  #reap() {
    let count = 0
    for (;;) {
      const slot = this.#queue.completed()
      if (this.#failure !== undefined) throw new Error(`the driver sees a violation: ${JSON.stringify(this.#failure)}`)
      if (slot === undefined) return count
      const { sequence, room, at } = slot
      const pattern = mix(sequence, this.#run.seed)
      const length = answerLength(room, pattern)
      const problem = checkAnswer(this.#words, at + mostWords, room, length, sequence, pattern)
      if (problem !== undefined) throw new Error(problem)
      if (this.#queue.written !== length * 4) throw new Error(`answer ${sequence}: ${this.#queue.written} bytes are told, ${length * 4} were written`)
      // Whoever takes the slot now writes into it: the answer was read before.
      this.#free.push(slot)
      this.completed++
      count++
    }
  }

  #readable = []
  #writable = []

  #append(address, length, writable, pieces) {
    if (length === 0) return true
    const first = pieces === 2 && length > 4 ? 1 + this.#random.below(length - 1) : length
    const list = writable ? this.#writable : this.#readable
    list.push({ address, length: first })
    if (first < length) list.push({ address: address + first, length: length - first })
    return true
  }

  #commit(slot) {
    const added = this.#queue.add(this.#readable, this.#writable, slot)
    this.#readable.length = 0
    this.#writable.length = 0
    return added
  }
}

function createQueue(memory, setup, options) {
  return runtime.createDriverQueue?.(memory, setup, options) ?? new runtime.SplitDriverQueue(memory, setup, options)
}
