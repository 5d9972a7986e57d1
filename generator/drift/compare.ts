/** Compares two sets of facts: ours, which the YAML says, and those of another source. */
import type { FactOrigin, Facts } from '../facts.ts'
import { changedConstants } from './constants.ts'
import { changedStructs } from './structs.ts'

export type Kind = 'missing' | 'changed' | 'extra'
export type ItemKind = 'device' | 'feature' | 'constant' | 'struct' | 'field' | 'queue' | 'register'

export interface Place {
  file: string
  line?: number
}

export interface Difference {
  /** `missing`: we do not have it; `extra`: only we have it. */
  kind: Kind
  item: ItemKind
  /** Chapter. */
  scope: string
  /** Name, of a field `struct.field`. */
  name: string
  /** What differs, or what the missing or extra thing is: `bit 3`, `le16 at 8`. */
  what: string
  ours?: Place
  theirs?: Place
  /** YAML that says what is missing. */
  snippet?: string
}

export interface Sources {
  ours: Facts
  theirs: Facts
  /** Whether the other source has both words in one paragraph: a condition that it states in prose. */
  together?: ((scope: string, one: string, other: string) => boolean) | undefined
}

export function differencesOf(sources: Sources): Difference[] {
  return [
    ...changedDevices(sources),
    ...changedFeatures(sources),
    ...changedConstants(sources),
    ...changedStructs(sources),
    ...changedQueues(sources),
    ...changedRegisters(sources),
  ]
}

/** Only what the specification names is to be found there: things of other sources have a `source`, names of ours are in lower case. */
export function isExpected(fact: FactOrigin & { name: string }): boolean {
  return fact.source === undefined && !/^[a-z]/.test(fact.name)
}

export function placeOf({ file, line }: FactOrigin): { theirs?: Place } {
  return file === undefined ? {} : { theirs: { file, ...(line === undefined ? {} : { line }) } }
}

function changedDevices({ ours, theirs }: Sources): Difference[] {
  const found: Difference[] = []
  const scope = 'content'
  for (const device of theirs.devices) {
    const own = ours.devices.find(({ id }) => id === device.id)
    const about = { item: 'device' as const, scope, name: device.name, ...placeOf(device) }
    if (own === undefined) found.push({ kind: 'missing', ...about, what: `id ${device.id}` })
    else if (simplified(own.name) !== simplified(device.name))
      found.push({ kind: 'changed', ...about, name: own.name, what: `id ${device.id}: YAML "${own.name}", there "${device.name}"` })
    else if (device.scope !== '' && own.scope !== device.scope)
      found.push({ kind: 'changed', ...about, name: own.name, what: `chapter: YAML ${own.scope}, there ${device.scope}` })
  }
  for (const { id, name } of ours.devices)
    if (!theirs.devices.some((device) => device.id === id)) found.push({ kind: 'extra', item: 'device', scope, name, what: `id ${id}` })
  return found
}

function simplified(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, ' ')
    .trim()
}

function changedFeatures({ ours, theirs }: Sources): Difference[] {
  const found: Difference[] = []
  const { pairs, missing, extra } = paired(ours.features, theirs.features, keyOf)
  for (const [own, other] of pairs) {
    const about = { kind: 'changed' as const, item: 'feature' as const, scope: own.scope, name: own.name, ...placeOf(other) }
    if (own.bit !== other.bit) found.push({ ...about, what: `bit: YAML ${own.bit}, there ${other.bit}` })
    if ((own.legacy ?? false) !== (other.legacy ?? false))
      found.push({ ...about, what: `legacy interface only: YAML ${own.legacy ?? false}, there ${other.legacy ?? false}` })
    const required = differentFeatures(own.requires, other.requires)
    if (other.requires !== undefined && required)
      found.push({ ...about, what: `requires: YAML ${own.requires ?? 'nothing'}, there ${other.requires}` })
  }
  const renamed = renames(missing, extra, (one, two) => one.scope === two.scope && one.bit === two.bit)
  for (const [other, own] of renamed.pairs)
    found.push({
      kind: 'changed',
      item: 'feature',
      scope: own.scope,
      name: own.name,
      what: `bit ${own.bit} is called ${other.name} there`,
      ...placeOf(other),
    })
  for (const feature of renamed.missing)
    found.push({ kind: 'missing', item: 'feature', scope: feature.scope, name: feature.name, what: `bit ${feature.bit}`, ...placeOf(feature) })
  for (const feature of renamed.extra.filter(isExpected))
    found.push({ kind: 'extra', item: 'feature', scope: feature.scope, name: feature.name, what: `bit ${feature.bit}` })
  return found
}

/** Whether two conditions name other features. */
export function differentFeatures(one: string | undefined, other: string | undefined): boolean {
  const names = (text: string | undefined): string => [...new Set(text?.match(/VIRTIO_\w+/g) ?? [])].sort().join(' ')
  return names(one) !== names(other)
}

