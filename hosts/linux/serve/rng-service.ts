/** Entropy to serve. */
import { randomFillSync } from 'node:crypto'
import { RateLimiter } from 'virtgen/devices/rate-limiter'
import { MeasuredRng, rngKinds } from './measured-rng.ts'
import type { Service } from './service.ts'
import type { RngSettings } from './settings.ts'
import { sizeText } from './size-text.ts'
import { Traffic } from './traffic.ts'

const queueSize = 1024

export function rngService({ rate }: RngSettings, onError: (error: unknown) => void): Service {
  const traffic = new Traffic(rngKinds, rate !== undefined)
  // All guests of the socket share it.
  const limiter = rate === undefined ? undefined : new RateLimiter({ bytes: { perSecond: rate } })
  const source = (into: Uint8Array): void => void randomFillSync(into)
  return {
    title: `entropy${rate === undefined ? '' : `, ${sizeText(rate)} per second at most`}`,
    warnings: [],
    maxConnections: Number.MAX_SAFE_INTEGER,
    // What waits for its turn (`rate`) may wait for long.
    drainTimeout: 2000,
    device: () => new MeasuredRng({ source, queueSize, onError, ...(limiter === undefined ? {} : { limiter }) }, traffic),
    gone: () => {},
    metrics: () => traffic.metrics('virtgen_rng'),
    totals: () => ({ requests: traffic.requests, bytes: traffic.bytes }),
    close: () => limiter?.dispose(),
  }
}
