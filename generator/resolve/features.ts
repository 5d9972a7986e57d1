/** Feature bits: their ranges, what they require, and that no two share a bit unknowingly. */
import type { FeatureAttributes } from '../ast.ts'
import { nodes } from '../evaluate.ts'
import type { Feature, Kind } from '../model.ts'
import type { Path } from '../source.ts'
import type { Names } from './names.ts'
import { type ChapterScope, list, type Workspace } from './workspace.ts'

const maximumBit = 127

export function resolveFeatures(workspace: Workspace, names: Names, chapter: ChapterScope): Feature[] {
  const features = Object.entries(chapter.ast.features ?? {}).map(([name, ast]) => {
    const attributes: FeatureAttributes = typeof ast === 'number' ? { bit: ast } : ast
    const path: Path = ['features', name]
    const feature: Feature = {
      ...chapter.origin(attributes),
      name,
      bit: attributes.bit,
      legacy: attributes.legacy ?? false,
      was: list(attributes.was),
      linux: chapter.linux(name, path, attributes),
    }
    for (const key of ['requires', 'suggests', 'assumed'] as const) {
      const condition = names.expression(attributes[key], [...path, key], { chapter })
      if (condition) feature[key] = condition
    }
    if (attributes.shares_bit !== undefined) feature.sharesBit = attributes.shares_bit
    checkRange(workspace, chapter, feature, path)
    return feature
  })
  checkBits(chapter, features)
  checkRequires(chapter, features)
  return features
}

/** Which owner a bit has according to the group `feature_bits` of a common chapter. */
function ownerOf(workspace: Workspace, bit: number): string | undefined {
  for (const chapter of workspace.chapters.values()) {
    const group = chapter.ast.kind === 'common' ? chapter.groups.get('feature_bits') : undefined
    for (const [key, owner] of Object.entries(group?.attributes.values ?? {})) {
      const match = /^(\d+) \.\. (\d+)$/.exec(key)
      if (match && bit >= Number(match[1]) && bit <= Number(match[2])) return String(owner)
    }
  }
  return undefined
}

function ranges(workspace: Workspace, owner: string): string {
  const found = [...workspace.chapters.values()].flatMap((chapter) =>
    Object.entries(chapter.groups.get('feature_bits')?.attributes.values ?? {}).flatMap(([key, value]) => (value === owner ? [key.replace(' .. ', '–')] : [])),
  )
  return found.join(', ')
}

const ownerOfKind: Partial<Record<Kind, string>> = { device: 'device-type', common: 'common', ring: 'common', transport: 'common' }

function checkRange(workspace: Workspace, chapter: ChapterScope, feature: Feature, path: Path): void {
  if (feature.bit < 0 || feature.bit > maximumBit) {
    chapter.report('bit-range', path, `bit ${feature.bit} of "${feature.name}" is not between 0 and ${maximumBit}`)
    return
  }
  const wanted = ownerOfKind[chapter.ast.kind]
  const owner = ownerOf(workspace, feature.bit)
  if (wanted === undefined || owner === undefined || owner === wanted || feature.sharesBit !== undefined) return
  const message =
    owner === 'contested'
      ? `bit ${feature.bit} is assigned twice by the text`
      : `bit ${feature.bit} of "${feature.name}" belongs to ${owner === 'common' ? 'the common features' : owner === 'device-type' ? 'the device types' : 'future extensions'}`
  chapter.report('bit-range', path, message, `a ${chapter.ast.kind} chapter has the bits ${ranges(workspace, wanted)}; \`shares_bit\` says that it knowingly uses another`)
}

function checkBits(chapter: ChapterScope, features: readonly Feature[]): void {
  const seen = new Map<number, Feature>()
  for (const feature of features) {
    const other = seen.get(feature.bit)
    if (other && feature.sharesBit === undefined && other.sharesBit === undefined) {
      chapter.report('duplicate-bit', ['features', feature.name], `"${feature.name}" has bit ${feature.bit}, which is "${other.name}"`, '`shares_bit` says that it does so knowingly')
    }
    seen.set(feature.bit, feature)
  }
}

function checkRequires(chapter: ChapterScope, features: readonly Feature[]): void {
  const needs = new Map(features.map((feature) => [feature.name, feature.requires ? [...nodes(feature.requires.tree)].flatMap((node) => (node.op === 'feature' ? [node.name] : [])) : []]))
  const done = new Set<string>()
  const visit = (name: string, trail: string[]): void => {
    const start = trail.indexOf(name)
    if (start >= 0) {
      const cycle = [...trail.slice(start), name].join(' → ')
      chapter.report('requires-cycle', ['features', trail.at(-1) as string, 'requires'], `features require each other: ${cycle}`)
      return
    }
    if (done.has(name)) return
    for (const next of needs.get(name) ?? []) visit(next, [...trail, name])
    done.add(name)
  }
  for (const name of needs.keys()) visit(name, [])
}
