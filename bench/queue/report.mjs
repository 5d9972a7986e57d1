// What the benchmark found, as text, as Markdown tables and as JSON. Results: headings with rows, each with its `times` (ns per chain) and `bytes`.
import { cpus, release, type } from 'node:os'
import { aimOf, packedAimOf } from './aims.mjs'
import { labelOf } from './rows.mjs'
import { summary } from './statistics.mjs'

/** The results of a run: of ours, by heading, and of others. `by`: the figure that ratios are taken of, `median` or `min`. */
export class Report {
  #sections
  #peers
  #by

  constructor(sections, peers, by) {
    this.#sections = sections
    this.#peers = peers
    this.#by = by
  }

  get #rows() {
    return this.#sections.flatMap(({ rows }) => rows)
  }

  get #others() {
    return this.#peers?.rows ?? []
  }

  /** How a row stands to virtio-queue's, and a packed one to the split one. */
  #ratios(row) {
    if (row.role !== undefined) return []
    const found = []
    const time = summary(row.times)[this.#by]
    const other = this.#peers?.time(row.n, row.payload, this.#by)
    if (other !== undefined) found.push({ to: 'rust', ratio: time / other, ...aimOf(row) })
    const split = row.format === 'packed' && row.variant === undefined ? this.#splitOf(row) : undefined
    if (split !== undefined) found.push({ to: 'split', ratio: time / summary(split.times)[this.#by], aim: packedAimOf(row) })
    return found
  }

  #splitOf({ n, payload, publish }) {
    return this.#rows.find(
      (one) => one.format === 'split' && one.variant === undefined && one.publish === publish && one.n === n && one.payload === payload,
    )
  }

  text() {
    const lines = [machine()]
    for (const { heading, rows } of this.#sections) {
      const width = Math.max(0, ...rows.map((row) => labelOf(row).length), 'virtgen packed'.length)
      if (rows.length > 0) lines.push('', `# ${heading}`)
      for (const row of rows) lines.push(`${head(labelOf(row), width, row)}  ${figures(row.times)}${this.#ratios(row).map(ratioText).join('')}`)
    }
    if (this.#others.length > 0) {
      const width = Math.max(...this.#others.map(({ label }) => label.length))
      lines.push('', '# others', ...this.#others.map((row) => `${head(row.label, width, row)}  ${figures(row.times)}`))
    }
    const width = Math.max(0, ...this.#rows.map((row) => labelOf(row).length))
    lines.push('', '# allocated on the heap, steady state')
    lines.push(...this.#rows.map((row) => `${head(labelOf(row), width, row)}  ${row.bytes.toFixed(2)} bytes/chain`))
    return lines.join('\n')
  }

  /** Tables of medians: a row of the table for each label and payload, a column for each n, the ratio to virtio-queue's pop in parentheses. */
  markdown() {
    const lines = [
      `${machine()}. Medians of ${this.#rows[0]?.times.length ?? 0} samples, ns per chain${this.#peers === undefined ? '' : "; in parentheses the ratio to `pop` of Rust's virtio-queue"}.`,
    ]
    for (const { heading, rows } of this.#sections)
      if (rows.length > 0) lines.push('', `### ${heading}`, '', ...table(rows, (row) => this.#cell(row), labelOf))
    if (this.#others.length > 0)
      lines.push(
        '',
        '### others',
        '',
        ...table(
          this.#others,
          (row) => summary(row.times).median.toFixed(1),
          ({ label }) => label,
        ),
      )
    const allocating = this.#rows.filter(({ bytes }) => bytes >= 0.005)
    lines.push(
      '',
      '### allocated on the heap',
      '',
      allocating.length === 0 ? 'Every row: 0.00 bytes per chain.' : 'Bytes per chain; every other row 0.00.',
    )
    if (allocating.length > 0) lines.push('', ...table(allocating, ({ bytes }) => bytes.toFixed(2), labelOf))
    return lines.join('\n')
  }

  #cell(row) {
    const ratio = this.#ratios(row).find(({ to }) => to === 'rust')
    return summary(row.times).median.toFixed(1) + (ratio === undefined ? '' : ` (${ratio.ratio.toFixed(2)})`)
  }

  json() {
    const of = ({ n, payload, times }) => ({ n, payload, ...summary(times) })
    return {
      machine: machine(),
      node: process.versions.node,
      sections: this.#sections.map(({ heading, rows }) => ({
        heading,
        rows: rows.map((row) => ({ label: labelOf(row), ...of(row), bytesPerChain: row.bytes, ratios: this.#ratios(row) })),
      })),
      others: this.#others.map((row) => ({ label: row.label, ...of(row) })),
    }
  }
}

function machine() {
  const processors = cpus()
  return `Node ${process.versions.node}, ${type()} ${release().split('-')[0]}, ${processors.length} x ${processors[0]?.model.trim() ?? process.arch}`
}

function head(label, width, { n, payload }) {
  return `${label.padEnd(width)} n=${String(n).padEnd(2)} payload=${String(payload).padEnd(4)}`
}

function figures(times) {
  const { median, min, max } = summary(times)
  return `median ${median.toFixed(1)}  min ${min.toFixed(1)}  max ${max.toFixed(1)} ns/chain`
}

function ratioText({ to, ratio, aim, floor }) {
  const text = `  ${ratio.toFixed(2)} x ${to}`
  if (aim === undefined) return text
  const verdict = ratio <= aim ? '' : floor === undefined || ratio <= floor ? ': MISSED' : ': BELOW FLOOR'
  return `${text} (aim ${aim}${floor === undefined ? '' : `, floor ${floor}`}${verdict})`
}

function table(rows, cell, label) {
  const counts = [...new Set(rows.map(({ n }) => n))].sort((a, b) => a - b)
  const lines = new Map()
  for (const row of rows) {
    const key = `${label(row)} | ${row.payload}`
    if (!lines.has(key)) lines.set(key, new Map())
    lines.get(key).set(row.n, cell(row))
  }
  const body = [...lines].map(([key, cells]) => `| ${key} | ${counts.map((n) => cells.get(n) ?? '').join(' | ')} |`)
  return [`| | bytes | ${counts.map((n) => `n = ${n}`).join(' | ')} |`, `|---|--:|${counts.map(() => '--:|').join('')}`, ...body]
}
