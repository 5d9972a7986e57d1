/** Notifications between threads: a counter that one side increments, and on which the other sleeps. As an eventfd, it keeps what rang while nobody slept. */

/** Nobody rang for so long that a notification must have been lost. */
export class LostWakeUp extends Error {}
/** The other side gave up. */
export class Stopped extends Error {}

/** Words of the control block, 32 bits each. */
export const words = { deviceBell: 0, driverBell: 1, stop: 2, nothing: 3, gate: 4, count: 5 }

/** The sender's end. */
export class Bell {
  rung = 0
  #words
  #word

  /**
   * @param {Int32Array} control
   * @param {number} word
   */
  constructor(control, word) {
    this.#words = control
    this.#word = word
  }

  ring() {
    this.rung++
    Atomics.add(this.#words, this.#word, 1)
    Atomics.notify(this.#words, this.#word)
  }
}

/** The receiver's end. */
export class Sleeper {
  /** How often it really slept, and how often it had been rung for already. */
  slept = 0
  rungBefore = 0
  #words
  #word
  #patience
  /** The count of the bell when the queue was last served: anything newer wakes at once. */
  #heard = 0

  /**
   * @param {Int32Array} control
   * @param {number} word
   * @param {number} patience - milliseconds after which a notification counts as lost
   */
  constructor(control, word, patience) {
    this.#words = control
    this.#word = word
    this.#patience = patience
  }

  /** Returns when the bell has rung since the last call. */
  sleep() {
    const woken = Atomics.wait(this.#words, this.#word, this.#heard, this.#patience)
    // Read before the queue is served, so that what rings from now on is heard the next time.
    this.#heard = Atomics.load(this.#words, this.#word)
    if (Atomics.load(this.#words, words.stop) !== 0) throw new Stopped('the other side gave up')
    if (woken === 'timed-out') throw new LostWakeUp(`no notification for ${this.#patience} ms`)
    if (woken === 'ok') this.slept++
    else this.rungBefore++
  }

  /** Does nothing for a while: so the other side runs dry. */
  pause(milliseconds) {
    Atomics.wait(this.#words, words.nothing, 0, milliseconds)
  }
}

/** Wakes both sides for the last time. */
export function stop(control) {
  Atomics.store(control, words.stop, 1)
  for (const word of [words.deviceBell, words.driverBell, words.gate]) {
    Atomics.add(control, word, 1)
    Atomics.notify(control, word)
  }
}

/** The driver has initialised the ring, as a transport would tell the device. */
export function openGate(control) {
  Atomics.store(control, words.gate, 1)
  Atomics.notify(control, words.gate)
}

/** Waits for {@link openGate}. */
export function passGate(control) {
  Atomics.wait(control, words.gate, 0)
}
