/** A thread that plays the other side and keeps no rule and no order. */
import { Worker } from 'node:worker_threads'
import type { Arena } from './arena.ts'

/** A word of 16 bits, by its number in the buffer, and the two values that it has by turns. */
export interface RacedWord {
  readonly place: number
  readonly first: number
  readonly second: number
}

const mostWords = 1024
const [turn, ran, memory, count, seedWord] = [0, 1, 2, 3, 4]

export class Racer {
  readonly #arenas: readonly Arena[]
  readonly #control = new Int32Array(new SharedArrayBuffer(20))
  readonly #places = new Uint32Array(new SharedArrayBuffer(mostWords * 4))
  readonly #values = new Uint16Array(new SharedArrayBuffer(mostWords * 4))
  #turn = 0

  /** @param arenas - memories over shared buffers */
  constructor(arenas: readonly Arena[]) {
    this.#arenas = arenas
    const worker = new Worker(new URL('./racer-thread.mjs', import.meta.url), {
      workerData: { control: this.#control, buffers: arenas.map(({ buffer }) => buffer), places: this.#places, values: this.#values },
    })
    worker.unref()
  }

  /** Calls `action` while the thread writes. Both sides of the race are over afterwards. */
  during(arena: Arena, words: readonly RacedWord[], seed: number, action: () => void): void {
    const used = words.slice(0, mostWords)
    if (used.length === 0) return
    used.forEach(({ place, first, second }, i) => {
      this.#places[i] = place
      this.#values[2 * i] = first
      this.#values[2 * i + 1] = second
    })
    this.#control[memory] = this.#arenas.indexOf(arena)
    this.#control[count] = used.length
    this.#control[seedWord] = seed
    const now = this.#next()
    this.#await(now)
    try {
      action()
    } finally {
      this.#next()
      this.#await(-now)
    }
  }

  /** The thread ends. */
  close(): void {
    Atomics.store(this.#control, turn, -1)
    Atomics.notify(this.#control, turn)
  }

  #next(): number {
    this.#turn += 1
    Atomics.store(this.#control, turn, this.#turn)
    Atomics.notify(this.#control, turn)
    return this.#turn
  }

  #await(value: number): void {
    for (let seen = Atomics.load(this.#control, ran); seen !== value; seen = Atomics.load(this.#control, ran))
      Atomics.wait(this.#control, ran, seen, 1000)
  }
}
