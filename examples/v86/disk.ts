/** The disk that was asked for: an image, or some memory. */
import { statSync } from 'node:fs'
import { type BlkBackend, type BlkOptions, OverlayBackend, RamBackend } from 'virtgen/devices/blk'
import { FileBackend } from 'virtgen/node'
import { scratchSerial } from './guest/shell.ts'

export interface DiskChoice {
  /** Of an image; undefined: a disk in memory. */
  readonly file: string | undefined
  readonly readOnly: boolean
  /** What is written is kept in memory. */
  readonly overlay: boolean
}

export interface Disk {
  readonly backend: BlkBackend
  readonly options: BlkOptions
  /** What it is, for people. */
  readonly text: string
  close(): void
}

const scratchBytes = 16 * 2 ** 20
const sectorBytes = 512

/** A disk in memory, on which the guest makes a file system. */
export function scratchDisk(): Disk {
  return { backend: new RamBackend(scratchBytes), options: { serial: scratchSerial }, text: '16 MiB of memory', close: () => {} }
}

/** @throws Error for a file that cannot be a disk */
export function diskOf({ file, readOnly, overlay }: DiskChoice): Disk {
  if (file === undefined) return scratchDisk()
  const stat = statSync(file, { throwIfNoEntry: false })
  if (stat === undefined) throw new Error(`there is no file ${file}`)
  if (!stat.isFile() || stat.size < sectorBytes) throw new Error(`${file} is no image of a disk`)
  const image = new FileBackend(file, { readOnly: readOnly || overlay })
  return {
    backend: overlay ? new OverlayBackend(image) : image,
    options: {},
    text: `${file}, ${overlay ? 'what is written stays in memory' : readOnly ? 'read-only' : 'which is written'}`,
    close: () => image.close(),
  }
}
