/** What a set of feature bits means for a device: which features it is, and what the specification says against it. */
import { type Environment, holds } from '../generator/evaluate.ts'
import type { Chapter, Condition, Feature, Model } from '../generator/model.ts'

export interface FeatureReport {
  /** By ascending bit. */
  features: SetFeature[]
  /** Set bits that no feature has. */
  unknown: { bit: number; owner: string }[]
  /** Features that count although their bit is not set. */
  assumed: { name: string; bit: number; condition: string }[]
  /** `requires` that do not hold. */
  missing: Unmet[]
  /** `offered_with` that do not hold: the device must not offer the set, though a driver may have accepted it. */
  unoffered: Unmet[]
  /** `suggests` that do not hold. */
  unsuggested: Unmet[]
  /** Rules of the chapter that do not hold. */
  violated: string[]
  /** Conditions that depend on more than feature bits. */
  undecided: string[]
  /** Whether VIRTIO_F_VERSION_1 is set. */
  modern: boolean
}

export interface SetFeature {
  feature: Feature
  /** Chapter that has the feature. */
  chapter: string
  /** Names of other features on the same bit. */
  others: string[]
}

interface Unmet {
  name: string
  condition: string
}

/** Chapters whose features every device has. */
const sharedKinds: readonly Chapter['kind'][] = ['common', 'ring', 'transport']

type Owned = { feature: Feature; chapter: Chapter }

/** @param chapter - absent for a device that the description knows by its id only */
export function reportFeatures(model: Model, chapter: Chapter | undefined, bits: readonly number[]): FeatureReport {
  const shared = model.chapters.filter(({ kind }) => sharedKinds.includes(kind))
  const chapters = chapter === undefined || shared.includes(chapter) ? shared : [chapter, ...shared]
  const all: Owned[] = chapters.flatMap((one) => one.features.map((feature) => ({ feature, chapter: one })))
  const version1 = all.find(({ feature }) => feature.name === 'VIRTIO_F_VERSION_1')?.feature.bit ?? 32
  const modern = bits.includes(version1)
  const present: SetFeature[] = []
  const unknown: FeatureReport['unknown'] = []
  for (const bit of bits) {
    const [first, ...rest] = candidates(all, bit, modern)
    if (first) present.push({ feature: first.feature, chapter: first.chapter.name, others: rest.map(({ feature }) => feature.name) })
    else unknown.push({ bit, owner: ownerOf(model, bit) })
  }
  const counts = new Set(present.map(({ feature }) => feature.name))
  const environment: Environment = { feature: (name) => counts.has(name) }
  const assumed = addAssumed(all, counts, environment)
  const report: FeatureReport = {
    features: present,
    unknown,
    assumed,
    missing: [],
    unoffered: [],
    unsuggested: [],
    violated: [],
    undecided: [],
    modern,
  }
  for (const { feature } of all) {
    if (!counts.has(feature.name)) continue
    judge(feature.requires, environment, report, (condition) => report.missing.push({ name: feature.name, condition }))
    judge(feature.offeredWith, environment, report, (condition) => report.unoffered.push({ name: feature.name, condition }))
    judge(feature.suggests, environment, report, (condition) => report.unsuggested.push({ name: feature.name, condition }))
  }
  for (const rule of chapters.flatMap(({ rules }) => rules)) judge(rule, environment, report, (condition) => report.violated.push(condition))
  return report
}

/** The features on a bit, the one that is meant first: a legacy feature is not meant where VERSION_1 is set, and the other way round. */
function candidates(all: readonly Owned[], bit: number, modern: boolean): Owned[] {
  const fitting = ({ feature }: Owned): number => (feature.legacy === modern ? 1 : 0)
  return all.filter(({ feature }) => feature.bit === bit).sort((a, b) => fitting(a) - fitting(b))
}

/** An assumed feature may make another one assumed. */
function addAssumed(all: readonly Owned[], counts: Set<string>, environment: Environment): FeatureReport['assumed'] {
  const assumed: FeatureReport['assumed'] = []
  let grew = true
  while (grew) {
    grew = false
    for (const { feature } of all) {
      if (feature.assumed === undefined || counts.has(feature.name) || holds(feature.assumed, environment) !== true) continue
      counts.add(feature.name)
      assumed.push({ name: feature.name, bit: feature.bit, condition: feature.assumed.text })
      grew = true
    }
  }
  return assumed
}

function judge(condition: Condition | undefined, environment: Environment, report: FeatureReport, unmet: (text: string) => void): void {
  const result = holds(condition, environment)
  if (condition === undefined || result === true) return
  if (result === undefined) report.undecided.push(condition.text)
  else unmet(condition.text)
}

/** Whose bit it would be, by the table of the specification. */
function ownerOf(model: Model, bit: number): string {
  const groups = model.chapters.flatMap((chapter) => (chapter.kind === 'common' ? chapter.groups.filter(({ name }) => name === 'feature_bits') : []))
  return groups.flatMap(({ ranges }) => ranges).find(({ from, to }) => bit >= from && bit <= to)?.owner ?? 'future'
}
