/** Copy on write: what is written stays in memory of the host, over a storage that is only read. */
import { checkInteger } from 'virtgen/codegen/v1/wire'
import { virtio_blk_size } from 'virtgen/wire/blk'
import { type BlkBackend, checkRange, type Done, lengthOf, Pieces } from './backend.ts'

const { sector_bytes } = virtio_blk_size

export interface OverlayOptions {
  /** Size of the disk; what is beyond the storage below reads as zeroes. Default: that of the storage below. */
  readonly size?: number
  /** Bytes that are allocated together: a power of 2 from 512. 64 KiB by default. */
  readonly clusterSize?: number
  /** Bytes of clusters, at most: writes that need more fail. No limit by default. */
  readonly limit?: number
}

/** Some sectors of the disk. Without bytes: all of them are zeroes. */
interface Cluster {
  readonly bytes: Uint8Array | undefined
  /** 1 for each sector that counts here and not below. */
  readonly present: Uint8Array
}

/** A part of one cluster, in bytes of the disk. */
interface Part {
  readonly index: number
  readonly start: number
  readonly end: number
}

const defaultClusterSize = 0x1_0000
/** What a cluster of zeroes counts, which takes no more than a note that it is there. */
const noteBytes = 128

/**
 * Sectors that were written, discarded or filled with zeroes are here, all others below. No write reads what is below, so each is done at once; and several overlays may
 * share one storage.
 */
export class OverlayBackend implements BlkBackend {
  readonly synchronous: boolean
  readonly unmapsZeroes = true
  readonly discardAlignment: number
  readonly #base: BlkBackend
  readonly #clusterSize: number
  readonly #limit: number
  readonly #clusters = new Map<number, Cluster>()
  readonly #allPresent: Uint8Array
  #size: number
  /** What lies behind it is not read below: it was never there, or was cut off. */
  #baseEnd: number
  #allocated = 0

  /** @throws RangeError for sizes that cannot be */
  constructor(
    base: BlkBackend,
    { size = wholeSectors(base.size), clusterSize = defaultClusterSize, limit = Number.MAX_SAFE_INTEGER }: OverlayOptions = {},
  ) {
    this.#base = base
    this.synchronous = base.synchronous ?? false
    this.#clusterSize = checkInteger(clusterSize, sector_bytes, 2 ** 30, 'clusterSize')
    if (Math.log2(clusterSize) % 1 !== 0) throw new RangeError(`clusterSize must be a power of 2, not ${clusterSize}`)
    this.discardAlignment = clusterSize
    this.#limit = checkInteger(limit, 0, Number.MAX_SAFE_INTEGER, 'limit')
    this.#allPresent = new Uint8Array(clusterSize / sector_bytes).fill(1)
    this.#size = wholeSectors(checkInteger(size, 0, Number.MAX_SAFE_INTEGER, 'size'))
    this.#baseEnd = Math.min(this.#size, wholeSectors(base.size))
  }

  get size(): number {
    return this.#size
  }
  /** Bytes of memory that clusters take, about. */
  get allocated(): number {
    return this.#allocated
  }

  read(position: number, into: readonly Uint8Array[]): Done {
    const length = lengthOf(into)
    this.#check(position, length)
    const target = new Pieces(into)
    let later: Promise<void> | undefined
    for (const { start, end, source } of this.#runs(position, position + length)) {
      const pieces = target.take(end - start)
      if (source === undefined) {
        // One after the other, so that nothing is read any more once one has failed.
        const done = later === undefined ? this.#readBelow(start, end, pieces) : later.then(() => this.#readBelow(start, end, pieces))
        if (typeof done === 'object') later = done
      } else {
        let at = start % this.#clusterSize
        for (const piece of pieces) {
          if (source.bytes === undefined) piece.fill(0)
          else piece.set(source.bytes.subarray(at, at + piece.length))
          at += piece.length
        }
      }
    }
    return later
  }

