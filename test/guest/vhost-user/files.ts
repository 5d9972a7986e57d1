/** Files of the host, and what is in them. */
import { createHash, randomFillSync } from 'node:crypto'
import { closeSync, ftruncateSync, openSync, readFileSync, readSync, statSync, writeSync } from 'node:fs'

export const megabyte = 2 ** 20

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
export const sha256OfFile = (path: string): string => sha256(readFileSync(path))

/** A sparse file that begins with random bytes. */
export function makeImage(path: string, size: number, random: number): void {
  const file = openSync(path, 'w')
  writeSync(file, randomFillSync(Buffer.alloc(random)))
  ftruncateSync(file, size)
  closeSync(file)
}

export function rangeOf(path: string, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  const file = openSync(path, 'r')
  readSync(file, bytes, 0, length, position)
  closeSync(file)
  return bytes
}

/** Bytes of storage that a file takes. */
export const storageOf = (path: string): number => statSync(path).blocks * 512
