/** Giving room of a file back, and zeroes without writing them. */
import { checked } from './libc.ts'
import { linux } from './numbers.ts'

/**
 * Gives the room of some bytes of a file, or of a block device, back: they read as zeroes then, and the file keeps its size.
 *
 * @throws SystemError - EOPNOTSUPP where the file system cannot, EINVAL where there is no byte
 */
export function punchHole(fd: number, offset: number, length: number): void {
  checked('fallocate', fd, linux.FALLOC_FL_PUNCH_HOLE | linux.FALLOC_FL_KEEP_SIZE, offset, length)
}

/**
 * Makes zeroes of some bytes of a file, or of a block device, and keeps room for them. The file keeps its size.
 *
 * @throws SystemError - EOPNOTSUPP where the file system cannot (tmpfs), EINVAL where there is no byte
 */
export function zeroRange(fd: number, offset: number, length: number): void {
  checked('fallocate', fd, linux.FALLOC_FL_ZERO_RANGE | linux.FALLOC_FL_KEEP_SIZE, offset, length)
}