  #readBelow(start: number, end: number, pieces: Uint8Array[]): Done {
    const there = Math.max(0, Math.min(end, this.#baseEnd) - start)
    const rest = new Pieces(pieces)
    const below = there === end - start ? pieces : rest.take(there)
    if (below !== pieces) for (const piece of rest.take(end - start)) piece.fill(0)
    return there === 0 ? undefined : this.#base.read(start, below)
  }

  /** @throws RangeError where `limit` leaves no room */
  write(position: number, from: readonly Uint8Array[]): void {
    const length = lengthOf(from)
    this.#check(position, length)
    const source = new Pieces(from)
    for (const part of this.#parts(position, position + length)) {
      const { bytes, present } = this.#allocate(part.index)
      let at = part.start
      for (const piece of source.take(part.end - part.start)) {
        bytes.set(piece, at)
        at += piece.length
      }
      present.fill(1, part.start / sector_bytes, part.end / sector_bytes)
    }
  }

  /** What was written is in memory, and nowhere else. */
  flush(): void {}

  /** Gives back what whole clusters take; they read as zeroes then, as far as `limit` allows to note that. */
  discard(position: number, length: number): void {
    this.#check(position, length)
    for (const part of this.#parts(position, position + length))
      if (this.#isWhole(part) && this.#allocated - this.#costOf(part.index) + noteBytes <= this.#limit) this.#setZero(part.index)
  }

  /** @throws RangeError where `limit` leaves no room */
  writeZeroes(position: number, length: number): void {
    this.#check(position, length)
    for (const part of this.#parts(position, position + length)) {
      if (this.#isWhole(part)) {
        this.#requireRoom(noteBytes - this.#costOf(part.index))
        this.#setZero(part.index)
      } else {
        const { bytes, present } = this.#allocate(part.index)
        bytes.fill(0, part.start, part.end)
        present.fill(1, part.start / sector_bytes, part.end / sector_bytes)
      }
    }
  }

  /** What differs from the storage below: runs of whole sectors, ascending, with their bytes; these are not copied. To store an overlay, or to put it into a storage. */
  *changes(): IterableIterator<{ readonly position: number; readonly bytes: Uint8Array }> {
    const zeroes = new Uint8Array(this.#clusterSize)
    for (const index of [...this.#clusters.keys()].sort((a, b) => a - b)) {
      const position = index * this.#clusterSize
      for (const { start, end, source } of this.#runs(position, Math.min(position + this.#clusterSize, this.#size)))
        if (source !== undefined) yield { position: start, bytes: (source.bytes ?? zeroes).subarray(start - position, end - position) }
    }
  }

  /** Is as the storage below again. */
  clear(): void {
    this.#clusters.clear()
    this.#allocated = 0
  }

  /**
   * Gets longer, with zeroes, or shorter: what is behind the end then is forgotten. Tell the device: `updateCapacity`.
   *
   * @throws RangeError for what is no length
   */
  resize(size: number): void {
    this.#size = wholeSectors(checkInteger(size, 0, Number.MAX_SAFE_INTEGER, 'size'))
    this.#baseEnd = Math.min(this.#baseEnd, this.#size)
    for (const index of this.#clusters.keys()) {
      const end = this.#size - index * this.#clusterSize
      if (end <= 0) {
        this.#allocated -= this.#costOf(index)
        this.#clusters.delete(index)
      } else if (end < this.#clusterSize) this.#clusters.get(index)?.bytes?.fill(0, end)
    }
  }

  /** Runs of sectors that come from one place: a cluster, or below. */
  *#runs(position: number, end: number): IterableIterator<{ start: number; end: number; source: Cluster | undefined }> {
    // What comes from below is one run, whatever clusters it lies in.
    let below: number | undefined
    for (const part of this.#parts(position, end)) {
      const cluster = this.#clusters.get(part.index)
      const first = part.index * this.#clusterSize
      for (let at = part.start; at < part.end; ) {
        const start = at
        const isHere = this.#isPresent(cluster, at)
        while (at < part.end && this.#isPresent(cluster, at) === isHere) at += sector_bytes
        if (!isHere) below ??= first + start
        else {
          if (below !== undefined) yield { start: below, end: first + start, source: undefined }
          below = undefined
          yield { start: first + start, end: first + at, source: cluster }
        }
      }
    }
    if (below !== undefined) yield { start: below, end, source: undefined }
  }

  #isPresent(cluster: Cluster | undefined, at: number): boolean {
    return cluster !== undefined && cluster.present[at / sector_bytes] === 1
  }

  *#parts(position: number, end: number): IterableIterator<Part> {
    for (let at = position; at < end; ) {
      const index = Math.floor(at / this.#clusterSize)
      const first = index * this.#clusterSize
      const next = Math.min(first + this.#clusterSize, end)
      yield { index, start: at - first, end: next - first }
      at = next
    }
  }

  /** The last cluster of the disk may be shorter. */
  #isWhole({ index, start, end }: Part): boolean {
    return start === 0 && (end === this.#clusterSize || index * this.#clusterSize + end === this.#size)
  }

  #allocate(index: number): { readonly bytes: Uint8Array; readonly present: Uint8Array } {
    const known = this.#clusters.get(index)
    if (known?.bytes !== undefined) return known as { bytes: Uint8Array; present: Uint8Array }
    this.#requireRoom(this.#clusterSize - this.#costOf(index))
    const made = { bytes: new Uint8Array(this.#clusterSize), present: Uint8Array.from(known?.present ?? new Uint8Array(this.#allPresent.length)) }
    this.#put(index, made)
    return made
  }

  #setZero(index: number): void {
    this.#put(index, { bytes: undefined, present: this.#allPresent })
  }

  #put(index: number, cluster: Cluster): void {
    this.#allocated -= this.#costOf(index)
    this.#clusters.set(index, cluster)
    this.#allocated += this.#costOf(index)
  }

  #costOf(index: number): number {
    const cluster = this.#clusters.get(index)
    if (cluster === undefined) return 0
    return cluster.bytes === undefined ? noteBytes : this.#clusterSize
  }

  #requireRoom(more: number): void {
    if (this.#allocated + more > this.#limit)
      throw new RangeError(`the overlay is full: it has ${this.#allocated} bytes, and must not have more than ${this.#limit}`)
  }

  #check(position: number, length: number): void {
    checkRange(position, length, this.#size)
    if (position % sector_bytes !== 0 || length % sector_bytes !== 0)
      throw new RangeError(`a range must be whole sectors of ${sector_bytes} bytes, not ${length} bytes at ${position}`)
  }
}

function wholeSectors(bytes: number): number {
  return bytes - (bytes % sector_bytes)
}
