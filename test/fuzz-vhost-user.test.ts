/** A short run of the fuzzer of the vhost-user back-end. `npm run fuzz -- --target vhost-user` runs longer. */
import { whyNoSystem } from 'virtgen/linux'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { FailedExecution } from '../fuzz/target.ts'
import { VhostUserTarget } from '../fuzz/vhost-user/vhost-user-target.ts'
import { InFlightArea } from '../hosts/linux/vhost-user/back-end/in-flight-area.ts'
import { Rings } from '../hosts/linux/vhost-user/back-end/rings.ts'

describe.skipIf(whyNoSystem() !== undefined)('fuzzing the vhost-user back-end', () => {
  it('finds nothing in a few executions from any seed, in which buffers are used, and front-ends are refused in many ways', async () => {
    const target = new VhostUserTarget()
    const sums: Record<string, number> = {}
    const from = (Math.random() * 2 ** 31) >>> 0
    for (let seed = from; seed < from + 300; seed++)
      for (const [name, count] of Object.entries((await target.run(seed)).counts ?? {})) sums[name] = (sums[name] ?? 0) + count
    expect(sums.messages).toBeGreaterThan(2000)
    expect(sums.requests).toBeGreaterThan(200)
    for (const kind of ['descriptors', 'size', 'value', 'memory', 'ring', 'unknown-request', 'not-negotiated', 'header', 'unexpected'])
      expect(sums[kind], kind).toBeGreaterThan(0)
  })
})

describe.skipIf(whyNoSystem() !== undefined)('a back-end with one fault is found out', () => {
  afterEach(() => vi.restoreAllMocks())

  async function firstFailure(): Promise<string> {
    const target = new VhostUserTarget()
    for (let seed = 1; seed <= 400; seed++) {
      try {
        await target.run(seed)
      } catch (error) {
        expect(error).toBeInstanceOf(FailedExecution)
        return (error as Error).message
      }
    }
    return 'nothing'
  }

  it('that takes memory away while the device is at work in it', async () => {
    vi.spyOn(Rings.prototype, 'remap').mockImplementation(async (_, change) => change())
    expect(await firstFailure()).toContain('memory was unmapped while the device was at work in it')
  })

  it('that keeps the area of requests in flight', async () => {
    vi.spyOn(InFlightArea.prototype, 'release').mockImplementation(() => {})
    expect(await firstFailure()).toContain('mappings are left behind')
  })

  it('that does not wait for its device', async () => {
    vi.spyOn(Rings.prototype, 'end').mockImplementation(() => undefined)
    expect(await firstFailure()).not.toBe('nothing')
  })
})
