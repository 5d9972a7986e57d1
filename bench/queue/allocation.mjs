// How many bytes a loop allocates on the heap of the engine.
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { median } from './statistics.mjs'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc')
const tries = 5

function usedDuring(work) {
  // Nothing is collected in between: the heap is empty of young objects, and the work allocates less than what makes the engine collect.
  collect()
  const before = getHeapStatistics().used_heap_size
  work()
  return getHeapStatistics().used_heap_size - before
}

/** Bytes per call of `work`, after it has run for long. What looking at the heap allocates itself is measured beside it and taken off. */
export function bytesPerCall(work, calls) {
  const repeat = () => {
    for (let i = 0; i < calls; i++) work()
  }
  const samples = Array.from({ length: tries }, () => usedDuring(repeat) - usedDuring(nothing))
  return Math.max(0, median(samples)) / calls
}

function nothing() {}
