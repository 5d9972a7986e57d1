/** A short run of the fuzzer of the vhost-user back-end. `npm run fuzz -- --target vhost-user` runs longer. */
import { whyNoSystem } from 'virtgen/linux'
import { describe, expect, it } from 'vitest'
import { VhostUserTarget } from '../fuzz/vhost-user/vhost-user-target.ts'

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
