// What is asked of the rows: times in relation to virtio-queue's `pop` (Rust), measured in the same run.

const major = Number(process.versions.node.split('.')[0])

/** Ratio to be reached, and the one not to be exceeded, of a row on the device side; undefined where none was set. */
export function aimOf(row) {
  const found = row.variant === undefined ? aimOnOldest(row) : undefined
  // In the tightest loops a newer engine is slower than that of Node 20; its copies are faster.
  return found === undefined || major < 26 ? found : { aim: 1.0, floor: 1.2 }
}

function aimOnOldest({ format, n, payload, publish }) {
  // virtio-queue publishes each chain and leaves it to the device to ask whether the driver wants to be notified.
  if (publish === 'notified' || (publish === 'each' && payload > 0)) return undefined
  if (format === 'packed') return { aim: 1.0, floor: 1.2 }
  if (payload === 0) return publish === 'batch' ? { aim: 0.75, floor: 1.0 } : { aim: 1.0, floor: 1.2 }
  if (payload === 64) return { aim: n === 1 ? 1.0 : 0.9, floor: 1.1 }
  const aim = n <= 2 ? 1.45 : n === 4 ? 2.0 : 2.6
  return { aim, floor: aim * 1.25 }
}

/** How much longer the packed ring may take than the split one. */
export function packedAimOf({ n }) {
  return n <= 4 ? 1.5 : 1.2
}
