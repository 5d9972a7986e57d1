/** `virtgen/devices/net`: a network card, and networks for it. `virtgen/node` has sockets and TAP. */
export type { NetBackend, NetCard, Offload, OffloadSupport, Segmentation } from './backend.ts'
export { link } from './link.ts'
export { macOf, macText, randomMac } from './mac.ts'
export { Net } from './net.ts'
export type { NetOptions } from './net-options.ts'
export type { NetStatistics } from './statistics.ts'
