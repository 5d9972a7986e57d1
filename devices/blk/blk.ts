/** `Blk`: a block device over any storage. VIRTIO 1.4, Device Types / Block Device. */

import type { QueueInfo } from 'virtgen/codegen/v1/device'
import { checkInteger, type FeatureSet } from 'virtgen/codegen/v1/wire'
import { type GuestMemory, type Plain, StateError, type WritableBytes } from 'virtgen/runtime'
import {
  BlkDevice,
  type BlkDiscardRequest,
  type BlkFlushRequest,
  type BlkGetIdRequest,
  type BlkReadRequest,
  type BlkSecureEraseRequest,
  type BlkWriteRequest,
  type BlkWriteZeroesRequest,
} from 'virtgen/skeleton/blk'
import {
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_UNSUPP,
  virtio_blk_cache,
  virtio_blk_size,
} from 'virtgen/wire/blk'
import { VIRTIO_F_VERSION_1 } from 'virtgen/wire/content'
import { Gate, type Result } from '../gate.ts'
import type { BlkBackend, Done } from './backend.ts'
import { type BlkOptions, initialCache, isReadOnly, sectorsOf, serialBytes, skeletonOptions } from './blk-options.ts'

const { sector_bytes } = virtio_blk_size
const defaultCopySize = 0x10_0000

/** Bytes of the disk that a request names. */
interface Range {
  readonly position: number
  readonly length: number
  readonly unmap: boolean
}

/** What discard, write zeroes and secure erase requests have in common. */
interface Segments {
  readonly segments_length: number
  segments(i: number): { readonly sector: number; readonly num_sectors: number; readonly flags: number; readonly flags_unmap: number }
}

/**
 * A disk. Requests are served at once where the storage is synchronous, else as many side by side as `atOnce` allows, and complete in any order.
 *
 * @example
 * new MmioDevice(new Blk(new RamBackend(image), { serial: 'root' }), { memory, interrupt })
 */
export class Blk extends BlkDevice {
  readonly backend: BlkBackend
  readonly #options: BlkOptions
  readonly #gate: Gate
  readonly #id: Uint8Array
  readonly #readOnly: boolean
  readonly #cache: number
  readonly #copySize: number
  #sectors: number
  #memory: GuestMemory | undefined
  #features: FeatureSet | undefined

  /** @throws RangeError for an option that cannot be */
  constructor(backend: BlkBackend, options: BlkOptions = {}) {
    super(skeletonOptions(backend, options))
    this.backend = backend
    this.#options = options
    this.#gate = new Gate(options)
    this.#id = serialBytes(options.serial ?? '')
    this.#readOnly = isReadOnly(backend, options)
    this.#cache = initialCache(options)
    this.#copySize = sector_bytes * checkInteger((options.copySize ?? defaultCopySize) / sector_bytes, 1, 2 ** 31, 'copySize in sectors')
    this.#sectors = sectorsOf(backend, options)
  }

  /** Sectors of 512 bytes that the driver sees. */
  get capacity(): number {
    return this.#sectors
  }

