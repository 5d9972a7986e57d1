// How many bytes a loop allocates on the heap of the engine.
import { getHeapStatistics } from 'node:v8'
import { median } from './statistics.mjs'

const tries = 7

function usedDuring(work) {
  const before = getHeapStatistics().used_heap_size
  work()
  return getHeapStatistics().used_heap_size - before
}

function typical(work) {
  return median(Array.from({ length: tries }, () => usedDuring(work)))
}

/**
 * Bytes per call of `work` in the steady state. The median of some tries: in one of them the engine may collect what lies about, or still be at work on the code.
 * What looking at the heap allocates itself is measured beside and taken off.
 *
 * @param {() => void} work - has run for long, and allocates less than 1 MB in `calls` calls
 */
export function bytesPerCall(work, calls) {
  const repeat = () => {
    for (let i = 0; i < calls; i++) work()
  }
  return Math.max(0, typical(repeat) - typical(nothing)) / calls
}

function nothing() {}
