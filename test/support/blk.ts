/** What tests of block devices have in common: requests as chains, a storage that takes its time. */
import type { BlkBackend, Done } from 'virtgen/devices/blk'
import { VirtioBlkReqHeader } from 'virtgen/parts/blk'
import { type ChainDescription, chain } from 'virtgen/testing'
import { VirtioBlkDiscardWriteZeroes, virtio_blk_size, virtio_blk_type } from 'virtgen/wire/blk'

export const sectorBytes = virtio_blk_size.sector_bytes

/** Sectors of which each has bytes of its own. */
export function pattern(sectors: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length: sectors * sectorBytes }, (_, i) => (seed + Math.floor(i / sectorBytes) * 7 + i) & 0xff)
}

export function header(type: number, sector = 0): Uint8Array {
  return VirtioBlkReqHeader.encode({ type, sector })
}

/** @param lengths - of the buffers that the data go to */
export function readChain(sector: number, ...lengths: number[]): ChainDescription {
  const description = chain().readable(header(virtio_blk_type.VIRTIO_BLK_T_IN, sector))
  for (const length of lengths) description.writable(length)
  return description.writable(1)
}

export function writeChain(sector: number, ...buffers: Uint8Array[]): ChainDescription {
  const description = chain().readable(header(virtio_blk_type.VIRTIO_BLK_T_OUT, sector))
  for (const bytes of buffers) description.readable(bytes)
  return description.writable(1)
}

/** A discard, write zeroes or secure erase; `flags` are the raw ones. */
export function segmentsChain(type: number, ...segments: { sector: number; sectors: number; flags?: number }[]): ChainDescription {
  const bytes = new Uint8Array(segments.length * VirtioBlkDiscardWriteZeroes.size)
  const view = new DataView(bytes.buffer)
  segments.forEach(({ sector, sectors, flags = 0 }, i) => {
    const segment = new VirtioBlkDiscardWriteZeroes().at(view, i * VirtioBlkDiscardWriteZeroes.size)
    segment.sector = sector
    segment.num_sectors = sectors
    segment.flags = flags
  })
  return chain().readable(header(type)).readable(bytes).writable(1)
}

export function plainChain(type: number): ChainDescription {
  return chain().readable(header(type)).writable(1)
}

/** A storage that does everything later, and counts flushes. */
export class Later implements BlkBackend {
  flushes = 0
  readonly #inner: BlkBackend

  constructor(inner: BlkBackend) {
    this.#inner = inner
  }
  get size(): number {
    return this.#inner.size
  }
  async read(position: number, into: readonly Uint8Array[]): Promise<void> {
    await Promise.resolve()
    await this.#inner.read(position, into)
  }
  async write(position: number, from: readonly Uint8Array[]): Promise<void> {
    await Promise.resolve()
    await this.#inner.write(position, from)
  }
  async flush(): Promise<void> {
    this.flushes++
    await this.#inner.flush?.()
  }
  writeZeroes(position: number, length: number, unmap: boolean): Done {
    return this.#inner.writeZeroes?.(position, length, unmap)
  }
  async discard(position: number, length: number): Promise<void> {
    await this.#inner.discard?.(position, length)
  }
}
