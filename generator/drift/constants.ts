/** Constants: the same name may stand for several numbers. */
import type { Facts } from '../facts.ts'
import type { Sources } from './compare.ts'
import { type Difference, Findings, isExpected } from './findings.ts'
import { byScopeAndName, renamed } from './pairs.ts'

type Constant = Facts['constants'][number]

export function constantDifferences({ ours, theirs }: Sources): Difference[] {
  const found = new Findings('constant')
  const missing: Constant[] = []
  const extra: Constant[] = []
  const own = byName(ours.constants)
  const other = byName(theirs.constants)
  for (const [key, there] of other) {
    const here = own.get(key) ?? []
    const left = there.filter((constant) => !here.some((each) => isSame(each, constant)))
    const over = here.filter((constant) => !there.some((each) => isSame(each, constant)))
    // One number on each side that the other has not: it has changed.
    const changed = Math.min(left.length, over.length)
    for (const [index, constant] of over.slice(0, changed).entries()) {
      const instead = left[index] as Constant
      found.changed(constant, instead, 'value', shownValue(constant.value), shownValue(instead.value))
    }
    missing.push(...left.slice(changed))
    extra.push(...over.slice(changed))
  }
  for (const [key, constants] of own) if (!other.has(key)) extra.push(...constants)
  const names = renamed(missing, extra.filter(isExpected), (one, two) => one.scope === two.scope && one.value === two.value)
  for (const [here, there] of names.pairs) found.renamed(here, there)
  for (const constant of names.missing) found.missing(constant, `= ${shownValue(constant.value)}`)
  for (const constant of names.extra) found.extra(constant, `= ${shownValue(constant.value)}`)
  return found.list
}

function byName(constants: readonly Constant[]): Map<string, Constant[]> {
  const found = new Map<string, Constant[]>()
  for (const constant of constants) {
    const same = found.get(byScopeAndName(constant))
    if (same === undefined) found.set(byScopeAndName(constant), [constant])
    else if (!same.some(({ value }) => value === constant.value)) same.push(constant)
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

function shownValue(value: number | string): string {
  return typeof value === 'number' && value > 9 ? `${value} (0x${value.toString(16)})` : String(value)
}
