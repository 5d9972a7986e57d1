/** A block device that counts what it is asked for. */
import { Blk, type BlkBackend, type BlkOptions } from 'virtgen/devices/blk'
import type {
  BlkDiscardRequest,
  BlkFlushRequest,
  BlkGetIdRequest,
  BlkReadRequest,
  BlkSecureEraseRequest,
  BlkWriteRequest,
  BlkWriteZeroesRequest,
} from 'virtgen/skeleton/blk'
import { virtio_blk_size } from 'virtgen/wire/blk'
import type { Traffic } from './traffic.ts'

/** Indices are those of the constants below. */
export const blkKinds = ['read', 'write', 'flush', 'get-id', 'discard', 'write-zeroes', 'secure-erase'] as const
const [read, write, flush, getId, discard, writeZeroes, secureErase] = [0, 1, 2, 3, 4, 5, 6] as const
const { sector_bytes, id_bytes } = virtio_blk_size

interface Segments {
  readonly segments_length: number
  segments(i: number): { readonly num_sectors: number }
}

/** Requests that the skeleton refuses are not seen here, as no handler hears of them. */
export class MeasuredBlk extends Blk {
  readonly #traffic: Traffic

  constructor(backend: BlkBackend, options: BlkOptions, traffic: Traffic) {
    super(backend, options)
    this.#traffic = traffic
  }

  protected override read(request: BlkReadRequest): ReturnType<Blk['read']> {
    const begun = this.#traffic.begin(read, request.writable.length)
    try {
      return this.#traffic.end(read, begun, super.read(request))
    } catch (error) {
      this.#traffic.failed(read, begun)
      throw error
    }
  }

  protected override write(request: BlkWriteRequest): ReturnType<Blk['write']> {
    const begun = this.#traffic.begin(write, request.readable.length)
    try {
      return this.#traffic.end(write, begun, super.write(request))
    } catch (error) {
      this.#traffic.failed(write, begun)
      throw error
    }
  }

  protected override flush(request: BlkFlushRequest): ReturnType<Blk['flush']> {
    return this.#measure(flush, 0, () => super.flush(request))
  }

  protected override getId(request: BlkGetIdRequest): void {
    this.#traffic.begin(getId, id_bytes)
    super.getId(request)
  }

  protected override discard(request: BlkDiscardRequest): ReturnType<Blk['discard']> {
    return this.#measure(discard, bytesOf(request.header), () => super.discard(request))
  }

  protected override writeZeroes(request: BlkWriteZeroesRequest): ReturnType<Blk['writeZeroes']> {
    return this.#measure(writeZeroes, bytesOf(request.header), () => super.writeZeroes(request))
  }

  protected override secureErase(request: BlkSecureEraseRequest): ReturnType<Blk['secureErase']> {
    return this.#measure(secureErase, bytesOf(request.header), () => super.secureErase(request))
  }

  /** For requests that are rare: reads and writes do it without a closure. */
  #measure<Result extends ReturnType<Blk['write']>>(kind: number, bytes: number, work: () => Result): Result {
    const begun = this.#traffic.begin(kind, bytes)
    try {
      return this.#traffic.end(kind, begun, work())
    } catch (error) {
      this.#traffic.failed(kind, begun)
      throw error
    }
  }
}

function bytesOf(header: Segments): number {
  let sectors = 0
  for (let i = 0; i < header.segments_length; i++) sectors += header.segments(i).num_sectors
  return sectors * sector_bytes
}
