/** Ends the process when an execution does not end: its own thread cannot do that. */
import { Worker } from 'node:worker_threads'

/** Milliseconds that one execution may take; most take less than one. */
const patience = 20_000

export class Watchdog {
  /** Executions so far, the seed of the last one, and 1 when no more will come. */
  readonly #words = new Int32Array(new SharedArrayBuffer(12))

  constructor() {
    const worker = new Worker(new URL('./watchdog-thread.mjs', import.meta.url), { workerData: { words: this.#words, patience } })
    worker.unref()
  }

  /** An execution begins. */
  watch(seed: number): void {
    Atomics.store(this.#words, 1, seed)
    Atomics.add(this.#words, 0, 1)
  }

  stop(): void {
    Atomics.store(this.#words, 2, 1)
    Atomics.notify(this.#words, 2)
  }
}
