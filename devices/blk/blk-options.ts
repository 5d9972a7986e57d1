/** What a block device offers: what its VMM asks for, as far as its storage has it. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import type { BlkDeviceOptions } from 'virtgen/skeleton/blk'
import {
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_GEOMETRY,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SECURE_ERASE,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
  type VirtioBlkConfigValue,
  type VirtioBlkGeometryValue,
  type VirtioBlkTopologyValue,
  virtio_blk_cache,
  virtio_blk_size,
} from 'virtgen/wire/blk'
import type { GateOptions } from '../gate.ts'
import type { BlkBackend } from './backend.ts'

const { sector_bytes, id_bytes } = virtio_blk_size

/** What one request of a kind may ask for: an upper bound of the work that it makes. */
export interface RangeLimits {
  /** Sectors of one segment, at most. */
  readonly sectors?: number
  /** Segments of one request, at most. */
  readonly segments?: number
}

/** Options of a block device. All features that the storage has are offered, unless an option says otherwise. */
export interface BlkOptions extends GateOptions, Pick<BlkDeviceOptions, 'onError'> {
  /** What VIRTIO_BLK_T_GET_ID answers: up to 20 characters of ASCII. Linux shows it in `/sys/block/vda/serial`. Empty by default. */
  readonly serial?: string
  /** VIRTIO_BLK_F_RO, also where the storage could be written. */
  readonly readOnly?: boolean
  /** VIRTIO_BLK_F_MQ with more than one; 1 by default. */
  readonly queues?: number
  /** Entries of each queue at most, 256 by default. */
  readonly queueSize?: number
  /** Most segments of a request (VIRTIO_BLK_F_SEG_MAX). Default: what fits into a ring beside header and status. */
  readonly segMax?: number
  /** Most bytes of a segment (VIRTIO_BLK_F_SIZE_MAX). No limit by default. */
  readonly sizeMax?: number
  /** Best block size in bytes (VIRTIO_BLK_F_BLK_SIZE): a power of 2 from 512. The disk has whole blocks. Requests may be in sectors all the same. */
  readonly blockSize?: number
  /** VIRTIO_BLK_F_TOPOLOGY. In blocks of `blockSize`. */
  readonly topology?: Partial<VirtioBlkTopologyValue>
  /** VIRTIO_BLK_F_GEOMETRY. */
  readonly geometry?: VirtioBlkGeometryValue
  /**
   * How the cache works at first, `writeback` by default. The driver may change it (VIRTIO_BLK_F_CONFIG_WCE). With `writethrough`, a write is flushed before it is complete.
   */
  readonly cache?: keyof typeof virtio_blk_cache
  /** By default 16 segments of 2^21 sectors (1 GiB); false: not offered. */
  readonly discard?: RangeLimits | false
  /** By default 16 segments of 2^15 sectors (16 MiB), as a storage may really have to write them; false: not offered. */
  readonly writeZeroes?: RangeLimits | false
  /** As for write zeroes. */
  readonly secureErase?: RangeLimits | false
  /**
   * Most bytes of a copy, where a storage that is not synchronous cannot have memory of the guest in place; 1 MiB by default. Whole sectors. Each request
   * at work may have one.
   */
  readonly copySize?: number
}

const largestWord = 0xffff_ffff
const defaultQueueSize = 256
/** Descriptors of a request beside its data: header and status. */
const otherDescriptors = 2
const manySectors: Required<RangeLimits> = { sectors: 2 ** 21, segments: 16 }
const someSectors: Required<RangeLimits> = { sectors: 2 ** 15, segments: 16 }

/** Sectors that the driver may see of a storage. */
export function sectorsOf({ size }: BlkBackend, { blockSize = sector_bytes }: BlkOptions): number {
  return (Math.floor(checkInteger(size, 0, Number.MAX_SAFE_INTEGER, 'size of the backend') / blockSize) * blockSize) / sector_bytes
}

/** Nothing can be written: the storage cannot, or the VMM says so. */
export function isReadOnly(backend: BlkBackend, { readOnly = false }: BlkOptions): boolean {
  return readOnly || backend.readOnly === true
}

/**
 * What `writeback` holds at first, and after a reset.
 *
 * @throws TypeError for a mode that there is not: what was to be written through must not be written back for a slip of the pen
 */
export function initialCache({ cache = 'writeback' }: BlkOptions): number {
  if (!Object.hasOwn(virtio_blk_cache, cache))
    throw new TypeError(`cache must be ${Object.keys(virtio_blk_cache).join(' or ')}, not ${JSON.stringify(cache)}`)
  return virtio_blk_cache[cache]
}

