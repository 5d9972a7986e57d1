// The thread that changes memory under the feet of a queue: writes one of two values into one of some 16-bit words, again and again.
import { workerData } from 'node:worker_threads'

/** @type {{ control: Int32Array, buffers: SharedArrayBuffer[], places: Uint32Array, values: Uint16Array }} */
const { control, buffers, places, values } = workerData
const [turn, ran, memory, count, seed] = /** @type {const} */ ([0, 1, 2, 3, 4])
const memories = buffers.map((buffer) => new Uint16Array(buffer))
/** @param {number} word */
const get = (word) => Atomics.load(control, word)

for (let seen = 0; ; ) {
  // An odd turn is one to write in, an even one is over.
  Atomics.wait(control, turn, seen)
  seen = get(turn)
  if (seen < 0) break
  if ((seen & 1) === 0) continue
  const words = /** @type {Uint16Array} */ (memories[get(memory)])
  const length = get(count)
  let random = get(seed) | 1
  Atomics.store(control, ran, seen)
  Atomics.notify(control, ran)
  while (get(turn) === seen) {
    for (let i = 0; i < 16; i++) {
      random ^= random << 13
      random ^= random >>> 17
      random ^= random << 5
      const which = (random >>> 1) % length
      words[/** @type {number} */ (places[which])] = /** @type {number} */ (values[2 * which + (random & 1)])
    }
  }
  Atomics.store(control, ran, -seen)
  Atomics.notify(control, ran)
}
