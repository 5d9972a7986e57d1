/** Two sides and more of something, step by step in one thread, in an order that can be repeated. */

/**
 * What a side does: each `yield` is a place where another side may go on. An array of functions is a side as well, with a step for each.
 */
export type Side = Iterable<unknown> | (() => Iterator<unknown>)

export interface InterleaveOptions {
  /** Chooses the order. Default: another one each time. */
  readonly seed?: number
  /** Names of sides in the order of their steps, as an earlier run gave it; what it leaves over goes round the sides. */
  readonly schedule?: readonly string[]
  /** Steps at most, 10,000 by default: a side that waits for what never comes is found out. */
  readonly steps?: number
}

/** How it went: enough to do it again. */
export interface Interleaving {
  readonly seed: number
  readonly schedule: readonly string[]
}

const defaultSteps = 10_000

/**
 * Takes a step of one side or another until all have come to their end. What one throws is thrown on, with the seed and the schedule.
 *
 * @example
 * interleave({
 *   *driver() {
 *     for (let i = 0; i < 100; i++) {
 *       driver.offer(chain().writable(4))
 *       yield
 *     }
 *   },
 *   *device() {
 *     for (let done = 0; done < 100; yield) for (let taken = queue.next(); taken; taken = queue.next(), done++) taken.complete()
 *   },
 * }, { seed: 7 })
 * @throws Error where a side threw, or there was no end
 */
export function interleave(sides: Readonly<Record<string, Side>>, options: InterleaveOptions = {}): Interleaving {
  const { seed = Math.floor(Math.random() * 2 ** 32), schedule: given, steps = defaultSteps } = options
  const running = new Map(Object.entries(sides).map(([name, side]) => [name, typeof side === 'function' ? side() : side[Symbol.iterator]()]))
  const next = given === undefined ? atRandom(seed) : inOrder(given)
  const schedule: string[] = []
  while (running.size > 0) {
    if (schedule.length === steps) throw new Error(`${[...running.keys()].join(' and ')} came to no end in ${steps} steps${replay(seed, schedule)}`)
    const name = next([...running.keys()])
    schedule.push(name)
    try {
      const step = running.get(name)!.next()
      if (step.done) running.delete(name)
      else if (typeof step.value === 'function') step.value()
    } catch (error) {
      throw new Error(`${name}: ${error instanceof Error ? error.message : error}${replay(seed, schedule)}`, { cause: error })
    }
  }
  return { seed, schedule }
}

/**
 * Every order in which sides with so many steps can take them.
 *
 * @example
 * for (const schedule of schedules({ driver: 3, device: 3 })) interleave(sides(), { schedule }) // 20 of them
 */
export function* schedules(steps: Readonly<Record<string, number>>): Generator<string[]> {
  const left = Object.entries(steps).filter(([, count]) => count > 0)
  if (left.length === 0) yield []
  for (const [name, count] of left) for (const rest of schedules({ ...steps, [name]: count - 1 })) yield [name, ...rest]
}

/** Numbers from 0 up to 1, always the same for a seed. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

type Choice = (names: readonly string[]) => string

function atRandom(seed: number): Choice {
  const random = randomNumbers(seed)
  return (names) => names[Math.floor(random() * names.length)]!
}

function inOrder(schedule: readonly string[]): Choice {
  let at = 0
  let turn = 0
  return (names) => {
    for (; at < schedule.length; at++) if (names.includes(schedule[at]!)) return schedule[at++]!
    return names[turn++ % names.length]!
  }
}

function replay(seed: number, schedule: readonly string[]): string {
  const last = schedule.length > 100 ? ['…', ...schedule.slice(-100)] : schedule
  return `\n  again: interleave(sides, { seed: ${seed} }), or the schedule ${last.join(' ')}`
}
