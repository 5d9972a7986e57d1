/** What changed between two descriptions for users of the bindings. */
import { type Effect, effectOf } from './effect.ts'
import type { Item, ItemKind } from './surface.ts'

export { docsOf } from './docs.ts'
export { type Effect, effects } from './effect.ts'
export { type Item, type ItemKind, surfaceOf } from './surface.ts'

export interface Change {
  effect: Effect
  kind: ItemKind | 'chapter'
  /** The chapter. */
  scope: string
  name: string
  /** What was done to it. */
  change: 'added' | 'removed' | 'renamed' | 'changed' | 'documented'
  /** The former name of a renamed item. */
  was?: string
  /** Properties that differ; absent: it did not have them, or does not. */
  properties?: PropertyChange[]
  /** What an added or removed chapter or struct holds. */
  holds?: string
  /** Why it is breaking, where that is not plain. */
  why?: string
}

export interface PropertyChange {
  name: string
  before?: string
  after?: string
}

/** The changes, chapter by chapter in the order of the new description; chapters and structs that are new or gone are told as a whole. */
export function changesBetween(before: readonly Item[], after: readonly Item[]): Change[] {
  const scopes = new Set([...after, ...before].map(({ scope }) => scope))
  return [...scopes].flatMap((scope) => changesOfChapter(scope, of(before, scope), of(after, scope)))
}

function of(items: readonly Item[], scope: string): Item[] {
  return items.filter((item) => item.scope === scope)
}

function changesOfChapter(scope: string, before: readonly Item[], after: readonly Item[]): Change[] {
  // The table of ids names a device before it has a chapter.
  const isThere = (items: readonly Item[]): boolean => items.some(({ kind }) => kind !== 'device')
  const own: Change[] = []
  if (isThere(before) !== isThere(after)) {
    const [items, change] = isThere(after) ? [after, 'added' as const] : [before, 'removed' as const]
    own.push({ effect: change === 'added' ? 'additive' : 'breaking', kind: 'chapter', scope, name: scope, change, holds: contentsOf(items) })
    return [...changesOfItems(before.filter(isDevice), after.filter(isDevice)), ...own]
  }
  return changesOfItems(before, after)
}

const isDevice = ({ kind }: Item): boolean => kind === 'device'

/** `3 structs, 12 fields`. */
function contentsOf(items: readonly Item[]): string {
  const counts = new Map<string, number>()
  for (const { kind } of items) if (kind !== 'device' && kind !== 'erratum') counts.set(kind, (counts.get(kind) ?? 0) + 1)
  return [...counts].map(([kind, count]) => `${count} ${kind}${count === 1 ? '' : 's'}`).join(', ')
}

function changesOfItems(before: readonly Item[], after: readonly Item[]): Change[] {
  const old = byKey(before)
  const now = byKey(after)
  const added = [...now].filter(([key]) => !old.has(key)).map(([, item]) => item)
  const removed = [...old].filter(([key]) => !now.has(key)).map(([, item]) => item)
  const renames = findRenames(removed, added)
  const formerNames = new Set(renames.values())
  const changes: Change[] = []
  for (const [key, item] of now) {
    const same = old.get(key)
    const former = renames.get(item)
    if (same) changes.push(...changeOf(same, item))
    else if (former) changes.push(told(item, 'renamed', { was: former.name }))
    else if (!isWithin(item, added))
      changes.push(told(item, 'added', holding(item, added), Number(old.get(`struct ${structOf(item)} `)?.properties.size)))
  }
  for (const item of removed) {
    if (!formerNames.has(item) && !isWithin(item, removed)) changes.push(told(item, 'removed', holding(item, removed)))
  }
  return changes
}

/** Two fields of one name in two arms of a union are told apart by their order. */
function byKey(items: readonly Item[]): Map<string, Item> {
  const map = new Map<string, Item>()
  for (const item of items) {
    const key = `${item.kind} ${item.name} ${item.kind === 'field' || item.kind === 'constant' ? item.parent : ''}`
    let free = key
    for (let n = 2; map.has(free); n++) free = `${key} ${n}`
    map.set(free, item)
  }
  return map
}

/** Whether an item is a field of a struct that is new or gone as a whole. */
function isWithin(item: Item, all: readonly Item[]): boolean {
  return item.kind === 'field' && all.some(({ kind, name }) => kind === 'struct' && name === structOf(item))
}

function structOf(field: Item): string {
  return field.parent.split(' ')[0] as string
}

function holding(item: Item, all: readonly Item[]): { holds?: string } {
  if (item.kind !== 'struct') return {}
  return { holds: contentsOf(all.filter((field) => field.kind === 'field' && structOf(field) === item.name)) }
}

/** What says that two names are the same thing. */
const identities: Partial<Record<ItemKind, readonly string[]>> = {
  device: ['id'],
  feature: ['bit'],
  constant: ['value'],
  field: ['type', 'offset', 'bits', 'part'],
  register: ['offset', 'width'],
  queue: ['index'],
  request: ['selected by'],
  event: ['selected by'],
}

/** Items that are gone and came back under another name in the same place. What is not the only one of its identity is not guessed at. */
function findRenames(removed: readonly Item[], added: readonly Item[]): Map<Item, Item> {
  const identity = (item: Item): string | undefined => {
    const values = identities[item.kind]?.map((name) => item.properties[name] ?? '')
    if (values === undefined || item.properties.offset === 'varies' || values.every((value) => value === '')) return undefined
    return JSON.stringify([item.kind, item.parent, ...values])
  }
  const sole = (items: readonly Item[]): Map<string, Item | undefined> => {
    const map = new Map<string, Item | undefined>()
    for (const item of items) {
      const key = identity(item)
      if (key !== undefined) map.set(key, map.has(key) ? undefined : item)
    }
    return map
  }
  const gone = sole(removed)
  const renames = new Map<Item, Item>()
  for (const [key, item] of sole(added)) {
    const former = gone.get(key)
    if (item && former) renames.set(item, former)
  }
  return renames
}

function changeOf(before: Item, after: Item): Change[] {
  const properties = differences(before.properties, after.properties)
  if (properties.length > 0) return [told(after, 'changed', { properties })]
  const words = before.words && after.words ? differences({ ...before.words }, { ...after.words }) : []
  return words.length > 0 ? [told(after, 'documented', { properties: words })] : []
}

function differences(before: Readonly<Record<string, string>>, after: Readonly<Record<string, string>>): PropertyChange[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...names].flatMap((name) => {
    const [old, now] = [before[name], after[name]]
    if (old === now) return []
    return [{ name, ...(old === undefined ? {} : { before: old }), ...(now === undefined ? {} : { after: now }) }]
  })
}

function told(item: Item, change: Change['change'], more: Partial<Change> = {}, formerSize?: number): Change {
  const { kind, scope, name } = item
  const bare = { kind, scope, name, change, ...more }
  return { ...effectOf(item, bare, formerSize), ...bare }
}