function changedQueues({ ours, theirs, together }: Sources): Difference[] {
  const found: Difference[] = []
  const { pairs, missing, extra } = paired(ours.queues, theirs.queues, keyOf)
  for (const [own, other] of pairs) {
    const about = { kind: 'changed' as const, item: 'queue' as const, scope: own.scope, name: own.name, ...placeOf(other) }
    if (own.index !== other.index) found.push({ ...about, what: `index: YAML ${own.index}, there ${other.index}` })
    if (other.when !== undefined && differentFeatures(own.when, other.when))
      found.push({ ...about, what: `condition: YAML ${own.when ?? 'none'}, there ${other.when}` })
    else if (other.when === undefined && own.when !== undefined && together) {
      // "Other queues only exist if …" names none of them.
      const unfounded = (own.when.match(/VIRTIO_\w+/g) ?? []).filter(
        (feature) => !together(own.scope, feature, 'queues') && !together(own.scope, feature, own.name),
      )
      if (unfounded.length > 0) found.push({ ...about, what: `condition: YAML ${own.when}, there none` })
    }
  }
  const renamed = renames(missing, extra, (one, two) => one.scope === two.scope && one.index === two.index)
  for (const [other, own] of renamed.pairs)
    found.push({
      kind: 'changed',
      item: 'queue',
      scope: own.scope,
      name: own.name,
      what: `queue ${own.index} is called ${other.name} there`,
      ...placeOf(other),
    })
  for (const queue of renamed.missing)
    found.push({ kind: 'missing', item: 'queue', scope: queue.scope, name: queue.name, what: `index ${queue.index}`, ...placeOf(queue) })
  for (const queue of renamed.extra)
    if (queue.source === undefined) found.push({ kind: 'extra', item: 'queue', scope: queue.scope, name: queue.name, what: `index ${queue.index}` })
  return found
}

function changedRegisters({ ours, theirs }: Sources): Difference[] {
  const found: Difference[] = []
  const hex = (offset: number | null): string => (offset === null ? 'none' : `0x${offset.toString(16).padStart(3, '0')}`)
  const key = (register: Facts['registers'][number]): string => `${register.scope} ${register.name} ${register.legacy ?? false}`
  const { pairs, missing, extra } = paired(ours.registers, theirs.registers, key)
  const shown = ({ name, legacy }: Facts['registers'][number]): string => (legacy ? `${name} (legacy)` : name)
  for (const [own, other] of pairs) {
    const about = { kind: 'changed' as const, item: 'register' as const, scope: own.scope, name: shown(own), ...placeOf(other) }
    if (own.offset !== other.offset) found.push({ ...about, what: `offset: YAML ${hex(own.offset)}, there ${hex(other.offset)}` })
    if (own.access !== other.access) found.push({ ...about, what: `direction: YAML ${own.access}, there ${other.access}` })
  }
  const renamed = renames(missing, extra, (one, two) => one.scope === two.scope && one.offset === two.offset && one.legacy === two.legacy)
  for (const [other, own] of renamed.pairs)
    found.push({
      kind: 'changed',
      item: 'register',
      scope: own.scope,
      name: shown(own),
      what: `${hex(own.offset)} is called ${other.name} there`,
      ...placeOf(other),
    })
  for (const register of renamed.missing)
    found.push({
      kind: 'missing',
      item: 'register',
      scope: register.scope,
      name: shown(register),
      what: `${hex(register.offset)} ${register.access}`,
      ...placeOf(register),
    })
  // Only the table of the MMIO transport names registers; those of PCI's legacy header have names of ours.
  for (const register of renamed.extra.filter(isExpected))
    found.push({ kind: 'extra', item: 'register', scope: register.scope, name: shown(register), what: `${hex(register.offset)} ${register.access}` })
  return found
}

export function keyOf({ scope, name }: { scope: string; name: string }): string {
  return `${scope} ${name}`
}

/** Facts of both sides with the same key, and those that only one side has. The first of a key counts. */
export function paired<T>(ours: readonly T[], theirs: readonly T[], key: (fact: T) => string): { pairs: [T, T][]; missing: T[]; extra: T[] } {
  const own = new Map(ours.toReversed().map((fact) => [key(fact), fact]))
  const other = new Map(theirs.toReversed().map((fact) => [key(fact), fact]))
  return {
    pairs: theirs.flatMap((fact): [T, T][] => {
      const found = own.get(key(fact))
      return found !== undefined && other.get(key(fact)) === fact ? [[found, fact]] : []
    }),
    missing: theirs.filter((fact) => !own.has(key(fact)) && other.get(key(fact)) === fact),
    extra: ours.filter((fact) => !other.has(key(fact)) && own.get(key(fact)) === fact),
  }
}

/** One that is missing and one that is extra may be the same under another name. */
export function renames<T extends { name: string }>(
  missing: readonly T[],
  extra: readonly T[],
  same: (one: T, two: T) => boolean,
): { pairs: [T, T][]; missing: T[]; extra: T[] } {
  const pairs: [T, T][] = []
  const isFree = (fact: T): boolean => !pairs.some((pair) => pair.includes(fact))
  for (const other of missing) {
    const own = extra.filter((fact) => isFree(fact) && same(other, fact))
    const only = own.length === 1 && missing.filter((fact) => same(fact, own[0] as T)).length === 1
    if (only && isAlike(other.name, (own[0] as T).name)) pairs.push([other, own[0] as T])
  }
  return { pairs, missing: missing.filter(isFree), extra: extra.filter(isFree) }
}

/** Whether most of the words of two names are the same, at the same end. */
function isAlike(one: string, two: string): boolean {
  const [a, b] = [one.split('_'), two.split('_')]
  let head = 0
  while (head < Math.min(a.length, b.length) && a[head] === b[head]) head++
  let tail = 0
  while (tail < Math.min(a.length, b.length) - head && a.at(-1 - tail) === b.at(-1 - tail)) tail++
  const most = Math.max(a.length, b.length)
  return most === 1 || 2 * (head + tail) >= most
}
