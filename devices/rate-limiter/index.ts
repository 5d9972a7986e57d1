/** `virtgen/devices/rate-limiter`: operations and bytes per second, for one device or for several. */
export { hostTimers, type Timers } from '../timers.ts'
export { RateLimiter, type RateLimiterOptions, type RateLimits } from './rate-limiter.ts'
export type { TokenBucketOptions } from './token-bucket.ts'
