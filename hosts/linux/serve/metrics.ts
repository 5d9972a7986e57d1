/** What a server has counted: plain data, and the texts made of it. */
import { bucketEnds, countOf, type HistogramValue, quantile } from './histogram.ts'

/** One thing that is counted, with one sample for each set of labels. */
export interface Metric {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly samples: readonly Sample[]
}

export interface Sample {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number | HistogramValue
}

/** All of them with the same labels beside their own. */
export function labelled(metrics: readonly Metric[], labels: Sample['labels']): Metric[] {
  return metrics.map((metric) => ({ ...metric, samples: metric.samples.map((sample) => ({ ...sample, labels: { ...labels, ...sample.labels } })) }))
}

/** Those of the same name under each other, as the text format wants them. */
export function joined(groups: readonly (readonly Metric[])[]): Metric[] {
  const byName = new Map<string, Metric>()
  for (const metric of groups.flat()) {
    const known = byName.get(metric.name)
    byName.set(metric.name, known === undefined ? metric : { ...known, samples: [...known.samples, ...metric.samples] })
  }
  return [...byName.values()]
}

/** The text format of Prometheus, version 0.0.4. */
export function prometheusText(metrics: readonly Metric[]): string {
  return metrics
    .flatMap(({ name, help, type, samples }) => [
      `# HELP ${name} ${help}`,
      `# TYPE ${name} ${type}`,
      ...samples.flatMap((sample) => sampleLines(name, sample)),
    ])
    .map((line) => `${line}\n`)
    .join('')
}

function sampleLines(name: string, { labels, value }: Sample): string[] {
  if (typeof value === 'number') return [`${name}${labelText(labels)} ${value}`]
  const lines: string[] = []
  let sum = 0
  for (const [bucket, count] of value.counts.entries()) {
    sum += count
    lines.push(`${name}_bucket${labelText({ ...labels, le: endText(bucket) })} ${sum}`)
  }
  return [...lines, `${name}_sum${labelText(labels)} ${value.sum}`, `${name}_count${labelText(labels)} ${sum}`]
}

/** Never in the notation with an exponent: the same bucket is the same text. */
function endText(bucket: number): string {
  return bucketEnds[bucket]?.toFixed(6) ?? '+Inf'
}

function labelText(labels: Sample['labels']): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value.replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`))}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

/** For people: a line for each sample that is not zero. */
export function metricLines(metrics: readonly Metric[]): string[] {
  return metrics.flatMap(({ name, samples }) =>
    samples.flatMap(({ labels, value }) => {
      const title = `${name}${labelText(labels)}`
      if (typeof value === 'number') return value === 0 ? [] : [`${title} ${value}`]
      const count = countOf(value)
      if (count === 0) return []
      const parts = [0.5, 0.9, 0.99, 1].map((part) => `${part === 1 ? 'all' : `${part * 100} %`} within ${durationText(quantile(value, part))}`)
      return [`${title} ${count} measured, ${parts.join(', ')}`]
    }),
  )
}

/** `64 us`, `2.05 ms`. */
export function durationText(seconds = 0): string {
  if (seconds === Number.POSITIVE_INFINITY) return `more than ${durationText(bucketEnds.at(-1))}`
  const [factor, unit] = seconds < 1e-3 ? [1e6, 'us'] : seconds < 1 ? [1e3, 'ms'] : [1, 's']
  return `${Number((seconds * factor).toPrecision(3))} ${unit}`
}

/** For programs: as they are, histograms with the ends of their buckets. */
export function metricsJson(metrics: readonly Metric[]): unknown {
  return metrics.map(({ name, type, samples }) => ({
    name,
    type,
    samples: samples.map(({ labels, value }) => ({ labels, ...(typeof value === 'number' ? { value } : histogramJson(value)) })),
  }))
}

/** Buckets that nothing is in are left out; the last has no end. */
function histogramJson(value: HistogramValue): object {
  const buckets = value.counts.flatMap((count, bucket) => (count === 0 ? [] : [{ end: bucketEnds[bucket] ?? null, count }]))
  return { count: countOf(value), sum: value.sum, buckets }
}
