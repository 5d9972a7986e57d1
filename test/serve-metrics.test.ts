/** What a server counts, and the texts that it makes of it. */
import { RamBackend } from 'virtgen/devices/blk'
import { BlkDriver } from 'virtgen/driver/blk'
import { EntropyDriver } from 'virtgen/driver/entropy'
import { testMachine } from 'virtgen/testing'
import { describe, expect, it } from 'vitest'
import { bucketEnds, countOf, Histogram, quantile } from '../hosts/linux/serve/histogram.ts'
import { Log } from '../hosts/linux/serve/log.ts'
import { blkKinds, MeasuredBlk } from '../hosts/linux/serve/measured-blk.ts'
import { MeasuredRng, rngKinds } from '../hosts/linux/serve/measured-rng.ts'
import { durationText, joined, labelled, type Metric, metricLines, metricsJson, prometheusText } from '../hosts/linux/serve/metrics.ts'
import { sizeText } from '../hosts/linux/serve/size-text.ts'
import { statusText } from '../hosts/linux/serve/status-line.ts'
import { Traffic } from '../hosts/linux/serve/traffic.ts'

describe('a histogram', () => {
  it.each([
    [0, 0],
    [0.0005, 0],
    [0.001, 0],
    [0.0011, 1],
    [0.002, 1],
    [0.0021, 2],
    [0.004, 2],
    [1, 10],
    [1000, 20],
    [16_777.216, 24],
    [16_778, 25],
    [1e9, 25],
  ])('has %d ms in bucket %d', (milliseconds, bucket) => {
    const histogram = new Histogram()
    histogram.record(milliseconds)
    expect(histogram.value.counts.indexOf(1)).toBe(bucket)
    expect(countOf(histogram.value)).toBe(1)
    if (bucket < bucketEnds.length) expect(milliseconds / 1000).toBeLessThanOrEqual(bucketEnds[bucket] as number)
    if (bucket > 0) expect(milliseconds / 1000).toBeGreaterThan(bucketEnds[bucket - 1] as number)
  })

  it('says within what time a part of everything was done', () => {
    const histogram = new Histogram()
    expect(quantile(histogram.value, 0.5)).toBeUndefined()
    for (let i = 0; i < 90; i++) histogram.record(0.003)
    for (let i = 0; i < 10; i++) histogram.record(50_000)
    expect(quantile(histogram.value, 0.5)).toBe(4e-6)
    expect(quantile(histogram.value, 0.9)).toBe(4e-6)
    expect(quantile(histogram.value, 0.91)).toBe(Number.POSITIVE_INFINITY)
    expect(histogram.value.sum).toBeCloseTo(500.00027)
  })
})

const sample = (value: number, labels = {}): Metric['samples'] => [{ labels, value }]
const some: Metric[] = [
  { name: 'virtgen_connections', help: 'Connections.', type: 'gauge', samples: sample(1, { socket: '/tmp/a "b"\\c' }) },
  {
    name: 'virtgen_blk_requests_total',
    help: 'Requests.',
    type: 'counter',
    samples: [...sample(3, { type: 'read' }), ...sample(0, { type: 'write' })],
  },
]

