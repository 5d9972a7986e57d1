/** A new device type, as its author describes it in a few words, and what the words may be. */
import { didYouMean } from '../generator/diagnostic.ts'
import { className } from '../generator/names.ts'
import { UsageError } from './command.ts'
import type { Taken } from './new-taken.ts'

export interface NewDevice {
  /** Name of the chapter. */
  name: string
  id: number
  title: string
  hasConfig: boolean
  requests: readonly string[]
  events: readonly string[]
}

/** Largest device id. */
const lastId = 0xffff
/** The word for an empty list. */
export const none = 'none'

/** What the generated code and the scaffold import: no class of the device may have such a name. */
const imported: ReadonlySet<string> = new Set(
  (
    'ConfigSpace DeviceDriver DeviceRequest FeatureSet Outcome RangeError ReadableBytes RequestDevice RequestError Uint8Array VirtioDevice ' +
    'WritableBytes'
  ).split(' '),
)

/** @throws UsageError for a name that a chapter cannot have, or that is taken */
export function checkName(name: string, taken: Taken): string {
  if (!/^[a-z][a-z0-9]*([-_][a-z0-9]+)*$/.test(name)) {
    const better = wordsOf(name).join('-')
    const hint = better === '' || better === name ? 'lower-case letters, digits and "-"; a letter comes first' : `how about ${better}?`
    throw new UsageError(`"${name}" cannot name a device`, hint)
  }
  if (['', 'Device', 'Driver'].some((end) => imported.has(className(name) + end)))
    throw new UsageError(`"${name}" is a word that the generated code needs for itself`, `how about my-${name}?`)
  const owner = [name, name.replaceAll('_', '-'), name.replaceAll('-', '_')]
    .map((spelling) => taken.names.get(spelling))
    .find((found) => found !== undefined)
  if (owner !== undefined) throw new UsageError(`"${name}" is ${owner}`, `choose another name: virtgen new device my-${name}`)
  return name
}

/** Lower-case words of any spelling: `MyDevice`, `my device`. */
function wordsOf(name: string): string[] {
  const words =
    name
      .replaceAll(/([a-z0-9])([A-Z])/g, '$1-$2')
      .toLowerCase()
      .match(/[a-z0-9]+/g) ?? []
  return words
    .join('-')
    .replace(/^[\d-]+/, '')
    .split('-')
}

/** `my-sensor` → `My Sensor Device`. */
export function defaultTitle(name: string): string {
  const words = name.split(/[-_]/).map((word) => (word[0] as string).toUpperCase() + word.slice(1))
  return `${words.join(' ')} Device`
}

/**
 * "For experimental drivers, use 65535 and work backwards": VIRTIO 1.4, Creating New Device Types / What Device Number?
 */
export function defaultId(taken: Taken): number {
  let id = lastId
  while (taken.ids.has(id)) id--
  return id
}

/** @throws UsageError for what is no device id, or somebody else's */
export function checkId(id: number, taken: Taken): number {
  const free = `${defaultId(taken)} is free; for experiments the specification says to count down from ${lastId}`
  if (!Number.isSafeInteger(id) || id < 1 || id > lastId) throw new UsageError(`a device id is a number from 1 to ${lastId}, not ${id}`, free)
  const owner = taken.ids.get(id)
  if (owner !== undefined) throw new UsageError(`the id ${id} belongs to ${owner}`, free)
  return id
}

/** @throws UsageError for what is no number */
export function parseId(text: string): number {
  if (!/^(\d+|0[xX][0-9a-fA-F]+)$/.test(text)) throw new UsageError(`a device id is a number from 1 to ${lastId}, not "${text}"`)
  return Number(text)
}

/** @throws UsageError for what does not fit into a line */
export function checkTitle(title: string): string {
  const trimmed = title.trim()
  if (trimmed === '') throw new UsageError('the title is empty')
  if (/\p{Cc}|\*\//u.test(trimmed)) throw new UsageError('the title is one line of text, without "*/"')
  return trimmed
}

/**
 * Names of requests or events.
 *
 * @param noun - `request` or `event`
 * @throws UsageError for a name that cannot be one, or that is given twice
 */
export function checkNames(names: readonly string[], noun: string): string[] {
  if (names.length === 1 && names[0] === none) return []
  for (const [index, name] of names.entries()) {
    if (!/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/.test(name)) {
      const better = wordsOf(name).join('_')
      const hint = better === '' || better === name ? 'lower-case letters, digits and "_"; a letter comes first' : `how about ${better}?`
      throw new UsageError(`"${name}" cannot name ${noun === 'event' ? 'an event' : 'a request'}`, hint)
    }
    if (name === none) throw new UsageError(`"${none}" stands for no ${noun} at all`, 'give it alone')
    const first = names.findIndex((other) => className(other) === className(name))
    if (first === index) continue
    const twice = names[first] === name ? `"${name}" is given twice` : `"${names[first]}" and "${name}" become the same in TypeScript`
    throw new UsageError(`the ${noun} ${twice}`)
  }
  return [...names]
}

/** @throws UsageError for anything but yes and no */
export function parseYesNo(text: string): boolean {
  const word = text.toLowerCase()
  if (word === 'y' || word === 'yes') return true
  if (word === 'n' || word === 'no') return false
  throw new UsageError(`yes or no, not "${text}"`, didYouMean(word, ['yes', 'no']))
}
