/** A short run of the soak: driver and back-end in two processes, while memory, rings and connections come and go. `npm run soak` runs for ten minutes. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { whyNoSystem } from 'virtgen/linux'
import { describe, expect, it } from 'vitest'

interface Report {
  readonly counts: Readonly<Record<string, number>>
  readonly sums: { readonly expected: string; readonly read: string; readonly file: string }
  readonly idle: object
  readonly rest: object
  readonly problems: readonly string[]
}

// `npm test` builds first; by itself vitest does not.
describe.skipIf(whyNoSystem() !== undefined || !existsSync('dist/hosts/linux/index.js'))('the soak', () => {
  it.each([
    ['requests that end late and in any order', []],
    ['requests that are done at once', ['--sync']],
  ])('ends with what was written, and with nothing left behind: %s', (_, more) => {
    const report: Report = JSON.parse(run('--seconds', '6', ...more))
    const { counts, sums, idle, rest, problems } = report
    expect(problems).toEqual([])
    expect([sums.read, sums.file]).toEqual([sums.expected, sums.expected])
    expect(rest).toEqual(idle)
    for (const name of ['read', 'written', 'reconnects']) expect(counts[name], name).toBeGreaterThan(0)
  })
})

/** Where there are problems, they are in what it prints. */
function run(...options: string[]): string {
  try {
    return execFileSync(process.execPath, ['--expose-gc', 'bench/soak.mjs', '--json', ...options], { encoding: 'utf8', timeout: 50_000 })
  } catch (error) {
    return (error as { stdout: string }).stdout
  }
}
