// The clock of the steps. It can be stopped, since each time that it tells is a number on the heap.
let running = true

/** In ms; stopped: 0. */
export function now() {
  return running ? performance.now() : 0
}

/** Calls `work` while the clock stands still. */
export function withoutClock(work) {
  running = false
  try {
    return work()
  } finally {
    running = true
  }
}