/** @throws RangeError for an option that cannot be */
export function skeletonOptions(backend: BlkBackend, options: BlkOptions): BlkDeviceOptions {
  const { queues = 1, queueSize = defaultQueueSize, onError } = options
  const features: number[] = []
  const config: Partial<VirtioBlkConfigValue> = { capacity: sectorsOf(backend, options) }
  const offer = (feature: number, values: Partial<VirtioBlkConfigValue> = {}): void => {
    features.push(feature)
    Object.assign(config, values)
  }
  checkInteger(queueSize, otherDescriptors + 1, largestWord, 'queueSize')
  offer(VIRTIO_BLK_F_SEG_MAX, { seg_max: checkInteger(options.segMax ?? queueSize - otherDescriptors, 1, queueSize - otherDescriptors, 'segMax') })
  if (checkInteger(queues, 1, 0xffff, 'queues') > 1) offer(VIRTIO_BLK_F_MQ, { num_queues: queues })
  offerShape(options, offer)
  offerStorage(backend, options, offer)
  return { features, config, queueSize, ...(onError && { onError }) }
}

type Offer = (feature: number, values?: Partial<VirtioBlkConfigValue>) => void

function offerShape({ sizeMax, blockSize, topology, geometry }: BlkOptions, offer: Offer): void {
  if (sizeMax !== undefined) offer(VIRTIO_BLK_F_SIZE_MAX, { size_max: checkInteger(sizeMax, sector_bytes, largestWord, 'sizeMax') })
  if (geometry !== undefined) offer(VIRTIO_BLK_F_GEOMETRY, { geometry })
  if (blockSize !== undefined) offer(VIRTIO_BLK_F_BLK_SIZE, { blk_size: checkBlockSize(blockSize) })
  if (topology !== undefined)
    offer(VIRTIO_BLK_F_TOPOLOGY, { topology: { physical_block_exp: 0, alignment_offset: 0, min_io_size: 0, opt_io_size: 0, ...topology } })
}

function offerStorage(backend: BlkBackend, options: BlkOptions, offer: Offer): void {
  if (isReadOnly(backend, options)) {
    offer(VIRTIO_BLK_F_RO)
    // There is nothing to flush, and a driver that does it all the same does no harm.
    if (backend.flush) offer(VIRTIO_BLK_F_FLUSH)
    return
  }
  if (backend.flush) {
    offer(VIRTIO_BLK_F_FLUSH)
    offer(VIRTIO_BLK_F_CONFIG_WCE, { writeback: initialCache(options) })
  }
  if (backend.discard && options.discard !== false) {
    const { sectors, segments } = limitsOf(options.discard, manySectors, 'discard')
    const alignment = checkInteger((backend.discardAlignment ?? sector_bytes) / sector_bytes, 1, largestWord, 'sectors of discardAlignment')
    offer(VIRTIO_BLK_F_DISCARD, { max_discard_sectors: sectors, max_discard_seg: segments, discard_sector_alignment: alignment })
  }
  if (backend.writeZeroes && options.writeZeroes !== false) {
    const { sectors, segments } = limitsOf(options.writeZeroes, someSectors, 'writeZeroes')
    const mayUnmap = backend.unmapsZeroes ? 1 : 0
    offer(VIRTIO_BLK_F_WRITE_ZEROES, { max_write_zeroes_sectors: sectors, max_write_zeroes_seg: segments, write_zeroes_may_unmap: mayUnmap })
  }
  if (backend.secureErase && options.secureErase !== false) {
    const { sectors, segments } = limitsOf(options.secureErase, someSectors, 'secureErase')
    const limits = { max_secure_erase_sectors: sectors, max_secure_erase_seg: segments, secure_erase_sector_alignment: 1 }
    offer(VIRTIO_BLK_F_SECURE_ERASE, limits)
  }
}

function limitsOf(given: RangeLimits = {}, usual: Required<RangeLimits>, name: string): Required<RangeLimits> {
  const { sectors, segments } = { ...usual, ...given }
  checkInteger(sectors, 1, largestWord, `${name}.sectors`)
  // As many as a skeleton copies of a request.
  checkInteger(segments, 1, 256, `${name}.segments`)
  return { sectors, segments }
}

function checkBlockSize(bytes: number): number {
  checkInteger(bytes, sector_bytes, 2 ** 31, 'blockSize')
  if (Math.log2(bytes) % 1 !== 0) throw new RangeError(`blockSize must be a power of 2, not ${bytes}`)
  return bytes
}

/** @throws RangeError for what is no serial */
export function serialBytes(serial: string): Uint8Array {
  if (!/^[\x20-\x7e]*$/.test(serial) || serial.length > id_bytes)
    throw new RangeError(`serial must be at most ${id_bytes} printable characters of ASCII, not ${JSON.stringify(serial)}`)
  const bytes = new Uint8Array(id_bytes)
  for (let i = 0; i < serial.length; i++) bytes[i] = serial.charCodeAt(i)
  return bytes
}