describe('the text for Prometheus', () => {
  it('has help, type and a line for each sample, with labels quoted', () => {
    expect(prometheusText(some)).toBe(
      [
        '# HELP virtgen_connections Connections.',
        '# TYPE virtgen_connections gauge',
        'virtgen_connections{socket="/tmp/a \\"b\\"\\\\c"} 1',
        '# HELP virtgen_blk_requests_total Requests.',
        '# TYPE virtgen_blk_requests_total counter',
        'virtgen_blk_requests_total{type="read"} 3',
        'virtgen_blk_requests_total{type="write"} 0',
        '',
      ].join('\n'),
    )
  })

  it('has histograms as buckets that grow, with a sum and a count', () => {
    const histogram = new Histogram()
    histogram.record(0.001)
    histogram.record(0.002)
    histogram.record(1e6)
    const lines = prometheusText([
      { name: 'h', help: 'H.', type: 'histogram', samples: [{ labels: { type: 'read' }, value: histogram.value }] },
    ]).split('\n')
    expect(lines.slice(2, 5)).toEqual([
      'h_bucket{type="read",le="0.000001"} 1',
      'h_bucket{type="read",le="0.000002"} 2',
      'h_bucket{type="read",le="0.000004"} 2',
    ])
    expect(lines.slice(-5)).toEqual([
      'h_bucket{type="read",le="16.777216"} 2',
      'h_bucket{type="read",le="+Inf"} 3',
      'h_sum{type="read"} 1000.000003',
      'h_count{type="read"} 3',
      '',
    ])
  })

  it('has metrics of several sockets under one name', () => {
    const both = joined([labelled(some, { socket: 'a' }), labelled(some, { socket: 'b' })])
    expect(both.map(({ name }) => name)).toEqual(some.map(({ name }) => name))
    expect(prometheusText(both).match(/^# TYPE virtgen_blk_requests_total/gm)).toHaveLength(1)
    expect(prometheusText(both)).toContain('virtgen_blk_requests_total{socket="b",type="read"} 3')
  })
})

describe('the texts for people and programs', () => {
  it('leave out what is zero, and say latencies in words', () => {
    const histogram = new Histogram()
    histogram.record(0.003)
    const lines = metricLines([...some, { name: 'h', help: '', type: 'histogram', samples: [{ labels: {}, value: histogram.value }] }])
    expect(lines).toEqual([
      'virtgen_connections{socket="/tmp/a \\"b\\"\\\\c"} 1',
      'virtgen_blk_requests_total{type="read"} 3',
      'h 1 measured, 50 % within 4 us, 90 % within 4 us, 99 % within 4 us, all within 4 us',
    ])
  })

  it('have the ends of buckets as JSON; the last has none', () => {
    const histogram = new Histogram()
    histogram.record(0.003)
    histogram.record(1e6)
    const [metric] = metricsJson([{ name: 'h', help: '', type: 'histogram', samples: [{ labels: {}, value: histogram.value }] }]) as [unknown]
    expect(metric).toEqual({
      name: 'h',
      type: 'histogram',
      samples: [
        {
          labels: {},
          count: 2,
          sum: 1000.000003,
          buckets: [
            { end: 4e-6, count: 1 },
            { end: null, count: 1 },
          ],
        },
      ],
    })
  })

  it.each([
    [0.000064, '64 us'],
    [0.002048, '2.05 ms'],
    [4.194304, '4.19 s'],
    [Number.POSITIVE_INFINITY, 'more than 16.8 s'],
  ])('say %d s as %s', (seconds, text) => expect(durationText(seconds)).toBe(text))

  it.each([
    [0, '0 bytes'],
    [1023, '1023 bytes'],
    [1536, '1.5 KiB'],
    [2 ** 26, '64 MiB'],
    [1.5 * 2 ** 40, '1.5 TiB'],
    [1023 * 1024, '1023 KiB'],
  ])('say %d bytes as %s', (bytes, text) => expect(sizeText(bytes)).toBe(text))

  it('show what goes on', () => {
    expect(statusText(0, 0, 0)).toBe('nobody is connected')
    expect(statusText(1, 12_345.4, 48.2 * 2 ** 20)).toBe('1 connection, 12,345 requests/s, 48.2 MiB/s')
  })
})

/** Value of a counter of one kind of request. */
function counted(traffic: Traffic, name: string, type: string) {
  return traffic
    .metrics('t')
    .find((metric) => metric.name === `t_${name}`)
    ?.samples.find(({ labels }) => labels.type === type)?.value
}

describe('a device that is served', () => {
  it('counts reads, writes and what fails, and measures all that is not done at once', async () => {
    const traffic = new Traffic(blkKinds, true)
    const ram = new RamBackend(1 << 20)
    const fails = {
      size: ram.size,
      read: async (position: number, into: readonly Uint8Array[]) =>
        position === 0 ? ram.read(position, into) : Promise.reject(new Error('bad sector')),
      write: async (position: number, from: readonly Uint8Array[]) => ram.write(position, from),
    }
    const { driver } = await testMachine(new MeasuredBlk(fails, {}, traffic), BlkDriver)
    await driver.write({ sector: 0 }, new Uint8Array(4096).fill(7))
    const { data } = await driver.read({ sector: 0 }, 1024)
    expect(data[1023]).toBe(7)
    await expect(driver.read({ sector: 8 }, 512)).rejects.toThrow()
    expect(['read', 'write'].map((type) => counted(traffic, 'requests_total', type))).toEqual([2, 1])
    expect(['read', 'write'].map((type) => counted(traffic, 'bytes_total', type))).toEqual([1536, 4096])
    expect(['read', 'write'].map((type) => counted(traffic, 'errors_total', type))).toEqual([1, 0])
    expect(countOf(counted(traffic, 'request_seconds', 'read') as never)).toBe(2)
    expect([traffic.requests, traffic.bytes]).toEqual([3, 5632])
  })

  it('measures one of 64 requests that are done at once', async () => {
    const traffic = new Traffic(blkKinds, false)
    const { driver } = await testMachine(new MeasuredBlk(new RamBackend(1 << 20), {}, traffic), BlkDriver)
    for (let i = 0; i < 129; i++) await driver.read({ sector: i }, 512)
    expect(counted(traffic, 'requests_total', 'read')).toBe(129)
    expect(countOf(counted(traffic, 'request_seconds', 'read') as never)).toBe(3)
    await expect(driver.read({ sector: 2048 }, 512)).rejects.toThrow()
    expect(counted(traffic, 'errors_total', 'read')).toBe(1)
  })

  it('counts what entropy it was asked for', async () => {
    const traffic = new Traffic(rngKinds, false)
    const { driver } = await testMachine(new MeasuredRng({}, traffic), EntropyDriver)
    await driver.read(32)
    await driver.read(100)
    expect([counted(traffic, 'requests_total', 'read'), counted(traffic, 'bytes_total', 'read')]).toEqual([2, 132])
  })
})

describe('the log', () => {
  const lines: string[] = []
  let now = Date.UTC(2026, 10, 22, 1, 2, 3)
  const write = (json: boolean) => {
    lines.length = 0
    return new Log(
      json,
      (line) => lines.push(line),
      () => now,
    )
  }

  it('has a line for people, and one of JSON for programs', () => {
    write(false).write({ event: 'connected', socket: '/tmp/s', connections: 1 })
    expect(lines).toEqual(['01:02:03 /tmp/s: connected'])
    write(true).write({ event: 'connected', socket: '/tmp/s', connections: 1 })
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      { time: '2026-11-22T01:02:03.000Z', event: 'connected', socket: '/tmp/s', connections: 1 },
    ])
  })

  it('is not filled by a guest that breaks the rules again and again', () => {
    const log = write(false)
    for (let i = 0; i < 1000; i++) log.write({ event: 'violation', socket: 's', kind: 'loop', queue: 0, detail: 'x' })
    expect(lines).toHaveLength(10)
    log.write({ event: 'connected', socket: 's', connections: 1 })
    expect(lines).toHaveLength(11)
    now += 1000
    log.write({ event: 'violation', socket: 's', kind: 'loop', queue: 0, detail: 'x' })
    expect(lines.slice(11)).toEqual(['01:02:04 990 more of: violation', '01:02:04 s: the driver broke the rules at queue 0 (loop): x'])
  })
})
