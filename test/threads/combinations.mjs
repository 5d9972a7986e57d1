/** What is run: each ring format with and without each ring feature, and either role in the worker. */
import { Random } from './random.mjs'

/** Entries of the queues; those of a packed ring need not be powers of two. */
const sizes = { split: [4, 16, 256], packed: [5, 16, 243] }
/** Small queues fill up all the time, and their sides sleep once for each chain or two, which takes long: they get a part of the chains only. */
const parts = [8, 4, 1]

/**
 * Those of one seed: it chooses the queue sizes, among other things.
 *
 * @param settings - chains of the longest run, seed, and milliseconds after which a notification counts as lost
 */
export function combinations({ chains, seed, patience }) {
  const random = new Random(seed)
  const runs = []
  for (const format of ['split', 'packed']) {
    for (let bits = 0; bits < 16; bits++) {
      const features = { packed: format === 'packed', eventIndex: (bits & 1) !== 0, indirect: (bits & 2) !== 0, inOrder: (bits & 4) !== 0 }
      const worker = (bits & 8) !== 0 ? 'driver' : 'device'
      const choice = random.below(parts.length)
      const size = sizes[format][choice]
      // A split ring starts shortly before its indices wrap: at the start, and otherwise only after 65536 chains, a comparison of them goes wrong unnoticed.
      const start = format === 'split' ? 0x1_0000 - 1 - random.below(1000) : 0
      const names = Object.entries({ 'event-index': features.eventIndex, indirect: features.indirect, 'in-order': features.inOrder })
      const name = [format, ...names.filter(([, on]) => on).map(([text]) => text), `size=${size}`, `worker=${worker}`].join(' ')
      runs.push({
        name,
        features,
        worker,
        size,
        chains: Math.ceil(chains / parts[choice]),
        seed: random.below(2 ** 30),
        patience,
        pauseEvery: 4096,
        start,
      })
    }
  }
  return runs
}
