// The thread of the watchdog: sleeps, and looks now and then whether another execution has begun.
import { writeSync } from 'node:fs'
import process from 'node:process'
import { workerData } from 'node:worker_threads'

/** @type {{ words: Int32Array, patience: number, commands: readonly string[] }} */
const { words, patience, commands } = workerData

for (let seen = -1; Atomics.wait(words, 2, 0, patience) === 'timed-out'; ) {
  const executions = Atomics.load(words, 0)
  if (executions === seen) {
    const seed = Atomics.load(words, 1) >>> 0
    writeSync(2, `the execution with seed ${seed} did not end within ${patience} ms: ${commands[Atomics.load(words, 3)]}${seed}\n`)
    process.kill(process.pid, 'SIGKILL')
  }
  seen = executions
}