  /** The storage has another size: tells the driver, where that makes a difference. */
  updateCapacity(): void {
    const sectors = sectorsOf(this.backend, this.#options)
    if (sectors === this.#sectors) return
    this.#sectors = sectors
    this.config.update((fields) => {
      fields.capacity = sectors
    })
  }

  /** Resolves when nothing is being written: before the storage is copied or closed. The driver must be stopped, or it goes on. */
  async idle(): Promise<void> {
    await this.#gate.idle()
  }

  // ---- Life

  override accepts(features: FeatureSet): boolean {
    if (!super.accepts(features)) return false
    // Without flushes, a cache that the driver can see must begin as one that needs none. On the legacy interface the mode is left as it is.
    const flushes = features.has(VIRTIO_BLK_F_FLUSH) || !features.has(VIRTIO_BLK_F_CONFIG_WCE)
    if (features.has(VIRTIO_F_VERSION_1) && !flushes) this.#setCache(virtio_blk_cache.writethrough)
    return true
  }

  protected override activated(): void {
    this.#memory = this.host?.memory
    this.#features = this.host?.features
  }

  protected override resetting(): Promise<void> | undefined {
    this.#gate.cancel()
    if (this.offered.has(VIRTIO_BLK_F_CONFIG_WCE)) this.#setCache(this.#cache)
    // What the old driver has written must not come over what the next one writes.
    return this.#gate.idle()
  }

  protected override queueResetting({ index }: QueueInfo): Promise<void> | undefined {
    this.#gate.cancel(index)
    return this.#gate.idle(index)
  }

  override saveState(): Plain {
    return { capacity: this.#sectors }
  }

  /** The configuration space is that of the snapshot by now. */
  override restoreState(state: Plain): void {
    const capacity = (state as { readonly capacity?: unknown } | null)?.capacity
    const most = sectorsOf(this.backend, this.#options)
    const isCapacity = typeof capacity === 'number' && Number.isInteger(capacity) && capacity >= 0 && capacity <= most
    if (!isCapacity || capacity !== this.config.fields?.capacity)
      throw new StateError(
        'capacity',
        `saved state: capacity must be that of the configuration, and at most ${most} sectors, not ${JSON.stringify(capacity)}`,
      )
    this.#sectors = capacity
  }

  #setCache(mode: number): void {
    if (this.config.fields?.writeback === mode) return
    this.config.update((fields) => {
      fields.writeback = mode
    })
  }

  /** VIRTIO 1.4, Device Types / Block Device / Device Operation: when a completed write must be stable. */
  #writesThrough(): boolean {
    if (!this.offered.has(VIRTIO_BLK_F_FLUSH)) return false
    if (this.#features?.has(VIRTIO_BLK_F_CONFIG_WCE)) return this.config.fields?.writeback === virtio_blk_cache.writethrough
    return this.#features?.has(VIRTIO_BLK_F_FLUSH) !== true
  }

  // ---- Requests

  protected override read(request: BlkReadRequest): Result {
    const { header, writable } = request
    const { length } = writable
    if (!this.#holds(header.sector, length)) return VIRTIO_BLK_S_IOERR
    if (length === 0) return
    const position = header.sector * sector_bytes
    if (this.backend.synchronous === true && this.#gate.admits(length)) return this.#readDirect(writable, position)
    return this.#gate.enter(
      request,
      length,
      () => (this.#isDirect() ? this.#readDirect(writable, position) : this.#readCopied(request, position)),
      false,
    )
  }

  protected override write(request: BlkWriteRequest): Result {
    const { header, readable } = request
    const { length } = readable
    if (this.#readOnly || !this.#holds(header.sector, length)) return VIRTIO_BLK_S_IOERR
    if (length === 0) return
    const position = header.sector * sector_bytes
    if (this.backend.synchronous === true && this.#gate.admits(length)) return this.#stable(this.backend.write(position, readable.vector()))
    const write = (): Done => (this.#isDirect() ? this.backend.write(position, readable.vector()) : this.#writeCopied(request, position))
    return this.#gate.enter(request, length, () => this.#stable(write()), true)
  }

  /** What was complete before is in the storage already; requests that are out have no order among them. */
  protected override flush(request: BlkFlushRequest): Result {
    return this.#gate.enter(request, 0, () => this.backend.flush?.(), true)
  }

  protected override getId({ reply }: BlkGetIdRequest): void {
    reply.id = this.#id
  }

  protected override discard(request: BlkDiscardRequest): Result {
    const { max_discard_sectors = 0 } = this.config.fields ?? {}
    const ranges = this.#rangesOf(request.header, max_discard_sectors, false)
    if (typeof ranges === 'number') return ranges
    return this.#gate.enter(request, 0, () => inTurn(ranges, ({ position, length }) => this.backend.discard?.(position, length)), true)
  }

  protected override writeZeroes(request: BlkWriteZeroesRequest): Result {
    const { max_write_zeroes_sectors = 0 } = this.config.fields ?? {}
    const ranges = this.#rangesOf(request.header, max_write_zeroes_sectors, true)
    if (typeof ranges === 'number') return ranges
    const write = (): Done => inTurn(ranges, ({ position, length, unmap }) => this.backend.writeZeroes?.(position, length, unmap))
    return this.#gate.enter(request, bytesOf(ranges), () => this.#stable(write()), true)
  }

  protected override secureErase(request: BlkSecureEraseRequest): Result {
    const { max_secure_erase_sectors = 0 } = this.config.fields ?? {}
    const ranges = this.#rangesOf(request.header, max_secure_erase_sectors, false)
    if (typeof ranges === 'number') return ranges
    const erase = (): Done => inTurn(ranges, ({ position, length }) => this.backend.secureErase?.(position, length))
    return this.#gate.enter(request, bytesOf(ranges), () => this.#stable(erase()), true)
  }

  /** No product or sum here can be too large for its type: a sector number is at most 2^53 - 1, or the request did not get here. */
  #holds(sector: number, length: number): boolean {
    return sector <= this.#sectors && length / sector_bytes <= this.#sectors - sector
  }

  /** All segments are checked before anything is done. A number: what to answer. */
  #rangesOf(header: Segments, mostSectors: number, mayUnmap: boolean): Range[] | number {
    const ranges: Range[] = []
    for (let i = 0; i < header.segments_length; i++) {
      const { sector, num_sectors, flags, flags_unmap } = header.segments(i)
      // Bit 0 is the only flag that there is.
      if (flags !== flags_unmap || (flags_unmap !== 0 && !mayUnmap)) return VIRTIO_BLK_S_UNSUPP
      ranges.push({ position: sector * sector_bytes, length: num_sectors * sector_bytes, unmap: flags_unmap !== 0 })
    }
    const isWrong = ({ position, length }: Range): boolean => length > mostSectors * sector_bytes || !this.#holds(position / sector_bytes, length)
    return ranges.some(isWrong) ? VIRTIO_BLK_S_IOERR : ranges
  }

  /** With a cache that writes through, a write is not done before it is stable. */
  #stable(written: Done): Done {
    if (typeof written === 'object') return written.then(() => (this.#writesThrough() ? this.backend.flush?.() : undefined))
    return this.#writesThrough() ? this.backend.flush?.() : undefined
  }

  // ---- Memory of the guest

  /** The storage may have the guest's memory itself: it is done with it before anything else happens, or the memory stays where it is. */
  #isDirect(): boolean {
    return this.backend.synchronous === true || this.#memory?.mayMove === false
  }

  #readDirect(writable: WritableBytes, position: number): Done {
    try {
      const done = this.backend.read(position, writable.vector())
      return typeof done === 'object' ? done.catch((error) => failed(writable, error)) : undefined
    } catch (error) {
      return failed(writable, error)
    }
  }

  async #readCopied(request: BlkReadRequest, position: number): Promise<void> {
    const { writable } = request
    const copy = new Uint8Array(Math.min(writable.length, this.#copySize))
    for (let at = position; writable.remaining > 0; ) {
      const part = copy.subarray(0, Math.min(writable.remaining, copy.length))
      await this.backend.read(at, [part])
      if (request.cancelled) return
      at += writable.copyFrom(part)
    }
  }

  async #writeCopied(request: BlkWriteRequest, position: number): Promise<void> {
    const { readable } = request
    const copy = new Uint8Array(Math.min(readable.length, this.#copySize))
    for (let at = position; readable.remaining > 0 && !request.cancelled; ) {
      const part = copy.subarray(0, readable.copyTo(copy))
      await this.backend.write(at, [part])
      at += part.length
    }
  }
}

/** Nothing of it counts as read unless all of it is. */
function failed(writable: WritableBytes, error: unknown): never {
  writable.written = 0
  throw error
}

function bytesOf(ranges: readonly Range[]): number {
  return ranges.reduce((sum, { length }) => sum + length, 0)
}

/** One after the other; a promise from the first on that gives one. */
function inTurn(ranges: readonly Range[], work: (range: Range) => Done): Done {
  let later: Promise<void> | undefined
  for (const range of ranges) {
    const done = later === undefined ? work(range) : later.then(() => work(range))
    if (typeof done === 'object') later = done
  }
  return later
}
