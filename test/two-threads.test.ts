/** Driver and device in two threads: nothing is lost or torn on the way, and no notification is missed. The program is test/threads/two-threads.mjs; it runs what was built. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'

interface Side {
  report: { completed: number; notifications: number; slept: number; rungBefore: number }
}
interface Result {
  run: { name: string; chains: number; size: number }
  driver: Side
  device: Side
}

const program = fileURLToPath(new URL('./threads/two-threads.mjs', import.meta.url))

/** Runs all combinations of a format. Where one fails, the error shows what the program printed: the state of both sides and of the ring. */
async function runFormat(format: string, chains: number): Promise<Result[]> {
  const options = ['--json', '--only', format, '--chains', `${chains}`]
  const { stdout } = await promisify(execFile)(process.execPath, [program, ...options], { maxBuffer: 2 ** 24 }).catch((error) => {
    throw new Error(`two-threads.mjs ${options.join(' ')}: ${error.message}\n${error.stdout}`)
  })
  return (JSON.parse(stdout) as { results: Result[] }).results
}

describe.each(['split', 'packed'])('two threads with a %s virtqueue', (format) => {
  it('pass chains and lose no notification, with every set of ring features and either role in the worker', { timeout: 120_000 }, async () => {
    const results = await runFormat(format, 50_000)
    expect(results).toHaveLength(16)
    for (const { run, driver, device } of results) {
      expect(driver.report.completed, run.name).toBe(run.chains)
      expect(device.report.completed, run.name).toBe(run.chains)
      // Otherwise the sides met no more than now and then, and little was tried.
      expect(Math.min(driver.report.slept, device.report.slept), `${run.name}: both sides sleep often`).toBeGreaterThan(run.chains / 1000)
      const most = driver.report.notifications + device.report.notifications
      expect(most, `${run.name}: notifications are suppressed`).toBeLessThan(2 * run.chains)
    }
  })
})
