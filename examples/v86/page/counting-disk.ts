/** A disk in memory that counts what is read and written. */
import { lengthOf, RamBackend } from 'virtgen/devices/blk'

export class CountingDisk extends RamBackend {
  /** Bytes. */
  bytesRead = 0
  bytesWritten = 0

  override read(position: number, into: readonly Uint8Array[]): void {
    this.bytesRead += lengthOf(into)
    super.read(position, into)
  }

  override write(position: number, from: readonly Uint8Array[]): void {
    this.bytesWritten += lengthOf(from)
    super.write(position, from)
  }
}
