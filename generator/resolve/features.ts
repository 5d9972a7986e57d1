/** Feature bits: their ranges, what they require, and that no two share a bit unknowingly. */
import type { FeatureAttributes } from '../ast.ts'
import { didYouMean } from '../diagnostic.ts'
import { nodes } from '../evaluate.ts'
import { ExpressionError, parseRange } from '../expression.ts'
import type { Chapter, Condition, Feature, Kind, Tree } from '../model.ts'
import { ownValue } from '../own.ts'
import type { Path } from '../source.ts'
import type { Expressions } from './expressions.ts'
import { originOf } from './origin.ts'
import { type ChapterScope, list, type Workspace } from './workspace.ts'

const maximumBit = 127

export function resolveFeatures(workspace: Workspace, expressions: Expressions, chapter: ChapterScope): Feature[] {
  const features = Object.entries(chapter.ast.features ?? {}).map(([name, ast]) => {
    const attributes: FeatureAttributes = typeof ast === 'number' ? { bit: ast } : ast
    const path: Path = ['features', name]
    const feature: Feature = {
      ...originOf(chapter.origin, attributes),
      name,
      bit: attributes.bit,
      legacy: attributes.legacy ?? false,
      was: list(attributes.was),
      linux: chapter.linux(name, path, attributes.linux),
    }
    for (const key of ['requires', 'suggests', 'assumed'] as const) {
      const condition = expressions.condition(attributes[key], [...path, key], { chapter })
      if (condition && isOverFeatures(condition, chapter, [...path, key])) feature[key] = condition
    }
    const offeredWith = expressions.condition(attributes.offered_with, [...path, 'offered_with'], { chapter })
    if (offeredWith && isOverFeatures(offeredWith, chapter, [...path, 'offered_with'])) feature.offeredWith = offeredWith
    if (attributes.shares_bit !== undefined) feature.sharesBit = attributes.shares_bit
    checkName(chapter, name, path)
    return feature
  })
  const shared = checkBits(chapter, features)
  for (const feature of features) checkRange(workspace, chapter, feature, shared.has(feature.bit))
  return features
}

/** Requirements are checked when only the features are known. */
export function isOverFeatures(condition: Condition, chapter: ChapterScope, path: Path): boolean {
  const other = [...nodes(condition.tree)].find(({ op }) => op === 'field' || op === 'queue')
  if (other === undefined) return true
  chapter.report('wrong-operand', path, `"${condition.text}" is not about features alone`, 'only features are known when it is checked')
  return false
}

function checkName(chapter: ChapterScope, name: string, path: Path): void {
  const other = chapter.reach.find((reach) => reach !== chapter && Object.hasOwn(reach.ast.features ?? {}, name))
  if (other) chapter.report('duplicate-name', path, `the feature "${name}" is declared in ${other.name} too`, undefined, 'key')
}

const ownerOfKind: Partial<Record<Kind, string>> = { device: 'device-type', common: 'common', ring: 'common', transport: 'common' }
const ownerNouns: Readonly<Record<string, string>> = { common: 'the common features', 'device-type': 'the device types', future: 'future extensions' }

/** Ranges of the group `feature_bits` of the common chapters. */
function bitRanges(workspace: Workspace): { from: number; to: number; owner: string }[] {
  return [...workspace.chapters.values()].flatMap((chapter) => {
    const group = chapter.ast.kind === 'common' ? chapter.groups.get('feature_bits') : undefined
    return Object.entries(group?.attributes.values ?? {}).flatMap(([key, owner]) => {
      const range = parsedRange(key)
      return range ? [{ ...range, owner: String(owner) }] : []
    })
  })
}

function parsedRange(key: string): { from: number; to: number } | undefined {
  try {
    const [from, to] = parseRange(key)
    return from.op === 'number' && to.op === 'number' ? { from: Number(from.value), to: Number(to.value) } : undefined
  } catch (error) {
    if (error instanceof ExpressionError) return undefined
    throw error
  }
}

