/** Constants: the same name may stand for several numbers. */
import type { Facts } from '../facts.ts'
import { type Difference, isExpected, keyOf, placeOf, renames, type Sources } from './compare.ts'

type Constant = Facts['constants'][number]

export function changedConstants({ ours, theirs }: Sources): Difference[] {
  const found: Difference[] = []
  const missing: Constant[] = []
  const extra: Constant[] = []
  const own = byName(ours.constants)
  const other = byName(theirs.constants)
  for (const [key, theirConstants] of other) {
    const mine = own.get(key) ?? []
    const without = <T extends Constant>(constants: readonly T[], from: readonly Constant[]): T[] =>
      constants.filter((constant) => !from.some((each) => isSame(each, constant)))
    const left = without(theirConstants, mine)
    const over = without(mine, theirConstants)
    // One number on each side that the other has not: it has changed.
    while (left.length > 0 && over.length > 0) {
      const [there, here] = [left.shift() as Constant, over.shift() as Constant]
      const what = `value: YAML ${shownValue(here.value)}, there ${shownValue(there.value)}`
      found.push({ kind: 'changed', item: 'constant', scope: here.scope, name: here.name, what, ...placeOf(there) })
    }
    missing.push(...left)
    extra.push(...over)
  }
  for (const [key, constants] of own) if (!other.has(key)) extra.push(...constants)
  const renamed = renames(missing, extra.filter(isExpected), (one, two) => one.scope === two.scope && one.value === two.value)
  for (const [there, here] of renamed.pairs) {
    const what = `${shownValue(here.value)} is called ${there.name} there`
    found.push({ kind: 'changed', item: 'constant', scope: here.scope, name: here.name, what, ...placeOf(there) })
  }
  for (const constant of renamed.missing) found.push({ kind: 'missing', ...about(constant), ...placeOf(constant) })
  for (const constant of renamed.extra) found.push({ kind: 'extra', ...about(constant) })
  return found
}

function about({ scope, name, value }: Constant): Omit<Difference, 'kind'> {
  return { item: 'constant', scope, name, what: `= ${shownValue(value)}` }
}

function byName(constants: readonly Constant[]): Map<string, Constant[]> {
  const found = new Map<string, Constant[]>()
  for (const constant of constants) {
    const same = found.get(keyOf(constant))
    if (same === undefined) found.set(keyOf(constant), [constant])
    else if (!same.some((each) => each.value === constant.value)) same.push(constant)
  }
  return found
}

/** A value that the specification takes from elsewhere, `V4L2_MEMORY_MMAP`, has no number there. */
function isSame(one: Constant, other: Constant): boolean {
  return String(one.value) === String(other.value) || isForeign(one.value) || isForeign(other.value)
}

function isForeign(value: number | string): boolean {
  return typeof value === 'string' && /^[A-Za-z_]\w*$/.test(value) && !value.startsWith('VIRTIO')
}

export function shownValue(value: number | string): string {
  if (typeof value === 'number' && value > 9) return `${value} (0x${value.toString(16)})`
  return String(value)
}
