/** Ends the process when an execution does not end: its own thread cannot do that. */
import { Worker } from 'node:worker_threads'
import { replayOf } from './target.ts'

/** Milliseconds that one execution may take; most take less than one. */
const patience = 20_000

export class Watchdog {
  /** Executions so far, the seed of the last one, 1 when no more will come, and the number of its target. */
  readonly #words = new Int32Array(new SharedArrayBuffer(16))

  /** @param targets - their names */
  constructor(targets: readonly string[]) {
    const commands = targets.map((target) => replayOf(target, 0).replace(/0$/, ''))
    const worker = new Worker(new URL('./watchdog-thread.mjs', import.meta.url), { workerData: { words: this.#words, patience, commands } })
    worker.unref()
  }

  /** An execution begins. */
  watch(seed: number, target: number): void {
    Atomics.store(this.#words, 1, seed)
    Atomics.store(this.#words, 3, target)
    Atomics.add(this.#words, 0, 1)
  }

  stop(): void {
    Atomics.store(this.#words, 2, 1)
    Atomics.notify(this.#words, 2)
  }
}