function checkRange(workspace: Workspace, chapter: ChapterScope, feature: Feature, isShared: boolean): void {
  const path = bitPath(chapter, feature)
  if (feature.bit < 0 || feature.bit > maximumBit) {
    chapter.report('bit-range', path, `bit ${feature.bit} of "${feature.name}" is not between 0 and ${maximumBit}`)
    return
  }
  const wanted = ownerOfKind[chapter.ast.kind]
  const ranges = bitRanges(workspace)
  const owner = ranges.find(({ from, to }) => feature.bit >= from && feature.bit <= to)?.owner
  if (wanted === undefined || owner === undefined) return
  if (owner === wanted) {
    if (feature.sharesBit !== undefined && !isShared) {
      chapter.report(
        'misplaced-attribute',
        ['features', feature.name, 'shares_bit'],
        `bit ${feature.bit} of "${feature.name}" is free`,
        'drop `shares_bit`',
        'key',
      )
    }
    return
  }
  if (feature.sharesBit !== undefined) return
  const message =
    owner === 'contested'
      ? `bit ${feature.bit} is assigned twice by the text`
      : `bit ${feature.bit} of "${feature.name}" belongs to ${ownerNouns[owner] ?? owner}`
  const own = ranges.filter((range) => range.owner === wanted).map(({ from, to }) => (from === to ? String(from) : `${from}–${to}`))
  chapter.report(
    'bit-range',
    path,
    message,
    `a ${chapter.ast.kind} chapter has the bits ${own.join(', ')}; \`shares_bit\` says that it knowingly uses another`,
  )
}

/** Where the bit is written, in the short or the long form. */
function bitPath(chapter: ChapterScope, { name }: Feature): Path {
  return typeof chapter.ast.features?.[name] === 'number' ? ['features', name] : ['features', name, 'bit']
}

/** Reports bits that are shared unknowingly; gives all that are shared. */
function checkBits(chapter: ChapterScope, features: readonly Feature[]): Set<number> {
  const seen = new Map<number, Feature>()
  const shared = new Set<number>()
  for (const feature of features) {
    checkShares(chapter, feature, features)
    const other = seen.get(feature.bit)
    if (other) {
      shared.add(feature.bit)
      if (feature.sharesBit === undefined && other.sharesBit === undefined) {
        chapter.report(
          'duplicate-bit',
          bitPath(chapter, feature),
          `"${feature.name}" has bit ${feature.bit}, which is "${other.name}"`,
          '`shares_bit` says that it does so knowingly',
        )
      }
    }
    seen.set(feature.bit, feature)
  }
  return shared
}

/** `shares_bit` is a reason in words, or the name of the other feature. */
function checkShares(chapter: ChapterScope, { name, sharesBit, bit }: Feature, features: readonly Feature[]): void {
  if (sharesBit === undefined || !/^[A-Za-z]\w*$/.test(sharesBit)) return
  const path: Path = ['features', name, 'shares_bit']
  const named = features.find((other) => other.name === sharesBit) ?? otherFeature(chapter, sharesBit)
  if (named === undefined)
    chapter.reportUnknown(
      'unknown-name',
      sharesBit,
      path,
      `no feature is named "${sharesBit}"`,
      didYouMean(
        sharesBit,
        features.map((other) => other.name),
      ),
    )
  else if (named.bit !== bit) chapter.report('bit-range', path, `"${sharesBit}" has bit ${named.bit}, not ${bit}`)
}

function otherFeature(chapter: ChapterScope, name: string): { bit: number } | undefined {
  const ast = chapter.reach.map((reach) => ownValue<number | FeatureAttributes>(reach.ast.features, name)).find((value) => value !== undefined)
  return typeof ast === 'number' ? { bit: ast } : ast
}

/** Reports features that need each other, across chapters. */
export function checkRequirements(chapters: readonly Chapter[], scopeOf: (chapter: string) => ChapterScope): void {
  const needs = new Map(
    chapters.flatMap(({ name: chapter, features }) =>
      features.map((feature) => [key(chapter, feature.name), feature.requires ? needed(feature.requires.tree) : new Set<string>()]),
    ),
  )
  const done = new Set<string>()
  const visit = (feature: string, trail: readonly string[]): void => {
    const start = trail.indexOf(feature)
    if (start >= 0) {
      const [chapter, name] = (trail.at(-1) as string).split(' ') as [string, string]
      const cycle = [...trail.slice(start), feature].map((step) => step.split(' ')[1]).join(' → ')
      scopeOf(chapter).report('requires-cycle', ['features', name, 'requires'], `features require each other: ${cycle}`)
      return
    }
    if (done.has(feature)) return
    for (const next of needs.get(feature) ?? []) visit(next, [...trail, feature])
    done.add(feature)
  }
  for (const feature of needs.keys()) visit(feature, [])
}

function key(chapter: string, name: string): string {
  return `${chapter} ${name}`
}

/** The features without which a condition cannot hold. */
function needed(tree: Tree): Set<string> {
  if (tree.op === 'feature') return new Set([key(tree.chapter, tree.name)])
  if (tree.op !== 'binary' || (tree.operator !== 'and' && tree.operator !== 'or')) return new Set()
  const left = needed(tree.left)
  const right = needed(tree.right)
  return tree.operator === 'and' ? new Set([...left, ...right]) : new Set([...left].filter((name) => right.has(name)))
}
