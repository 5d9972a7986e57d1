/** A report about drift, for people. */
import type { Paint } from '../generator/diagnostic.ts'
import type { Difference, Place } from '../generator/drift/findings.ts'
import { countsOf, type DriftReport } from '../generator/drift/report.ts'
import { counted } from './table.ts'

const marks = { missing: '+', changed: '~', extra: '-' } as const

export function driftLines(report: DriftReport, paint: Paint): string[] {
  const { differences, excused, chapters, unread, gone } = report
  const whole = [...chapters.missing, ...chapters.extra]
  const lines: string[] = []
  for (const scope of chapters.missing)
    lines.push(`${paint.green('+')} ${paint.bold(scope)}  a chapter that the YAML lacks: ${totals(differences, scope)}`)
  for (const scope of chapters.extra)
    lines.push(`${paint.red('-')} ${paint.bold(scope)}  a chapter that only the YAML has: ${totals(differences, scope)}`)
  if (lines.length > 0) lines.push('')
  const scopes = [...new Set(differences.map(({ scope }) => scope))].filter((scope) => !whole.includes(scope))
  for (const scope of scopes) {
    lines.push(paint.bold(scope))
    for (const difference of differences.filter((each) => each.scope === scope)) lines.push(...differenceLines(difference, paint))
    lines.push('')
  }
  if (unread.length > 0) {
    lines.push(paint.bold('could not be read'))
    for (const { file, line, text, why } of unread) lines.push(`  ${paint.yellow('?')} ${why}: ${text}`, `      ${paint.dim(`${file}:${line}`)}`)
    lines.push('')
  }
  if (excused.length > 0) {
    lines.push(paint.bold('explained by errata'))
    for (const difference of excused)
      lines.push(`  = ${difference.scope}: ${difference.item} ${difference.name}  ${shown(difference)}`, `      ${paint.dim(difference.erratum.why)}`)
    lines.push('')
  }
  for (const { scope, name, quote } of gone)
    lines.push(`  ${paint.yellow('!')} ${scope}: the sentence of the erratum at ${name} is not in the text: "${quote}"`)
  lines.push(summary(report, paint))
  return lines
}

function summary({ with: other, differences, excused, errata }: DriftReport, paint: Paint): string {
  const explained = `${counted(errata, 'erratum').replace('erratums', 'errata')}, ${excused.length} of them ${excused.length === 1 ? 'explains' : 'explain'} a difference`
  if (differences.length === 0) return `${paint.green('no drift')} from ${other} (${explained})`
  const counts = [...countsOf(differences)].map(([what, count]) => `${count} ${what}${count === 1 ? '' : 's'}`)
  return `${paint.red('drift')} from ${other}: ${counts.join(', ')} (${explained})`
}

function totals(differences: readonly Difference[], scope: string): string {
  const own = [...countsOf(differences.filter((each) => each.scope === scope))]
  return own.map(([what, count]) => counted(count, what.replace(/^\w+ /, ''))).join(', ')
}

function differenceLines(difference: Difference, paint: Paint): string[] {
  const { kind, item, name, ours, theirs, snippet } = difference
  const colour = kind === 'missing' ? paint.green : kind === 'extra' ? paint.red : paint.yellow
  const word = { missing: 'missing in YAML', changed: 'changed', extra: 'extra in YAML' }[kind]
  const places = [ours, theirs].filter((place) => place !== undefined).map(shownPlace)
  return [
    `  ${colour(marks[kind])} ${item} ${paint.bold(name)}  ${shown(difference)}  ${paint.dim(`(${word})`)}`,
    ...(places.length > 0 ? [`      ${paint.dim(places.join('  '))}`] : []),
    ...(snippet ?? '')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => `      ${paint.cyan('|')} ${line}`),
  ]
}

function shownPlace({ file, line }: Place): string {
  return line === undefined ? file : `${file}:${line}`
}

function shown({ kind, aspect, yaml, there }: Difference): string {
  if (kind !== 'changed') return (yaml ?? there) as string
  return `${aspect === 'value' ? '' : `${aspect}: `}YAML ${yaml}, there ${there}`
}
