/** The ring benchmark runs, prints what others print, and stands beside them. What it measures is not tested: the machine is not quiet. */
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'

interface Row {
  label: string
  n: number
  payload: number
  median: number
  min: number
  max: number
  bytesPerChain: number
  ratios: { to: string; ratio: number; aim?: number; floor?: number }[]
}
interface Report {
  sections: { heading: string; rows: Row[] }[]
  others: { label: string; n: number; payload: number; median: number }[]
}

/** One short sample of each row. */
function run(...options: string[]): string {
  return execFileSync(process.execPath, ['bench/queue.mjs', '--rounds', '2', '--samples', '1', ...options], { encoding: 'utf8' })
}

/** A folder with a peer that always says the same. */
function peersFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'virtgen-peers-'))
  const lines = [1, 2, 4, 16].map((n) => `rust split pop+read_slice   n=${n}  payload=0     median 40.0  min 39.0  max 41.0 ns/chain`)
  writeFileSync(join(folder, 'rust-queue-bench'), `#!/bin/sh\ncat <<END\n${lines.join('\n')}\nEND\n`)
  chmodSync(join(folder, 'rust-queue-bench'), 0o755)
  return folder
}

// `npm test` builds first; by itself vitest does not.
describe.skipIf(!existsSync('dist/runtime/device-queue.js'))('the ring benchmark', () => {
  let report: Report
  beforeAll(() => {
    report = JSON.parse(run('--json', '--peers', peersFolder())) as Report
  })

  it('has a row for each format, length of a chain and payload', () => {
    const rows = report.sections[0]?.rows ?? []
    const shapes = new Set(rows.map(({ label, n, payload }) => `${label} ${n} ${payload}`))
    for (const n of [1, 2, 4, 16])
      for (const payload of [0, 64, 4096]) for (const format of ['split', 'packed']) expect(shapes).toContain(`virtgen ${format} ${n} ${payload}`)
    expect(rows.every(({ min, median, max }) => min > 0 && min <= median && median <= max)).toBe(true)
  })

  it('shows the ratio to the peer of the same run, and what was asked', () => {
    const row = report.sections[0]?.rows.find(({ label, n, payload }) => label === 'virtgen split' && n === 4 && payload === 0)
    const rust = row?.ratios.find(({ to }) => to === 'rust')
    expect(rust?.ratio).toBeCloseTo((row?.median ?? 0) / 40)
    expect(rust).toMatchObject({ aim: expect.any(Number), floor: expect.any(Number) })
    expect(report.others).toContainEqual(expect.objectContaining({ label: 'rust split pop+read_slice', n: 4, payload: 0, median: 40 }))
  })

  // Who is told of a write gets addresses, which may be more than what the engine has without a box.
  it('finds that a chain allocates nothing, apart from copies of its payload', () => {
    const rows = report.sections.flatMap((section) => section.rows).filter(({ label, payload }) => payload === 0 && !label.includes('write hook'))
    expect(
      rows
        .filter(({ bytesPerChain }) => bytesPerChain >= 0.005)
        .map(({ label, n, payload, bytesPerChain }) => ({ label, n, payload, bytesPerChain })),
    ).toEqual([])
  })

  it('prints lines that can be held beside those of others', () => {
    const lines = run('--only', 'virtgen split').split('\n')
    expect(lines).toContainEqual(expect.stringMatching(/^virtgen split +n=4 +payload=64 +median [\d.]+ {2}min [\d.]+ {2}max [\d.]+ ns\/chain/))
    expect(lines).toContainEqual(expect.stringMatching(/^virtgen split +n=4 +payload=0 +[\d.]+ bytes\/chain$/))
  })
})

describe('what a call allocates', async () => {
  const { bytesPerCall } = (await import('../bench/queue/allocation.mjs' as string)) as { bytesPerCall(work: () => void, calls: number): number }
  let kept: unknown

  it('is seen, once the code has run for long', () => {
    const bytes = new Uint8Array(8)
    const allocating = () => {
      kept = bytes.subarray(1)
    }
    const frugal = () => {
      bytes[1] = (bytes[0] as number) + 1
    }
    for (let i = 0; i < 1e5; i++) {
      allocating()
      frugal()
    }
    expect(bytesPerCall(allocating, 1000)).toBeGreaterThan(50)
    expect(bytesPerCall(frugal, 1000)).toBeLessThan(1)
    expect(kept).toBeInstanceOf(Uint8Array)
  })
})
