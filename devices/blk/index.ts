/** `virtgen/devices/blk`: a block device, and what it may store its sectors in. `virtgen/node` has files. */
export { type BlkBackend, checkRange, type Done, lengthOf, Pieces } from './backend.ts'
export { Blk } from './blk.ts'
export type { BlkOptions, RangeLimits } from './blk-options.ts'
export { OverlayBackend, type OverlayOptions } from './overlay-backend.ts'
export { RamBackend } from './ram-backend.ts'
export { ZeroBackend } from './zero-backend.ts'
