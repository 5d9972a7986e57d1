/** Compares two sets of facts: ours, which the YAML says, and those of another source. */
import type { Facts } from '../facts.ts'
import { constantDifferences } from './constants.ts'
import { type Difference, Findings, featuresOf, isExpected, isOtherCondition } from './findings.ts'
import { byScopeAndName, paired, renamed } from './pairs.ts'
import { structDifferences } from './structs.ts'

export interface Sources {
  ours: Facts
  theirs: Facts
  /** Whether the other source has both words in one section: a condition that it states in prose. */
  together?: ((scope: string, one: string, other: string) => boolean) | undefined
}

export function differencesOf(sources: Sources): Difference[] {
  return [
    ...deviceDifferences(sources),
    ...featureDifferences(sources),
    ...constantDifferences(sources),
    ...structDifferences(sources),
    ...queueDifferences(sources),
    ...registerDifferences(sources),
  ]
}

/** Device ids stand in the chapter `content`, whichever device they are of. */
function deviceDifferences({ ours, theirs }: Sources): Difference[] {
  const found = new Findings('device')
  const listed = (device: Facts['devices'][number]) => ({ ...device, scope: 'content' })
  const { pairs, missing, extra } = paired(ours.devices, theirs.devices, ({ id }) => String(id))
  for (const [own, other] of pairs) {
    if (simplified(own.name) !== simplified(other.name)) found.renamed(listed(own), listed(other))
    // The text gives a chapter only to some.
    if (other.scope !== '') found.compare(listed(own), other, 'value', own.scope, other.scope)
  }
  for (const device of missing) found.missing(listed(device), `id ${device.id}`)
  for (const device of extra) found.extra(listed(device), `id ${device.id}`)
  return found.list
}

function simplified(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, ' ')
    .trim()
}

function featureDifferences({ ours, theirs }: Sources): Difference[] {
  const found = new Findings('feature')
  const { pairs, missing, extra } = paired(ours.features, theirs.features, byScopeAndName)
  for (const [own, other] of pairs) {
    found.compare(own, other, 'value', `bit ${own.bit}`, `bit ${other.bit}`)
    found.compare(own, other, 'legacy', String(own.legacy ?? false), String(other.legacy ?? false))
    if (other.requires !== undefined && isOtherCondition(own.requires, other.requires))
      found.changed(own, other, 'requires', own.requires ?? 'nothing', other.requires)
  }
  const names = renamed(missing, extra, (one, two) => one.scope === two.scope && one.bit === two.bit)
  for (const [own, other] of names.pairs) found.renamed(own, other)
  for (const feature of names.missing) found.missing(feature, `bit ${feature.bit}`)
  for (const feature of names.extra.filter(isExpected)) found.extra(feature, `bit ${feature.bit}`)
  return found.list
}

function queueDifferences({ ours, theirs, together }: Sources): Difference[] {
  const found = new Findings('queue')
  const { pairs, missing, extra } = paired(ours.queues, theirs.queues, byScopeAndName)
  for (const [own, other] of pairs) {
    found.compare(own, other, 'value', `index ${own.index}`, `index ${other.index}`)
    // "Other queues only exist if …" names none of them.
    const isStated = (feature: string): boolean => !together || together(own.scope, feature, 'queues') || together(own.scope, feature, own.name)
    if (other.when === undefined ? !featuresOf(own.when).every(isStated) : isOtherCondition(own.when, other.when))
      found.changed(own, other, 'condition', own.when ?? 'none', other.when ?? 'none')
  }
  const names = renamed(missing, extra, (one, two) => one.scope === two.scope && one.index === two.index)
  for (const [own, other] of names.pairs) found.renamed(own, other)
  for (const queue of names.missing) found.missing(queue, `index ${queue.index}`)
  for (const queue of names.extra) if (queue.source === undefined) found.extra(queue, `index ${queue.index}`)
  return found.list
}

function registerDifferences({ ours, theirs }: Sources): Difference[] {
  const found = new Findings('register')
  type Register = Facts['registers'][number]
  const named = (register: Register): Register => (register.legacy ? { ...register, name: `${register.name} (legacy)` } : register)
  const place = ({ offset }: Register): string => (offset === null ? 'none' : `0x${offset.toString(16).padStart(3, '0')}`)
  const { pairs, missing, extra } = paired(ours.registers.map(named), theirs.registers.map(named), byScopeAndName)
  for (const [own, other] of pairs) {
    found.compare(own, other, 'offset', place(own), place(other))
    found.compare(own, other, 'direction', own.access, other.access)
  }
  const names = renamed(missing, extra, (one, two) => one.scope === two.scope && one.offset === two.offset && one.legacy === two.legacy)
  for (const [own, other] of names.pairs) found.renamed(own, other)
  for (const register of names.missing) found.missing(register, `${place(register)} ${register.access}`)
  // Only the MMIO transport has a table of registers; those of PCI are structs, or have names of ours.
  for (const register of names.extra.filter(isExpected)) found.extra(register, `${place(register)} ${register.access}`)
  return found.list
}
