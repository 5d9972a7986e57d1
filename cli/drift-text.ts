/** A report about drift, for people. */
import type { Paint } from '../generator/diagnostic.ts'
import type { Difference, Place } from '../generator/drift/findings.ts'
import type { HeaderDrift } from '../generator/drift/headers.ts'
import { countsOf, type DriftReport } from '../generator/drift/report.ts'
import { counted } from './table.ts'

const marks = { missing: '+', changed: '~', extra: '-' } as const
const meanings = { missing: 'missing in YAML', changed: 'changed', extra: 'extra in YAML' } as const
const pad = '      '

/** @param chosen - the chapters asked for; one that the YAML lacks is written out if it is among them */
export function driftLines(report: DriftReport, chosen: ReadonlySet<string>, paint: Paint): string[] {
  return [
    ...chapterLines(report, chosen, paint),
    ...itemLines(report, paint),
    ...unreadLines(report, paint),
    ...excusedLines(report, paint),
    summary(report, paint),
  ]
}

export function headerDriftLines(report: HeaderDrift, paint: Paint): string[] {
  const { compared, leftOut, unused } = report
  const { constants, structs, fields } = compared
  const reasons = new Set(leftOut.map(({ scope, why }) => `${scope} ${why}`)).size
  return [
    ...driftLines(report, new Set(), paint),
    ...unused.map(({ scope, name }) => `  ${paint.yellow('!')} ${scope}: left_out names ${name}, which these headers do not have`),
    `${counted(constants, 'constant')}, ${counted(structs, 'struct')}, ${counted(fields, 'field')} of the headers are described; ${leftOut.length} names are left out for ${counted(reasons, 'reason')}`,
  ]
}

function chapterLines({ chapters, differences }: DriftReport, chosen: ReadonlySet<string>, paint: Paint): string[] {
  const missing = chapters.missing.flatMap(({ scope, snippet }) => [
    `${paint.green('+')} ${paint.bold(scope)}  a chapter that the YAML lacks: ${totals(differences, scope)}`,
    ...(chosen.has(scope) ? snippetLines(snippet, paint) : []),
  ])
  const extra = chapters.extra.map(
    ({ scope }) => `${paint.red('-')} ${paint.bold(scope)}  a chapter that only the YAML has: ${totals(differences, scope)}`,
  )
  const isHidden = chapters.missing.some(({ scope }) => !chosen.has(scope))
  const hint = isHidden ? [`  ${paint.dim('virtgen drift NAME writes the YAML of a chapter')}`] : []
  return withGap([...missing, ...hint, ...extra])
}

function totals(differences: readonly Difference[], scope: string): string {
  const own = countsOf(differences.filter((each) => each.scope === scope))
  return [...own].map(([what, count]) => counted(count, what.replace(/^\w+ /, ''))).join(', ')
}

function itemLines({ differences, chapters }: DriftReport, paint: Paint): string[] {
  const whole = [...chapters.missing, ...chapters.extra].map(({ scope }) => scope)
  const scopes = [...new Set(differences.map(({ scope }) => scope))].filter((scope) => !whole.includes(scope))
  return scopes.flatMap((scope) =>
    withGap([paint.bold(scope), ...differences.filter((each) => each.scope === scope).flatMap((difference) => differenceLines(difference, paint))]),
  )
}

function differenceLines(difference: Difference, paint: Paint): string[] {
  const { kind, item, name, ours, theirs, snippet } = difference
  const colour = kind === 'missing' ? paint.green : kind === 'extra' ? paint.red : paint.yellow
  const places = [ours, theirs].filter((place) => place !== undefined).map(shownPlace)
  return [
    `  ${colour(marks[kind])} ${item} ${paint.bold(name)}  ${shown(difference)}  ${paint.dim(`(${meanings[kind]})`)}`,
    ...(places.length > 0 ? [pad + paint.dim(places.join('  '))] : []),
    ...(snippet === undefined ? [] : snippetLines(snippet, paint)),
  ]
}

function shown({ kind, aspect, yaml, there }: Difference): string {
  if (kind !== 'changed') return (yaml ?? there) as string
  return `${aspect === 'value' ? '' : `${aspect}: `}YAML ${yaml}, there ${there}`
}

function shownPlace({ file, line }: Place): string {
  return line === undefined ? file : `${file}:${line}`
}

function snippetLines(snippet: string, paint: Paint): string[] {
  return snippet.split('\n').map((line) => `${pad}${paint.cyan('|')} ${line}`.trimEnd())
}

function unreadLines({ unread }: DriftReport, paint: Paint): string[] {
  if (unread.length === 0) return []
  const lines = unread.flatMap(({ file, line, text, why }) => [`  ${paint.yellow('?')} ${why}: ${text}`, pad + paint.dim(`${file}:${line}`)])
  return withGap([paint.bold('could not be read'), ...lines])
}

function excusedLines({ excused, gone }: DriftReport, paint: Paint): string[] {
  const lines = [...new Set(excused.map(({ erratum }) => erratum.why))].flatMap((why) => [
    ...excused
      .filter(({ erratum }) => erratum.why === why)
      .map((difference) => `  = ${difference.scope}: ${difference.item} ${difference.name}  ${shown(difference)}`),
    pad + paint.dim(why),
  ])
  const without = gone.map(
    ({ scope, name, quote }) => `  ${paint.yellow('!')} ${scope}: what the erratum at ${name} quotes is no longer in the text: "${quote}"`,
  )
  return [...(lines.length > 0 ? withGap([paint.bold('explained by errata'), ...lines]) : []), ...withGap(without)]
}

function withGap(lines: readonly string[]): string[] {
  return lines.length > 0 ? [...lines, ''] : []
}

function summary({ with: other, differences, excused, errata, unread }: DriftReport, paint: Paint): string {
  const explain = excused.length === 1 ? 'explains' : 'explain'
  const aside = [
    ...(errata > 0 ? [`${errata} ${errata === 1 ? 'erratum' : 'errata'} of the text, ${excused.length} of them ${explain} a difference`] : []),
    ...(unread.length > 0 ? [`${counted(unread.length, 'place')} could not be read`] : []),
  ]
  const shown = aside.length > 0 ? ` (${aside.join('; ')})` : ''
  if (differences.length === 0) return `${paint.green('no drift')} from ${other}${shown}`
  const counts = [...countsOf(differences)].map(([what, count]) => counted(count, what))
  return `${paint.red('drift')} from ${other}: ${counts.join(', ')}${shown}`
}
