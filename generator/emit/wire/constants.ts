/** Constants one by one, groups as objects and union types, features with their requirements. */
import { nodes } from '../../evaluate.ts'
import type { Chapter, Constant, Feature, Group, Model, Origin } from '../../model.ts'
import { identifier, isExportedAlone } from '../../names.ts'
import { docs, exportConst, exportType, numberCode, propertyName, quote, type Statement, StructureKind } from '../code.ts'
import { conditionWords } from '../wording.ts'
import { condition, parenthesise } from './expression.ts'
import type { Imports } from './imports.ts'
import { Needs } from './needs.ts'

const exportedByChapter = new WeakMap<Chapter, ReadonlyMap<string, Constant>>()

/** Constants that are exported by their own name: the specification's names that have one value in the chapter and are no feature's. */
export function exportedConstants(chapter: Chapter): ReadonlyMap<string, Constant> {
  const known = exportedByChapter.get(chapter)
  if (known) return known
  const features = new Set(chapter.features.map(({ name }) => name))
  const found = new Map<string, Constant>()
  const ambiguous = new Set<string>()
  for (const constant of chapter.groups.flatMap((group) => group.constants)) {
    if (!isExportedAlone(constant.name) || features.has(constant.name)) continue
    const other = found.get(constant.name)
    if (other && other.value !== constant.value) ambiguous.add(constant.name)
    else if (!other) found.set(constant.name, constant)
  }
  for (const name of ambiguous) found.delete(name)
  exportedByChapter.set(chapter, found)
  return found
}

/** Where an item stands in the specification, for its documentation. */
export function citation(model: Model, item: Origin): string | undefined {
  if (item.section === undefined) return undefined
  return item.source === 'oasis-1.4' || item.source === 'prose'
    ? `VIRTIO ${model.version}, ${item.section}`
    : `${item.source}; VIRTIO ${model.version}, ${item.section}`
}

export function constantStatements(model: Model, chapter: Chapter): Statement[] {
  const written = new Set<string>()
  return chapter.groups.filter((group) => group.constants.length > 0).flatMap((group) => groupStatements(model, chapter, group, written))
}

function groupStatements(model: Model, chapter: Chapter, group: Group, written: Set<string>): Statement[] {
  const exported = exportedConstants(chapter)
  const single = group.constants.filter(({ name }) => exported.has(name) && !written.has(name))
  for (const { name } of single) written.add(name)
  const entries = group.constants.map((constant) => {
    const own = exported.has(constant.name)
    const comment = own || constant.doc === undefined ? '' : `/** ${constant.doc.replaceAll('*/', '*\\/')} */ `
    return `  ${comment}${own ? constant.name : `${propertyName(constant.name)}: ${numberCode(constant.value)}`},`
  })
  const name = identifier(group.name)
  const ranges = group.ranges.length > 0 && `${group.ranges.map(({ from, to, owner }) => `${from}–${to}: ${owner}`).join('; ')}.`
  return [
    ...single.map((constant) => exportConst(constant.name, numberCode(constant.value), docs(constant.doc, constantNote(constant)))),
    exportConst(name, `{\n${entries.join('\n')}\n} as const`, docs(group.doc, ranges, citation(model, group))),
    exportType(name, `(typeof ${name})[keyof typeof ${name}]`),
  ]
}

function constantNote(constant: Constant): string | undefined {
  const notes = [
    constant.when && `Only ${conditionWords(constant.when)}.`,
    constant.was.length > 0 && `Was ${constant.was.join(', ')}.`,
    constant.source !== 'oasis-1.4' && constant.source !== 'prose' && `Source: ${constant.source}.`,
    constant.marker && 'An end marker: its value moves with the version.',
  ]
  return notes.filter(Boolean).join(' ') || undefined
}

export function featureStatements(model: Model, chapter: Chapter, imports: Imports): Statement[] {
  if (chapter.features.length === 0) return []
  const entries = chapter.features.map(({ name, legacy }) => `  { name: ${quote(name)}, bit: ${identifier(name)}${legacy ? ', legacy: true' : ''} },`)
  imports.runtimeType('FeatureInfo')
  return [
    ...chapter.features.map((feature) =>
      exportConst(identifier(feature.name), String(feature.bit), docs(feature.doc, featureNote(feature), citation(model, feature))),
    ),
    exportConst('features: readonly FeatureInfo[]', `[\n${entries.join('\n')}\n]`, docs(`The feature bits of ${chapter.title}.`)),
    ...checkStatement(model, chapter, imports),
  ]
}

function featureNote(feature: Feature): string | undefined {
  const notes = [
    feature.legacy && 'On the legacy interface only.',
    feature.requires && `Requires ${feature.requires.text}.`,
    feature.offeredWith && `A device that offers it offers ${feature.offeredWith.text} too.`,
    feature.suggests && `Should come with ${feature.suggests.text}.`,
    feature.assumed && `Counts as negotiated also if ${feature.assumed.text}.`,
    feature.sharesBit && `Shares its bit: ${feature.sharesBit}.`,
    feature.was.length > 0 && `Was ${feature.was.join(', ')}.`,
  ]
  return notes.filter(Boolean).join(' ') || undefined
}

/** `checkFeatures`: which requirements a set breaks. */
function checkStatement(model: Model, chapter: Chapter, imports: Imports): Statement[] {
  const needs = new Needs(model)
  const empty = { name: '', chapter: chapter.name } as never
  const scope = { needs, imports, struct: empty, members: [], context: '{set}', own: 'this' }
  // `features.has` of the expression's context reads the set that is checked.
  const text = (expression: NonNullable<Feature['requires']>): string => condition(expression, scope).replaceAll('{set}.features', 'set')
  const checks = chapter.features.flatMap((feature) =>
    feature.requires === undefined
      ? []
      : [
          `if (set.has(${identifier(feature.name)}) && !${parenthesise(text(feature.requires))}) {`,
          `  problems.push({ feature: ${quote(feature.name)}, requires: ${quote(feature.requires.text)} })`,
          `}`,
        ],
  )
  const offers = chapter.features.flatMap((feature) =>
    feature.offeredWith === undefined
      ? []
      : [
          `if (offered && set.has(${identifier(feature.name)}) && !${parenthesise(text(feature.offeredWith))}) {`,
          `  problems.push({ feature: ${quote(feature.name)}, requires: ${quote(feature.offeredWith.text)} })`,
          `}`,
        ],
  )
  const rules = chapter.rules.flatMap((rule) =>
    [...nodes(rule.tree)].every((node) => node.op !== 'field' && node.op !== 'caller')
      ? [`if (!${parenthesise(text(rule))}) problems.push({ feature: ${quote(chapter.name)}, requires: ${quote(rule.text)} })`]
      : [],
  )
  imports.runtimeType('FeatureSet')
  imports.runtimeType('FeatureProblem')
  const nothing = checks.length + offers.length + rules.length === 0
  return [
    {
      kind: StructureKind.Function,
      isExported: true,
      name: 'checkFeatures',
      parameters: [{ name: nothing ? '_set' : 'set', type: 'FeatureSet' }, ...(offers.length > 0 ? [{ name: 'offered', initializer: 'false' }] : [])],
      returnType: 'FeatureProblem[]',
      statements: nothing ? 'return []' : ['const problems: FeatureProblem[] = []', ...checks, ...offers, ...rules, 'return problems'].join('\n'),
      ...docs(
        `The requirements among the features of ${chapter.title} that a set breaks; empty when it keeps them all.`,
        offers.length > 0 && 'Those of a set that a device offers are more than those of a negotiated one.',
      ),
    },
  ]
}
