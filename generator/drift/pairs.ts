/** Which facts of two sides are about the same thing. */

export interface Pairs<T> {
  /** Ours, theirs. */
  pairs: [T, T][]
  missing: T[]
  extra: T[]
}

/** Facts of both sides with the same key, and those that only one side has. The first of a key counts. */
export function paired<T>(ours: readonly T[], theirs: readonly T[], key: (fact: T) => string): Pairs<T> {
  const own = firsts(ours, key)
  const other = firsts(theirs, key)
  const found: Pairs<T> = { pairs: [], missing: [], extra: [] }
  for (const [name, fact] of other) {
    const same = own.get(name)
    if (same === undefined) found.missing.push(fact)
    else found.pairs.push([same, fact])
  }
  for (const [name, fact] of own) if (!other.has(name)) found.extra.push(fact)
  return found
}

function firsts<T>(facts: readonly T[], key: (fact: T) => string): Map<string, T> {
  const found = new Map<string, T>()
  for (const fact of facts) if (!found.has(key(fact))) found.set(key(fact), fact)
  return found
}

export function byScopeAndName({ scope, name }: { scope: string; name: string }): string {
  return `${scope} ${name}`
}

/** One that is missing and one that is extra may be the same under another name. */
export function renamed<T extends { name: string }>(missing: readonly T[], extra: readonly T[], isSame: (one: T, two: T) => boolean): Pairs<T> {
  const pairs: [T, T][] = []
  for (const other of missing) {
    const own = extra.filter((fact) => isSame(other, fact))
    const [first] = own
    if (first === undefined || own.length > 1 || missing.filter((fact) => isSame(fact, first)).length > 1) continue
    if (isAlike(other.name, first.name)) pairs.push([first, other])
  }
  const taken = new Set(pairs.flat())
  return { pairs, missing: missing.filter((fact) => !taken.has(fact)), extra: extra.filter((fact) => !taken.has(fact)) }
}

/** Whether two names have half of their words in common, at the same ends; a single word may be any other. */
function isAlike(one: string, two: string): boolean {
  const [a, b] = [one.split('_'), two.split('_')]
  const most = Math.max(a.length, b.length)
  const least = Math.min(a.length, b.length)
  let head = 0
  while (head < least && a[head] === b[head]) head++
  let tail = 0
  while (tail < least - head && a.at(-1 - tail) === b.at(-1 - tail)) tail++
  return most === 1 || 2 * (head + tail) >= most
}
