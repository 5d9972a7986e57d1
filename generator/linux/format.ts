/** The report as text. */
import { type Paint, plain } from '../diagnostic.ts'
import type { LinuxItem, LinuxReport } from './report.ts'

const width = 120

/** Counts, then every category that is not empty. */
export function formatLinuxReport(report: LinuxReport, paint: Paint = plain): string {
  if (report.skipped !== undefined) return `${paint.yellow('Linux: not compared')}: ${report.skipped}`
  const { headers, compared, seed } = report
  const lines = [`${paint.bold(`Linux ${headers.version ?? 'of unknown version'}`)} ${paint.dim(`(${headers.path})`)}`]
  const counts = Object.entries(compared).map(([name, count]) => `${count} ${name}`)
  lines.push(`  compared: ${counts.join(', ')} ${paint.dim(`(seed ${seed})`)}`)
  lines.push(...names('absent', 'these headers are older and lack', report.absent, (item) => item.linux, paint))
  lines.push(...names('text only', 'Linux does not have', report.textOnly, (item) => item.name, paint))
  if (report.differs.length > 0) {
    lines.push(`  ${paint.cyan('different')}: as declared, ${report.differs.length}`)
    for (const item of report.differs)
      lines.push(
        ...wrap(`    ${item.name}: ${item.property} ${item.ours}, in Linux ${item.theirs}${same(item)}. ${item.why ?? ''}`.trimEnd(), betweenWords),
      )
  }
  if (report.appeared.length > 0) {
    lines.push(`  ${paint.yellow('appeared')}: marked \`linux: none\`, but these headers have it; correct the file`)
    for (const item of report.appeared) lines.push(`    ${item.file}: ${item.name} ${paint.dim(`(${item.linux})`)}`)
  }
  if (report.mismatches.length === 0) lines.push(`  ${paint.green('no mismatch')}`)
  else {
    lines.push(`  ${paint.red(`${report.mismatches.length} ${report.mismatches.length === 1 ? 'mismatch' : 'mismatches'}`)}:`)
    for (const item of report.mismatches) lines.push(...mismatch(item, paint))
  }
  return lines.join('\n')
}

function mismatch(item: LinuxItem, paint: Paint): string[] {
  const difference = `${item.property}: ours ${item.ours ?? 'nothing'}, Linux ${item.theirs ?? 'nothing'}${same(item)}`
  const lines = [`    ${paint.bold(item.name)} ${item.property === 'name' ? `is expected, but ${item.linux} is not there` : difference}`]
  if (item.why !== undefined) lines.push(`      ${item.why}`)
  lines.push(paint.dim(`      ${item.file}${item.section === undefined ? '' : `, ${item.section}`}`))
  return lines
}

/** The header's name where it is not ours. */
function same({ name, linux }: LinuxItem): string {
  return linux === name || linux === `struct ${name}` ? '' : ` (${linux})`
}

/** A list of names, by chapter. */
function names(title: string, explanation: string, items: readonly LinuxItem[], nameOf: (item: LinuxItem) => string, paint: Paint): string[] {
  if (items.length === 0) return []
  const lines = [`  ${paint.cyan(title)}: ${explanation} ${items.length}`]
  for (const chapter of new Set(items.map((item) => item.chapter))) {
    const list = items.filter((item) => item.chapter === chapter).map(nameOf)
    lines.push(...wrap(`    ${chapter}: ${[...new Set(list)].join(', ')}`))
  }
  return lines
}

const betweenNames = /(?<=[,:]) /
const betweenWords = /(?<=\S) /

function wrap(text: string, at = betweenNames): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(at)) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = `      ${word}`
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
