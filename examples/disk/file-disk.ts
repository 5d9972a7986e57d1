/** A block device whose sectors are those of a file. */
import { constants, type FileHandle, open } from 'node:fs/promises'
import type { ReadableBytes, WritableBytes } from 'virtgen/codegen/v1/device'
import { BlkDevice, type BlkFlushRequest, type BlkGetIdRequest, type BlkReadRequest, type BlkWriteRequest } from 'virtgen/skeleton/blk'
import { VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO, VIRTIO_BLK_S_IOERR, virtio_blk_size } from 'virtgen/wire/blk'

const { sector_bytes } = virtio_blk_size

export class FileDisk extends BlkDevice {
  readonly #file: FileHandle
  readonly #sectors: number
  readonly #readOnly: boolean

  private constructor(file: FileHandle, sectors: number, readOnly: boolean, onError: (error: unknown) => void) {
    super({ features: [VIRTIO_BLK_F_FLUSH, ...(readOnly ? [VIRTIO_BLK_F_RO] : [])], config: { capacity: sectors }, onError })
    this.#file = file
    this.#sectors = sectors
    this.#readOnly = readOnly
  }

  /** Opens an image; bytes behind the last whole sector are not seen. */
  static async open(path: string, { readOnly, onError }: { readOnly: boolean; onError: (error: unknown) => void }): Promise<FileDisk> {
    const file = await open(path, readOnly ? constants.O_RDONLY : constants.O_RDWR)
    const { size } = await file.stat()
    return new FileDisk(file, Math.floor(size / sector_bytes), readOnly, onError)
  }

  get bytes(): number {
    return this.#sectors * sector_bytes
  }

  close(): Promise<void> {
    return this.#file.close()
  }

  /** The system reads right into the guest's memory; the request is complete when the promise is. */
  protected override async read({ header, writable }: BlkReadRequest): Promise<number | undefined> {
    const start = header.sector * sector_bytes
    if (!this.#holds(header.sector, writable.length)) return VIRTIO_BLK_S_IOERR
    const { bytesRead } = await this.#file.readv(views(writable), start)
    writable.written = bytesRead
    return bytesRead === writable.length ? undefined : VIRTIO_BLK_S_IOERR
  }

  protected override async write({ header, readable }: BlkWriteRequest): Promise<number | undefined> {
    if (this.#readOnly || !this.#holds(header.sector, readable.length)) return VIRTIO_BLK_S_IOERR
    const { bytesWritten } = await this.#file.writev(views(readable), header.sector * sector_bytes)
    return bytesWritten === readable.length ? undefined : VIRTIO_BLK_S_IOERR
  }

  protected override flush(_request: BlkFlushRequest): Promise<void> {
    return this.#file.datasync()
  }

  protected override getId({ reply }: BlkGetIdRequest): void {
    new TextEncoder().encodeInto('virtgen-file-disk', reply.id)
  }

  #holds(sector: number, length: number): boolean {
    return sector + length / sector_bytes <= this.#sectors
  }
}

/** The pieces of a payload where they lie. */
function views(payload: ReadableBytes | WritableBytes): Uint8Array[] {
  return Array.from({ length: payload.segments }, (_, i) => payload.bytes(i))
}
