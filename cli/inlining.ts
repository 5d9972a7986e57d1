/** How much the engine puts into the code of one function. */
import { setFlagsFromString } from 'node:v8'

const option = '--max-inlined-bytecode-size-cumulative'
/** Bytes of bytecode. By default it is 920, which is less than the way of a request through its device: a fifth more requests get through (docs/performance.md). */
const most = 2000

/** For a process that serves requests and does little else. Who has started Node with another number knows better. */
export function inlineMore(): void {
  if (!process.execArgv.some((word) => word.startsWith(option))) setFlagsFromString(`${option}=${most}`)
}
